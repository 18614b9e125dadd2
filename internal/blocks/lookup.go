package blocks

import (
	"context"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

const (
	// firstBatch is how many candidates are looked at for one that is open
	// and local before one that is not gets opened. Each further batch is
	// batchGrowth times as large, so that many candidates which all fail cost
	// no more than a few passes over them.
	firstBatch  = 16
	batchGrowth = 4
	// preferBatch is the same where the caller has an opinion.
	preferBatch = 64
)

// A candidate is a shard that may have the block.
type candidate struct {
	id    index.ID
	h     *local.Handle  // pinned; nil if it was not open
	pos   index.Position // the first in h, if found
	found bool
}

// A lookup is one call of a [Reader]. Lookups are pooled: what is allocated
// for one serves the next, of whatever reader, since an accessor that is
// acquired for one block has a reader of its own.
type lookup struct {
	r      *Reader
	ctx    context.Context //nolint:containedctx // that of the call; a lookup ends with it
	opts   Options
	cid    cid.Cid
	mh     multihash.Multihash
	pooled bool // the data may lie in a pooled buffer
	ahead  bool // some of what was read came out of what was read ahead

	candidates []candidate
	batch      int
	more       bool // gather stopped before the candidates ended
	tried      map[index.ID]struct{}
	visited    []index.ID // by all passes
	unknown    []index.ID // by this one: their indices are nobody's
	positions  []index.Position
	collect    func(index.ID) bool // l.take, bound once
	err        error               // the first

	// What a step leaves for the caller.
	id   index.ID
	pos  index.Position
	data []byte
	buf  *buffer

	yield func(shard.Location) bool // of Locate
	limit int                       // of positions to find
	key   shard.Key                 // of the shard they are in

	span    span // what [readSpan] reads, up to spanEnd
	spanEnd int64
}

// A step does what the call is for in one shard that is pinned. It reports
// whether the lookup is over; if it is not, the step has recorded why, and
// the next shard is tried.
type step func(l *lookup, h *local.Handle, c *candidate) (done bool)

var lookups = sync.Pool{New: func() any {
	l := &lookup{mh: make([]byte, 0, 64)}
	l.collect = l.take
	return l
}}

func (r *Reader) lookup(ctx context.Context, opts Options) *lookup {
	l := lookups.Get().(*lookup)
	l.r, l.ctx, l.opts = r, ctx, opts
	return l
}

// begin makes the lookup of c. own says that c holds its data itself.
func (r *Reader) begin(ctx context.Context, c cid.Cid, opts Options) (l *lookup, own bool, err error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	l = r.lookup(ctx, opts)
	l.cid = c
	l.mh = append(l.mh, multihashOf(c)...)
	own = isIdentity(l.mh)
	if len(l.mh) == 0 || own && !l.wholeIdentity() {
		l.end()
		return nil, false, format.ErrNotFound{Cid: c}
	}
	return l, own, nil
}

// end gives l back. What it refers to of the caller's is let go, and so is
// what is still pinned because a function of the caller panicked.
func (l *lookup) end() {
	l.buf.free()
	for _, c := range l.candidates {
		if c.h != nil {
			c.h.Unpin()
		}
	}
	clear(l.candidates)
	*l = lookup{
		mh: l.mh[:0], candidates: l.candidates[:0], positions: l.positions[:0], visited: l.visited[:0], unknown: l.unknown[:0], collect: l.collect,
	}
	lookups.Put(l)
}

// each takes do through the shards that may have l.mh until it is done. Its
// errors are those of a [Reader].
func (l *lookup) each(do step) error {
	if l.r.one != nil {
		if l.tryOne(do) {
			return nil
		}
		return l.failure(nil)
	}
	for again := 0; ; again++ {
		before := len(l.unknown)
		done, err := l.pass(do)
		switch {
		case done:
			return nil
		case l.ctx.Err() != nil:
			return l.ctx.Err()
		case len(l.unknown) == 0, len(l.unknown) == before && again > 0, again == mostAgain:
			return l.failure(err)
		}
	}
}

// mostAgain is how often a lookup begins again because an index was replaced
// between being found and being asked: what it has found is nobody's any more,
// and what has taken its place was nobody's yet. Each time another has to be.
const mostAgain = 16

// pass goes once through the candidates, but for those that were asked before.
func (l *lookup) pass(do step) (done bool, err error) {
	l.unknown = l.unknown[:0]
	clear(l.tried)
	if len(l.visited) > 0 {
		l.exclude(l.visited)
	}
	l.batch = firstBatch
	if l.opts.Prefer != nil {
		l.batch = preferBatch
	}
	for {
		err = l.gather()
		done = l.tryAll(do)
		if done || err != nil || !l.more || l.ctx.Err() != nil {
			return done, err
		}
		l.exclude(l.visited)
		l.exclude(l.unknown)
		l.batch *= batchGrowth
	}
}

// exclude has ids not gathered again in this pass.
func (l *lookup) exclude(ids []index.ID) {
	if l.tried == nil {
		l.tried = make(map[index.ID]struct{})
	}
	for _, id := range ids {
		l.tried[id] = struct{}{}
	}
}

func (l *lookup) tryOne(do step) bool {
	if l.yield == nil {
		return l.pinOne(do)
	}
	return l.deliver(func() { l.pinOne(do) })
}

func (l *lookup) pinOne(do step) bool {
	h := l.r.one
	switch {
	case l.opts.Only != nil && !l.opts.Only(h.Key()):
		return false
	case !h.Pin():
		l.fail(h, h.Err())
		return false
	}
	defer h.Unpin()
	l.candidates = append(l.candidates[:0], candidate{id: h.ID()})
	return l.run(do, h, &l.candidates[0])
}

// gather collects the next batch of candidates, those that are open pinned
// and confirmed.
func (l *lookup) gather() error {
	l.more = false
	err := l.r.cfg.Candidates(l.ctx, l.mh, l.collect)
	l.order()
	return err
}

// take is called with each candidate, newest first, while the inverted index
// holds its snapshot: nothing is opened or read here. For Locate nothing is
// pinned either, since code of the caller runs in between.
func (l *lookup) take(id index.ID) bool {
	if _, again := l.tried[id]; again {
		return true
	}
	if len(l.candidates) == l.batch {
		l.more = true
		return false
	}
	l.candidates = append(l.candidates, candidate{id: id})
	if l.r.cfg.Cached == nil || l.yield != nil {
		return true
	}
	h, ok := l.r.cfg.Cached(id)
	if !ok {
		return true
	}
	c := &l.candidates[len(l.candidates)-1]
	c.h = h
	if l.opts.Only != nil && !l.opts.Only(h.Key()) || !l.confirm(h, c) {
		h.Unpin()
		l.candidates = l.candidates[:len(l.candidates)-1]
		return true
	}
	// One that can be read at once is as good as any. Of those that were
	// passed by none is closer. Once such a one has failed, others are
	// collected as well: a pass for each would be many.
	if h.Local() && l.opts.Prefer == nil && l.batch == firstBatch {
		l.more = true
		return false
	}
	return true
}

// confirm asks the index of h for the first position. It is true also if the
// index cannot be asked: the step will find out why.
func (l *lookup) confirm(h *local.Handle, c *candidate) bool {
	var err error
	c.pos, c.found, err = h.First(l.mh)
	return err != nil || c.found
}

// order sorts the batch by the caller's preference or ours.
func (l *lookup) order() {
	if len(l.candidates) < 2 {
		return
	}
	prefer := l.opts.Prefer
	if prefer == nil {
		slices.SortStableFunc(l.candidates, func(a, b candidate) int { return a.distance() - b.distance() })
		return
	}
	type ranked struct {
		candidate
		public Candidate // made once: the key may have to come from the disk
	}
	all := make([]ranked, len(l.candidates))
	for i := range all {
		all[i] = ranked{l.candidates[i], l.public(&l.candidates[i])}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return prefer(a.public, b.public) })
	for i := range all {
		l.candidates[i] = all[i].candidate
	}
}

