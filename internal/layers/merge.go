package layers

import (
	"context"
	"encoding/binary"
	"runtime/debug"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/mmap"
)

// MergeDue says whether [Inverted.Merge] has something to do: if a limit is
// passed, or nothing was added for IdleAfter and layers can be merged further.
func (inv *Inverted) MergeDue() bool {
	v, err := inv.acquire()
	if err != nil {
		return false
	}
	defer v.release()
	return len(inv.pick(v)) > 0
}

// Merge merges one group of layers, if a group is due, into one without the
// postings of dead ids, and says whether it did. Call it until it did not: then there
// are few layers, whatever came before. While others look up or add it works MergeShare of the time. Merges wait for each other, and nobody
// waits for a merge. The old files are removed when the last reader is done
// with them, by the next Flush, Merge, Sweep or Close. After an error nothing has
// changed, but that a layer which proved damaged is left out from then on; see
// [Inverted.Spoiled].
func (inv *Inverted) Merge(ctx context.Context) (bool, error) {
	if err := inv.merging.lock(ctx); err != nil {
		return false, err
	}
	defer inv.merging.unlock()
	did, err := inv.mergeOne(ctx)
	_ = inv.sweep(ctx) // tried again, and told by Stats and Close
	return did, err
}

func (inv *Inverted) mergeOne(ctx context.Context) (bool, error) {
	v, err := inv.acquire()
	if err != nil {
		return false, err
	}
	defer v.release()
	group := inv.pick(v)
	if len(group) == 0 {
		return false, nil
	}
	err = inv.mergeGroup(ctx, group, nil)
	return err == nil, err
}

// mergeGroup merges layers of a view that the caller holds. outer is the merge
// that waits for it, or nil.
func (inv *Inverted) mergeGroup(ctx context.Context, group []*layer, outer *pace) error {
	dead, err := inv.deadNow()
	if err != nil {
		return err
	}
	ids := roaring.New()
	for _, l := range group {
		ids.Or(l.ids)
	}
	ids.AndNot(dead)
	var merged *layer
	if !ids.IsEmpty() {
		merged, err = inv.writeLayer(ctx, ids, func(w *writer) error {
			return inv.spoils(mergeRows(ctx, w, group, dead, inv.newPace(group, outer)), group)
		})
		if err != nil {
			return err
		}
	}
	return inv.commit(ctx, replacement{add: merged, remove: group})
}

// mergeMeanwhile merges small layers while a merge of much larger ones waits,
// if so many have come that they would be merged now: the larger merge may
// take minutes, and a table is written out every second.
func (inv *Inverted) mergeMeanwhile(ctx context.Context, outer *pace) error {
	v, err := inv.acquire()
	if err != nil {
		return err
	}
	defer v.release()
	group := inv.pickAmong(v, outer.merges)
	// Of many, as many as are much smaller together: the rest waits for its turn,
	// and must not keep these waiting.
	for len(group) > fanIn && entriesOf(group)*fanIn > entriesOf(outer.group) {
		group = group[:len(group)-1]
	}
	if len(group) == 0 || entriesOf(group)*fanIn > entriesOf(outer.group) {
		return nil
	}
	return inv.mergeGroup(ctx, group, outer)
}

func entriesOf(group []*layer) (n int64) {
	for _, l := range group {
		n += l.Entries
	}
	return n
}

// pick returns the layers of v to merge next.
func (inv *Inverted) pick(v *view) []*layer {
	if group := inv.pickAmong(v, nil); group != nil || !inv.idle() {
		return group
	}
	sound, sizes := inv.sizes(v, nil)
	return chosen(sound, pickIdle(sizes))
}

// pickAmong returns which layers of v the limits ask to merge, but for those
// that are being merged.
func (inv *Inverted) pickAmong(v *view, merging func(*layer) bool) []*layer {
	sound, sizes := inv.sizes(v, merging)
	return chosen(sound, pick(sizes))
}

func chosen(layers []*layer, which []int) (group []*layer) {
	for _, i := range which {
		group = append(group, layers[i])
	}
	return group
}

