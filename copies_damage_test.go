package dagstore

import (
	"errors"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// A copy of which a read has met a block that is not what its CID says is made again,
// once, if its source still has the same version: else it is read on.
func TestCopyWithAFlippedBit(t *testing.T) {
	const blocks, size = 100, 1000
	for name, c := range map[string]struct {
		inCAR, changed, down, tight bool
		fetched                     int64 // in all
		good                        bool  // in the end
	}{
		"here":                          {fetched: 2, good: true},
		"in the CAR":                    {inCAR: true, fetched: 2},
		"here, and the source has gone": {down: true, fetched: 1},
		"here, and it has another CAR":  {changed: true, fetched: 1},
		"here, and there is no space":   {tight: true, fetched: 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			data := cartest.RandomV1(1, blocks, size)
			bad := len(data) - 50*(size+38) + 500
			if c.tight {
				r.cfg.Copies.Quota = int64(len(data)+4095) / 4096 * 4096
				r.cfg.Copies.High, r.cfg.Copies.Low = 1, 1
			}
			far := r.elsewhere()
			if c.inCAR {
				data[bad] ^= 1
			}
			r.register("a", r.putBytes("a.car", data), &RegisterOptions{Serve: shard.Copy})
			r.await("a", shard.Available)
			if !c.inCAR {
				path := r.copyPath("a")
				r.stop()
				r.flip(path, bad)
				r.open()
			}
			switch {
			case c.down:
				far.set(func() { far.down = errGone })
			case c.changed:
				r.putBytes("a.car", cartest.RandomV1(2, blocks, size))
			}
			ask := func() (wrong int) {
				a := r.acquire("a")
				defer a.Close()
				for n := range blocks {
					want := cartest.RandomBlock(1, n, size)
					got, err := a.Blockstore().Get(r.ctx(), want.CID)
					var fault *shard.Fault
					switch {
					case errors.As(err, &fault) && fault.Kind == shard.BadHash:
						wrong++
					case err != nil:
						t.Fatal(err)
					case string(got.RawData()) != string(want.Data):
						t.Fatalf("block %d has other bytes", n)
					}
				}
				return wrong
			}
			stats := far.stats.Load()
			if wrong := ask(); wrong != 1 {
				t.Fatalf("%d blocks are damaged", wrong)
			}
			r.until("the source was asked", func() bool { return far.stats.Load() > stats })
			r.until("it is made again, if it is to be", func() bool {
				wrong := ask()
				return far.bytes.Load() >= c.fetched*int64(len(data)) && (wrong == 0) == c.good
			})
			for range 5 {
				if wrong := ask(); (wrong == 0) != c.good {
					t.Errorf("%d blocks are damaged", wrong)
				}
			}
			if n := far.bytes.Load(); n != c.fetched*int64(len(data)) {
				t.Errorf("%d bytes of %d came; the source was asked %d times", n, len(data), far.stats.Load()-stats)
			}
			r.kept("a", int64(len(data)))
		})
	}
}
