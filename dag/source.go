package dag

import (
	"context"
	"fmt"
	"iter"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// A Source has blocks. A *dagstore.Blockstore is one; so is every blockstore of
// boxo's that hashes what it reads. The bytes of a block that it gives must
// match the CID: nobody in this package looks again. It is used by many
// goroutines at once if what was made with it is.
//
// A Source may have two more of a blockstore's methods, which are used then:
// GetMany, as *dagstore.Blockstore has it, so that a folder's children are read
// in the order in which they lie; and GetSize, so that the size of a file that
// is one raw block is known without reading it.
type Source interface {
	Get(ctx context.Context, c cid.Cid) (blocks.Block, error)
	Has(ctx context.Context, c cid.Cid) (bool, error)
}

// get returns the bytes of c: those within an identity CID without asking.
func get(ctx context.Context, src Source, c cid.Cid) ([]byte, error) {
	if data, ok, err := inline(c); ok {
		return data, err
	}
	b, err := src.Get(ctx, c)
	if err != nil {
		return nil, err
	}
	return b.RawData(), nil
}

// inline returns the data in an identity CID; ok says that c is one.
func inline(c cid.Cid) (data []byte, ok bool, err error) {
	if !c.Defined() || c.Prefix().MhType != multihash.IDENTITY {
		return nil, false, nil
	}
	mh, err := multihash.Decode(c.Hash())
	if err != nil {
		return nil, true, fmt.Errorf("%w: CID %v: %w", ErrUnixFS, c, err)
	}
	return mh.Digest, true, nil
}

// size returns the size of the block of c, if need be by reading it.
func size(ctx context.Context, src Source, c cid.Cid) (int64, error) {
	if s, ok := src.(interface {
		GetSize(context.Context, cid.Cid) (int, error)
	}); ok && c.Prefix().MhType != multihash.IDENTITY {
		n, err := s.GetSize(ctx, c)
		return int64(n), err
	}
	data, err := get(ctx, src, c)
	return int64(len(data)), err
}

// many calls do with each of cids that can be had, in any order, perhaps more
// than once. What cannot is left out: whoever gets it by itself learns why.
func many(ctx context.Context, src Source, cids []cid.Cid, do func(cid.Cid, []byte)) {
	s, ok := src.(interface {
		GetMany(context.Context, []cid.Cid) iter.Seq2[blocks.Block, error]
	})
	if !ok || len(cids) < 2 {
		return
	}
	for b, err := range s.GetMany(ctx, cids) {
		if err == nil {
			do(b.Cid(), b.RawData())
		}
	}
}
