package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// Candidates gives the indices that may hold a multihash, newest first, until
// yield returns false. It waits, under ctx, until what the last process left is
// found.
func (e *Engine) Candidates(ctx context.Context, mh multihash.Multihash, yield func(index.ID) bool) error {
	select {
	case <-e.recovered:
	default:
		select {
		case <-e.recovered:
		case <-e.closing:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if e.shut.Load() {
		return e.cfg.Closed
	}
	return e.inverted.Candidates(mh, yield)
}

// Cached returns the open shard whose index id is, pinned.
func (e *Engine) Cached(id index.ID) (*local.Handle, bool) { return e.cache.Lookup(id) }

// Handle returns the open shard whose index id is, pinned, opening it if need
// be. The error wraps [shard.ErrUnknown] if no shard has this index any more,
// [shard.ErrBusy] or [shard.ErrFailed] if the shard is not healthy. It waits
// only for an indexing that the opening itself finds to be due.
func (e *Engine) Handle(ctx context.Context, id index.ID, near bool) (*local.Handle, func(), error) {
	if h, ok := e.cache.Lookup(id); ok {
		if near && !h.Local() {
			h.Unpin()
			return nil, nil, fail(h.Key(), shard.OpRead, shard.ErrRemote)
		}
		return h, nil, nil
	}
	key, err := e.Key(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	hold, err := e.Acquire(ctx, key, AcquireOptions{Ready: true, Near: near})
	switch {
	case errors.Is(err, shard.ErrDestroying):
		return nil, nil, fmt.Errorf("%w that is healthy with index %d", shard.ErrUnknown, id)
	case err != nil:
		return nil, nil, err
	}
	defer hold.Close()
	// The shard may have been indexed again meanwhile. Then the handle has
	// another index than was asked for, and that one decides.
	h := hold.Handle()
	if !h.Pin() {
		return nil, nil, fmt.Errorf("%w with index %d", shard.ErrUnknown, id)
	}
	return h, nil, nil
}

// Key returns the shard whose index id is, as far as the catalogue knows, or
// wraps [shard.ErrUnknown].
func (e *Engine) Key(ctx context.Context, id index.ID) (shard.Key, error) {
	key, err := e.cfg.Catalog.Owner(ctx, id)
	if errors.Is(err, catalog.ErrNotFound) {
		return "", fmt.Errorf("%w with index %d", shard.ErrUnknown, id)
	}
	return key, err
}

// A loss is an open shard that proves not to be what was indexed.
type loss struct {
	node node
	key  shard.Key
	id   index.ID
	url  string // where it was opened; "": it does not matter
	err  error

	heard chan struct{} // closed when the loop has done what it asks for; nil: nobody waits
}

// Lost tells the loop that the shard of an open handle may not be what was
// indexed. Its holders may finish. If only the version of the source is another
// one, the next opening holds it against the index; else a shard that nobody
// holds is indexed again at once, and one that is held fails, to be indexed when
// the last holder has gone and somebody asks for it.
func (e *Engine) Lost(h *local.Handle, err error) {
	w := &loss{key: h.Key(), id: h.ID(), url: h.URL(), err: err}
	w.node.what, w.node.of = whatDone, w
	if e.enter() {
		e.box.complete(&w.node)
		e.exit()
	}
}

func (w *loss) finish(e *Engine) {
	en := e.find(w.key)
	if en.loading {
		en.losses = append(en.losses, w)
		return
	}
	defer w.abandon(e)
	defer e.settleDown(en)
	if en.id() != w.id || e.loop.broken != nil {
		return
	}
	if e.strayed(en, w) {
		return
	}
	if s := en.machine.State; s != shard.Available && s != shard.Serving {
		return
	}
	e.cfg.Log.Warn("a shard has to be indexed again", "key", string(w.key), "op", string(shard.OpRead), "err", w.err)
	e.event(en, lifecycle.Lost, cause{err: fail(w.key, shard.OpRead, w.err), lost: true})
	e.settleDown(en)
}

func (w *loss) abandon(*Engine) {
	if w.heard != nil {
		close(w.heard)
	}
}
