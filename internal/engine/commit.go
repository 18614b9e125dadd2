package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/layers"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/shard"
)

// A batch is what is written together. Until it is taken for the disk, its
// records are those that its entries have then.
type batch struct {
	node  node
	n     uint64
	dirty []*entry

	pending  []index.ID  // indexed, and only in the memory table of the inverted index
	dead     []index.ID  // of no shard any more
	files    []index.ID  // those of the dead that may have one; in the same order
	purged   []shard.Key // whose records cannot be read, and are to go
	replaced []shard.Key // whose manifests are of a CAR that they have no longer

	after     []reply     // what waits for it
	burials   []*burial   // likewise
	farewells []*farewell // copies that no record names then
	moves     []move      // and what is told then
	tokens    int         // of the calls that are in it

	content catalog.Batch // once taken
	err     error
	took    time.Duration
}

// A reply is an answer that waits for a batch.
type reply struct {
	call    *Call
	outcome Outcome
}

func (b *batch) empty() bool {
	return len(b.dirty) == 0 && len(b.dead) == 0 && len(b.purged) == 0 && len(b.after) == 0 && len(b.burials) == 0 && len(b.farewells) == 0 && b.tokens == 0
}

// change puts en into the batch.
func (b *batch) change(en *entry) {
	en.changed = b.n
	if !en.dirty {
		en.dirty = true
		b.dirty = append(b.dirty, en)
	}
}

// bury makes id dead.
func (b *batch) bury(id index.ID, file bool) {
	if i := slices.Index(b.pending, id); i >= 0 {
		b.pending = slices.Delete(b.pending, i, i+1)
	}
	b.dead = append(b.dead, id)
	if file {
		b.files = append(b.files, id)
	}
}

// addPending remembers that id has to be added to the inverted index again
// after a restart, unless a layer holds it already.
func (b *batch) addPending(id index.ID, settled bool) {
	if !settled {
		b.pending = append(b.pending, id)
	}
}

// take turns the batch into what the catalogue is to apply.
func (b *batch) take() {
	for _, en := range b.dirty {
		en.dirty, en.taken = false, en.record
		switch r := en.record; {
		case r != nil:
			b.content.Puts = append(b.content.Puts, catalog.Put{Record: r, Expect: en.disk})
			en.disk = r.Revision
		case en.disk != 0:
			b.content.Deletes = append(b.content.Deletes, catalog.Delete{Key: en.key, Expect: en.disk})
			en.disk = 0
		}
	}
	for _, key := range b.purged {
		b.content.Deletes = append(b.content.Deletes, catalog.Delete{Key: key, Expect: catalog.AnyRevision})
	}
	b.content.AddPending = b.pending
	b.content.AddDead = b.dead
	b.content.DelPending = b.dead
	b.content.DropManifests = b.replaced
}

// startCommit sends what was gathered to the disk, unless a batch is there.
func (e *Engine) startCommit() {
	l := &e.loop
	if l.flight != nil || l.broken != nil || l.gather.empty() {
		return
	}
	b := l.gather
	l.gather = &batch{n: b.n + 1}
	l.flight = b
	b.take()
	b.node.what, b.node.of = whatDone, b
	l.toCommit <- b
}

// commits applies one batch after the other.
func (e *Engine) commits() {
	for b := range e.loop.toCommit {
		begun := e.cfg.Now()
		b.err = e.cfg.Catalog.Apply(context.Background(), &b.content)
		b.took = e.cfg.Now().Sub(begun)
		e.box.complete(&b.node)
	}
}

// finish ends a batch: what waited for it is answered.
func (b *batch) finish(e *Engine) {
	l := &e.loop
	l.flight = nil
	if f := e.cfg.Watch.Commit; f != nil {
		f(len(b.content.Puts)+len(b.content.Deletes), b.took, b.err)
	}
	for range b.tokens {
		<-e.tokens
	}
	if b.err != nil {
		e.commitFailed(b)
		return
	}
	l.commits = b.n
	files := b.files
	for _, id := range b.dead {
		file := len(files) > 0 && files[0] == id
		if file {
			files = files[1:]
		}
		e.vanish(id, file)
	}
	for _, en := range b.dirty {
		e.counts.resize(en.key, sizesOf(en.durable), sizesOf(en.taken))
		e.namedCopy(en.durable, en.taken)
		en.durable = en.taken
		if r := en.taken; r != nil && r.Index.ID != 0 {
			e.ids.written(r.Index.ID)
		}
	}
	for _, x := range b.farewells {
		x.one(e)
	}
	b.buried(e)
	if freed := b.content.Freed; len(freed) > 0 && !e.shut.Load() { // else the next start removes them
		e.workers.Go(func() { e.removeManifests(freed) })
	}
	for i := range b.moves {
		e.tell(&b.moves[i])
	}
	for _, r := range b.after {
		e.settle(r.call, r.outcome)
	}
	for _, en := range b.dirty {
		l.backlog = l.backlog || en.deferred // now, and not before, it is in the queue on disk
		e.settleDown(en)
	}
	e.startIndexing()
}

