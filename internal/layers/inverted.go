package layers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/dchest/siphash"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
)

// An Inverted is the inverted index of one store: an [index.Inverted] with
// what the engine needs beside. All methods may be called at once from many
// goroutines; Find, Candidates and Drop wait for no I/O but their own.
type Inverted struct {
	cfg      Config
	k0, k1   uint64
	keyCheck uint32

	view    atomic.Pointer[view] // nil once closed
	visited atomic.Bool          // somebody has looked up or added since a merge has looked

	// gate is held for reading while keys go into the active table and for
	// writing while that is frozen, so that no shard is split over two.
	gate sync.RWMutex

	mu       sync.Mutex          // guards the rest, and who replaces view; never held over I/O
	adding   map[index.ID]int    // Adds under way: such an id is not forgotten
	using    map[uint32]struct{} // layers whose files are written, open, or to be removed
	room     roomTaken           // by all tables in memory
	trash    []*layer            // no view holds them: to be closed and maybe removed
	failedAt time.Time           // when the last flush failed; zero after one that did not
	addedAt  time.Time           // when something was added last, or the index was opened
	closed   bool                // and nobody sweeps any more

	flushing, merging, large semaphore
}

var _ index.Inverted = (*Inverted)(nil)

// roomTaken counts what tables in memory hold or have reserved.
type roomTaken struct{ entries, shards int }

// A semaphore is a lock that can be waited for under a context.
type semaphore chan struct{}

