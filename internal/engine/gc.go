package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/shard"
)

// Collected is what [Engine.GC] has done.
type Collected struct {
	Files, Bytes int64 // removed
	Left         int64 // files that are to go and are still there: held, or not to be removed
	Forgotten    int64 // dead indices of which nothing is left
}

// buriedAtOnce is how many indices the loop is asked to give up at once: it
// has other things to do.
const buriedAtOnce = 64

// GC removes what belongs to no shard: files of indices and layers that
// nothing names, and what the inverted index and the lists of the catalogue
// say of indices that are nobody's. It runs beside everything else, in its
// caller's goroutine, which must be in a [Engine.Visit], and stops soon after
// ctx ends. Several wait for each other, and for what a start does of this by
// itself. What is removed is given up durably first, as far as anything else
// knows of it: a crash leaves what the next one removes.
func (e *Engine) GC(ctx context.Context) (Collected, error) {
	select {
	case e.collecting <- struct{}{}:
		defer func() { <-e.collecting }()
	case <-ctx.Done():
		return Collected{}, e.why(ctx.Err())
	}
	did, err := e.collect(ctx)
	return did, e.why(err)
}

func (e *Engine) collect(ctx context.Context) (Collected, error) {
	g := &collection{e: e}
	err := g.run(ctx)
	return g.did, err
}

// A collection is one run of GC.
type collection struct {
	e     *Engine
	owned *roaring.Bitmap // ids that had a shard when it began
	bury  []stray         // to be given up through the loop
	did   Collected
}

// A stray is an index that belongs to no shard.
type stray struct {
	id   index.ID
	file bool
	size int64
}

func (g *collection) run(ctx context.Context) error {
	if err := g.retry(ctx); err != nil {
		return err
	}
	if err := g.strays(ctx); err != nil {
		return err
	}
	if err := g.strayLayers(ctx); err != nil {
		return err
	}
	if err := g.strayManifests(ctx); err != nil {
		return err
	}
	if err := g.copies(ctx); err != nil {
		return err
	}
	if err := g.e.merge(ctx); err != nil {
		return err
	}
	before, err := g.dead(ctx)
	if err != nil {
		return err
	}
	if err := g.e.inverted.Purge(ctx); err != nil {
		return err
	}
	after, err := g.dead(ctx)
	g.did.Forgotten = max(0, before-after)
	return err
}

// dead counts the ids that the catalogue remembers as dead.
func (g *collection) dead(ctx context.Context) (n int64, err error) {
	for _, err := range g.e.cfg.Catalog.Dead(ctx) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// strays finds indices that are nobody's and gives them up: those that have a
// file, those that are pending, and those that have postings.
func (g *collection) strays(ctx context.Context) error {
	var err error
	if g.owned, err = g.e.owned(ctx); err != nil {
		return err
	}
	for file, err := range g.e.cfg.Segments.List(ctx, segment.Index) {
		if err != nil {
			return err
		}
		id := index.ID(file.Name.N)
		if g.e.ids.remembered(id) {
			g.did.Left++
			continue
		}
		if err := g.look(ctx, stray{id: id, file: true, size: file.Size}); err != nil {
			return err
		}
	}
	if err := g.give(ctx); err != nil {
		return err
	}
	for id, err := range g.e.cfg.Catalog.Pending(ctx) {
		if err == nil {
			err = g.look(ctx, stray{id: id})
		}
		if err != nil {
			return err
		}
	}
	for id := range g.e.inverted.IDs() {
		if err := g.look(ctx, stray{id: id}); err != nil {
			return err
		}
	}
	return g.give(ctx)
}

// owned returns the ids that have a shard.
func (e *Engine) owned(ctx context.Context) (*roaring.Bitmap, error) {
	ids := roaring.New()
	for id, err := range e.cfg.Catalog.Owners(ctx) {
		if err != nil {
			return nil, err
		}
		ids.Add(uint32(id))
	}
	return ids, nil
}

// look gives s up if it is nobody's. One of which there is only a file goes at
// once, so that a full disk is no hindrance.
func (g *collection) look(ctx context.Context, s stray) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	is, err := g.e.stray(ctx, s.id, g.owned)
	if err != nil || !is {
		return err
	}
	if s.file && g.e.unknown(s.id) {
		return g.remove(ctx, segment.Entry{Name: indexName(s.id), Size: s.size})
	}
	g.bury = append(g.bury, s)
	if len(g.bury) == buriedAtOnce {
		return g.give(ctx)
	}
	return nil
}

// stray reports whether id is nobody's: it is not on its way, after that the
// catalogue knows no shard with it, and after that it is not one that a shard
// has just given up: that has holders perhaps, and the loop removes it after them.
func (e *Engine) stray(ctx context.Context, id index.ID, owned *roaring.Bitmap) (bool, error) {
	if owned.Contains(uint32(id)) || e.ids.knows(id) {
		return false, nil
	}
	_, err := e.cfg.Catalog.Owner(ctx, id)
	if errors.Is(err, catalog.ErrNotFound) {
		return !e.ids.knows(id), nil
	}
	return false, err
}

// unknown reports whether nothing but a file can be left of a stray: it has no
// postings, and nobody has it open.
func (e *Engine) unknown(id index.ID) bool {
	if h, ok := e.cache.Lookup(id); ok {
		h.Unpin()
		return false
	}
	return !e.inverted.Holds(id)
}

func (g *collection) remove(ctx context.Context, file segment.Entry) error {
	if err := g.e.cfg.Segments.Remove(ctx, file.Name); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		g.e.cfg.Log.Warn("a file could not be removed", "file", file.Name.String(), "err", err)
		g.did.Left++
		return nil
	}
	g.removed(file)
	return nil
}

