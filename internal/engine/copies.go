package engine

import (
	"context"
	"errors"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// A record may name a copy of the CAR on this machine that somebody else has
// made. It is read in place of the source while it is there and has the size
// of the source; it is never changed and never removed.

// copyOf returns the copy that a record names and how it is, or nil if there
// is none to be read in place of a source of size bytes (-1: unknown).
func copyOf(ctx context.Context, r *catalog.Record, size int64, g *guard) (mount.Mount, mount.Stat) {
	if r.Copy == "" {
		return nil, mount.Stat{}
	}
	file, err := filemount.New(r.Copy)
	if err != nil {
		return nil, mount.Stat{}
	}
	m := guarded{file, g}
	st, err := m.Stat(ctx)
	if err != nil || st.Size < 0 || size >= 0 && st.Size != size {
		return nil, mount.Stat{}
	}
	return m, st
}

// An origin is what is read to be indexed.
type origin struct {
	mount  mount.Mount
	stat   mount.Stat   // of the source, for the record
	before mount.Stat   // of what is read, to see that it does not change meanwhile
	copied bool         // that is a copy
	kept   catalog.Kept // that copy, if it is the store's
}

// origin finds out what is to be read for w. A source that cannot be asked is
// made up for by its copy.
func (e *Engine) origin(w *indexing, g *guard) (o origin, err error) {
	if o.mount, err = e.mount(w.record.URL, g); err != nil {
		return o, sourceError(err)
	}
	o.stat, err = o.mount.Stat(w.ctx)
	o.before = o.stat
	size := o.stat.Size
	if err != nil {
		size = -1
	}
	if m, st := copyOf(w.ctx, w.record, size, g); m != nil {
		if err != nil {
			o.stat = mount.Stat{}
		}
		o.stat.Size = st.Size
		return origin{mount: m, stat: o.stat, before: st, copied: true}, rememberable(o.stat)
	}
	if k, ok := e.kept(w, o.stat, err); ok {
		return k, rememberable(k.stat)
	}
	switch {
	case err != nil:
		return o, sourceError(err)
	case o.stat.Waits && w.kind != slow:
		return o, elsewhere{slow}
	default:
		return o, rememberable(o.stat)
	}
}

// openCopy opens the copy of a shard, or returns nil if its source has to be
// read.
func (e *Engine) openCopy(o *opening, g *guard) *local.Handle {
	m, _ := copyOf(o.ctx, o.record, o.record.Bytes, g)
	if m == nil {
		return nil
	}
	spec := e.spec(o.record, m)
	spec.URL = m.URL()
	spec.Source = mount.Stat{Size: o.record.Bytes} // version and time are those of the source
	h, err := local.Open(o.ctx, spec)
	if err != nil {
		return nil
	}
	return h
}

// allNear reports whether nobody who waits for the opening wants the source
// reached for it.
func (en *entry) allNear() bool {
	for c := en.waiting[inOpeners].first; c != nil; c = c.after {
		if !c.near {
			return false
		}
	}
	return true
}

// tooFar refuses a handle to a caller who wanted one on this machine. Its hold
// is given back.
func (e *Engine) tooFar(en *entry, c *Call, h *local.Handle) bool {
	if !c.near || h.Local() {
		return false
	}
	e.cache.Release(h)
	e.event(en, lifecycle.Release, cause{})
	e.answer(en, c, Outcome{Err: shard.ErrRemote})
	return true
}

// strayed is for a loss that says nothing about the shard: it was met somewhere
// else than where the source lies now, in a copy or at an earlier place, or the
// source only calls itself another version. That handle is given to nobody any
// more; in the second case the next opening asks whether the bytes are others.
func (e *Engine) strayed(en *entry, w *loss) bool {
	if w.url == "" || w.url == en.record.URL && !errors.Is(w.err, mount.ErrChanged) {
		return false
	}
	if h, ok := e.cache.Lookup(w.id); ok {
		if h.URL() == w.url {
			e.withdraw(w.id, false)
		}
		h.Unpin()
	}
	return true
}
