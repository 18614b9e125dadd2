package admin

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// each carries something out for many shards, some of them at once, and tells
// how each went. What fails ends nothing, but the end of ctx does.
func (s *Server) each(
	ctx context.Context, width int, shards iter.Seq2[shard.Info, error], told *Progress,
	do func(context.Context, shard.Info, *Progress) (wire.Result, error),
) error {
	if width < 1 || width > 64 {
		width = usualWidth
	}
	var (
		workers sync.WaitGroup
		queue   = make(chan shard.Info)
		mu      sync.Mutex
		t       wire.Tally
		failure error
	)
	finish := func(r wire.Result, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil && ctx.Err() != nil {
			return // cut off
		}
		if err != nil {
			p := wire.ProblemOf(err)
			r.Problem = &p
			t.Failed++
		} else {
			t.Done++
		}
		failure = errors.Join(failure, told.Result(r))
	}
	for range width {
		workers.Go(func() {
			for info := range queue {
				finish(do(ctx, info, told))
			}
		})
	}
	var stopped error
	for info, err := range shards {
		if about, ok := errors.AsType[*shard.Error](err); ok {
			finish(wire.Result{Name: string(about.Key), Key: string(about.Key), Size: -1}, err)
			continue
		} else if err != nil {
			stopped = err
			break
		}
		told.Expect(1, max(info.Bytes, 0))
		select {
		case queue <- info:
			continue
		case <-ctx.Done():
			stopped = ctx.Err()
		}
		break
	}
	close(queue)
	workers.Wait()
	told.Summary(t)
	return errors.Join(stopped, failure, ctx.Err())
}

// choose yields the shards that a job is about.
func (s *Server) choose(ctx context.Context, sel *selected) iter.Seq2[shard.Info, error] {
	if len(sel.Keys) == 0 {
		ready, err := wire.StatesOf("ready")
		if err != nil {
			return func(yield func(shard.Info, error) bool) { yield(shard.Info{}, err) }
		}
		return s.store.Shards(ctx, &dagstore.Filter{Prefix: sel.Prefix, States: ready})
	}
	return func(yield func(shard.Info, error) bool) {
		for _, key := range sel.Keys {
			if !yield(s.store.Info(ctx, shard.Key(key))) {
				return
			}
		}
	}
}

// failed yields the failed shards that are meant.
func (s *Server) failed(ctx context.Context, again *wire.RecoverJob) iter.Seq2[shard.Info, error] {
	return func(yield func(shard.Info, error) bool) {
		states := []shard.State{shard.Errored, shard.Draining}
		for info, err := range s.store.Shards(ctx, &dagstore.Filter{Prefix: again.Prefix, States: states}) {
			if err == nil && (again.Match != "" && !Matches(again.Match, info.Key) || again.Host != "" && !LiesOn(again.Host, info.URL)) {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

// selected is which shards a job is about.
type selected = wire.SelectJob

// whatOf says for people which shards are meant.
func whatOf(sel *selected) string {
	switch {
	case len(sel.Keys) == 1:
		return cut(sel.Keys[0])
	case len(sel.Keys) > 1:
		return "some shards"
	case sel.Prefix != "":
		return cut("all below " + sel.Prefix)
	}
	return "all shards"
}
