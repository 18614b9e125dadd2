package ftpmount_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount/ftpmount"
)

// A store reads blocks out of a CAR on a server, in place, for many readers at
// once and also after a restart.
func TestInAStore(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{})
	m := r.put("x.car", cartest.RandomV1(1, 200, 500))
	blocks := cartest.Random(1, 200, 500)
	dir := t.TempDir()
	for i := range 2 {
		store, err := dagstore.Open(t.Context(), dir, &dagstore.Config{Mounts: r.reg})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := store.Register(t.Context(), "x", m, nil); err != nil {
				t.Error(err)
			}
		}
		errs := make(chan error)
		const readers = 16
		for first := range readers {
			go func() {
				var fault error
				for j := first; j < len(blocks); j += readers {
					got, err := store.Blockstore(nil).Get(t.Context(), blocks[j].CID)
					if err == nil && !bytes.Equal(got.RawData(), blocks[j].Data) {
						err = errors.New("other bytes")
					}
					fault = errors.Join(fault, err)
				}
				errs <- fault
			}()
		}
		for range readers {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}
