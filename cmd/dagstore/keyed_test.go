package main

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"testing"

	"github.com/dagstore/dagstore/internal/admin/client"
	"github.com/dagstore/dagstore/shard"
)

// TestCutOffMayBeDone: what was under way when the process that held the store was
// found to have ended may have been done by it, also where it was not that which
// found out. What was not begun is not looked at.
func TestCutOffMayBeDone(t *testing.T) {
	begun := make(chan struct{})
	e := eachShard{
		jobs: 2,
		do: func(ctx context.Context, info shard.Info) error {
			if info.Key == "cut off" {
				close(begun)
				<-ctx.Done()
				return ctx.Err()
			}
			<-begun
			return client.ErrGone
		},
		told: func(info shard.Info, err error) error {
			t.Errorf("%s is told of: %v", info.Key, err)
			return nil
		},
	}
	err := e.run(t.Context(), func(yield func(shard.Info, error) bool) {
		_ = yield(shard.Info{Key: "finds out"}, nil) && yield(shard.Info{Key: "cut off"}, nil) &&
			yield(shard.Info{}, &shard.Error{Key: "not listed", Err: shard.ErrUnknown})
	})
	if _, again := errors.AsType[*againError](err); !again {
		t.Errorf("it ends with %v", err)
	}
	var unsure []shard.Key
	for _, info := range e.unsure {
		unsure = append(unsure, info.Key)
	}
	if slices.Sort(unsure); !slices.Equal(unsure, []shard.Key{"cut off", "finds out"}) {
		t.Errorf("may have been done: %q", unsure)
	}
	if e.t.done+e.t.failed != 0 {
		t.Errorf("counted: %+v", e.t)
	}
}

// TestManyThatFail: many at once may fail, and each is counted once, while others are
// listed.
func TestManyThatFail(t *testing.T) {
	const n = 1000
	told := 0
	e := eachShard{
		jobs: 8,
		do:   func(context.Context, shard.Info) error { return shard.ErrCAR },
		told: func(shard.Info, error) error { told++; return nil },
	}
	err := e.run(t.Context(), func(yield func(shard.Info, error) bool) {
		for i := range n {
			if !yield(shard.Info{Key: shard.Key(strconv.Itoa(i))}, nil) {
				return
			}
		}
	})
	if err != nil || told != n || e.t.failed != n {
		t.Errorf("%d are told of, %d failed, %v", told, e.t.failed, err)
	}
}
