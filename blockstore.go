package dagstore

import (
	"context"
	"errors"
	"fmt"
	"iter"

	blockformat "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/blocks"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/layers"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/shard"
)

// A Blockstore reads blocks out of shards. It has the method set of boxo's
// blockstore.Blockstore, Viewer and AllKeysChanWithErrer, and may be used by
// many goroutines at once. It needs no closing.
//
// Every block is hashed and compared with its CID before anybody sees it. A
// block that does not match, or cannot be read, is looked for in the next
// shard that has it; only if none is left does the call give the first error,
// which wraps a [shard.Error]. A block that no shard has gives
// ipld/format.ErrNotFound. Identity CIDs are answered from themselves.
type Blockstore struct {
	_      noCopy
	reader blocks.Reader
	opts   blocks.Options
	store  *Store
	one    *Accessor // the only shard, if not nil
}

// Blockstore reads from all shards, as they come and go. opts may be nil.
func (s *Store) Blockstore(opts *BlockstoreOptions) *Blockstore {
	b := &Blockstore{reader: *s.reader, store: s}
	if opts != nil {
		b.opts = opts.blocks()
	}
	return b
}

// With returns a blockstore over the same shards as b, or the same one, that
// does as opts says instead of what was said when b was made. opts may be nil.
// b itself is not changed, and ends when it did.
func (b *Blockstore) With(opts *BlockstoreOptions) *Blockstore {
	other := &Blockstore{reader: b.reader, store: b.store, one: b.one}
	if opts != nil {
		other.opts = opts.blocks()
	}
	return other
}

// usable returns why b cannot be used any more, if so.
func (b *Blockstore) usable() error {
	if b.one != nil {
		return b.one.usable()
	}
	return b.store.usable()
}

// keys yields every multihash of the shards that b is over.
func (b *Blockstore) keys(ctx context.Context) iter.Seq2[multihash.Multihash, error] {
	switch {
	case b.one == nil:
		return b.store.allKeys(ctx, b.opts)
	case b.opts.Only != nil && !b.opts.Only(b.one.Key()):
		return func(func(multihash.Multihash, error) bool) {}
	}
	return b.one.allKeys(ctx)
}

func (s *Store) usable() error {
	if s.closed.Load() {
		return ErrClosed
	}
	return nil
}

// BlockstoreOptions is how a Blockstore chooses among shards.
type BlockstoreOptions struct {
	// Only says which shards may be read. Default: all. It must be fast and
	// must not call the store.
	Only func(shard.Key) bool
	// Prefer orders those that have a block: negative if a goes first.
	// Default: open and local, then open, then the newest.
	Prefer func(a, b Candidate) int
	// Unchecked leaves out the hashing. The bytes are then as good as their source.
	Unchecked bool
	// LocalOnly reaches no source that is not on this machine.
	LocalOnly bool
}

// A Candidate is a shard that has the block.
type Candidate struct {
	shard.Location
	Open, Local bool
}

func (o *BlockstoreOptions) blocks() blocks.Options {
	out := blocks.Options{Only: o.Only, Unchecked: o.Unchecked, LocalOnly: o.LocalOnly}
	if prefer := o.Prefer; prefer != nil {
		out.Prefer = func(a, b blocks.Candidate) int { return prefer(Candidate(a), Candidate(b)) }
	}
	return out
}

// Get returns the block of c. The caller must not change its bytes.
func (b *Blockstore) Get(ctx context.Context, c cid.Cid) (blockformat.Block, error) {
	if err := b.usable(); err != nil {
		return nil, err
	}
	data, err := b.reader.Get(ctx, c, b.opts)
	if err != nil {
		return nil, outward(err)
	}
	return blockformat.NewBlockWithCid(data, c)
}

// View calls f with the bytes of c, which f must not change or keep. It copies
// nothing that it need not.
func (b *Blockstore) View(ctx context.Context, c cid.Cid, f func([]byte) error) error {
	if err := b.usable(); err != nil {
		return err
	}
	return outward(b.reader.View(ctx, c, b.opts, f))
}

// GetMany yields the blocks of cids, each once, in the order in which they lie
// and not in that of cids; neighbours are read together. A block that cannot
// be had comes as a [*BlockError] and without ending the loop.
func (b *Blockstore) GetMany(ctx context.Context, cids []cid.Cid) iter.Seq2[blockformat.Block, error] {
	return func(yield func(blockformat.Block, error) bool) {
		if err := b.usable(); err != nil {
			yield(nil, err)
			return
		}
		for found, err := range b.reader.Many(ctx, cids, b.opts) {
			var block blockformat.Block
			if err == nil {
				block, err = blockformat.NewBlockWithCid(found.Data, found.CID)
			} else {
				err = &BlockError{CID: found.CID, Err: outward(err)}
			}
			if !yield(block, err) {
				return
			}
		}
	}
}

// A BlockError is why [Blockstore.GetMany] could not give one of its blocks.
type BlockError struct {
	CID cid.Cid // as it was asked for
	Err error
}

// Error names the block and the reason.
func (e *BlockError) Error() string {
	if !e.CID.Defined() {
		return e.Err.Error()
	}
	return "block " + e.CID.String() + ": " + e.Err.Error()
}

// Unwrap returns the reason.
func (e *BlockError) Unwrap() error { return e.Err }

// Has reports whether some shard has c. It reads no CAR.
func (b *Blockstore) Has(ctx context.Context, c cid.Cid) (bool, error) {
	if err := b.usable(); err != nil {
		return false, err
	}
	has, err := b.reader.Has(ctx, c, b.opts)
	return has, outward(err)
}

