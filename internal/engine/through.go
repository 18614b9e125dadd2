package engine

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A sparse copy keeps the parts of a source that were read. It is made when the
// shard is opened, and named by the record as any copy is; what is in it is a
// matter between its files and who reads. It is of one version of the source: a
// source without versions has none.

// openThrough opens a source that lies elsewhere and keeps what is read of it.
func (e *Engine) openThrough(o *opening, m mount.Mount) (*local.Handle, error) {
	spec := e.spec(o.record, m)
	s, fresh, err := e.sparse(o)
	switch {
	case err != nil:
		// It is only there to spare requests.
		e.cfg.Log.Warn("what is read of a shard is not kept", "key", string(o.record.Key), "err", err)
	case s != nil:
		spec.Through = s
	}
	h, err := local.Open(o.ctx, spec)
	if s == nil {
		return h, err
	}
	if err != nil {
		_ = s.Close() // nothing was read through it
		if fresh && s.ID() != 0 {
			e.removeCopies([]uint32{s.ID()})
		}
		return nil, err
	}
	h.OnClose(func() { e.closeSparse(s) })
	if fresh && s.ID() != 0 {
		o.kept = catalog.Kept{ID: s.ID(), Size: copies.Ranges, At: e.cfg.Now()}
	}
	return h, nil
}

// sparse opens the sparse copy of a shard, or makes one; nil if there is to be
// none.
func (e *Engine) sparse(o *opening) (s *copies.Sparse, fresh bool, err error) {
	r := o.record
	if !e.wantsSparse(r) {
		return nil, false, nil
	}
	if r.Kept.ID != 0 && r.Kept.Size == copies.Ranges {
		s, fresh, err = e.cfg.Copies.OpenSparse(knownCopy(r), r.Bytes, r.SourceVersion)
		if !errors.Is(err, copies.ErrSparse) {
			if fresh { // it was nobody's, and is empty
				o.lost = true
			}
			return s, fresh, err
		}
		o.lost = true
	}
	x := &naming{key: r.Key, index: r.Index.ID, version: r.SourceVersion}
	s = e.cfg.Copies.NewSparse(r.Bytes, r.SourceVersion, r.Serve == shard.Auto, copies.Birth{
		ID:   func() (uint32, error) { return e.ids.next(e.work) },
		Made: func(id uint32) { e.name(x, id) },
	})
	e.unborn.add(s)
	return s, true, nil
}

// wantsSparse reports whether what is read of a source is to be kept. One that has
// no version could be two CARs in one.
func (e *Engine) wantsSparse(r *catalog.Record) bool {
	switch {
	case r.Serve != shard.Sparse && r.Serve != shard.Auto:
		return false
	case !e.copying() || r.SourceVersion == "" || r.Bytes <= 0:
		return false
	default:
		return !e.near(r.URL)
	}
}

// A naming tells the loop of a sparse copy that was just made, which the record of
// its shard is to name if nothing has changed since it was opened.
type naming struct {
	node    node
	key     shard.Key
	index   index.ID
	version string
	kept    catalog.Kept
	done    chan struct{} // closed when the loop has heard of it
}

// name has the record of a shard name the sparse copy id.
func (e *Engine) name(x *naming, id uint32) {
	x.kept = catalog.Kept{ID: id, Size: copies.Ranges, At: e.cfg.Now()}
	x.node.what, x.node.of = whatDone, x
	if !e.enter() {
		e.removeCopies([]uint32{id})
		return
	}
	defer e.exit()
	e.unborn.told(x)
	e.box.complete(&x.node)
}

func (x *naming) finish(e *Engine) {
	en := e.find(x.key)
	if en.loading {
		en.losses = append(en.losses, x)
		return
	}
	defer e.unborn.heard(x)
	defer e.settleDown(en)
	if s := en.machine.State; en.id() == x.index && e.loop.broken == nil && (s == shard.Available || s == shard.Serving) {
		e.event(en, lifecycle.Confirmed, cause{revise: func(r *catalog.Record) bool {
			if r.Kept.ID != 0 || r.SourceVersion != x.version {
				return false
			}
			r.Kept = x.kept
			return true
		}})
	}
	e.unnamed(en, x.kept.ID)
}

func (x *naming) abandon(e *Engine) {
	e.removeCopies([]uint32{x.kept.ID})
	e.unborn.heard(x)
}

// unborn is the sparse copies that no record may name yet.
type unborn struct {
	mu      sync.Mutex
	all     map[*copies.Sparse]struct{}
	namings map[*naming]struct{} // of which the loop has not heard yet
}

func (u *unborn) add(s *copies.Sparse) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all == nil {
		u.all = map[*copies.Sparse]struct{}{}
	}
	u.all[s] = struct{}{}
}

func (u *unborn) remove(s *copies.Sparse) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.all, s)
}

func (u *unborn) told(x *naming) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.namings == nil {
		u.namings = map[*naming]struct{}{}
	}
	x.done = make(chan struct{})
	u.namings[x] = struct{}{}
}

func (u *unborn) heard(x *naming) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.namings, x)
	close(x.done)
}

// bear has what was read just now kept before the loop ends: a process that reads
// one block and goes has read it for the next one, too.
func (u *unborn) bear() {
	u.mu.Lock()
	all := slices.Collect(maps.Keys(u.all))
	u.mu.Unlock()
	for _, s := range all {
		s.Flush()
	}
	u.mu.Lock()
	namings := slices.Collect(maps.Keys(u.namings))
	u.mu.Unlock()
	for _, x := range namings {
		<-x.done
	}
}

// closeSparse closes a sparse copy, which syncs it, beside whoever has let go of
// its shard.
func (e *Engine) closeSparse(s *copies.Sparse) {
	end := func() {
		defer e.unborn.remove(s)
		if err := s.Close(); err != nil {
			e.cfg.Log.Warn("what was read of a shard is not all kept", "copy", fmt.Sprintf("%08x", s.ID()), "err", err)
		}
	}
	if !e.enter() {
		end()
		return
	}
	defer e.exit()
	e.workers.Go(end)
}