func (c *candidate) distance() int {
	switch {
	case c.h == nil:
		return 2
	case !c.h.Local():
		return 1
	default:
		return 0
	}
}

func (l *lookup) public(c *candidate) Candidate {
	loc := shard.Location{Offset: -1, Size: -1}
	if c.found {
		loc = shard.Location{Offset: c.pos.Offset, Size: c.pos.Size, Head: c.pos.Head}
	}
	if c.h != nil {
		loc.Shard = c.h.Key()
		return Candidate{Location: loc, Open: true, Local: c.h.Local()}
	}
	if l.r.cfg.Owner != nil {
		loc.Shard, _ = l.r.cfg.Owner(l.ctx, c.id) // unknown: it has no name to be preferred for
	}
	return Candidate{Location: loc}
}

// tryAll takes do through the batch, and unpins all of it.
func (l *lookup) tryAll(do step) (done bool) {
	for i := range l.candidates {
		c := &l.candidates[i]
		if !done && l.ctx.Err() == nil {
			done = l.visit(do, c)
		}
		if c.h != nil {
			c.h.Unpin()
		}
		if n := len(l.unknown); !done && (n == 0 || l.unknown[n-1] != c.id) {
			l.visited = append(l.visited, c.id)
		}
		*c = candidate{}
	}
	l.candidates = l.candidates[:0]
	return done
}

// visit is try, or what Locate makes of it.
func (l *lookup) visit(do step, c *candidate) bool {
	if l.yield == nil {
		return l.try(do, c)
	}
	return l.deliver(func() { l.try(do, c) })
}

// try runs do on one candidate. It opens one that is not, and unpins it.
func (l *lookup) try(do step, c *candidate) bool {
	if c.h != nil {
		return l.run(do, c.h, c)
	}
	only := l.opts.Only
	if only != nil && l.r.cfg.Owner != nil {
		key, err := l.r.cfg.Owner(l.ctx, c.id)
		if err != nil {
			l.failOpen(c, key, err)
			return false
		}
		if !only(key) {
			return false
		}
	}
	h, release, err := l.r.cfg.Open(l.ctx, c.id, l.opts.LocalOnly)
	if err != nil {
		l.failOpen(c, "", err)
		return false
	}
	if release != nil {
		defer release()
	}
	defer h.Unpin()
	if only != nil && !only(h.Key()) {
		return false
	}
	return l.run(do, h, c)
}

func (l *lookup) run(do step, h *local.Handle, c *candidate) bool {
	if l.opts.LocalOnly && !h.Local() {
		l.fail(h, shard.ErrRemote)
		return false
	}
	return do(l, h, c)
}
