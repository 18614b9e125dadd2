package catalog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dagstore/dagstore/internal/vfs"
)

// Config says where an embedded catalogue lies and how it works.
type Config struct {
	FS     vfs.FS       // default: the machine's
	Dir    string       // the folder; it is made if it is missing, and locked
	Cache  int64        // bytes for blocks of tables; default 64 MiB
	Table  int64        // bytes of a full table in memory, of which there are a few; default 16 MiB
	Logger *slog.Logger // default: discards
}

// Embedded is a [Catalog] in a folder of this machine, in Pebble. A process
// has it open alone.
//
// One batch is committed at a time. Readers see the last state that was
// acknowledged, so that nobody believes what a failing disk has refused.
type Embedded struct {
	db      *pebble.DB
	fence   *fence
	compact *scheduler
	lock    io.Closer
	log     *slog.Logger
	meta    Meta

	turn   chan struct{}       // held by whoever commits, and guards what follows
	seq    uint64              // the next number of an intent
	next   uint64              // the next number for Reserve
	seen   int64               // rotations when the room was last looked at
	full   bool                // there was no room then
	wedged bool                // Pebble panicked while committing and cannot be closed
	staged map[string]struct{} // keys of the batch at hand
	value  []byte              // scratch
	listed bool                // there may be manifests

	memory    uint64        // bytes of tables in memory above which commits wait
	rotations atomic.Int64  // of the log
	progress  chan struct{} // told when Pebble has flushed or compacted

	mu     sync.RWMutex
	view   *view
	closed bool
	users  sync.WaitGroup // readers

	closing  sync.Once
	done     chan struct{}
	closeErr error // once done is closed
}

// A view is the last state that was acknowledged. It is closed with the last
// reader that holds it.
type view struct {
	snap *pebble.Snapshot
	refs atomic.Int64
}

func newView(db *pebble.DB) *view {
	v := &view{snap: db.NewSnapshot()}
	v.refs.Store(1)
	return v
}

func (v *view) release() error {
	if v.refs.Add(-1) > 0 {
		return nil
	}
	return v.snap.Close()
}

// acquire returns the last state that was acknowledged; give it to done.
func (e *Embedded) acquire() (*view, error) {
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return nil, ErrClosed
	}
	e.users.Add(1)
	e.view.refs.Add(1)
	return e.view, nil
}

func (e *Embedded) release(v *view) error {
	defer e.users.Done()
	return v.release()
}

// advance makes readers see what was committed.
func (e *Embedded) advance() error {
	v := newView(e.db)
	e.mu.Lock()
	v, e.view = e.view, v
	e.mu.Unlock()
	return v.release()
}

// Meta implements [Catalog].
func (e *Embedded) Meta() Meta { return e.meta }

// Close implements [Catalog]. A second Close waits for the first. If ctx ends
// first, closing goes on and the folder stays locked until it is done.
func (e *Embedded) Close(ctx context.Context) error {
	e.closing.Do(func() { go e.shutdown() })
	select {
	case <-e.done:
		return e.closeErr
	case <-ctx.Done():
		return fmt.Errorf("catalog: still closing: %w", ctx.Err())
	}
}

func (e *Embedded) shutdown() {
	defer close(e.done)
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.fence.release()
	e.turn <- struct{}{} // kept: nobody commits any more
	e.users.Wait()
	var err error
	if e.wedged {
		// Pebble holds locks that its Close would wait for, for ever, and so
		// would that of a snapshot. Nothing can be lost: what was acknowledged
		// is synced.
		err = fmt.Errorf("%w: cannot be closed", ErrBroken)
	} else {
		err = errors.Join(e.view.release(), e.db.Close())
	}
	if cause := e.fence.cause(); cause != nil && err != nil {
		// What Pebble says of its own bookkeeping behind a broken fence is of
		// no use to anybody.
		e.log.Debug("closing a broken catalogue", "err", err)
		err = nil
	}
	e.closeErr = errors.Join(err, e.lock.Close())
}

// begin takes the turn to commit, unless the catalogue is closed or broken.
func (e *Embedded) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case e.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-e.fence.closing:
		return ErrClosed
	}
	err := e.usable()
	if err == nil {
		err = e.room(ctx)
	}
	if err != nil {
		e.end()
	}
	return err
}

func (e *Embedded) end() { <-e.turn }

func (e *Embedded) usable() error {
	if cause := e.fence.cause(); cause != nil {
		return broken(cause)
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	if e.closed {
		return ErrClosed
	}
	return nil
}

func broken(cause error) error {
	if errors.Is(cause, ErrBroken) {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrBroken, cause)
}

// commit makes a batch durable and seen.
func (e *Embedded) commit(batch *pebble.Batch) error {
	err := e.write(batch)
	if err != nil {
		e.fence.breakWith(err)
	}
	if cause := e.fence.cause(); cause != nil {
		return broken(cause)
	}
	return e.advance()
}

// write returns what Pebble says. The fence keeps from it what it panics
// about; should it still panic, its locks stay held.
func (e *Embedded) write(batch *pebble.Batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e.wedged = true
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	if err := e.db.Apply(batch, pebble.Sync); err != nil {
		return err
	}
	// A batch that was refused must not be used again by Pebble; one that was
	// not may.
	return batch.Close()
}

// pebbleLog hands Pebble's words to our logger, and never exits the process.
type pebbleLog struct {
	log   *slog.Logger
	fence *fence
}

// plain turns errors into their text: Pebble's own print a stack of many
// kilobytes where the format asks for detail.
func plain(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		if err, ok := a.(error); ok {
			a = err.Error()
		}
		out[i] = a
	}
	return out
}

func (l pebbleLog) Infof(format string, args ...any) {
	l.log.Debug("pebble: " + fmt.Sprintf(format, plain(args)...)) //nolint:sloglint // the words are Pebble's
}

func (l pebbleLog) Errorf(format string, args ...any) {
	l.log.Error("pebble: " + fmt.Sprintf(format, plain(args)...)) //nolint:sloglint // the words are Pebble's
}

// Fatalf returns. Where Pebble calls it, it expects the process to be gone and
// stumbles on; the fence sees to it that this does no harm.
func (l pebbleLog) Fatalf(format string, args ...any) {
	err := fmt.Errorf("pebble: "+format, plain(args)...)
	l.log.Error("catalogue is broken", "err", err.Error())
	l.fence.breakWith(err)
}
