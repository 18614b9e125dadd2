package main

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/dagstore/dagstore/shard"
)

// eachKey carries out do for each key, one after the other, and tells of those
// that failed.
func (a *app) eachKey(ctx context.Context, keys []string, do func(shard.Key) error) error {
	var t tally
	for _, key := range keys {
		err := shard.Key(key).Validate()
		if err == nil {
			err = do(shard.Key(key))
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			a.notef("%s: %v", showKey(shard.Key(key)), err)
		}
		t.add(err)
	}
	return t.err()
}

// eachShard carries something out for many shards at once.
type eachShard struct {
	jobs int
	do   func(context.Context, shard.Info) error
	told func(shard.Info, error) error // called one at a time; its error ends all
}

// A chosen is one shard of a listing, or why it cannot be listed.
type chosen struct {
	info shard.Info
	err  error
}

// run carries it out for all that shards yields, and returns how it went. A
// record that cannot be read is one failure; another error of shards ends it.
func (e eachShard) run(parent context.Context, shards iter.Seq2[shard.Info, error]) (t tally, err error) {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	var (
		workers sync.WaitGroup
		mu      sync.Mutex
		queue   = make(chan chosen)
	)
	for range e.jobs {
		workers.Go(func() {
			for c := range queue {
				if c.err == nil {
					c.err = e.do(ctx, c.info)
				}
				mu.Lock()
				if ctx.Err() == nil {
					t.add(c.err)
					if err := e.told(c.info, c.err); err != nil {
						stop(err)
					}
				}
				mu.Unlock()
			}
		})
	}
	feed(ctx, stop, shards, queue)
	close(queue)
	workers.Wait()
	return t, context.Cause(ctx)
}

// feed hands over what shards yields, until ctx ends.
func feed(ctx context.Context, stop context.CancelCauseFunc, shards iter.Seq2[shard.Info, error], queue chan<- chosen) {
	for info, err := range shards {
		if one, ok := errors.AsType[*shard.Error](err); ok {
			info.Key = one.Key
		} else if err != nil {
			stop(err)
			return
		}
		select {
		case queue <- chosen{info, err}:
		case <-ctx.Done():
			return
		}
	}
}