// sizes returns the layers of v that may be merged, and what the policy has to
// know of them.
func (inv *Inverted) sizes(v *view, merging func(*layer) bool) (sound []*layer, sizes []size) {
	dead := v.dead.Load()
	for _, l := range v.layers {
		if l.spoiled.Load() || merging != nil && merging(l) {
			continue
		}
		s := size{entries: l.Entries}
		if !dead.IsEmpty() {
			s.rotten = l.ids.AndCardinality(dead)*rottenPart > l.ids.GetCardinality()
		}
		sound, sizes = append(sound, l), append(sizes, s)
	}
	return sound, sizes
}

// idle says that nothing was added for a while.
func (inv *Inverted) idle() bool {
	now := inv.cfg.Now()
	inv.mu.Lock()
	defer inv.mu.Unlock()
	return now.Sub(inv.addedAt) >= inv.cfg.IdleAfter
}

// stepRows is after how many rows a merge looks around: less than a millisecond.
const stepRows = 4096

// mergeRows adds all rows of the layers but those of dead ids.
func mergeRows(ctx context.Context, w *writer, group []*layer, dead *roaring.Bitmap, p *pace) error {
	var readers []*rowReader
	for _, l := range group {
		r := &rowReader{layer: l, window: window{pages: &l.pages}}
		defer r.window.close()
		if more, err := r.next(); err != nil {
			return err
		} else if more {
			readers = append(readers, r)
		}
	}
	for rows := 0; len(readers) > 0; rows++ {
		low := 0
		for i, r := range readers {
			if r.row.less(readers[low].row) {
				low = i
			}
		}
		r := readers[low]
		if rows%stepRows == 0 {
			if err := p.step(ctx); err != nil {
				return err
			}
		}
		if !dead.Contains(uint32(r.row.id)) {
			if err := w.add(r.row.key, r.row.id); err != nil {
				return err
			}
		}
		if more, err := r.next(); err != nil {
			return err
		} else if !more {
			readers = append(readers[:low], readers[low+1:]...)
		}
	}
	return nil
}

type row struct {
	key uint64
	id  index.ID
}

func (r row) less(s row) bool { return r.key < s.key || r.key == s.key && r.id < s.id }

// A rowReader reads the rows of a layer from the first to the last.
type rowReader struct {
	layer  *layer
	window window
	row    row // the one it stands on

	rows []row // of the page, after it
	buf  [rowsPerPage]row
	part int
	at   uint32 // rows of the part that were read
}

// readAhead is how many pages are asked for at once.
const readAhead = 256

// next moves to the next row, or returns false after the last. A page is
// copied as a whole, so that a fault need not be caught at each row.
func (r *rowReader) next() (bool, error) {
	if len(r.rows) == 0 {
		if err := r.fill(); err != nil {
			return false, &Error{OpRead, r.layer.N, readFault(err)}
		}
		if len(r.rows) == 0 {
			return false, nil
		}
	}
	r.row, r.rows = r.rows[0], r.rows[1:]
	return true, nil
}

func (r *rowReader) fill() (err error) {
	if mem := r.layer.mem; mem != nil {
		defer mmap.Guard(mem, debug.SetPanicOnFault(true), &err)
	}
	if r.part < len(r.layer.parts) && r.at == r.layer.parts[r.part].rows {
		r.part++
		r.at = 0
	}
	if r.part == len(r.layer.parts) {
		return nil
	}
	p := &r.layer.parts[r.part]
	if page := r.at / rowsPerPage; page%readAhead == 0 {
		r.layer.prefetch(p.page+page, readAhead)
	}
	if err := r.window.load(p.page + r.at/rowsPerPage); err != nil {
		return err
	}
	n := min(p.rows-r.at, rowsPerPage)
	last, any := r.row, r.part > 0 || r.at > 0
	for i := range n {
		b := r.window.data[i*rowSize:][:rowSize]
		next := row{binary.LittleEndian.Uint64(b), index.ID(binary.LittleEndian.Uint32(b[8:]))}
		if any && !last.less(next) {
			return damaged("rows out of order in partition %d", r.part)
		}
		r.buf[i] = next
		last, any = next, true
	}
	r.rows = r.buf[:n]
	r.at += n
	return nil
}
