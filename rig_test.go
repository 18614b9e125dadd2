package dagstore

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A rig is a store on a disk that can crash and fail, over CARs in memory.
type rig struct {
	t      *testing.T
	disk   *vfstest.Disk
	faults *vfstest.Faults
	cars   *memmount.Set
	cfg    Config
	window int
	reads  atomic.Int64  // streams that were opened, by any mount
	gate   chan struct{} // if not nil, streams wait for it
	store  *Store
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, disk: vfstest.NewDisk(), cars: &memmount.Set{}, window: indexingWindow}
	r.cfg.Mounts = mount.Registry{
		"mem":  func(url string) (mount.Mount, error) { return r.wrap(r.cars.Open(url)) },
		"file": filemount.Open,
	}
	r.open()
	t.Cleanup(func() { r.store.Close() })
	return r
}

// watched is a mount whose streams are counted, and wait at the gate.
type watched struct {
	mount.FileOpener
	r *rig
}

func (r *rig) wrap(m mount.Mount, err error) (mount.Mount, error) {
	if err != nil {
		return nil, err
	}
	return watched{m.(mount.FileOpener), r}, nil
}

// OpenFile counts a reading when its first byte is read: only who indexes
// the CAR begins there.
func (w watched) OpenFile(ctx context.Context) (mount.File, error) {
	if w.r.gate != nil {
		select {
		case <-w.r.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f, err := w.FileOpener.OpenFile(ctx)
	return counted{f, w.r}, err
}

type counted struct {
	mount.File
	r *rig
}

func (f counted) ReadAt(p []byte, off int64) (int, error) {
	if off == 0 {
		f.r.reads.Add(1)
	}
	return f.File.ReadAt(p, off)
}

func (r *rig) open() {
	r.t.Helper()
	r.faults = vfstest.Wrap(r.disk)
	s, err := open(r.ctx(), r.faults, "store", &r.cfg, r.window)
	if err != nil {
		r.t.Fatal(err)
	}
	r.store = s
}

// reopen stops the store and starts it again.
func (r *rig) reopen() {
	r.t.Helper()
	if err := r.store.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

// crash takes away what was not synced, all of it or some, and starts again.
func (r *rig) crash(percent int, seed uint64) {
	r.t.Helper()
	disk := r.disk.Crash(percent, seed)
	r.store.Close()
	r.disk = disk
	r.open()
}

func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	r.t.Cleanup(cancel)
	return ctx
}

// put makes a CAR of n blocks that depend on seed.
func (r *rig) put(name string, seed uint64, n int) ([]cartest.Block, mount.Mount) {
	blocks := cartest.Random(seed, n, 100)
	return blocks, r.putBytes(name, cartest.RandomV1(seed, n, 100))
}

func (r *rig) putBytes(name string, data []byte) mount.Mount {
	m, err := r.wrap(r.cars.Put(name, data), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

func (r *rig) register(key shard.Key, m mount.Mount, opts *RegisterOptions) {
	r.t.Helper()
	if err := r.store.Register(r.ctx(), key, m, opts); err != nil {
		r.t.Fatalf("register %q: %v", key, err)
	}
}

func (r *rig) acquire(key shard.Key) *Accessor {
	r.t.Helper()
	a, err := r.store.Acquire(r.ctx(), key, nil)
	if err != nil {
		r.t.Fatalf("acquire %q: %v", key, err)
	}
	return a
}

func (r *rig) info(key shard.Key) shard.Info {
	r.t.Helper()
	in, err := r.store.Info(r.ctx(), key)
	if err != nil {
		r.t.Fatalf("info %q: %v", key, err)
	}
	return in
}

// await waits until a shard is in a state.
func (r *rig) await(key shard.Key, want shard.State) {
	r.t.Helper()
	for ctx := r.ctx(); ; time.Sleep(time.Millisecond) {
		in, err := r.store.Info(ctx, key)
		if err == nil && in.State == want {
			return
		}
		if ctx.Err() != nil {
			r.t.Fatalf("%q is %v (%v), never %v", key, in.State, err, want)
		}
	}
}

// has checks that every block is read as it is, from all shards.
func (r *rig) has(blocks []cartest.Block) {
	r.t.Helper()
	bs := r.store.Blockstore(nil)
	for i, b := range blocks {
		got, err := bs.Get(r.ctx(), b.CID)
		if err != nil {
			r.t.Fatalf("block %d: %v", i, err)
		}
		if string(got.RawData()) != string(b.Data) {
			r.t.Fatalf("block %d has other bytes", i)
		}
	}
}

// lacks checks that no block is found in any way.
func (r *rig) lacks(blocks []cartest.Block) {
	r.t.Helper()
	bs := r.store.Blockstore(nil)
	for i, b := range blocks {
		if has, err := bs.Has(r.ctx(), b.CID); has || err != nil {
			r.t.Fatalf("block %d is still there: %v, %v", i, has, err)
		}
		for at, err := range r.store.Find(r.ctx(), b.CID) {
			r.t.Fatalf("block %d is still found: %v, %v", i, at, err)
		}
	}
}

// files counts the index files on the disk.
func (r *rig) files() int {
	n := 0
	dirs, _ := r.disk.List(r.disk.PathJoin("store", "index"))
	for _, d := range dirs {
		names, _ := r.disk.List(r.disk.PathJoin("store", "index", d))
		for _, name := range names {
			if len(name) > 4 && name[len(name)-4:] == ".idx" {
				n++
			}
		}
	}
	return n
}
