package engine

import (
	"errors"
	"fmt"
	"sync"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// A block of a copy that is not what its CID says may be so in the CAR, or a bit has
// flipped here. If the source still has the version that was copied, the next opening
// makes another copy, once: after that the CAR is to blame. The copy stays until there
// is the other one.

// mostDamaged bounds of how many copies damage is remembered.
const mostDamaged = 1024

// damagedCopies are copies of which reads have met damage, since the start.
type damagedCopies struct {
	mu   sync.Mutex
	seen map[damagedCAR]struct{} // for which another copy was, or is to be made
	bad  map[uint32]struct{}     // that the next opening passes over
}

// A damagedCAR is a shard with the version of its source.
type damagedCAR struct {
	key     shard.Key
	version string
}

// first reports whether damage was not met before in a copy of a CAR.
func (d *damagedCopies) first(car damagedCAR) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, is := d.seen[car]; is || len(d.seen) >= mostDamaged {
		return false
	}
	if d.seen == nil {
		d.seen, d.bad = map[damagedCAR]struct{}{}, map[uint32]struct{}{}
	}
	d.seen[car] = struct{}{}
	return true
}

func (d *damagedCopies) add(id uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bad[id] = struct{}{}
}

func (d *damagedCopies) has(id uint32) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, is := d.bad[id]
	return is
}

func (d *damagedCopies) remove(id uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.bad, id)
}

// CopyDamaged says that a read of an open shard has met a block that is not what its
// CID says. It matters if a copy was read that the store has made.
func (e *Engine) CopyDamaged(h *local.Handle) {
	if e.cfg.Copies == nil || !h.Local() {
		return
	}
	key, url := h.Key(), h.URL()
	if !e.enter() {
		return
	}
	defer e.exit()
	e.workers.Go(func() {
		r, err := e.cfg.Catalog.Get(e.work, key)
		if err != nil || !r.Kept.Complete() || copyURL(r.Kept.ID) != url || r.SourceVersion == "" || !e.damaged.first(damagedCAR{key, r.SourceVersion}) {
			return
		}
		if err := e.stillThere(e.work, r); err != nil {
			e.cfg.Log.Warn("a copy is damaged, and its source does not have it any more", "key", string(key), "copy", fmt.Sprintf("%08x", r.Kept.ID), "err", err)
			return
		}
		e.damaged.add(r.Kept.ID)
		w := &damagedCopy{of: r}
		w.node.what, w.node.of = whatDone, w
		e.box.complete(&w.node)
	})
}

// A damagedCopy is the news of one.
type damagedCopy struct {
	node node
	of   *catalog.Record
}

func (w *damagedCopy) finish(e *Engine) {
	e.cfg.Log.Warn("a copy is damaged, and made again when it is next opened", "key", string(w.of.Key), "copy", fmt.Sprintf("%08x", w.of.Kept.ID))
	e.withdraw(w.of.Index.ID, false)
}

func (w *damagedCopy) abandon(*Engine) {}

// openInstead opens the source of a shard whose copy is damaged, or the copy all the
// same, if that cannot be done.
func (e *Engine) openInstead(o *opening, open func() (*local.Handle, error)) (*local.Handle, error) {
	h, err := open()
	var to elsewhere
	var no roomless
	switch {
	case err == nil, errors.As(err, &to):
		return h, err
	case errors.As(err, &no) && !e.cfg.Copies.Restored():
		return nil, err // to wait until it is known how much there is
	case errors.As(err, &no), errors.Is(err, shard.ErrQuota):
		// Nobody waits for space that this copy may have. The next opening tries again.
	default:
		e.cfg.Log.Warn("a copy is damaged, and cannot be made again", "key", string(o.record.Key), "err", err)
		e.damaged.remove(o.record.Kept.ID)
	}
	return e.openKept(o)
}
