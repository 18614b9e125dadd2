package dagstore

import (
	"errors"
	"sync"
	"syscall"
	"testing"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/shard"
)

// A copy that was made while an index was confirmed without one, as there was no
// space at first, stays when the index is confirmed.
func TestConfirmingLeavesTheCopyMadeMeanwhile(t *testing.T) {
	payload := cartest.RandomV1(1, 80, 200)
	r := newRig(t)
	r.cfg.Copies = Copies{Quota: int64(len(payload)) + 4095, High: 1, Low: 1}
	far := r.elsewhere()
	r.register("pinned", r.putBytes("pinned.car", cartest.RandomV1(2, 7, 1000)), &RegisterOptions{Serve: shard.Copy, Pin: true})
	m := r.putBytes("a.car", payload)
	r.putBytes("a.car.idx", writeIndex(t, recordsOf(t, payload), true))
	under, release := make(chan error, 1), make(chan struct{})
	let := sync.OnceFunc(func() { close(release) })
	t.Cleanup(let)
	hang := sync.OnceFunc(func() { under <- nil; <-release })
	far.set(func() {
		far.fault = func(at int64) (int, error) {
			if at > 10_000 { // in the CAR, which who adopts its index does not read
				hang()
			}
			return 1000, nil
		}
	})
	r.register("a", m, &RegisterOptions{Serve: shard.Copy, Index: Adopt, IndexURL: "mem:a.car.idx"})
	if err := soon(r, "the reading of the CAR", under); err != nil {
		t.Fatal(err)
	}
	far.set(func() { far.fault = nil })
	if err := errors.Join(r.store.Unpin(r.ctx(), "pinned"), r.store.Evict(r.ctx(), "pinned", nil)); err != nil {
		t.Fatal(err)
	}
	r.acquire("a").Close()
	r.kept("a", int64(len(payload)))
	let()
	r.confirmed("a")
	r.kept("a", int64(len(payload)))
	a := r.acquire("a")
	r.holds(a, cartest.Random(1, 80, 200))
	a.Close()
}

// A slowOpen is a disk on which whoever opens a copy waits at the gate.
type slowOpen struct {
	vfs.FS
	under chan<- error
	gate  <-chan struct{}
}

func (d slowOpen) Unwrap() vfs.FS { return d.FS }

func (d slowOpen) Open(name string, opts ...pebblevfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.Open(name, opts...)
	if d.PathBase(name) == "data" {
		select {
		case d.under <- nil:
		default:
		}
		<-d.gate
	}
	return f, err
}

// Nor is a copy named again that an index was confirmed by, and that has gone
// meanwhile.
func TestConfirmingBringsNoCopyBack(t *testing.T) {
	payload := cartest.RandomV1(1, 80, 200)
	r := newRig(t)
	far := r.elsewhere()
	m := r.putBytes("a.car", payload)
	r.putBytes("a.car.idx", writeIndex(t, recordsOf(t, payload), true))
	under := make(chan error, 1)
	met := sync.OnceFunc(func() { under <- nil })
	far.set(func() {
		far.fault = func(at int64) (int, error) {
			if at > 10_000 {
				met()
				return 0, syscall.ECONNRESET
			}
			return 1000, nil
		}
		far.unversioned = true // so that who confirms does not try again
	})
	r.register("a", m, &RegisterOptions{Serve: shard.Copy, Index: Adopt, IndexURL: "mem:a.car.idx"})
	if err := soon(r, "the first reading of the CAR", under); err != nil {
		t.Fatal(err)
	}
	far.set(func() { far.fault = nil })
	r.acquire("a").Close()
	r.kept("a", int64(len(payload)))
	if !r.info("a").Claimed {
		t.Fatal("it is confirmed")
	}
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	gate := make(chan struct{})
	let := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(let)
	var err error
	if r.store, err = open(r.ctx(), slowOpen{r.disk, under, gate}, "store", &r.cfg, r.bounds); err != nil {
		t.Fatal(err)
	}
	if err := soon(r, "the reading of the copy", under); err != nil {
		t.Fatal(err)
	}
	if err := r.store.Evict(r.ctx(), "a", nil); err != nil {
		t.Fatal(err)
	}
	let()
	r.confirmed("a")
	r.kept("a", 0)
}
