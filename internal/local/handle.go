package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// ErrClosed is what a read gives when the cache that the handle was in has
// been closed.
var ErrClosed = errors.New("local: closed")

// The state of a handle is one word: flags, and the number of references. The
// owner has one reference until it drops it, the holders together have one,
// each pin is one.
const (
	stateSevered uint64 = 1 << 63 // reads give shard.ErrDestroyed
	stateClosed  uint64 = 1 << 62 // reads give ErrClosed
	stateDropped uint64 = 1 << 61 // the owner's reference is given back
	stateRefs    uint64 = 1<<32 - 1
)

// A Handle is one shard, open: its source and its index. All its methods may
// be called by any number of goroutines at once. Those that say so need a pin:
// they must be called between a [Handle.Pin] that was true and its Unpin.
type Handle struct {
	// What a read needs comes first, in two lines of the processor's cache: of
	// many open handles few are in it.
	state   atomic.Uint64
	id      index.ID
	near    bool        // the source lies on this machine
	used    atomic.Bool // since the clock's hand last passed
	first   firstIndex  // index, if it has this short way; else nil
	bytes   int64       // of the source
	payload shard.Extent
	plain   plain           // source, if it is a file and no more
	count   func(bytes int) // may be nil
	limits  car.Limits

	key    shard.Key
	url    string
	roots  []cid.Cid
	source source
	index  IndexFile

	confirmed *mount.Stat // how the source is, if it was doubted and found the same

	// Guarded by the lock of the cache that h is in.
	held       int     // accessors
	next, prev *Handle // in the ring of idle ones, nil while not in it

	mu      sync.Mutex // guards what follows, which no read touches
	onClose []func()
	closed  bool
}

// Key returns the key of the shard.
func (h *Handle) Key() shard.Key { return h.key }

// ID returns the number of the indexing that h was opened for.
func (h *Handle) ID() index.ID { return h.id }

// URL returns where the shard lay, by its record, when h was opened.
func (h *Handle) URL() string { return h.url }

// Roots returns all roots in the CAR's header. The caller must not change them.
func (h *Handle) Roots() []cid.Cid { return h.roots }

// Payload returns where the CARv1 lies in the source.
func (h *Handle) Payload() shard.Extent { return h.payload }

// Limits returns what a section of this CAR may ask for.
func (h *Handle) Limits() car.Limits { return h.limits }

// Size returns the size of the source.
func (h *Handle) Size() int64 { return h.bytes }

// Confirmed returns how the source is now, if that is not how it was indexed
// and the source was found to be the same CAR nevertheless; ok says so.
func (h *Handle) Confirmed() (now mount.Stat, ok bool) {
	if h.confirmed == nil {
		return mount.Stat{}, false
	}
	return *h.confirmed, true
}

// Local reports whether the source lies on this machine, so that reads are
// short and reach no network.
func (h *Handle) Local() bool { return h.near }

// Pin keeps the files of h open until Unpin, and reports whether it could. It
// could not when they are closed already, after [Handle.Sever], and after the
// cache was closed; [Handle.Err] then says which. It never blocks.
func (h *Handle) Pin() bool {
	for {
		s := h.state.Load()
		if s&(stateSevered|stateClosed) != 0 || s&stateRefs == 0 {
			return false
		}
		if h.state.CompareAndSwap(s, s+1) {
			return true
		}
	}
}

// Unpin ends a pin. Each Pin that was true is ended exactly once; the last to
// let go closes the files.
func (h *Handle) Unpin() {
	switch s := h.state.Add(^uint64(0)); {
	case s&stateRefs == 0:
		h.close()
	case s&stateRefs == stateRefs:
		panic("local: Unpin without Pin")
	}
}

// Drop is the owner's: it gives back the reference that Open gave. What is
// pinned or held stays open until that ends. A second Drop does nothing. Once
// a handle is in a cache the cache is its owner; use [Cache.Remove].
func (h *Handle) Drop() {
	if h.state.Or(stateDropped)&stateDropped == 0 {
		h.Unpin()
	}
}

// Sever makes every Pin and every read that begins from now on fail with
// [shard.ErrDestroyed]. Reads in progress end in peace, and no file is closed
// by it.
func (h *Handle) Sever() { h.state.Or(stateSevered) }

