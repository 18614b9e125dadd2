package dagstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

// An image is what a machine finds that lost its power before one operation on
// the disk, with what had been acknowledged by then.
type image struct {
	n       int // the operation
	op      string
	percent int // of what was not synced, kept
	seed    uint64
	disk    *vfstest.Disk
	cars    map[string][]byte
	ledger  *ledger
}

func (im *image) String() string {
	return fmt.Sprintf("before operation %d (%s), %d%% of what was not synced kept, seed %d", im.n, im.op, im.percent, im.seed)
}

// check opens the image and holds it against its ledger. again says that it
// crashes once more on the way.
func (im *image) check(again int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if again > 0 { // the disk goes away in the middle of that start
		w := newWorld(im.disk, im.cars)
		faults := vfstest.Wrap(im.disk)
		faults.FailAt(again, true, vfstest.Op.Changes, errors.New("the power is gone"))
		if w.open(faults) == nil {
			_ = w.store.Close()
		}
		im.disk = im.disk.Crash(im.percent, im.seed)
	}
	w := newWorld(im.disk, im.cars)
	err := w.open(im.disk)
	if err != nil {
		return fmt.Errorf("it does not open: %w", err)
	}
	err = errors.Join(w.check(ctx, im.ledger), w.store.Close())
	if err := w.open(im.disk); err != nil {
		return fmt.Errorf("it does not open once more: %w", err)
	}
	err = errors.Join(err, w.nothingElse(ctx), w.store.Close())
	for _, line := range w.log.all() {
		if strings.HasPrefix(line, "a shard could not be indexed key=bad ") {
			continue // as it has to be
		}
		err = errors.Join(err, fmt.Errorf("the store warns: %s", line))
	}
	return err
}

// Between any two operations on the disk the power may fail: nothing that was
// acknowledged is lost, nothing half done is believed, no file is left over.
func TestCrashBetweenAnyTwoOperations(t *testing.T) {
	seed := longtest.Seed()
	rounds := longtest.Runs(1, 32)
	images := make(chan *image, 2*runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for im := range images {
				again := 0
				if im.seed%8 == 0 {
					again = 1 + int(im.seed/8)%40
				}
				if err := im.check(again); err != nil {
					t.Errorf("%v: %v", im, err)
				}
			}
		})
	}
	n := 0
	for i := range uint64(rounds) {
		n += crashes(t, seed+i, images)
	}
	close(images)
	wg.Wait()
	longtest.Figure(t, "%d images of crashes from %d histories, from seed %d: nothing lost, all open", n, rounds, seed)
}

// crashes lives one history and sends an image for each operation, or each
// second one. What is looked at by others waits until a step has ended: the
// patience of its calls is for the store, and not for those who look.
func crashes(t *testing.T, seed uint64, images chan<- *image) (n int) {
	rng := rand.New(rand.NewPCG(seed, 0))
	every := longtest.Runs(2, 1)
	h, err := begin()
	if err != nil {
		t.Fatal(err)
	}
	defer h.end()
	var mu sync.Mutex
	var taken []*image
	h.faults.Arm(vfstest.Op.Changes, func(i int, op vfstest.Op) error {
		if (i+int(seed))%every > 0 {
			return nil
		}
		im := &image{
			n: i, op: op.String(), percent: []int{0, 30, 60, 100}[rng.IntN(4)], seed: rng.Uint64N(1 << 20),
			cars: h.laidOut(), ledger: h.copy(),
		}
		im.disk = h.disk.Crash(im.percent, im.seed)
		mu.Lock()
		defer mu.Unlock()
		taken = append(taken, im)
		return nil
	})
	send := func() {
		mu.Lock()
		list := taken
		taken = nil
		mu.Unlock()
		n += len(list)
		for _, im := range list {
			images <- im
		}
	}
	for _, step := range h.steps() {
		step()
		send()
	}
	h.faults.Disarm()
	send()
	if len(h.errs) > 0 || h.bitten {
		t.Fatalf("a history without faults: %v, %v", errors.Join(append(h.errs, h.bite)...), h.log.all())
	}
	return n
}
