package blocks

import (
	"context"
	"testing"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car/cartest"
)

func TestGetAllocates(t *testing.T) {
	s := newStore(t, 10)
	blocks := cartest.Random(1, 64, 1024)
	sh := s.add(cartest.V1(nil, blocks), false)
	s.hold(sh)
	cfg := s.config()
	ids := []index.ID{sh.id} // the fake's own allocations are not the question
	cfg.Candidates = func(_ context.Context, _ multihash.Multihash, yield func(index.ID) bool) error {
		yield(ids[0])
		return nil
	}
	one, all := readerOf(s.hold(sh), Config{}), New(cfg)
	ctx, c := t.Context(), blocks[5].CID
	f := func([]byte) error { return nil }
	for name, m := range map[string]struct {
		most float64
		do   func() error
	}{
		"Get over all":  {1, func() error { _, err := all.Get(ctx, c, Options{}); return err }},
		"Get of one":    {1, func() error { _, err := one.Get(ctx, c, Options{}); return err }},
		"View over all": {0, func() error { return all.View(ctx, c, Options{}, f) }},
		"Size":          {0, func() error { _, err := one.Size(ctx, c, Options{}); return err }},
		"Has":           {0, func() error { _, err := one.Has(ctx, c, Options{}); return err }},
	} {
		n := testing.AllocsPerRun(200, func() {
			if err := m.do(); err != nil {
				t.Fatal(err)
			}
		})
		if n > m.most && !raceEnabled {
			t.Errorf("%s: %v allocations, want %v", name, n, m.most)
		}
	}
}
