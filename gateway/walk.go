package gateway

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"sync/atomic"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/nodes"
)

const (
	// maxFileDepth is how many nodes may lie between a file and its bytes. Ten, of
	// a hundred parts each, have more bytes than there are.
	maxFileDepth = 64
	// maxWalk is how many blocks all walks together may remember to have seen or
	// to have still before them, at about 50 bytes each.
	maxWalk = 8 << 20
)

var (
	errTooLarge = errors.New("gateway: the DAG has more blocks than can be kept in mind")
	errTooDeep  = fmt.Errorf("%w: a file of too many levels", nodes.ErrBroken)
	errSizes    = fmt.Errorf("%w: a part of a file has another length than its file says", nodes.ErrBroken)
	errNoFile   = fmt.Errorf("%w: a part of a file is no file", nodes.ErrBroken)
)

// A budget is what walks may keep in mind.
type budget struct{ used atomic.Int64 }

// A share is one walk's part of a budget.
type share struct {
	of    *budget
	taken int64
}

// take takes a place for n more blocks.
func (s *share) take(n int) error {
	if s.of.used.Add(int64(n)) > maxWalk {
		s.of.used.Add(-int64(n))
		return errTooLarge
	}
	s.taken += int64(n)
	return nil
}

// end gives all of it back.
func (s *share) end() {
	s.of.used.Add(-s.taken)
	s.taken = 0
}

// A set of CIDs, by a hash of 128 bits whose keys nobody knows: a twelfth of the
// memory that the CIDs would take. It would take 10^13 of them for one chance in a
// trillion that two are taken for one.
type set struct {
	seeds [2]maphash.Seed
	of    map[[2]uint64]uint8
	share *share
}

