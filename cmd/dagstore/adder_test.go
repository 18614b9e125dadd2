package main

import (
	"context"
	"errors"
	"io"
	"iter"
	"testing"

	"github.com/dagstore/dagstore/mount"
)

// A slow source answers when nobody waits for it any more.
type slow struct{ asked chan<- struct{} }

func (slow) URL() string { return "slow://" }

func (s slow) Stat(ctx context.Context) (mount.Stat, error) {
	s.asked <- struct{}{}
	<-ctx.Done()
	return mount.Stat{}, ctx.Err()
}

func (slow) Open(context.Context) (io.ReadCloser, error) { return nil, errors.New("nobody opens it") }

// TestFailFastCountsAll: whatever is under way at the first failure, each item
// is in just one of the counts, and nobody waits for a silent pipe.
func TestFailFastCountsAll(t *testing.T) {
	const width = 8
	for i := range 200 {
		others := i % 2 * 100 // without them the pipe is what is waited for
		asked := make(chan struct{})
		items := func(yield func(item) bool) {
			for range 2 {
				if !yield(item{key: "slow", mount: slow{asked}}) {
					return
				}
				<-asked
			}
			for range 1 + others {
				if !yield(item{key: "bad", err: errors.New("bad")}) {
					return
				}
			}
		}
		silent := make(chan struct{})
		var piped iter.Seq[item] = func(func(item) bool) { <-silent }
		reported := 0
		ad := &adder{
			opts:   addOptions{jobs: width / 4, failFast: true},
			report: func(outcome) { reported++ },
		}
		if ad.width() != width {
			t.Fatalf("%d items at once, want %d", ad.width(), width)
		}
		got, err := ad.run(t.Context(), items, piped)
		if !errors.Is(err, errStopped) {
			t.Fatal(err)
		}
		if sum := got.done + got.failed + got.cutOff + got.untried; sum != 3+others {
			t.Fatalf("%+v: %d items, want %d", got, sum, 3+others)
		}
		if got.failed != 1 || reported != 1 || got.cutOff < 2 || got.cutOff > width || !got.piped {
			t.Fatalf("%+v, %d reported", got, reported)
		}
		close(silent)
	}
}