func (b *batch) abandon(*Engine) {}

// commitFailed is one event of the whole store: everybody who waits for a
// write gets the error, what memory believes is forgotten, and nothing is
// written any more.
func (e *Engine) commitFailed(b *batch) {
	l := &e.loop
	l.broken = b.err
	err := e.readOnly()
	e.trouble("a commit failed: the store is read-only until it is opened again", b.err)
	next, durable := l.gather, l.commits
	l.gather = &batch{n: next.n + 1}
	l.commits = next.n
	unmoved(b, next)
	for range next.tokens {
		<-e.tokens
	}
	next.err = b.err
	b.buried(e)
	next.buried(e)
	e.nobodyLeaves(err, b, next)
	for _, r := range slices.Concat(b.after, next.after) {
		r.outcome.takeBack()
		e.settle(r.call, Outcome{Err: err})
	}
	entries := make([]*entry, 0, len(l.entries))
	for _, en := range l.entries {
		entries = append(entries, en)
	}
	for _, en := range entries {
		if !en.loading {
			e.event(en, lifecycle.CommitFailed, cause{err: err})
			if en.changed > durable && en.machine.Holders > 0 && e.unbelieve(en, err) {
				continue
			}
			if en.changed > durable && en.durable != nil && en.machine.Holders > 0 {
				en.record = en.durable
				en.machine.Refused(en.durable.State == shard.Available)
				e.moved(en, 0, cause{err: err})
			}
			e.settleDown(en)
		}
	}
}

// vanish makes a dead index vanish from every answer, and has its file, if it
// has one, removed once nobody reads it.
func (e *Engine) vanish(id index.ID, file bool) {
	if err := e.inverted.Drop(id); err != nil {
		e.trouble("a dead index is still in the inverted index", fmt.Errorf("index %d: %w", id, err))
	}
	if !file {
		e.ids.removed(id, nil)
		e.cache.Remove(id, nil)
		return
	}
	r := &removal{id: id}
	r.node.what, r.node.of = whatDone, r
	e.cache.Remove(id, func() { e.box.complete(&r.node) })
}

// commitLayers is the commit of the inverted index: it may come from any
// worker, beside the batches of the loop.
func (e *Engine) commitLayers(ctx context.Context, c layers.Change) error {
	add := make([]catalog.Layer, len(c.Add))
	for i, l := range c.Add {
		add[i] = catalog.Layer(l)
	}
	return e.cfg.Catalog.Apply(ctx, &catalog.Batch{
		AddLayers:  add,
		DelLayers:  c.Remove,
		DelPending: c.Settled,
		DelDead:    c.Purged,
	})
}

// A removal is an index file that nobody needs any more.
type removal struct {
	node node
	id   index.ID
}

func (r *removal) finish(e *Engine) {
	e.loop.removals = append(e.loop.removals, r.id)
	e.startRemovals()
}

func (r *removal) abandon(e *Engine) { e.removeFiles([]index.ID{r.id}) }

// A sweep is the end of a piece of removing.
type sweep struct{ node node }

func (s *sweep) finish(e *Engine) {
	e.loop.sweeping = false
	e.startRemovals()
	if !e.loop.sweeping {
		waiting := e.loop.burials
		e.loop.burials = nil
		for _, x := range waiting {
			x.finish(e)
		}
	}
}

func (s *sweep) abandon(*Engine) {}

// startRemovals removes files, one worker at a time. A file that cannot be
// removed is left to the next GC or start: its id stays dead.
func (e *Engine) startRemovals() {
	l := &e.loop
	if l.sweeping || len(l.removals) == 0 || e.shut.Load() {
		return
	}
	ids := l.removals
	l.removals, l.sweeping = nil, true
	e.workers.Go(func() {
		e.removeFiles(ids)
		s := &sweep{}
		s.node.what, s.node.of = whatDone, s
		e.box.complete(&s.node)
	})
}

func (e *Engine) removeFiles(ids []index.ID) {
	for _, id := range ids {
		err := e.cfg.Segments.Remove(context.WithoutCancel(e.work), indexName(id))
		e.ids.removed(id, err)
		if err != nil {
			e.cfg.Log.Warn("an index file could not be removed", "file", indexName(id).String(), "err", err)
		}
	}
}
