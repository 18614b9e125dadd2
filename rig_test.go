package dagstore

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
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

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, child(dir))
		os.Exit(1)
	}
	goleak.VerifyTestMain(m)
}

// A rig is a store on a disk that can crash and fail, over CARs in memory.
type rig struct {
	t      *testing.T
	disk   *vfstest.Disk
	faults *vfstest.Faults
	cars   *memmount.Set
	cfg    Config
	bounds bounds
	reads  atomic.Int64  // streams that were opened, by any mount
	gate   chan struct{} // if not nil, streams wait for it
	store  *Store
}

// inFiles has every index in a file, for tests that look at them: their CARs
// are small. mixed has those of the worlds in records and in files.
var (
	inFiles = bounds{window: usual.window}
	mixed   = bounds{window: usual.window, inline: 660}
)

func newRig(t *testing.T) *rig {
	r := &rig{t: t, disk: vfstest.NewDisk(), cars: &memmount.Set{}, bounds: inFiles}
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
	r.openOn(vfstest.Wrap(r.disk))
}

// openOn starts the store on a disk that may be armed already.
func (r *rig) openOn(faults *vfstest.Faults) {
	r.t.Helper()
	r.faults = faults
	s, err := open(r.ctx(), r.faults, "store", &r.cfg, r.bounds)
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

// ofAll reports whether a range is that of a whole source, which is how one is
// streamed in a version.
func ofAll(at mount.Range) bool { return at.Offset == 0 && at.Length == -1 }

func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*time.Minute)
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

// until waits until something holds, which what says.
func (r *rig) until(what string, holds func() bool) {
	r.t.Helper()
	for ctx := r.ctx(); !holds(); time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			r.t.Fatalf("never: %s", what)
		}
	}
}

// soon receives from c, and fails if that does not come, which what names.
func soon[T any](r *rig, what string, c <-chan T) T {
	r.t.Helper()
	select {
	case v := <-c:
		return v
	case <-r.ctx().Done():
		r.t.Fatalf("%s: nothing came", what)
		panic("unreachable")
	}
}

// holdCommit makes the next commit wait on its way to the disk until release
// is called, and then end with err. After an error none succeeds any more.
// Meanwhile nothing else reaches the disk either. under is closed when the
// commit has got there.
func (r *rig) holdCommit(err error) (under <-chan struct{}, release func()) {
	there, gate := make(chan struct{}), make(chan struct{})
	r.faults.Arm(commits, func(n int, _ vfstest.Op) error {
		if n == 0 {
			close(there)
			<-gate
		}
		return err
	})
	release = sync.OnceFunc(func() { close(gate) })
	r.t.Cleanup(release)
	return there, release
}

// commits selects what makes a batch of the catalogue durable.
func commits(op vfstest.Op) bool { return op.Syncs() && op.Touches(".log") }

// mounts puts f around every mount of the scheme mem, from the next start on.
func (r *rig) mounts(f func(mount.Mount) mount.Mount) {
	old := r.cfg.Mounts["mem"]
	r.cfg.Mounts["mem"] = func(url string) (mount.Mount, error) {
		m, err := old(url)
		if err != nil {
			return nil, err
		}
		return f(m), nil
	}
}

// A hang makes the mounts that it selects hang in Stat until the caller gives
// up, while it is on.
type hang struct {
	on      atomic.Bool
	selects func(url string) bool // nil: all
	answer  error                 // what the caller gets then; nil: the error of its context
	entered chan struct{}         // one for each that hangs
	left    chan struct{}         // one for each that has given up
}

func newHang(selects func(url string) bool) *hang {
	h := &hang{selects: selects, entered: make(chan struct{}, 100), left: make(chan struct{}, 100)}
	h.on.Store(true)
	return h
}

func (h *hang) wrap(m mount.Mount) mount.Mount { return hanging{m.(mount.FileOpener), h} }

type hanging struct {
	mount.FileOpener
	h *hang
}

func (m hanging) Stat(ctx context.Context) (mount.Stat, error) {
	if !m.h.on.Load() || m.h.selects != nil && !m.h.selects(m.URL()) {
		return m.FileOpener.Stat(ctx)
	}
	m.h.entered <- struct{}{}
	<-ctx.Done()
	m.h.left <- struct{}{}
	if m.h.answer != nil {
		return mount.Stat{}, m.h.answer
	}
	return mount.Stat{}, ctx.Err()
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
func (r *rig) files() int { return len(r.indexFiles()) }

// indexFiles lists the paths of all index files.
func (r *rig) indexFiles() []string { return r.filesIn("index", ".idx") }

// filesIn lists the paths of the files below a folder of the store whose names
// end with suffix.
func (r *rig) filesIn(folder, suffix string) (paths []string) {
	dir := r.disk.PathJoin("store", folder)
	dirs, _ := r.disk.List(dir)
	for _, d := range dirs {
		names, _ := r.disk.List(r.disk.PathJoin(dir, d))
		for _, name := range names {
			if strings.HasSuffix(name, suffix) {
				paths = append(paths, r.disk.PathJoin(dir, d, name))
			}
		}
	}
	return paths
}
