package copies

import (
	"errors"
	"time"

	"github.com/dagstore/dagstore/internal/vfs"
)

// What was fetched of a copy that did not become complete is kept, if its source
// has a version: whoever fetches the same version for the same shard goes on with
// it. It counts against the quota and is the first to go. No record names it: it
// says itself what it is of. See [Fill.Keep] and [Keeper.Resume].

const (
	// leastRemnant is how many bytes are worth being kept.
	leastRemnant = 1 << 20

	// remnantAge is how long they are.
	remnantAge = 7 * 24 * time.Hour
)

// Remnant reports how many bytes there are of a copy of size bytes of o, and how much
// space it takes to go on with them. Who asks is about to go on: until it does, other
// copies go first.
func (k *Keeper) Remnant(o Origin, size int64) (have, need int64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.remnantOf(o, size)
	if e == nil {
		return 0, size
	}
	e.rest.wanted = true
	return e.rest.known, max(0, charged(size)+block-e.charge)
}

// remnantOf is the remnant of a copy of size bytes of o. The lock is held.
func (k *Keeper) remnantOf(o Origin, size int64) *entry {
	e := k.remnants[o.Key]
	if e == nil || !o.resumable(size) || e.rest.size != size || e.rest.source != o.source() {
		return nil
	}
	return e
}

// Resume goes on with what there is of a copy of size bytes of o, in the space s
// besides what that has, which is the fill's from then on. It returns nil and no
// error if there is nothing, or not in that space. Unless it returns a fill, s is
// given back.
func (k *Keeper) Resume(o Origin, size int64, s *Space) (*Fill, error) {
	k.mu.Lock()
	e := k.remnantOf(o, size)
	if e == nil || charged(size)+block > e.charge+s.bytes {
		k.mu.Unlock()
		s.Give()
		return nil, nil //nolint:nilnil // there is none, and nothing wrong
	}
	p := *e.rest
	delete(k.remnants, o.Key)
	k.used -= s.bytes
	k.change(e, func() {
		e.state, e.rest = filling, nil
		e.charge += s.bytes
	})
	s.bytes = 0
	k.mu.Unlock()
	w, err := vfs.Reopen(k.cfg.FS, k.path(e.id, partialName), k.path(e.id, dataName), p.known)
	if err != nil {
		return nil, errors.Join(err, k.Remove(e.id))
	}
	f := &Fill{k: k, e: e, size: size, room: charged(size), w: w, written: p.known, extent: w.Length(), origin: o}
	f.behind = behind{step: k.step, asked: p.known, notedAt: k.cfg.Now(), progress: &progress{k: k, e: e, of: p, made: true}}
	return f, nil
}

// Keep ends a fill that did not come to its end, and keeps what it has written for
// [Keeper.Resume]. Where that cannot be gone on with, is not worth it or has no space, it
// is a Drop. It syncs the file.
func (f *Fill) Keep() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dropped {
		return nil
	}
	ended := f.behind.end()
	if f.committed || ended != nil || f.failed || !f.origin.resumable(f.size) || f.written < f.k.cfg.Least || f.written == f.size {
		return f.drop()
	}
	p := f.behind.progress
	err := p.last(f.w, f.written, f.extent)
	switch {
	case errors.Is(err, ErrCrowded):
		return f.drop()
	case err != nil:
		return errors.Join(err, f.drop())
	}
	f.dropped = true
	if err := f.w.Leave(); err != nil {
		return errors.Join(err, f.k.Remove(f.e.id))
	}
	return f.k.keepRemnant(f.e, &p.of, charged(f.extent)+block)
}

// keepRemnant makes e a remnant. Of two for the same shard the newer one stays.
func (k *Keeper) keepRemnant(e *entry, p *remnant, charge int64) error {
	k.mu.Lock()
	old := k.remnants[p.key]
	if old != nil {
		k.leave(old)
	}
	p.wanted = false
	k.change(e, func() { e.state, e.rest, e.charge = partly, p, charge })
	k.remnants[p.key] = e
	k.unlock(true)
	if old != nil {
		return k.Remove(old.id)
	}
	return nil
}

// DropRemnant gives up what there is of a copy for the shard key, unless it is of a
// copy of size bytes of o, and returns its number: its files are to be removed. 0
// says that there is nothing.
func (k *Keeper) DropRemnant(key string, o Origin, size int64) uint32 {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.remnants[key]
	if e == nil || key == o.Key && k.remnantOf(o, size) == e {
		return 0
	}
	k.leave(e)
	return e.id
}

// OldRemnants gives up the remnants that nobody went on with for a week, and returns
// their numbers: their files are to be removed.
func (k *Keeper) OldRemnants() (ids []uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.remnants) == 0 {
		return nil
	}
	now := k.cfg.Now()
	for _, e := range k.remnants {
		if e.rest.old(now) {
			k.leave(e)
			ids = append(ids, e.id)
		}
	}
	return ids
}

func (p *remnant) old(now time.Time) bool { return now.Sub(p.at) > remnantAge }

// RemnantKeys returns the keys of the shards for which there are remnants.
func (k *Keeper) RemnantKeys() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	keys := make([]string, 0, len(k.remnants))
	for key := range k.remnants {
		keys = append(keys, key)
	}
	return keys
}

// Yield removes remnants, oldest first, as long as something has to go, and returns
// how many. Those that somebody is about to go on with stay, unless all is set.
func (k *Keeper) Yield(all bool) (n int, err error) {
	for {
		k.mu.Lock()
		var oldest *entry
		if k.goal() > 0 {
			for _, e := range k.remnants {
				if (all || !e.rest.wanted) && (oldest == nil || e.rest.at.Before(oldest.rest.at)) {
					oldest = e
				}
			}
		}
		if oldest != nil {
			k.leave(oldest)
		}
		k.mu.Unlock()
		if oldest == nil {
			return n, err
		}
		if rerr := k.Remove(oldest.id); rerr != nil {
			err = errors.Join(err, rerr)
			continue
		}
		n++
	}
}
