package copies

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/shard"
)

// errDropped is what a fill gets that somebody else has dropped.
var errDropped = errors.New("copies: it was dropped")

// How much more space a fill asks for, of which nobody knows how long it will be.
const (
	firstGrowth = 1 << 20
	mostGrowth  = 64 << 20
)

// FirstSpace is for how many bytes space is asked for a copy of which nobody
// knows how long it will be.
const FirstSpace = firstGrowth

// A Fill writes one copy. It is written by one goroutine; [Fill.Drop] may be
// called by any other meanwhile.
type Fill struct {
	k      *Keeper
	e      *entry
	origin Origin
	size   int64 // that it is to have; -1: nobody knows
	room   int64 // the writer's: bytes that it may write

	mu        sync.Mutex
	w         *vfs.Writer
	written   int64
	extent    int64 // of the file, in which something may be left of before
	behind    behind
	failed    bool // to write: what the file has is not what came
	committed bool
	dropped   bool
}

// Begin begins the copy id of o, which is to have size bytes (-1: nobody knows), in
// the space s, which is the fill's from then on. Whatever the error, s is given
// back.
func (k *Keeper) Begin(id uint32, o Origin, size int64, s *Space) (*Fill, error) {
	if size > s.bytes {
		s.Give()
		return nil, fmt.Errorf("copies: %d bytes are to be written into %d", size, s.bytes)
	}
	k.mu.Lock()
	room := s.bytes
	e := &entry{id: id}
	k.entries[id] = e
	k.used -= s.bytes // it is that of e from now on
	k.change(e, func() { e.charge = s.bytes })
	s.bytes = 0
	k.mu.Unlock()
	err := vfs.MkdirAll(k.cfg.FS, k.folder(id))
	f := &Fill{k: k, e: e, origin: o, size: size, room: room}
	f.behind.step = k.step
	if o.resumable(size) {
		p := remnant{key: o.Key, source: o.source(), size: size}
		f.behind.notedAt, f.behind.progress = k.cfg.Now(), &progress{k: k, e: e, of: p}
	}
	if err == nil {
		f.w, err = vfs.Create(k.cfg.FS, k.path(id, partialName), k.path(id, dataName))
	}
	if err != nil {
		return nil, errors.Join(err, k.Remove(id))
	}
	return f, nil
}

// ID returns the number of the copy.
func (f *Fill) ID() uint32 { return f.e.id }

// Size returns how many bytes were written.
func (f *Fill) Size() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.written
}

// Write appends p. For a copy of which nobody knows how long it will be it may
// wait, under ctx, until other copies have gone. It gives [ErrCrowded] if none
// can go, an error that wraps [shard.ErrQuota] if that cannot help, and one that
// wraps [shard.ErrSource] if there is more to write than there should be.
func (f *Fill) Write(ctx context.Context, p []byte) error {
	err := f.write(ctx, p)
	if err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.failed = true
	}
	return err
}

func (f *Fill) write(ctx context.Context, p []byte) error {
	if f.size >= 0 && int64(len(p)) > f.size-f.written {
		return fmt.Errorf("%w: it is longer than %d bytes", shard.ErrSource, f.size)
	}
	if need := charged(f.written+int64(len(p))) - f.room; need > 0 {
		if err := f.grow(ctx, need); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dropped {
		return errDropped
	}
	n, err := f.w.Write(p)
	f.written += int64(n)
	f.extent = max(f.extent, f.written)
	if err == nil {
		err = f.behind.wrote(f.w, f.written)
	}
	return err
}

// ReadAt reads what was written, of this fill or of that with which it goes on.
func (f *Fill) ReadAt(p []byte, off int64) (int, error) { return f.w.ReadAt(p, off) }

// grow gets room for need more bytes, and for more than that if there is any: it
// may be nearly at its end.
func (f *Fill) grow(ctx context.Context, need int64) error {
	more := max(need, charged(min(max(f.room, firstGrowth), mostGrowth)))
	err := f.k.grow(ctx, f.e, more)
	if more > need && (errors.Is(err, shard.ErrQuota) || errors.Is(err, ErrCrowded)) {
		more = need
		err = f.k.grow(ctx, f.e, more)
	}
	if err == nil {
		f.room += more
	}
	return err
}

// Commit makes the copy complete and durable, and gives back the space that it
// did not need. A copy of which it is known how long it is must be of that
// length; if it is not the error wraps [shard.ErrSource]. After an error, the
// copy is to be dropped.
func (f *Fill) Commit() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.dropped:
		return errDropped
	case f.size >= 0 && f.written != f.size:
		return fmt.Errorf("%w: it ends after %d of %d bytes", shard.ErrSource, f.written, f.size)
	}
	if err := f.behind.end(); err != nil {
		return err
	}
	if p := f.behind.progress; p != nil && p.made {
		if err := errors.Join(f.w.Sync(), p.remove()); err != nil {
			return err
		}
	}
	if err := f.w.Commit(); err != nil {
		return err
	}
	f.committed = true
	f.k.mu.Lock()
	f.k.change(f.e, func() { f.e.state, f.e.charge = whole, charged(f.written) })
	f.k.unlock(true)
	return nil
}

// Drop removes what was written, complete or not, and gives back the space. A
// second Drop does nothing. It must not be called once a record may name the
// copy. What cannot be removed goes on counting, see [Keeper.Remove].
func (f *Fill) Drop() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dropped {
		return nil
	}
	return f.drop()
}

// drop is Drop. The lock is held.
func (f *Fill) drop() error {
	f.dropped = true
	_ = f.behind.end() // nothing of it is going to be believed
	var err error
	if !f.committed {
		if err = f.w.Abort(); errors.Is(err, fs.ErrClosed) {
			err = nil // a commit has failed
		}
	}
	return errors.Join(err, f.k.Remove(f.e.id))
}
