package gateway

import (
	"context"
	"errors"
	"sync"
	"time"
)

// answers keeps what names lead to, has one question for each name asked at a time,
// and not too many in all. It starts no goroutine: who asks first asks for the others,
// too.
type answers[V any] struct {
	mu    sync.Mutex
	known map[string]known[V]
	asked map[string]*question[V]
	turns chan struct{}
	now   func() time.Time
}

// A known answer is one that came.
type known[V any] struct {
	value V
	err   error     // nil or one that wraps ErrNoName
	ttl   bool      // it says itself how long it is good
	until time.Time // it is kept
}

// A question is under way.
type question[V any] struct {
	done   chan struct{}
	answer known[V]
	gone   bool // who has asked has left: there is no answer
}

func newAnswers[V any]() *answers[V] {
	return &answers[V]{
		known: make(map[string]known[V]), asked: make(map[string]*question[V]), turns: make(chan struct{}, maxAtOnce), now: time.Now,
	}
}

// get returns what name leads to, and for how long that is good: 0 if it does not say.
// ask is told what was known before, if anything was.
func (a *answers[V]) get(
	ctx context.Context, name string, timeout time.Duration, ask func(ctx context.Context, before V) (V, time.Duration, error),
) (value V, ttl time.Duration, err error) {
	for {
		a.mu.Lock()
		k, ok := a.known[name]
		if now := a.now(); ok && now.Before(k.until) {
			a.mu.Unlock()
			return k.result(now)
		}
		q := a.asked[name]
		if q == nil {
			q = &question[V]{done: make(chan struct{})}
			a.asked[name] = q
			a.mu.Unlock()
			a.put(ctx, name, q, k.value, timeout, ask)
			return q.answer.result(a.now())
		}
		a.mu.Unlock()
		select {
		case <-q.done:
		case <-ctx.Done():
			return value, 0, context.Cause(ctx)
		}
		if !q.gone {
			return q.answer.result(a.now())
		}
	}
}

// put asks, and keeps the answer unless it is an error.
func (a *answers[V]) put(
	ctx context.Context, name string, q *question[V], before V, timeout time.Duration, ask func(ctx context.Context, before V) (V, time.Duration, error),
) {
	k := known[V]{err: errAskerFailed}
	defer func() { // also if ask panics
		q.answer, q.gone = k, ctx.Err() != nil && k.err != nil && !errors.Is(k.err, ErrNoName)
		a.mu.Lock()
		delete(a.asked, name)
		if k.err == nil || errors.Is(k.err, ErrNoName) {
			a.keep(name, k)
		}
		a.mu.Unlock()
		close(q.done)
	}()
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case a.turns <- struct{}{}:
		defer func() { <-a.turns }()
	case <-limited.Done():
		k.err = context.Cause(limited)
		return
	}
	var ttl time.Duration
	k.value, ttl, k.err = ask(limited, before)
	k.ttl = ttl > 0
	if k.err != nil {
		ttl = absence
	}
	k.until = a.now().Add(min(max(ttl, shortest), longest))
}

var errAskerFailed = errors.New("gateway: the name was not resolved")

// keep makes room for an answer: what is not good any more goes first, and then
// whatever comes.
func (a *answers[V]) keep(name string, k known[V]) {
	if _, ok := a.known[name]; !ok && len(a.known) >= maxAnswers {
		now := a.now()
		for old, k := range a.known {
			if !now.Before(k.until) {
				delete(a.known, old)
			}
		}
		for old := range a.known {
			if len(a.known) < maxAnswers {
				break
			}
			delete(a.known, old)
		}
	}
	a.known[name] = k
}

func (k *known[V]) result(now time.Time) (V, time.Duration, error) {
	if k.err != nil || !k.ttl {
		return k.value, 0, k.err
	}
	return k.value, max(k.until.Sub(now), time.Second), nil
}
