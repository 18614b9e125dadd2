package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/layers"
	"github.com/dagstore/dagstore/shard"
)

const (
	intakeRecords = 1024     // of one batch, at most
	intakeBytes   = 64 << 10 // of its multihashes, about
	intakeBatches = 3        // being filled, waiting, being taken in

	// keysPart is the part of a builder's memory that is for the keys of the
	// inverted index: 8 bytes of a record, beside some 45 for the shard's index.
	keysPart = 5
)

// An intake takes in what is found in one CAR, for the index of the shard and
// for the inverted index. Many records are taken in by a goroutine beside the
// one that reads, which ends with end or close. An intake is for one goroutine.
type intake struct {
	ctx   context.Context //nolint:containedctx // of the one indexing
	index *index.Builder
	keys  *layers.Keys
	log   *slog.Logger

	hashers int // goroutines that hash what is read

	batch       *intakeBatch
	full, empty chan *intakeBatch // nil: no goroutine was begun
	failed      chan struct{}     // closed once err is set
	done        chan struct{}     // closed when the goroutine has ended
	err         error
	ended       bool
}

// An intakeBatch is records whose multihashes stand one after the other.
type intakeBatch struct {
	records []intakeRecord
	hashes  []byte
}

type intakeRecord struct {
	index.Position
	hash int // bytes of the multihash
}

// newIntake returns an intake that takes about memory bytes. It is to be closed.
func (e *Engine) newIntake(ctx context.Context, memory int64) *intake {
	return &intake{
		ctx: ctx,
		index: index.NewBuilder(&index.WriteOptions{
			Memory: memory - memory/keysPart,
			Spill:  e.cfg.Spill,
			Stop:   func() error { return context.Cause(ctx) },
		}),
		keys:  e.inverted.NewKeys(memory / keysPart),
		log:   e.cfg.Log,
		batch: &intakeBatch{},
	}
}

// Add takes one record, and keeps nothing of mh. The error may be that of a
// record before.
func (in *intake) Add(mh multihash.Multihash, pos index.Position) error {
	b := in.batch
	b.records = append(b.records, intakeRecord{pos, len(mh)})
	b.hashes = append(b.hashes, mh...)
	if len(b.records) < intakeRecords && len(b.hashes) < intakeBytes {
		return nil
	}
	return in.pass()
}

// pass hands the batch on, which is full, and begins another.
func (in *intake) pass() error {
	if in.full == nil {
		in.begin()
	}
	select {
	case in.full <- in.batch:
	case <-in.failed:
		return in.err
	}
	select {
	case in.batch = <-in.empty:
		return nil
	case <-in.failed:
		return in.err
	}
}

func (in *intake) begin() {
	in.full = make(chan *intakeBatch, intakeBatches)
	in.empty = make(chan *intakeBatch, intakeBatches)
	in.failed, in.done = make(chan struct{}), make(chan struct{})
	for range intakeBatches - 1 {
		in.empty <- &intakeBatch{}
	}
	go func() {
		defer close(in.done)
		for b := range in.full {
			if err := in.take(b); err != nil {
				in.err = err
				close(in.failed)
				return
			}
			in.empty <- b // there is room for all
		}
	}()
}

// take works the records of b into the index and the keys, and empties it.
func (in *intake) take(b *intakeBatch) (err error) {
	defer caught(in.log, &err)
	if in.ctx.Err() != nil {
		return context.Cause(in.ctx)
	}
	at := 0
	for i := range b.records {
		r := &b.records[i]
		mh := multihash.Multihash(b.hashes[at : at+r.hash])
		at += r.hash
		if err := in.index.Add(mh, r.Position); errors.Is(err, index.ErrRecord) {
			return fmt.Errorf("%w: %w", shard.ErrIndex, err)
		} else if err != nil {
			return err
		}
		if err := in.keys.Add(in.ctx, mh); err != nil {
			return err
		}
	}
	b.records, b.hashes = b.records[:0], b.hashes[:0]
	return nil
}

// end returns when all that was added is taken in.
func (in *intake) end() error {
	if in.full == nil {
		return in.take(in.batch)
	}
	err := in.pass()
	in.stop()
	if err == nil {
		err = in.err
	}
	return err
}

// stop waits for the goroutine.
func (in *intake) stop() {
	if in.full != nil && !in.ended {
		in.ended = true
		close(in.full)
		<-in.done
	}
}

// close ends the goroutine and removes what was spilled, if that can be done.
func (in *intake) close() {
	in.stop()
	_ = errors.Join(in.index.Close(), in.keys.Close())
}

// caught makes a panic on a goroutine that works for an indexing its error.
func caught(log *slog.Logger, err *error) {
	if p := recover(); p != nil {
		log.Error("indexing panicked", "panic", p, "stack", string(debug.Stack()))
		*err = fmt.Errorf("%w: panic: %v", shard.ErrIndex, p)
	}
}
