package blocks

import (
	"context"
	"time"

	"github.com/ipfs/go-cid"
	format "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// Config is where a [Reader] finds shards. Its functions are called by any
// number of goroutines at once.
type Config struct {
	// Candidates yields the ids that may have mh, newest first, none twice.
	// They need not have it, nor be live. mh is not kept.
	Candidates func(ctx context.Context, mh multihash.Multihash, yield func(index.ID) bool) error

	// Cached returns the handle of id, pinned, if it is open. It must be fast:
	// it is called for every block. May be nil.
	Cached func(id index.ID) (*local.Handle, bool)

	// Open returns the handle of id, pinned, opening it if need be. The reader
	// unpins it, and calls release afterwards unless it is nil. With localOnly
	// it gives shard.ErrRemote rather than reach a source that is not on this
	// machine. An error that wraps shard.ErrUnknown or shard.ErrDestroyed says
	// that id is of no live shard, which is no failure.
	Open func(ctx context.Context, id index.ID, localOnly bool) (h *local.Handle, release func(), err error)

	// Owner returns the key of the shard that id belongs to, or wraps
	// shard.ErrUnknown. It spares opening a shard that [Options.Only] excludes.
	// May be nil.
	Owner func(ctx context.Context, id index.ID) (shard.Key, error)

	// Go runs f in a goroutine beside the caller, with a context that ends when
	// reading has to end, and reports whether it does. It is called with a lock
	// held, so it must not run f itself. nil: what is read ahead is read by
	// those who wait for it.
	Go func(f func(ctx context.Context)) bool

	// Stall gives up what is read beside callers when no byte of it comes for
	// so long. 0: it is never given up.
	Stall time.Duration

	// Read is told of each block that was read and found good. It must not
	// block. May be nil.
	Read func(bytes int)

	// Fault is told of damage in a CAR, once by each read that meets it. It
	// must not block. May be nil.
	Fault func(h *local.Handle, f *shard.Fault)

	// Lost is told that an open shard is not what it was when it was opened:
	// its index proves damaged, or its source has changed. Opening it anew
	// would say so too. It must not block. May be nil.
	Lost func(h *local.Handle, err error)
}

// Options is how a call chooses among shards and what it does with the bytes.
type Options struct {
	// Only says which shards may be read. nil: all.
	Only func(shard.Key) bool
	// Prefer orders those that may have a block: negative if a goes first.
	// nil: those that are open and local, then those that are open, then the rest.
	Prefer func(a, b Candidate) int
	// Unchecked leaves out the hashing. The CID in the section is compared all the same.
	Unchecked bool
	// LocalOnly reaches no source that is not on this machine.
	LocalOnly bool
}

// A Candidate is a shard that has a block, or may have it: of one that is not
// open only the key is known, if that; Offset and Size are -1, Head is 0.
type Candidate struct {
	shard.Location
	Open, Local bool
}

// A Reader reads blocks. It may be used by many goroutines at once, and needs
// no closing. All its methods answer identity CIDs from themselves, and match
// blocks by multihash: version and codec of a CID do not matter.
//
// Their errors: [format.ErrNotFound] if no shard has the block; else the first
// thing that went wrong, which wraps a [*shard.Error], after all other places
// have been tried in vain; or ctx's, as soon as that ends.
type Reader struct {
	*shared
	one *local.Handle // the only shard, if not nil
}

// shared is what a reader and those that were made of it have together.
type shared struct {
	cfg   Config
	ahead ahead
}

// New makes a reader over all shards. Candidates and Open must be set.
func New(cfg Config) *Reader {
	return &Reader{shared: &shared{cfg: cfg, ahead: ahead{begin: cfg.Go, stall: cfg.Stall, most: hashers()}}}
}

// Of returns a reader like r over the one shard that h is open for. It pins h
// for each read; when that cannot be, the read gives what [local.Handle.Err]
// says, wrapped in a [*shard.Error]. Of the configuration it uses Read, Fault and Lost.
// It is a value of two words, so that one for each hold costs nothing.
func (r *Reader) Of(h *local.Handle) Reader { return Reader{shared: r.shared, one: h} }

// Get returns the bytes of c. They are the caller's.
func (r *Reader) Get(ctx context.Context, c cid.Cid, opts Options) ([]byte, error) {
	if data, _, ok := r.quickly(ctx, c, &opts, false); ok {
		return data, nil
	}
	l, own, err := r.begin(ctx, c, opts)
	if err != nil {
		return nil, err
	}
	defer l.end()
	if own {
		return append([]byte{}, l.identity()...), nil
	}
	if err := l.each(readBlock); err != nil {
		return nil, err
	}
	return l.data, nil
}

// View calls f with the bytes of c, which are f's until it returns and must
// not be changed, and returns what f returns. The shard is let go before.
func (r *Reader) View(ctx context.Context, c cid.Cid, opts Options, f func([]byte) error) error {
	if data, buf, ok := r.quickly(ctx, c, &opts, true); ok {
		defer buf.free()
		return f(data)
	}
	l, own, err := r.begin(ctx, c, opts)
	if err != nil {
		return err
	}
	defer l.end()
	if own {
		return f(l.identity())
	}
	l.pooled = true
	if err := l.each(readBlock); err != nil {
		return err
	}
	return f(l.data)
}

// Size returns the size of the block of c. It reads no CAR, unless the index
// stores no sizes; nothing is checked beyond the CID in the section then.
func (r *Reader) Size(ctx context.Context, c cid.Cid, opts Options) (int64, error) {
	if p, ok := r.place(ctx, c, &opts, nil); ok {
		p.h.Unpin()
		if p.pos.Size >= 0 {
			return p.pos.Size, nil
		}
	}
	l, own, err := r.begin(ctx, c, opts)
	if err != nil {
		return 0, err
	}
	defer l.end()
	if own {
		return int64(len(l.identity())), nil
	}
	if err := l.each(readSize); err != nil {
		return 0, err
	}
	return l.pos.Size, nil
}

// Has reports whether a shard's index has c. It reads no CAR. That no shard
// has it is no error; that one which may have it cannot be asked is.
func (r *Reader) Has(ctx context.Context, c cid.Cid, opts Options) (bool, error) {
	if p, ok := r.place(ctx, c, &opts, nil); ok {
		p.h.Unpin()
		return true, nil
	}
	l, own, err := r.begin(ctx, c, opts)
	switch {
	case format.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, err
	}
	defer l.end()
	if own {
		return true, nil
	}
	if err := l.each(confirm); err != nil {
		if format.IsNotFound(err) {
			return false, nil
		}
		return false, err
	}
	return true, nil
}

// Locate yields every place where a block of mh lies, each confirmed in the
// shard's index, those in one shard together and by rising offset. It looks no
// further than yield wants. That there is none is no error. A shard that
// cannot be asked is passed by, and the first such error comes at the end.
func (r *Reader) Locate(ctx context.Context, mh multihash.Multihash, yield func(shard.Location) bool) error {
	l := r.lookup(ctx, Options{})
	defer l.end()
	l.mh = append(l.mh, mh...)
	if isIdentity(l.mh) {
		return nil
	}
	l.yield = yield
	err := l.each(locate)
	if format.IsNotFound(err) {
		return nil
	}
	return err
}

// count tells of a block that was read.
func (r *Reader) count(bytes int) {
	if r.cfg.Read != nil {
		r.cfg.Read(bytes)
	}
}
