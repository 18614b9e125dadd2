package blocks

import (
	"bytes"
	"errors"
	"testing"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// TestAnotherCopyHidesNoDamage: that a block can be read at once out of another
// shard is no reason to keep quiet about an index that cannot be read.
func TestAnotherCopyHidesNoDamage(t *testing.T) {
	blocks := cartest.Random(1, 3, 500)
	data := cartest.V1(nil, blocks)
	s := newStore(t, 10)
	s.hold(s.add(data, false))
	newest := s.add(data, false)
	s.hold(newest)
	newest.index.err = index.ErrDamaged
	r := s.reader()
	for name, ask := range map[string]func() error{
		"Get": func() error {
			got, err := r.Get(t.Context(), blocks[0].CID, Options{})
			if !bytes.Equal(got, blocks[0].Data) {
				t.Errorf("%d bytes", len(got))
			}
			return err
		},
		"Has":  func() error { _, err := r.Has(t.Context(), blocks[1].CID, Options{}); return err },
		"Size": func() error { _, err := r.Size(t.Context(), blocks[2].CID, Options{}); return err },
	} {
		s.lost = nil
		if err := ask(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if len(s.lost) != 1 || !errors.Is(s.lost[0], shard.ErrIndex) || !errors.Is(s.lost[0], index.ErrDamaged) {
			t.Errorf("%s: %v was told of", name, s.lost)
		}
	}
}
