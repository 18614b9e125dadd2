package copies

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

// TestQuotaIsNeverExceeded has many fill at once, break off and go on, while copies go.
func TestQuotaIsNeverExceeded(t *testing.T) {
	disk := vfstest.NewDisk()
	faults := vfstest.Wrap(disk)
	need := make(chan struct{}, 1)
	k := New(Config{FS: faults, Dir: "store/copies", Quota: quota, Least: 1, Now: time.Now, Need: func() {
		select {
		case need <- struct{}{}:
		default:
		}
	}})
	if _, err := k.Restore(t.Context(), list(nil)); err != nil {
		t.Fatal(err)
	}
	over := 0
	faults.Arm(vfstest.Op.Writes, func(n int, _ vfstest.Op) error {
		if n%8 > 0 {
			return nil
		}
		if sum, _ := onDisk(disk); sum > quota {
			over++
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-need:
				for {
					if _, err := k.Yield(false); err != nil {
						t.Error(err)
					}
					if n, err := evict(k); err != nil {
						t.Error(err)
					} else if n == 0 {
						if n, err := k.Yield(true); n == 0 && err == nil {
							k.NoMore(nil)
							break
						}
					}
				}
			case <-ctx.Done():
				return
			}
		}
	})
	var workers sync.WaitGroup
	made := make([]int, 8)
	for w := range 8 {
		workers.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range 100 {
				size := 1 + rng.Int64N(4*block)
				if err := waitAndFill(t.Context(), k, uint32(1+w*1000+i), size, rng); err != nil {
					t.Errorf("worker %d, copy %d: %v", w, i, err)
					return
				}
				made[w]++
			}
		})
	}
	workers.Wait()
	cancel()
	wg.Wait()
	if over > 0 {
		t.Errorf("%d times more was on disk than may be", over)
	}
	sum, files := onDisk(disk)
	if s := k.Stats(); s.Used != sum || s.Waiting > 0 {
		t.Errorf("%+v; on disk are %d bytes in %v", s, sum, strings.Join(files, " "))
	}
	if resumed.Load() == 0 {
		t.Error("none was gone on with")
	}
	longtest.Figure(t, "%d copies through a quota of 10 blocks, %d times gone on with one", len(made)*made[0], resumed.Load())
}

// resumed is how often a copy was gone on with.
var resumed atomic.Int64

// waitAndFill makes a copy as the engine does: it asks, waits, and, if there is
// no space to grow into, gives up what it has and asks for more. If it is known how
// long it is, it breaks off now and then, and goes on with what there is.
func waitAndFill(ctx context.Context, k *Keeper, id uint32, size int64, rng *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	ask, say, breaks := int64(block), int64(-1), 0
	o := Origin{Key: fmt.Sprint(id)}
	if rng.IntN(2) == 0 {
		ask, say, breaks = size, size, rng.IntN(3)
		o.Version = "1"
	}
	for try := uint32(0); ; try++ {
		have := int64(0)
		if say >= 0 {
			have, ask = k.Remnant(o, size)
		}
		s, err := waits(ctx, k, ask)
		if err != nil {
			return err
		}
		var f *Fill
		if have > 0 {
			if f, err = k.Resume(o, size, s); f != nil {
				resumed.Add(1)
			}
		} else {
			f, err = k.Begin(id+try*100_000, o, say, s)
		}
		if err != nil {
			return err
		}
		if f == nil {
			continue // it has gone
		}
		end := size
		if breaks > 0 {
			end = rng.Int64N(size)
		}
		for left := end - f.Size(); left > 0 && err == nil; left -= 1000 {
			err = f.Write(ctx, make([]byte, min(left, 1000)))
		}
		if breaks > 0 && err == nil {
			breaks--
			if err := f.Keep(); err != nil {
				return err
			}
			continue
		}
		if err == nil {
			err = f.Commit()
		}
		if err == nil {
			k.Named(f.ID(), false, time.Now())
			return nil
		}
		if err := f.Drop(); err != nil {
			return err
		}
		if !errors.Is(err, ErrCrowded) {
			return err
		}
		ask = min(2*ask, quota)
	}
}

// waits waits for space.
func waits(ctx context.Context, k *Keeper, ask int64) (*Space, error) {
	type grant struct {
		s   *Space
		err error
	}
	told := make(chan grant, 1)
	a := k.Queue(ask, func(s *Space, err error) { told <- grant{s, err} })
	select {
	case g := <-told:
		return g.s, g.err
	case <-ctx.Done():
		a.Leave()
		return nil, ctx.Err()
	}
}
