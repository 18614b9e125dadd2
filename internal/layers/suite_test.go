package layers

import (
	"context"
	"errors"
	"testing"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/index/indextest"
)

// stored is an Inverted whose dead ids are stored when it drops them, which is
// otherwise what the engine does before.
type stored struct {
	*Inverted
	disk *disk
}

func (s stored) Drop(id index.ID) error { return s.disk.destroy(s.Inverted, id) }

func TestInvertedSuite(t *testing.T) {
	d := newDisk()
	var now *Inverted
	closeNow := func() error {
		if now == nil {
			return nil
		}
		err := now.Close(context.Background())
		now = nil
		return err
	}
	open := func() (index.Inverted, error) {
		if err := closeNow(); err != nil {
			return nil, err
		}
		inv, err := d.start(d.config(), nil)
		now = inv
		return stored{inv, d}, err
	}
	// A killed process never closes: what was in its memory is lost.
	crash := func() error { now = nil; return nil }
	if err := errors.Join(indextest.TestInverted(t.Context(), open, crash), closeNow()); err != nil {
		t.Error(err)
	}
}