// files is how many descriptors h has: a source that is not local has none, but
// for two where what is read of it is kept, and neither has a mapped index.
func (h *Handle) files() int {
	if h.Local() {
		return 1
	}
	if _, is := h.source.(*throughSource); is {
		return 2
	}
	return 0
}

// shut makes every Pin and every read from now on fail with ErrClosed.
func (h *Handle) shut() { h.state.Or(stateClosed) }

// Err says why h cannot be pinned or read: [shard.ErrDestroyed] after Sever,
// [ErrClosed] after the cache or the handle was closed, nil if it can be.
func (h *Handle) Err() error {
	switch s := h.state.Load(); {
	case s&stateSevered != 0:
		return shard.ErrDestroyed
	case s&stateClosed != 0 || s&stateRefs == 0:
		return ErrClosed
	}
	return nil
}

// OnClose has f called once the files of h are closed, by whoever closes them
// and often a reader, so f must not block. If they are closed already, f is
// called at once. Functions are called in the order in which they came.
func (h *Handle) OnClose(f func()) {
	h.mu.Lock()
	if !h.closed {
		h.onClose = append(h.onClose, f)
		h.mu.Unlock()
		return
	}
	h.mu.Unlock()
	f()
}

// close runs once, when the last reference is gone. The files were only read,
// so that what their Close has to say is of no use to anybody.
func (h *Handle) close() {
	_ = h.index.Close()
	_ = h.source.close()
	h.mu.Lock()
	h.closed = true
	hooks := h.onClose
	h.onClose = nil
	h.mu.Unlock()
	for _, f := range hooks {
		f()
	}
}

// Find is [index.Index.Find] of the shard's index. It needs a pin.
func (h *Handle) Find(dst []index.Position, mh multihash.Multihash, limit int) ([]index.Position, error) {
	if err := h.Err(); err != nil {
		return dst, err
	}
	return h.index.Find(dst, mh, limit)
}

// First returns the first of the positions that Find gives, which is the one of
// the lowest offset; ok says that there is one. It needs a pin.
func (h *Handle) First(mh multihash.Multihash) (p index.Position, ok bool, err error) {
	if err := h.Err(); err != nil {
		return p, false, err
	}
	if h.first != nil {
		return h.first.First(mh)
	}
	var room [1]index.Position
	all, err := h.index.Find(room[:0], mh, 1)
	if err != nil || len(all) == 0 {
		return p, false, err
	}
	return all[0], true, nil
}

// ReadAt reads into p from off in the source, counted from the first byte of
// the file. It needs a pin. Fewer bytes than len(p) come with an error:
// [io.EOF] at the end of the source; [shard.ErrChanged] if the source ends
// before the size at which it was indexed, or is another version by now;
// [shard.ErrSource] if it cannot be read; ctx's own. A local source is read
// without heed to ctx once the read has begun.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.Err(); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	n, err := h.source.readAt(ctx, p, off)
	if h.count != nil {
		h.count(n)
	}
	return n, err
}

// Stream reads n bytes from off on, in order: for a source that is not local
// this is one request. Its errors are those of ReadAt, and io.EOF comes only
// after n bytes or at the end of the source. Stream needs no pin: each Read
// pins for itself, so that a slow consumer keeps no file open. The stream is
// for one goroutine, which must close it.
func (h *Handle) Stream(ctx context.Context, off, n int64) (io.ReadCloser, error) {
	if !h.Pin() {
		return nil, h.Err()
	}
	defer h.Unpin()
	if off < 0 {
		return nil, fmt.Errorf("%w: read at negative offset %d", shard.ErrSource, off)
	}
	n = max(0, min(n, h.Size()-off))
	if kept, ok := h.source.(*throughSource); ok && n > 0 {
		return &throughStream{kept.kept.Stream(ctx, off, n, kept.stream), h}, nil
	}
	far, ok := h.source.(*rangeSource)
	if !ok || n == 0 { // no request is made for no bytes
		return &fileStream{ctx: ctx, h: h, off: off, end: off + n}, nil
	}
	r, err := far.stream(ctx, off, n)
	if err != nil {
		return nil, err
	}
	return &guardedStream{ReadCloser: r, h: h}, nil
}

// Index returns the shard's index. Unlike [Handle.Find] it needs no pin: each
// of its calls pins for itself, and gives the error of [Handle.Err] when that
// cannot be.
func (h *Handle) Index() index.Index { return pinnedIndex{h} }