func newSet(s *share) *set {
	return &set{[2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, make(map[[2]uint64]uint8), s}
}

// mark sets marks of c, and returns those that it had.
func (s *set) mark(c cid.Cid, marks uint8) (had uint8, err error) {
	key := c.KeyString()
	k := [2]uint64{maphash.String(s.seeds[0], key), maphash.String(s.seeds[1], key)}
	had, known := s.of[k]
	if !known {
		if err := s.share.take(1); err != nil {
			return 0, err
		}
	}
	if had&marks != marks {
		s.of[k] = had | marks
	}
	return had, nil
}

// A visitor is told of what a walk meets. A nil function is not told.
type visitor struct {
	// enter says whether to read a block, and all below it (whole) or a part.
	enter func(c cid.Cid, whole bool) (bool, error)
	// block has a block that was read. It must not keep data.
	block func(c cid.Cid, data []byte) error
	// bytes has the next bytes of a file. It must not keep data.
	bytes func(data []byte) error
}

// A walk goes depth first through what is below a block. What is before it is on
// a stack of its own: no DAG is too deep for it.
type walk struct {
	src   *source
	visit visitor
	share *share
	links []cid.Cid // room for those of one block
	node  nodes.PB  // the same for dag-pb
	most  int       // that were on the stack
	known passed    // a block that need not be read again, if it has data
	first *fileNode // what it is, if it is a node of a file
}

// view is the bytes of a block.
func (w *walk) view(ctx context.Context, c cid.Cid, f func([]byte) error) error {
	if w.known.data != nil && w.known.cid.Equals(c) {
		return f(w.known.data)
	}
	return w.src.View(ctx, c, f)
}

// stacked is told how many blocks are still to come.
func (w *walk) stacked(n int) error {
	if n <= w.most {
		return nil
	}
	err := w.share.take(n - w.most)
	w.most = n
	return err
}

// all visits a block and everything below it.
func (w *walk) all(ctx context.Context, root cid.Cid) error {
	return w.each(ctx, root, func(c cid.Cid, data []byte) (err error) {
		w.links, err = nodes.Links(w.links[:0], c.Prefix().Codec, data)
		return err
	})
}

// shards visits the nodes of a HAMT.
func (w *walk) shards(ctx context.Context, root cid.Cid) error {
	return w.each(ctx, root, func(c cid.Cid, data []byte) error {
		w.links = w.links[:0]
		if c.Prefix().Codec != cid.DagProtobuf {
			return nil
		}
		if err := w.node.Parse(data); err != nil {
			return err
		}
		u, err := nodes.ParseUnixFS(w.node.Data)
		if err != nil || u.Kind != nodes.HAMT || u.Fanout == 0 {
			return nil //nolint:nilerr // it ends here
		}
		digits := nodes.ShardDigits(u.Fanout)
		for i := range w.node.Links {
			if l := &w.node.Links[i]; len(l.Name) == digits {
				below, err := l.CID()
				if err != nil {
					return err
				}
				w.links = append(w.links, below)
			}
		}
		return nil
	})
}

// each visits root and what find leaves of it in w.links.
func (w *walk) each(ctx context.Context, root cid.Cid, find func(cid.Cid, []byte) error) error {
	ahead := []cid.Cid{root}
	for len(ahead) > 0 {
		c := ahead[len(ahead)-1]
		ahead = ahead[:len(ahead)-1]
		if w.visit.enter != nil {
			if ok, err := w.visit.enter(c, true); err != nil {
				return err
			} else if !ok {
				continue
			}
		}
		w.links = w.links[:0]
		err := w.view(ctx, c, func(data []byte) error {
			// The links first: a block that cannot be read on is not sent as if it could.
			if err := find(c, data); err != nil {
				return err
			}
			return w.visit.block(c, data)
		})
		if err != nil {
			return err
		}
		if err := w.stacked(len(ahead) + len(w.links)); err != nil {
			return err
		}
		for i := len(w.links) - 1; i >= 0; i-- {
			ahead = append(ahead, w.links[i])
		}
	}
	return nil
}

// A piece is a block of a file: where it begins, and how long its file says it is.
type piece struct {
	cid   cid.Cid
	span  span // length -1: nobody has said
	depth int
}

// everything is a part that leaves nothing out, of whatever length.
var everything = span{0, math.MaxInt64}

// file visits the blocks of a file that have bytes of part, and hands these out.
func (w *walk) file(ctx context.Context, root cid.Cid, part span) error {
	ahead := []piece{{root, span{0, -1}, 0}}
	end := part.off + part.length
	for len(ahead) > 0 {
		p := ahead[len(ahead)-1]
		ahead = ahead[:len(ahead)-1]
		if w.visit.enter != nil {
			whole := p.span.length >= 0 && p.span.off >= part.off && p.span.off+p.span.length <= end || part == everything
			if ok, err := w.visit.enter(p.cid, whole); err != nil {
				return err
			} else if !ok {
				continue
			}
		}
		var below []piece
		err := w.view(ctx, p.cid, func(data []byte) (err error) {
			if below, data, err = w.open(p, data, part); err != nil {
				return err
			}
			if w.visit.bytes == nil || len(data) == 0 {
				return nil
			}
			from, to := max(part.off, p.span.off), min(end, p.span.off+int64(len(data)))
			if from >= to {
				return nil
			}
			return w.visit.bytes(data[from-p.span.off : to-p.span.off])
		})
		if err != nil {
			return err
		}
		if err := w.stacked(len(ahead) + len(below)); err != nil {
			return err
		}
		for i := len(below) - 1; i >= 0; i-- {
			ahead = append(ahead, below[i])
		}
	}
	return nil
}

// open visits a block of a file, and returns which blocks below it have bytes of
// part, and the bytes that it has itself.
func (w *walk) open(p piece, data []byte, part span) (below []piece, own []byte, err error) {
	block := data
	size := int64(len(data))
	if p.cid.Prefix().Codec == cid.DagProtobuf {
		if below, own, size, err = w.parts(p, data, part); err != nil {
			return nil, nil, err
		}
		data = own
	}
	if p.span.length >= 0 && size != p.span.length && w.visit.bytes != nil {
		return nil, nil, errSizes
	}
	if w.visit.block != nil {
		err = w.visit.block(p.cid, block)
	}
	return below, data, err
}

// parts takes a node of a file apart.
func (w *walk) parts(p piece, block []byte, part span) (below []piece, own []byte, size int64, err error) {
	n := w.first
	if n == nil || !p.cid.Equals(w.known.cid) {
		n = &fileNode{pb: w.node}
		if err := n.read(block); err != nil {
			return nil, nil, 0, err
		}
		w.node = n.pb // its memory serves again
	}
	ends, size := n.ends, n.size
	if p.depth == maxFileDepth && len(ends) > 0 {
		return nil, nil, 0, errTooDeep
	}
	from, end := int64(len(n.u.Data)), part.off+part.length
	for i := range ends {
		s := span{p.span.off + from, ends[i] - from}
		from = ends[i]
		if s.off < 0 || s.length > math.MaxInt64-s.off {
			return nil, nil, 0, errSizes
		}
		if part != everything && (s.length == 0 || s.off >= end || s.off+s.length <= part.off) {
			continue
		}
		c, err := n.pb.Links[i].CID()
		if err != nil {
			return nil, nil, 0, err
		}
		below = append(below, piece{c, s, p.depth + 1})
	}
	return below, n.u.Data, size, nil
}

// A fileNode is a dag-pb node of a file, taken apart. Its slices lie in the block.
type fileNode struct {
	pb   nodes.PB
	u    nodes.UnixFS
	ends []int64 // of its parts, from its beginning
	size int64
}

func (n *fileNode) read(block []byte) (err error) {
	if err = n.pb.Parse(block); err != nil {
		return err
	}
	if n.u, err = nodes.ParseUnixFS(n.pb.Data); err != nil {
		return err
	}
	if !n.u.Kind.IsFile() {
		return errNoFile
	}
	n.ends, n.size, err = n.u.Measure(len(n.pb.Links))
	return err
}