func (g *collection) removed(file segment.Entry) {
	g.e.cfg.Log.Info("a file that nothing names is removed", "file", file.Name.String(), "bytes", file.Size)
	g.did.Files++
	g.did.Bytes += file.Size
}

// give has the loop give up what was gathered, and counts what came of it.
func (g *collection) give(ctx context.Context) error {
	if len(g.bury) == 0 {
		return nil
	}
	page := g.bury
	g.bury = nil
	ids := make([]index.ID, len(page))
	for i, s := range page {
		ids[i] = s.id
	}
	if err := g.e.giveUp(ctx, ids); err != nil {
		return err
	}
	for _, s := range page {
		switch {
		case !s.file:
		case g.e.ids.remembered(s.id):
			g.did.Left++
		default:
			g.removed(segment.Entry{Name: indexName(s.id), Size: s.size})
		}
	}
	return nil
}

// strayLayers removes the files of layers that are in no list.
func (g *collection) strayLayers(ctx context.Context) error {
	for file, err := range g.e.cfg.Segments.List(ctx, segment.Layer) {
		if err != nil {
			return err
		}
		is, err := g.e.strayLayer(ctx, file.Name.N)
		if err == nil && is {
			err = g.remove(ctx, file)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// strayLayer reports whether layer n is in no list and will be in none.
func (e *Engine) strayLayer(ctx context.Context, n uint32) (bool, error) {
	if e.inverted.Uses(n) { // asked first: what it writes is in the list before it is not used
		return false, nil
	}
	listed, err := e.cfg.Catalog.Layers(ctx)
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(listed, func(l catalog.Layer) bool { return l.N == n }), nil
}

// copies removes the files of copies that nothing names.
func (g *collection) copies(ctx context.Context) error {
	if g.e.cfg.Copies == nil {
		return nil
	}
	if err := g.e.survey(ctx); err != nil {
		return err
	}
	if err := g.remnants(ctx); err != nil {
		return err
	}
	files, bytes, err := g.e.cfg.Copies.Clean(ctx)
	g.did.Files += files
	g.did.Bytes += bytes
	return err
}

// remnants gives up what was fetched of copies that nobody is going to need: the next
// of these removes the files.
func (g *collection) remnants(ctx context.Context) error {
	keeper := g.e.cfg.Copies
	for _, key := range keeper.RemnantKeys() {
		r, err := g.e.cfg.Catalog.Get(ctx, shard.Key(key))
		var damaged *catalog.DamagedError
		switch {
		case errors.As(err, &damaged):
			continue
		case err != nil && !errors.Is(err, catalog.ErrNotFound):
			return err
		case err == nil && !r.Kept.Complete():
			continue
		}
		if id := keeper.DropRemnant(key, copies.Origin{}, 0); id != 0 {
			g.e.removeCopies([]uint32{id})
			g.did.Files += 2
		}
	}
	for _, id := range keeper.OldRemnants() {
		g.e.removeCopies([]uint32{id})
		g.did.Files += 2
	}
	return nil
}

// retry removes what could not be removed before.
func (g *collection) retry(ctx context.Context) error {
	for _, n := range g.e.ids.takeStuck() {
		g.e.removeFiles([]index.ID{index.ID(n)})
		if !g.e.ids.remembered(index.ID(n)) { // else it is met again
			g.did.Files++ // of how many bytes nobody knows any more
		}
	}
	return ctx.Err()
}

// removeInherited removes the files that the last process did not come to
// remove. One that a shard has all the same is not: Reconcile tells of it.
func (e *Engine) removeInherited(ctx context.Context) error {
	owned, err := e.owned(ctx)
	if err != nil {
		return err
	}
	dead := e.inherited
	e.inherited = nil
	e.removeFiles(slices.DeleteFunc(dead, func(id index.ID) bool {
		alive := owned.Contains(uint32(id))
		if alive {
			e.ids.removed(id, nil)
		}
		return alive
	}))
	return nil
}

// A burial asks the loop to give up indices that are nobody's.
type burial struct {
	node  node
	ids   []index.ID
	given bool // it is on disk, and what nobody holds is about to be removed
	err   error
	done  chan struct{}
}

// giveUp has the loop make ids dead, and waits until that is on disk and the
// files that nobody holds are removed.
func (e *Engine) giveUp(ctx context.Context, ids []index.ID) error {
	x := &burial{ids: ids, done: make(chan struct{})}
	x.node.what, x.node.of = whatDone, x
	e.box.complete(&x.node)
	select {
	case <-x.done:
		return x.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// finish is called twice: before the ids are dead on disk, and after.
func (x *burial) finish(e *Engine) {
	l := &e.loop
	switch {
	case x.given && (l.sweeping || len(l.removals) > 0):
		l.burials = append(l.burials, x)
	case x.given:
		close(x.done)
	case l.broken != nil:
		x.end(e.readOnly())
	default:
		for _, id := range x.ids {
			if !e.ids.knows(id) {
				e.bury(id, true)
			}
		}
		l.gather.burials = append(l.gather.burials, x)
	}
}

func (x *burial) end(err error) {
	x.err = err
	close(x.done)
}

func (x *burial) abandon(*Engine) {} // who waits has heard that the engine closes

// bury makes an index dead with the batch that gathers. Its file, if it may
// have one, goes once that is on disk and nobody reads it.
func (e *Engine) bury(id index.ID, file bool) {
	e.ids.doom(id)
	e.loop.gather.bury(id, file)
}

// buried goes on with what waited for a batch.
func (b *batch) buried(e *Engine) {
	for _, x := range b.burials {
		if b.err != nil {
			x.end(e.readOnly())
			continue
		}
		x.given = true
		e.box.complete(&x.node) // after the removals that the batch has brought
	}
	b.burials = nil
}