// GetSize returns the size of the block of c. It reads no CAR, unless the
// index is a bare one that stores no sizes.
func (b *Blockstore) GetSize(ctx context.Context, c cid.Cid) (int, error) {
	if err := b.usable(); err != nil {
		return -1, err
	}
	n, err := b.reader.Size(ctx, c, b.opts)
	if err != nil {
		return -1, outward(err)
	}
	return int(n), nil
}

// AllKeysChan sends every block as a raw CIDv1, perhaps more than once. The keys
// of a shard that cannot be opened are missing: use
// [Blockstore.AllKeysChanWithErr] to know. It ends when ctx does.
func (b *Blockstore) AllKeysChan(ctx context.Context) (<-chan cid.Cid, error) {
	out, _, err := b.AllKeysChanWithErr(ctx)
	return out, err
}

// AllKeysChanWithErr is AllKeysChan with a function that tells, when the
// channel is drained, whether all keys were sent. What one shard lacks keeps
// those of the others from nobody: the error is the first, and says how many
// there were. One goroutine sends, until all is sent or ctx ends; keys are read
// from the indices as they are taken, so their number costs no memory.
func (b *Blockstore) AllKeysChanWithErr(ctx context.Context) (<-chan cid.Cid, func() error, error) {
	if err := b.usable(); err != nil {
		return nil, nil, err
	}
	out := make(chan cid.Cid, 64)
	var failure error // written before out is closed, read after that was seen
	go func() {
		defer close(out)
		failure = outward(b.sendKeys(ctx, out))
	}()
	return out, func() error { return failure }, nil
}

// sendKeys sends what there is, past shards that have nothing to say.
func (b *Blockstore) sendKeys(ctx context.Context, out chan<- cid.Cid) error {
	var first error
	failed := 0
	for mh, err := range b.keys(ctx) {
		switch over := errors.Join(ctx.Err(), b.usable()); {
		case over != nil:
			return over
		case err != nil:
			if failed++; first == nil {
				first = err
			}
			continue
		}
		c := cid.NewCidV1(cid.Raw, append(multihash.Multihash{}, mh...))
		select {
		case out <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if failed > 1 {
		return fmt.Errorf("keys are missing of %d shards, of the first since: %w", failed, first)
	}
	return first
}

// allKeys yields the multihashes of all shards that may be read by opts. Each
// is held while it is read. An error is of one shard, and the others follow it,
// unless ctx has ended or there is no list of shards to be had.
func (s *Store) allKeys(ctx context.Context, opts blocks.Options) iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		filter := &Filter{States: []shard.State{shard.Available, shard.Serving}}
		for info, err := range s.Shards(ctx, filter) {
			if err != nil {
				yield(nil, err)
				return
			}
			if (opts.Only == nil || opts.Only(info.Key)) && !s.keysOf(ctx, info.Key, opts.LocalOnly, yield) {
				return
			}
		}
	}
}

// keysOf yields the multihashes of one shard, and is false when nobody wants
// more.
func (s *Store) keysOf(ctx context.Context, key shard.Key, localOnly bool, yield func(multihash.Multihash, error) bool) bool {
	a, err := s.Acquire(ctx, key, &AcquireOptions{LocalOnly: localOnly})
	switch {
	case errors.Is(err, shard.ErrUnknown), errors.Is(err, shard.ErrDestroying):
		return true // gone meanwhile
	case err != nil:
		return yield(nil, err)
	}
	defer func() { _ = a.Close() }() // which returns nil
	for mh, err := range a.allKeys(ctx) {
		if errors.Is(err, shard.ErrDestroyed) {
			return true // gone under our hands
		}
		if !yield(mh, err) {
			return false
		}
	}
	return true
}

// allKeys yields the multihashes of the shard.
func (a *Accessor) allKeys(context.Context) iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		for r, err := range a.Index().All() {
			if !yield(r.Multihash, err) {
				return
			}
		}
	}
}

// outward turns an error of the parts into one that callers can match.
func outward(err error) error {
	for _, closed := range []error{local.ErrClosed, catalog.ErrClosed, layers.ErrClosed, segment.ErrClosed} {
		if errors.Is(err, closed) {
			return ErrClosed
		}
	}
	return err
}

// Put returns [ErrReadOnly], as do PutMany and DeleteBlock.
func (b *Blockstore) Put(context.Context, blockformat.Block) error { return ErrReadOnly }

// PutMany returns [ErrReadOnly].
func (b *Blockstore) PutMany(context.Context, []blockformat.Block) error { return ErrReadOnly }

// DeleteBlock returns [ErrReadOnly].
func (b *Blockstore) DeleteBlock(context.Context, cid.Cid) error { return ErrReadOnly }

// heldIndex is the index of an accessor, until that is closed.
type heldIndex struct{ a *Accessor }

// Find implements [index.Index].
func (x heldIndex) Find(dst []index.Position, mh multihash.Multihash, limit int) ([]index.Position, error) {
	if err := x.a.usable(); err != nil {
		return dst, err
	}
	dst, err := x.a.hold.Handle().Index().Find(dst, mh, limit)
	return dst, x.a.wrap(err)
}

// All implements [index.Index].
func (x heldIndex) All() iter.Seq2[index.Record, error] {
	return func(yield func(index.Record, error) bool) {
		if err := x.a.usable(); err != nil {
			yield(index.Record{}, err)
			return
		}
		for r, err := range x.a.hold.Handle().Index().All() {
			if !yield(r, x.a.wrap(err)) {
				return
			}
		}
	}
}

// Len implements [index.Index].
func (x heldIndex) Len() int64 { return x.a.hold.Handle().Index().Len() }
