package layers

import (
	"context"
	"errors"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/dchest/siphash"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
)

// readError makes an error of one met while l was read. If l proves to be
// damaged by it, that is remembered.
func (inv *Inverted) readError(l *layer, err error) error {
	err = readFault(err)
	if errors.Is(err, index.ErrDamaged) {
		inv.spoil(l)
	}
	return &Error{OpRead, l.N, err}
}

// spoils remembers which of the layers err says to be damaged, and returns it.
func (inv *Inverted) spoils(err error, layers []*layer) error {
	var about *Error
	if errors.As(err, &about) && about.Op == OpRead && errors.Is(err, index.ErrDamaged) {
		for _, l := range layers {
			if l.N == about.Layer {
				inv.spoil(l)
			}
		}
	}
	return err
}

// spoil remembers that l is damaged. It goes on to answer with what can be
// read of it, but what it holds counts as not added, and it is merged no more.
func (inv *Inverted) spoil(l *layer) {
	if !l.spoiled.Swap(true) && inv.cfg.Spoiled != nil {
		inv.cfg.Spoiled(l.N)
	}
}

// Spoil says that layer n is damaged, as if a lookup had met that. That it is
// not in use is no error.
func (inv *Inverted) Spoil(n uint32) {
	inv.with(n, inv.spoil)
}

// with calls do with layer n, if it is in use.
func (inv *Inverted) with(n uint32, do func(l *layer)) {
	v, err := inv.acquire()
	if err != nil {
		return
	}
	defer v.release()
	for _, l := range v.layers {
		if l.N == n {
			do(l)
			return
		}
	}
}

// Spoiled returns the layers in use that proved to be damaged, by number. To
// make up for one, take it off the list and add what it holds, see
// [Inverted.Content], again; after that [Inverted.Abandon] it.
func (inv *Inverted) Spoiled() []uint32 {
	v, err := inv.acquire()
	if err != nil {
		return nil
	}
	defer v.release()
	var ns []uint32
	for _, l := range v.layers {
		if l.spoiled.Load() {
			ns = append(ns, l.N)
		}
	}
	slices.Sort(ns)
	return ns
}

// Content returns the ids that layer n holds and that are not dead; none if it
// is not in use. The result is the caller's.
func (inv *Inverted) Content(n uint32) *roaring.Bitmap {
	ids := roaring.New()
	inv.with(n, func(l *layer) { ids.Or(l.ids) })
	if dead, err := inv.deadNow(); err == nil {
		ids.AndNot(dead)
	}
	return ids
}

// Abandon takes layer n off the list, where it may be no longer, and out of
// use. Its file goes with its last reader.
func (inv *Inverted) Abandon(ctx context.Context, n uint32) error {
	if err := inv.merging.lock(ctx); err != nil {
		return err
	}
	defer inv.merging.unlock()
	var err error
	inv.with(n, func(l *layer) { err = inv.commit(ctx, replacement{remove: []*layer{l}}) })
	if err != nil {
		return err
	}
	_ = inv.sweep(ctx) // tried again, and told by Stats and Close
	return nil
}

// Verify reads the file of a layer anew, from its first page to its last, and
// compares it with its checksums and with what the catalogue says of it. The
// error is an [*Error], or that of ctx. It changes nothing.
func (inv *Inverted) Verify(ctx context.Context, want Layer) error {
	l, err := openLayer(ctx, inv.cfg.Files, want.N, inv.keyCheck)
	if err != nil {
		return err
	}
	defer func() { _ = l.file.Close() }() // nothing was written
	if l.Layer != want {
		return &Error{OpRead, want.N, damaged("its footer is %+v, the catalogue has %+v", l.Layer, want)}
	}
	const often = 256 // pages
	for n := range l.count {
		if n%often == 0 {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			l.prefetch(n, often)
		}
		if err := l.touch(n); err != nil {
			return &Error{OpRead, l.N, readFault(err)}
		}
	}
	return l.inOrder(ctx)
}

// inOrder checks that the rows rise.
func (l *layer) inOrder(ctx context.Context) error {
	r := rowReader{layer: l, window: window{pages: &l.pages}}
	defer r.window.close()
	for {
		if len(r.rows) == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if more, err := r.next(); err != nil || !more {
			return err
		}
	}
}

// Has says whether id is found under mh: it is not dead, and memory or a layer
// that can be read has the pair. It costs the same however many others have
// mh. The error is that of layers that hold id and cannot be read; who only
// compares does not make them [Inverted.Spoiled].
func (inv *Inverted) Has(id index.ID, mh multihash.Multihash) (bool, error) {
	v, err := inv.acquire()
	if err != nil {
		return false, err
	}
	defer v.release()
	if v.dead.Load().Contains(uint32(id)) {
		return false, nil
	}
	key := siphash.Hash(inv.k0, inv.k1, mh)
	for _, t := range [...]*table{v.active, v.frozen} {
		if t != nil && t.holds(id) && t.has(key, id) {
			return true, nil
		}
	}
	var errs []error
	for _, l := range v.layers {
		if !l.ids.Contains(uint32(id)) {
			continue
		}
		is, err := l.has(key, id)
		if is {
			return true, nil
		}
		if err != nil {
			errs = append(errs, &Error{OpRead, l.N, readFault(err)})
		}
	}
	return false, errors.Join(errs...)
}