func (s semaphore) lock(ctx context.Context) error {
	select {
	case s <- struct{}{}:
		return nil
	default:
	}
	select {
	case s <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s semaphore) unlock() { <-s }

// Open opens the layers that the catalogue lists, and leaves out the dead ids.
// It reads a few pages of each.
//
// What is wrong with layers is reported for all of them at once, each as an
// [Error] to be found with [errors.As]. To go on without one, the caller takes
// it off the list and adds the shards with ids from its First to its Last again.
func Open(ctx context.Context, cfg Config, list []Layer, dead []index.ID) (*Inverted, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	inv := &Inverted{
		cfg:      cfg,
		k0:       binary.LittleEndian.Uint64(cfg.Key[:8]),
		k1:       binary.LittleEndian.Uint64(cfg.Key[8:]),
		adding:   make(map[index.ID]int),
		using:    make(map[uint32]struct{}),
		flushing: make(semaphore, 1),
		merging:  make(semaphore, 1),
		large:    make(semaphore, 1),
		addedAt:  cfg.Now(),
	}
	inv.keyCheck = uint32(siphash.Hash(inv.k0, inv.k1, []byte(magic)))
	opened, err := inv.openLayers(ctx, list)
	if err != nil {
		return nil, err
	}
	bitmap := roaring.New()
	bitmap.SetCopyOnWrite(true)
	for _, id := range dead {
		bitmap.Add(uint32(id))
	}
	inv.view.Store(inv.newView(inv.newTable(nil), nil, opened, bitmap))
	return inv, nil
}

// keyOf is the key under which mh is found.
func (inv *Inverted) keyOf(mh multihash.Multihash) uint64 { return siphash.Hash(inv.k0, inv.k1, mh) }

func (inv *Inverted) openLayers(ctx context.Context, list []Layer) ([]*layer, error) {
	var opened []*layer
	var errs []error
	for _, want := range list {
		l, err := openLayer(ctx, inv.cfg.Files, want.N, inv.keyCheck)
		if err == nil && l.Layer != want {
			err = &Error{OpOpen, want.N, damaged("its footer is %+v, the catalogue has %+v", l.Layer, want)}
			_ = l.file.Close() // nothing was written
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		opened = append(opened, l)
		inv.using[l.N] = struct{}{}
	}
	if len(errs) == 0 {
		return opened, nil
	}
	for _, l := range opened {
		_ = l.file.Close() // nothing was written
	}
	return nil, errors.Join(errs...)
}

// newTable returns a table for as much as all tables together may hold. After
// one that was full the next one is expected to fill up, too.
func (inv *Inverted) newTable(before *table) *table {
	expected := 0
	if before != nil && before.keys >= inv.cfg.MemEntries/2 {
		expected = before.keys
	}
	return newTable(2*inv.cfg.MemEntries, expected)
}

// Drop makes id vanish from every answer before it returns, also if it is
// added later. It is in memory only: that id is dead is the caller's to store,
// and to hand to the next Open, until a [Change] has Purged it.
func (inv *Inverted) Drop(id index.ID) error {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	v := inv.view.Load()
	if v == nil {
		return ErrClosed
	}
	old := v.dead.Load()
	if old.Contains(uint32(id)) {
		return nil
	}
	// Readers have the old one. The clone shares its containers and copies
	// only the one that changes.
	dead := old.Clone()
	dead.Add(uint32(id))
	v.dead.Store(dead)
	return nil
}

// Holds says whether id was added: whether memory or a layer holds it. An id
// that is dead may still be held.
func (inv *Inverted) Holds(id index.ID) bool {
	v, err := inv.acquire()
	if err != nil {
		return false
	}
	defer v.release()
	return v.holds(id)
}

// Settled says whether a layer holds id that is not known to be damaged, so that it is found again after a
// crash without being added anew.
func (inv *Inverted) Settled(id index.ID) bool {
	v, err := inv.acquire()
	if err != nil {
		return false
	}
	defer v.release()
	return v.inLayer(id)
}

func (v *view) holds(id index.ID) bool {
	return v.inTable(id) || slices.ContainsFunc(v.layers, func(l *layer) bool { return l.ids.Contains(uint32(id)) })
}

func (v *view) inTable(id index.ID) bool {
	for _, t := range [...]*table{v.active, v.frozen} {
		if t != nil && t.holds(id) {
			return true
		}
	}
	return false
}

// inLayer says whether a layer holds id that is not known to be damaged.
func (v *view) inLayer(id index.ID) bool {
	for _, l := range v.layers {
		if !l.spoiled.Load() && l.ids.Contains(uint32(id)) {
			return true
		}
	}
	return false
}

// Stats is a count of what there is at one moment.
type Stats struct {
	Layers    int
	Entries   int64 // pairs in layers, those of dead shards counted
	Bytes     int64 // of layers
	MemShards int   // pending: found, and not yet in a layer
	MemBytes  int64 // of the tables
	Dead      int64 // ids
	Trash     int   // files to be closed or removed by the next Flush, Merge, Sweep or Close
}

// Stats returns what there is. After Close it is all zero.
func (inv *Inverted) Stats() Stats {
	v, err := inv.acquire()
	if err != nil {
		return Stats{}
	}
	defer v.release()
	s := Stats{Layers: len(v.layers), Dead: int64(v.dead.Load().GetCardinality())}
	for _, l := range v.layers {
		s.Entries += l.Entries
		s.Bytes += l.Length
	}
	for _, t := range [...]*table{v.active, v.frozen} {
		if t != nil {
			shards, bytes := t.size()
			s.MemShards += shards
			s.MemBytes += bytes
		}
	}
	inv.mu.Lock()
	s.Trash = len(inv.trash)
	inv.mu.Unlock()
	return s
}

// Close flushes, and closes the layers: those that a reader still goes through
// when that reader is done. If the flush fails Close closes all the same and
// returns the error; what was not flushed is still pending in the catalogue.
// A second Close does nothing.
func (inv *Inverted) Close(ctx context.Context) error {
	err := inv.Flush(ctx)
	if errors.Is(err, ErrClosed) {
		return nil
	}
	inv.mu.Lock()
	v := inv.view.Swap(nil)
	inv.mu.Unlock()
	if v == nil {
		return nil
	}
	v.release()
	inv.mu.Lock()
	inv.closed = true
	inv.mu.Unlock()
	return errors.Join(err, inv.sweep(ctx))
}

// discard takes a layer that no view holds. After Close nobody will sweep, so
// it is closed at once; if it was to be removed it stays as an orphan, which
// the next start of the store removes.
func (inv *Inverted) discard(l *layer) {
	inv.mu.Lock()
	closed := inv.closed
	if !closed {
		inv.trash = append(inv.trash, l)
	}
	inv.mu.Unlock()
	switch {
	case closed:
		_ = l.file.Close() // nothing was written
	case inv.cfg.Unread != nil:
		inv.cfg.Unread()
	}
}

// SweepDue says whether there is something for [Inverted.Sweep] to do.
func (inv *Inverted) SweepDue() bool {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	return len(inv.trash) > 0
}

// Sweep closes the layers that are out of use and that nobody reads any more,
// and removes their files. Flushes and merges do the same by the way; it is for
// those that a reader left after them. What cannot be removed stays due.
func (inv *Inverted) Sweep(ctx context.Context) error { return inv.sweep(ctx) }

// sweep closes the layers that no view holds any more and removes those that
// are out of the list. What cannot be removed is tried again next time.
func (inv *Inverted) sweep(ctx context.Context) error {
	inv.mu.Lock()
	trash := inv.trash
	inv.trash = nil
	inv.mu.Unlock()
	var errs []error
	var again []*layer
	for _, l := range trash {
		if l.file != nil {
			if err := l.file.Close(); err != nil {
				errs = append(errs, &Error{OpRemove, l.N, fmt.Errorf("close: %w", err)})
			}
			l.file = nil
		}
		if !l.obsolete {
			continue
		}
		if err := inv.cfg.Files.Remove(ctx, l.N); err != nil {
			errs = append(errs, &Error{OpRemove, l.N, err})
			again = append(again, l)
			continue
		}
		inv.unused(l.N)
	}
	inv.mu.Lock()
	inv.trash = append(inv.trash, again...)
	inv.mu.Unlock()
	return errors.Join(errs...)
}
