package blocks

import (
	"cmp"
	"context"
	"iter"
	"math"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/local"
)

const (
	// manyBatch is how many CIDs are looked up before the first is read.
	manyBatch = 1024
	// runGap is the longest way between two blocks that are read together:
	// reading over it costs less than another request.
	runGap = 64 << 10
	// runLength is the most that is read at once, unless one block is longer.
	runLength = 4 << 20
)

// A Block is a CID and its bytes.
type Block struct {
	CID  cid.Cid
	Data []byte
}

// Many yields the blocks of cids, each once however often it is asked for, in
// the order in which they lie: those of up to 1,024 CIDs are looked up, and
// what lies close together is read at once. A block that cannot be had comes
// with its CID and its error, and the loop goes on; when ctx ends it does not.
// Data is the caller's.
func (r *Reader) Many(ctx context.Context, cids []cid.Cid, opts Options) iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		m := many{r: r, ctx: ctx, opts: opts, yield: yield}
		seen := make(map[cid.Cid]struct{}, len(cids))
		for batch := range slices.Chunk(cids, manyBatch) {
			if !m.batch(batch, seen) {
				return
			}
		}
	}
}

type many struct {
	r     *Reader
	ctx   context.Context //nolint:containedctx // that of the call, with which it ends
	opts  Options
	yield func(Block, error) bool

	groups []*group // by shard, in the order in which they were found
}

// A group is the blocks that are read from one shard.
type group struct {
	id    index.ID
	items []item
}

type item struct {
	cid cid.Cid
	pos index.Position
}

// end is where the section ends in the payload.
func (it *item) end() int64 { return it.pos.Offset + int64(it.pos.Head) + it.pos.Size }

// joins reports whether the section may be read together with others: its
// length is known, and not so large, or so wrong, that it has to go alone.
func (it *item) joins() bool {
	p := it.pos
	return p.Head > 0 && p.Head <= runLength && p.Size >= 0 && p.Size <= runLength &&
		p.Offset >= 0 && p.Offset <= math.MaxInt64-3*runLength
}

// batch is false when the loop is over.
func (m *many) batch(cids []cid.Cid, seen map[cid.Cid]struct{}) bool {
	m.groups = m.groups[:0]
	byID := make(map[index.ID]*group)
	for _, c := range cids {
		if _, again := seen[c]; again {
			continue
		}
		seen[c] = struct{}{}
		if !m.locate(c, byID) {
			return false
		}
	}
	for _, g := range m.groups {
		slices.SortFunc(g.items, func(a, b item) int { return cmp.Compare(a.pos.Offset, b.pos.Offset) })
		for rest := g.items; len(rest) > 0; {
			n := run(rest)
			if !m.run(g.id, rest[:n]) {
				return false
			}
			rest = rest[n:]
		}
	}
	return true
}

// locate puts c into the group of a shard that has it. What needs no shard,
// or is in none, is yielded at once.
func (m *many) locate(c cid.Cid, byID map[index.ID]*group) bool {
	if p, ok := m.r.place(m.ctx, c, &m.opts, nil); ok {
		m.add(p.h.ID(), item{cid: c, pos: p.pos}, byID)
		p.h.Unpin()
		return true
	}
	l, own, err := m.r.begin(m.ctx, c, m.opts)
	if err != nil {
		return m.one(Block{CID: c}, err)
	}
	defer l.end()
	if own {
		return m.one(Block{CID: c, Data: append([]byte{}, l.identity()...)}, nil)
	}
	if err := l.each(confirm); err != nil {
		return m.one(Block{CID: c}, err)
	}
	m.add(l.id, item{cid: c, pos: l.pos}, byID)
	return true
}

// add puts a block into the group of its shard.
func (m *many) add(id index.ID, it item, byID map[index.ID]*group) {
	g := byID[id]
	if g == nil {
		g = &group{id: id}
		byID[id] = g
		m.groups = append(m.groups, g)
	}
	g.items = append(g.items, it)
}

// run is how many of items, which are sorted, are read at once.
func run(items []item) int {
	first := &items[0]
	if !first.joins() {
		return 1
	}
	end := first.end()
	for i := range items[1:] {
		it := &items[i+1]
		if !it.joins() || it.pos.Offset-end > runGap || max(end, it.end())-first.pos.Offset > runLength {
			return i + 1
		}
		end = max(end, it.end())
	}
	return len(items)
}

// run reads items at once and yields them. Whatever does not come out right
// is read again by itself, with everything that Get does about failures.
func (m *many) run(id index.ID, items []item) bool {
	var span span
	if len(items) > 1 {
		span = m.read(id, items)
		defer span.buf.free()
	}
	for i := range items {
		it := &items[i]
		data, ok := m.cut(&span, it)
		var err error
		if !ok {
			data, err = m.r.Get(m.ctx, it.cid, m.opts)
		}
		if !m.one(Block{CID: it.cid, Data: data}, err) {
			return false
		}
	}
	return true
}

// one yields b, and is false when the loop is over.
func (m *many) one(b Block, err error) bool {
	return m.yield(b, err) && (err == nil || m.ctx.Err() == nil)
}

// A span is bytes of the payload of h from off on. The zero span has none.
type span struct {
	h   *local.Handle // not pinned
	off int64
	buf *buffer
}

// read reads from the first of items to the end of the last.
func (m *many) read(id index.ID, items []item) span {
	l := m.r.lookup(m.ctx, m.opts)
	defer l.end()
	l.span.off = items[0].pos.Offset
	for i := range items {
		l.spanEnd = max(l.spanEnd, items[i].end())
	}
	if m.r.one != nil {
		l.tryOne(readSpan)
	} else {
		l.try(readSpan, &candidate{id: id})
	}
	return l.span
}

// readSpan fills l.span. What stands in the way is met again, and told of,
// when the blocks are read one by one.
func readSpan(l *lookup, h *local.Handle, _ *candidate) bool {
	if l.spanEnd > payloadSize(h) {
		return true
	}
	buf := newBuffer(int(l.spanEnd - l.span.off))
	if l.readFull(h, buf.b, l.span.off) != nil {
		buf.free()
		return true
	}
	l.span.h, l.span.buf = h, buf
	return true
}

// cut copies a block out of a span, if it is there and good.
func (m *many) cut(s *span, it *item) ([]byte, bool) {
	if s.buf == nil {
		return nil, false
	}
	section := s.buf.b[it.pos.Offset-s.off : it.end()-s.off]
	data := section[it.pos.Head:]
	if !isSHA256(multihashIn(it.cid)) || !fits(s.h, it.pos) || !isOf(section, it.pos, it.cid.KeyString(), m.opts.Unchecked) {
		l := m.r.lookup(m.ctx, m.opts)
		defer l.end()
		l.cid = it.cid
		l.mh = append(l.mh, multihashOf(it.cid)...)
		var err error
		if data, err = l.check(s.h, it.pos, section); err != nil {
			return nil, false
		}
	}
	m.r.count(len(data))
	return append(make([]byte, 0, len(data)), data...), true
}
