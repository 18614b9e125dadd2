package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/dagstore/dagstore/internal/catalog"
)

// copies looks at the copies that the store keeps: those that records name must
// be there and whole, and others must not be there.
func (v *review) copies() error {
	if v.e.cfg.Copies == nil {
		return nil
	}
	if err := v.e.survey(v.ctx); err != nil {
		return err
	}
	for c, err := range v.e.cfg.Catalog.Copies(v.ctx) {
		if err != nil {
			return err
		}
		r, err := v.e.cfg.Catalog.Get(v.ctx, c.Key)
		if err != nil || r.Kept.ID != c.ID {
			continue // it has gone, or the record is damaged, which is told elsewhere
		}
		if err := v.copy(r); err != nil {
			return err
		}
	}
	for id, err := range v.e.cfg.Copies.Strays(v.ctx) {
		if err != nil {
			return err
		}
		f := Finding{Kind: StrayFile, What: fmt.Sprintf("no record names the copy %08x", id)}
		if v.mend {
			err := v.e.cfg.Copies.Remove(id)
			f.Mended = err == nil
			f.unmended(err)
		}
		if err := v.tell(f, v.ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}

// copy looks at the copy of one shard. To mend it is to forget it: the source has
// the bytes.
func (v *review) copy(r *catalog.Record) error {
	_, lost, err := v.e.keptCopy(r)
	switch {
	case err != nil:
		return v.fault(err)
	case !lost:
		return v.ctx.Err()
	}
	if now, err := v.e.cfg.Catalog.Get(v.ctx, r.Key); err != nil || now.Kept.ID != r.Kept.ID {
		return v.ctx.Err() // given up meanwhile
	}
	f := Finding{Kind: MissingCopy, Key: r.Key, What: fmt.Sprintf("the copy %08x of %d bytes is not there, or not whole", r.Kept.ID, r.Kept.Size)}
	if v.mend {
		err := v.e.forgetCopy(v.ctx, r)
		f.Mended = err == nil
		f.unmended(err)
	}
	return v.tell(f, v.ctx.Err())
}

// forgetCopy forgets a copy that is not there.
func (e *Engine) forgetCopy(ctx context.Context, r *catalog.Record) error {
	c := NewEvict(ctx, r.Key, nil)
	c.copy, c.missing = r.Kept.ID, true
	_, err := e.Wait(c)
	if errors.Is(err, errOtherCopy) {
		return nil
	}
	return err
}
