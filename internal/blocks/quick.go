package blocks

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"unsafe"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// What nearly every call comes to is told apart from the rest here: a shard
// that is open and on this machine, or of which the block was read ahead, whose
// index has the block and its length, and in the CAR, at that place, the very
// CID that was asked for, of SHA2-256, and its data. Whatever else is the case, no more is said than that; the long
// way then begins from nothing, finds out what it is, and tells of it.

// A place is where a block lies in a shard that is pinned.
type place struct {
	h   *local.Handle
	pos index.Position
}

// place finds the block of c in the shard that the long way would read first.
// Its receiver unpins it. room, which may be nil, is made ready right before the
// index is asked.
func (r *Reader) place(ctx context.Context, c cid.Cid, opts *Options, room *room) (p place, ok bool) {
	mh := multihashIn(c)
	switch {
	case !isSHA256(mh), ctx.Err() != nil, opts.Prefer != nil:
		return place{}, false
	case r.one == nil:
		return r.placeAny(ctx, mh, opts, room)
	case opts.Only != nil, !r.near(r.one, opts.LocalOnly), !r.one.Pin():
		return place{}, false
	}
	p.h = r.one
	var err error
	room.ready()
	if p.pos, ok, err = p.h.First(mh); err != nil || !ok {
		p.h.Unpin()
		return place{}, false
	}
	return p, true
}

// near says whether reading h may need no request.
func (r *Reader) near(h *local.Handle, localOnly bool) bool {
	return h.Local() || !localOnly && r.ahead.warm(h)
}

// A finder is place among all shards.
type finder struct {
	place
	r    *Reader
	mh   multihash.Multihash
	only func(shard.Key) bool
	near bool // [Options.LocalOnly]
	room *room
	left int                 // candidates that are looked at
	take func(index.ID) bool // f.candidate, bound once
}

var finders = sync.Pool{New: func() any {
	f := new(finder)
	f.take = f.candidate
	return f
}}

func (r *Reader) placeAny(ctx context.Context, mh multihash.Multihash, opts *Options, room *room) (p place, ok bool) {
	if r.cfg.Cached == nil {
		return place{}, false
	}
	f := finders.Get().(*finder)
	f.r, f.mh, f.only, f.near, f.room, f.left = r, mh, opts.Only, opts.LocalOnly, room, firstBatch
	defer f.end()
	if err := r.cfg.Candidates(ctx, mh, f.take); err != nil || f.h == nil {
		return place{}, false
	}
	p, f.h = f.place, nil
	return p, true
}

// end gives f back, and unpins what nobody took, be it that a function of the
// caller panicked.
func (f *finder) end() {
	if f.h != nil {
		f.h.Unpin()
	}
	f.h, f.r, f.mh, f.only, f.room = nil, nil, nil, nil, nil
	finders.Put(f)
}

// candidate is false when the first shard is found that can be read at once:
// as [lookup.take]. It is false also at one whose index cannot be asked, which
// the long way has to find out and tell of.
func (f *finder) candidate(id index.ID) bool {
	if f.left--; f.left < 0 {
		return false
	}
	h, ok := f.r.cfg.Cached(id)
	if !ok {
		return true
	}
	f.h = h
	damaged := false
	if f.r.near(h, f.near) && (f.only == nil || f.only(h.Key())) {
		var err error
		f.room.ready()
		if f.pos, ok, err = h.First(f.mh); err == nil && ok {
			return false
		}
		damaged = err != nil
	}
	f.h = nil
	h.Unpin()
	return !damaged
}

// quickly is Get and View where nothing is amiss. buf is what the data lies in,
// if it is pooled: its receiver frees it.
func (r *Reader) quickly(ctx context.Context, c cid.Cid, opts *Options, pooled bool) (data []byte, buf *buffer, ok bool) {
	var room *room
	if !pooled {
		room = getRoom()
		defer room.free()
	}
	p, ok := r.place(ctx, c, opts, room)
	if !ok {
		return nil, nil, false
	}
	defer p.h.Unpin()
	if !fits(p.h, p.pos) {
		return nil, nil, false
	}
	if !p.h.Local() {
		return r.readAhead(ctx, c, p, opts, pooled)
	}
	var section []byte
	if n := p.pos.Head + int(p.pos.Size); pooled {
		buf = newBuffer(n)
		section = buf.b
	} else {
		section = room.take(n)
	}
	if !p.h.ReadWhole(ctx, section, p.h.Payload().Offset+p.pos.Offset) || !isOf(section, p.pos, c.KeyString(), opts.Unchecked) {
		buf.free()
		return nil, nil, false
	}
	data = section[p.pos.Head:]
	r.count(len(data))
	return data, buf, true
}

// readAhead is quickly for what was read ahead. The block is checked where it
// lies, and copied once.
func (r *Reader) readAhead(ctx context.Context, c cid.Cid, p place, opts *Options, pooled bool) (data []byte, buf *buffer, ok bool) {
	x, section, good := r.ahead.lend(ctx, p.h, p.pos.Offset, p.pos.Head+int(p.pos.Size), !opts.Unchecked)
	if x == nil {
		return nil, nil, false
	}
	defer r.ahead.giveBack(x)
	if !isOf(section, p.pos, c.KeyString(), opts.Unchecked || good) {
		return nil, nil, false
	}
	from := section[p.pos.Head:]
	if pooled {
		buf = newBuffer(len(from))
		data = buf.b
		copy(data, from)
	} else {
		data = make([]byte, len(from))
		copy(data, from) // right behind it: the compiler then fills no zeros in
	}
	r.count(len(data))
	return data, buf, true
}

// fits says whether a section has a length, and one that is allowed, within
// the payload.
func fits(h *local.Handle, pos index.Position) bool {
	rest := payloadSize(h) - pos.Offset
	if pos.Offset < 0 || pos.Head <= 0 || int64(pos.Head) > rest || pos.Size < 0 || pos.Size > rest-int64(pos.Head) {
		return false // without a sum: it could overflow
	}
	limit := h.Limits().Section
	if limit == 0 {
		limit = car.DefaultSection
	}
	return limit < 0 || int64(pos.Head)+pos.Size <= limit
}

// isOf says whether section is, to the byte, the one of the CID id, whose
// multihash is of SHA2-256.
func isOf(section []byte, pos index.Position, id string, unchecked bool) bool {
	var varint [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(varint[:], uint64(len(id))+uint64(pos.Size))
	if pos.Head != n+len(id) || string(section[:n]) != string(varint[:n]) || string(section[n:pos.Head]) != id {
		return false
	}
	return unchecked || sha256.Sum256(section[pos.Head:]) == [sha256.Size]byte([]byte(id[len(id)-sha256.Size:]))
}

// multihashIn is the multihash of c, as it lies in c: it must not be changed.
func multihashIn(c cid.Cid) multihash.Multihash {
	s := multihashOf(c)
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

func isSHA256(mh multihash.Multihash) bool {
	return len(mh) == 2+sha256.Size && mh[0] == multihash.SHA2_256 && mh[1] == sha256.Size
}
