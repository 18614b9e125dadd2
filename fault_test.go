package dagstore

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

// A misfortune is a way in which the disk fails.
type misfortune struct {
	name    string
	selects func(vfstest.Op) bool
	err     error
	reads   bool // it may fail a read of what is open
}

var misfortunes = []misfortune{
	{"EIO", vfstest.Op.Changes, syscall.EIO, false},
	{"ENOSPC", vfstest.Op.Changes, syscall.ENOSPC, false},
	{"EMFILE", vfstest.Op.Opens, syscall.EMFILE, false},
	{"short write", vfstest.Op.Writes, vfstest.ErrShort, false},
	{"failed sync", vfstest.Op.Syncs, syscall.EIO, false},
	{"failed read", vfstest.Op.Reads, syscall.EIO, true},
}

// A lot is what one run has to bear: one operation that fails, and perhaps all
// after it.
type lot struct {
	misfortune
	n      int
	sticky bool
}

func (l lot) String() string {
	return fmt.Sprintf("%s at operation %d, sticky %v", l.name, l.n, l.sticky)
}

// Each operation on the disk fails, in each way: calls get a typed error,
// nothing hangs or panics, reads of what is open go on. Afterwards the store is
// healthy, or read-only and says so; started on a sound disk it has all that
// was acknowledged.
func TestEveryOperationFails(t *testing.T) {
	stride := longtest.Runs(47, 1)
	lots := make(chan lot)
	var mu sync.Mutex
	ends := map[string]int{} // how many operations there are; known when one is past the end
	var runs int
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for l := range lots {
				reached, err := l.bear()
				if err != nil {
					t.Errorf("%v: %v", l, err)
				}
				mu.Lock()
				runs++
				if name := fmt.Sprint(l.name, l.sticky); !reached && ends[name] == 0 {
					ends[name] = l.n
				}
				mu.Unlock()
			}
		})
	}
	offset := int(longtest.Seed() % uint64(stride))
	for _, m := range misfortunes {
		for _, sticky := range []bool{false, true} {
			for n := offset; n < 5000; n += stride {
				mu.Lock()
				end := ends[fmt.Sprint(m.name, sticky)]
				mu.Unlock()
				if end > 0 {
					break
				}
				lots <- lot{m, n, sticky}
			}
		}
	}
	close(lots)
	wg.Wait()
	longtest.Figure(t, "%d runs in which the disk failed once or for good; operations in each: %v", runs, ends)
}

// bear lives a history in which the disk fails. It reports whether there was an
// operation that failed.
func (l lot) bear() (reached bool, err error) {
	h, err := begin()
	if err != nil {
		return false, err
	}
	h.faults.FailAt(l.n, l.sticky, l.selects, l.err)
	for _, step := range h.steps() {
		step()
		if err := h.readsOn(l.reads); err != nil {
			h.errs = append(h.errs, err)
		}
	}
	if h.store != nil && !l.sticky {
		h.errs = append(h.errs, h.healthy())
	}
	if l.reads { // an index that cannot be read is lost, whoever notices it
		for key := range h.fates {
			h.mayFail(key)
		}
	}
	h.end()
	reached = h.faults.Disarm() > l.n
	if h.bitten && !reached {
		h.errs = append(h.errs, errors.New("something failed, and not the disk"))
	}
	if l.n%2 == 0 { // and then the machine goes down
		h.disk = h.disk.Crash(100*(l.n/2%2), 0)
	}
	return reached, errors.Join(errors.Join(h.errs...), h.recovers())
}

// readsOn reads from the shard that is held.
func (h *history) readsOn(mayFail bool) error {
	if h.hold == nil {
		return nil // it could not be acquired
	}
	ctx, cancel := h.ctx()
	defer cancel()
	for _, b := range worldRandom(h.held) {
		_, err := h.hold.Blockstore().Get(ctx, b.CID)
		var about *shard.Error
		if err != nil && !(mayFail && errors.As(err, &about)) {
			return fmt.Errorf("a read of an open shard: %w", err)
		}
	}
	return nil
}

// healthy checks that a store takes a new shard, or says that it is read-only.
// One of two may be what the disk fails.
func (h *history) healthy() error {
	first, second := h.register("late", 2000, false), h.register("later", 2001, false)
	if first == nil || second == nil || errors.Is(second, ErrReadOnly) {
		return nil
	}
	return fmt.Errorf("neither healthy nor read-only: %w, then: %w", first, second)
}

// recovers starts the store on a sound disk.
func (h *history) recovers() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w := newWorld(h.disk, h.laidOut())
	if err := w.open(w.disk); err != nil {
		return fmt.Errorf("it does not open: %w", err)
	}
	return errors.Join(w.check(ctx, h.ledger), w.mends(ctx, h.ledger), w.store.Close())
}

// mends has every failed shard indexed again, from a CAR that is good.
func (w *world) mends(ctx context.Context, l *ledger) error {
	for key := range l.fates {
		f, err := w.settled(ctx, key)
		if err != nil {
			return err
		}
		if f.state != shard.Errored {
			continue
		}
		w.lay(fmt.Sprint(f.seed), worldCAR(f.seed))
		if err := w.store.Recover(ctx, key, nil); err != nil {
			return fmt.Errorf("recover %q: %w", key, err)
		}
		if err := w.blocks(ctx, f.seed, true); err != nil {
			return fmt.Errorf("%q after its recovery: %w", key, err)
		}
	}
	return nil
}
