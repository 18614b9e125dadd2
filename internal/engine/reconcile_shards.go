package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/layers"
	"github.com/dagstore/dagstore/shard"
)

// records looks at every shard, by rising key.
func (v *review) records() error {
	for r, err := range v.e.cfg.Catalog.Records(v.ctx, catalog.Filter{}) {
		var damaged *catalog.DamagedError
		switch {
		case errors.As(err, &damaged):
			err = v.damagedRecord(damaged.Key)
		case err == nil:
			err = v.record(r)
		}
		if err != nil {
			return err
		}
	}
	return v.cured(0)
}

// damagedRecord tells of a record that cannot be read. It is never mended: it
// may be of a later version, and what it says is nowhere else.
func (v *review) damagedRecord(key shard.Key) error {
	var damaged *catalog.DamagedError
	if _, err := v.e.cfg.Catalog.Get(v.ctx, key); !errors.As(err, &damaged) {
		return v.ctx.Err() // it was replaced meanwhile
	}
	return v.add(&cure{Finding: Finding{Kind: DamagedRecord, Key: key, What: damaged.Error()}})
}

// record looks at one shard. One that is being indexed, or is to be, is passed
// by.
func (v *review) record(r *catalog.Record) error {
	if r.State != shard.Available || r.Intent != catalog.NoIntent || r.Index.ID == 0 {
		return v.ctx.Err()
	}
	kind, why := v.compare(r)
	switch {
	case v.ctx.Err() != nil:
		return v.ctx.Err()
	case why == nil:
		return nil
	}
	shot, err := v.e.Info(v.ctx, r.Key)
	switch {
	case errors.Is(err, shard.ErrUnknown):
		return nil // destroyed meanwhile
	case err != nil:
		return v.fault(err)
	case shot.State != shard.Available && shot.State != shard.Serving || shot.Record.Index.ID != r.Index.ID:
		return nil // indexed again meanwhile, or about to be
	case kind == 0:
		return v.fault(fail(r.Key, shard.OpInfo, why))
	}
	c := &cure{Finding: Finding{Kind: kind, Key: r.Key, What: why.Error()}}
	if v.mend {
		c.begin(v, r, why)
	}
	return v.add(c)
}

// compare holds an index against its record and the inverted index against
// both. Without an error all agree; with one of no kind it is not known.
func (v *review) compare(r *catalog.Record) (FindingKind, error) {
	id := r.Index.ID
	ix, err := v.e.openRecorded(v.ctx, r.Index)
	if err == nil {
		defer func() { _ = ix.Close() }() // it was only read
		err = ix.Verify(v.ctx)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return MissingIndex, err
	case errors.Is(err, index.ErrDamaged):
		return DamagedIndex, err
	case err != nil:
		return 0, err
	}
	if v.e.inverted.Dead(id) {
		return DeadIndex, fmt.Errorf("index %08x is listed as dead", uint32(id))
	}
	n := 0
	for mh, err := range multihashes(ix) {
		if err != nil {
			return DamagedIndex, err
		}
		if n++; n%1024 == 0 && v.ctx.Err() != nil {
			return 0, v.ctx.Err()
		}
		if len(mh) > 0 && mh[0] == 0 {
			continue // an identity is in no inverted index
		}
		is, err := v.e.inverted.Has(id, mh)
		var damaged *layers.Error
		switch {
		case errors.As(err, &damaged) && errors.Is(err, index.ErrDamaged):
			return 0, nil // it is told of the layer, not of each shard in it
		case err != nil:
			return 0, err
		case !is:
			return NotFound, fmt.Errorf("the inverted index does not find %s in index %08x", mh.B58String(), uint32(id))
		}
	}
	return 0, nil
}

// A cure is a finding that is being mended.
type cure struct {
	Finding
	wait func(ctx context.Context) error // nil: it is not mended
}

// add tells of c when its turn comes. As many are under way as the engine
// reads CARs at once.
func (v *review) add(c *cure) error {
	v.mending = append(v.mending, c)
	if !v.mend {
		return v.cured(0)
	}
	return v.cured(v.e.cfg.Indexings + v.e.cfg.Fetches)
}

// cured waits for the oldest cures until only most are left, and tells.
func (v *review) cured(most int) error {
	for len(v.mending) > most {
		c := v.mending[0]
		v.mending[0] = nil
		v.mending = v.mending[1:]
		if c.wait != nil {
			err := c.wait(v.ctx)
			if v.ctx.Err() != nil {
				return v.ctx.Err()
			}
			c.Mended = err == nil
			c.unmended(err)
		}
		if err := v.tell(c.Finding, nil); err != nil {
			return err
		}
	}
	return nil
}

// begin has r put right.
func (c *cure) begin(v *review, r *catalog.Record, why error) {
	if c.Kind == NotFound {
		c.wait = func(ctx context.Context) error { return v.e.addAgain(ctx, r.Index.ID) }
		return
	}
	done := make(chan error, 1)
	v.e.workers.Go(func() {
		// Were it not there, what is good of the index would be served no more.
		err := v.e.reachable(v.ctx, r.URL)
		if err == nil {
			err = v.e.indexAgain(v.ctx, r, why)
		}
		done <- err
	})
	c.wait = func(ctx context.Context) error {
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// addAgain adds an index to the inverted index of which not all is found.
func (e *Engine) addAgain(ctx context.Context, id index.ID) error {
	if err := e.makePending(ctx, roaring.BitmapOf(uint32(id))); err != nil {
		return err
	}
	ix, err := e.openOwned(ctx, id)
	if err != nil {
		return err
	}
	defer func() { _ = ix.Close() }() // it was only read
	if err := e.inverted.AddAgain(ctx, id, multihashes(ix)); err != nil {
		return err
	}
	// A restart would take what is pending for what it seems to be: known.
	return e.inverted.Sync(ctx)
}

// indexAgain tells the loop that the index of a shard is lost, and waits until
// there is another.
func (e *Engine) indexAgain(ctx context.Context, r *catalog.Record, why error) error {
	w := &loss{key: r.Key, id: r.Index.ID, err: why, heard: make(chan struct{})}
	w.node.what, w.node.of = whatDone, w
	e.box.complete(&w.node)
	select {
	case <-w.heard:
	case <-ctx.Done():
		return ctx.Err()
	}
	_, err := e.Wait(NewRecover(ctx, r.Key, nil)) // joins what is under way
	return err
}

// reachable asks a source whether it is there.
func (e *Engine) reachable(ctx context.Context, url string) error {
	inside, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	told := make(chan error, 1)
	do(e, task[struct{}]{
		ctx: inside, cancel: cancel,
		do: func(g *guard) (none struct{}, err error) {
			defer func() {
				if p := recover(); p != nil {
					err = fmt.Errorf("%w: panic: %v", shard.ErrSource, p)
				}
			}()
			m, err := e.mount(url, g)
			if err == nil {
				_, err = m.Stat(inside)
			}
			return none, err
		},
		end:  func(_ struct{}, err error) { told <- err },
		late: func(struct{}) {},
	})
	err := <-told
	if err != nil {
		return sourceError(err)
	}
	return nil
}
