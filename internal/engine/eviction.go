package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/dagstore/dagstore/internal/copies"
)

// An eviction has copies go, as long as something has to. Some sources are asked at
// once; one that takes its time for the answer holds up nothing but its own copy.
type eviction struct {
	e       *Engine
	resting rest
	ended   chan struct{} // something has, of those that are asked

	mu     sync.Mutex
	asking map[uint32]asking // also of an earlier round
	spared []copies.Victim   // as they were used
	failed error             // of our own disk, lately
}

// asking is a copy whose source is being asked, or that is about to go.
type asking struct {
	bytes int64
	since time.Time
	spare bool // no source is asked: nothing but our own disk may take its time
}

// slow reports whether another copy may go instead.
func (a asking) slow(now time.Time) bool { return !a.spare && now.Sub(a.since) >= slowAsk }

// evicts has copies go whenever that is needed.
func (e *Engine) evicts() {
	v := &eviction{e: e, resting: rest{hosts: map[string]resting{}}, ended: make(chan struct{}, 1), asking: map[uint32]asking{}}
	for {
		select {
		case <-e.needed:
			e.surveyAgain()
			v.round()
		case <-e.work.Done():
			return
		}
	}
}

// round has copies go until enough have, or no more can.
func (v *eviction) round() {
	v.forget()
	tried := map[uint32]bool{}
	used := map[bool]bool{} // whether those that were used may go, too, of spare ones and of others
	for v.e.work.Err() == nil {
		victims, goal := v.e.victims(func(id uint32) bool { return tried[id] || v.isAsking(id) })
		if goal <= 0 {
			return
		}
		if len(victims) == 0 || !victims[0].Spare { // no other goes while there are spare ones
			if v.again(true, tried, used) {
				continue
			}
		}
		if v.begin(victims, goal, tried, used) || v.wait(false) {
			continue
		}
		if v.again(false, tried, used) || v.e.yield(true) || v.wait(true) {
			continue
		}
		v.e.cfg.Copies.NoMore(v.takeFailed())
		return
	}
}

// again has those of one kind tried again that were spared, and reports whether there
// are any.
func (v *eviction) again(spare bool, tried map[uint32]bool, used map[bool]bool) bool {
	some := false
	v.mu.Lock()
	defer v.mu.Unlock()
	v.spared = slices.DeleteFunc(v.spared, func(c copies.Victim) bool {
		if c.Spare != spare {
			return false
		}
		delete(tried, c.ID)
		some, used[spare] = true, true
		return true
	})
	return some
}

// begin has copies go, out of victims, until those that are about to make up goal,
// and reports whether it has begun with any.
func (v *eviction) begin(victims []copies.Victim, goal int64, tried map[uint32]bool, used map[bool]bool) (began bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now, quick := time.Now(), 0
	for _, a := range v.asking {
		if !a.slow(now) {
			goal -= a.bytes
			quick++
		}
	}
	for _, c := range victims {
		if goal <= 0 || quick >= asksAtOnce || len(v.asking) >= mostAsks {
			break
		}
		tried[c.ID] = true
		v.asking[c.ID] = asking{c.Bytes, now, c.Spare}
		goal -= c.Bytes
		quick++
		began = true
		may := used[c.Spare]
		v.e.workers.Go(func() {
			err := v.e.evictOne(c, &v.resting, may)
			v.end(c, err)
		})
	}
	return began
}

// end notes what has become of a copy.
func (v *eviction) end(c copies.Victim, err error) {
	v.mu.Lock()
	delete(v.asking, c.ID)
	switch {
	case err == nil || v.e.work.Err() != nil:
	case errors.Is(err, errUsed):
		v.spared = append(v.spared, c)
	default:
		v.e.cfg.Log.Debug("a copy does not go", "copy", fmt.Sprintf("%08x", c.ID), "err", err)
		if !stays(err) {
			v.failed = err
		}
	}
	v.mu.Unlock()
	select {
	case v.ended <- struct{}{}:
	default:
	}
}

// wait waits until something has become of one of the copies that are about to go, or
// another may go instead of one that is slow; all says that there is no other. It
// reports whether there was anything to wait for.
func (v *eviction) wait(all bool) bool {
	v.mu.Lock()
	now, most := time.Now(), time.Duration(0)
	for _, a := range v.asking {
		if most = max(most, slowAsk-now.Sub(a.since)); a.spare {
			most = hostRests // its end is told of
		}
	}
	if all && len(v.asking) > 0 {
		most = max(most, hostRests)
	}
	v.mu.Unlock()
	if most <= 0 {
		return false
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-v.ended:
	case <-timer.C:
	case <-v.e.work.Done():
	}
	return true
}

func (v *eviction) isAsking(id uint32) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, is := v.asking[id]
	return is
}

// forget forgets what has become of copies in earlier rounds.
func (v *eviction) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.spared, v.failed = nil, nil
}

// takeFailed is why a copy has not gone since the last call that might have.
func (v *eviction) takeFailed() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	err := v.failed
	v.failed = nil
	return err
}

// A rest is the hosts that are not asked for a while.
type rest struct {
	mu    sync.Mutex
	hosts map[string]resting
}

type resting struct {
	until time.Time
	busy  bool // it answers, and wants to be asked later
}

// is reports whether a host is not asked now, and whether that is since it is busy.
func (r *rest) is(host string, now time.Time) (rests, busy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.hosts[host]
	if ok && !now.Before(at.until) {
		delete(r.hosts, host)
		return false, false
	}
	return ok, at.busy
}

func (r *rest) begin(host string, until time.Time, busy bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hosts[host] = resting{until, busy}
}
