package dagstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// stop closes the store and leaves it closed.
func (r *rig) stop() {
	r.t.Helper()
	if err := r.store.Close(); err != nil {
		r.t.Fatal(err)
	}
}

// keys lists all shards, and fails on a record that cannot be read.
func (r *rig) keys() (keys []shard.Key) {
	r.t.Helper()
	for in, err := range r.store.Shards(r.ctx(), nil) {
		if err != nil {
			r.t.Fatal(err)
		}
		keys = append(keys, in.Key)
	}
	return keys
}

// Intents are taken up page by page whatever they are: a page of shards that
// are to go, which leave no work behind that would ask for the next page, is
// not the last.
func TestIntentsToDestroyAreTakenUp(t *testing.T) {
	const n = 25
	r := newRig(t)
	r.stop()
	c, err := catalog.Open(t.Context(), catalog.Config{FS: r.disk, Dir: r.disk.PathJoin("store", catalogFolder)})
	if err != nil {
		t.Fatal(err)
	}
	b := &catalog.Batch{}
	for i := range n {
		b.Puts = append(b.Puts, catalog.Put{Record: &catalog.Record{
			Key: shard.Key(fmt.Sprint(i)), Revision: 1, State: shard.Registered, Intent: catalog.Destroy, URL: "mem:x",
		}})
	}
	if err := errors.Join(c.Apply(t.Context(), b), c.Close(t.Context())); err != nil {
		t.Fatal(err)
	}
	r.window = 4
	r.open()
	r.until("all are gone", func() bool { return len(r.keys()) == 0 })
}

// R18: a shard left New by a crash is never taken up again. Nor may one be
// forgotten that was put off to the queue on disk while its record was on its
// way there: it is looked for only once it can be found.
func TestR18DeferredWhileTheQueueRunsDry(t *testing.T) {
	r := newRig(t)
	r.stop()
	h := newHang(nil)
	gate := make(chan struct{})
	r.mounts(func(m mount.Mount) mount.Mount {
		if m.URL() == "mem:c.car" {
			return m
		}
		return gated{m.(mount.FileOpener), gate, h.entered}
	})
	r.window = 1
	r.cfg.Work.Indexings = 1
	r.open()
	register := func(key shard.Key) {
		r.put(string(key)+".car", 3, 5)
		m, err := r.cfg.Mounts.Open("mem:" + string(key) + ".car")
		if err == nil {
			err = r.store.RegisterShard(r.ctx(), key, m, nil, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	register("a")
	soon(r, "indexing of a", h.entered)
	register("b")
	r.await("b", shard.Initializing)
	under, release := r.holdCommit(nil)
	register("c")
	soon(r, "commit of c", under)
	gate <- struct{}{}
	soon(r, "indexing of b", h.entered)
	gate <- struct{}{}
	// The queue in memory is dry, and is filled from disk, where c is not yet.
	r.until("b has ended", func() bool { return r.info("b").Progress == nil })
	release()
	r.await("c", shard.Available)
}

// gated is a mount whose Stat waits for a token and then fails.
type gated struct {
	mount.FileOpener
	gate    <-chan struct{}
	entered chan<- struct{}
}

func (m gated) Stat(ctx context.Context) (mount.Stat, error) {
	m.entered <- struct{}{}
	select {
	case <-m.gate:
	case <-ctx.Done():
	}
	return mount.Stat{}, errors.New("not now")
}

// crashed stops the store without a Close, and leaves it so. Of what was not
// synced, percent is kept: 100, and only the process has ended.
func (r *rig) crashed(percent int) {
	disk := r.disk.Crash(percent, 1)
	r.store.Close()
	r.disk = disk
}

// R5: a torn index counts as present after a crash. One that was not yet in a
// layer is found to be lost at start, and not only when somebody asks for the
// shard by its key: nobody who has a CID could.
func TestR5PendingIndexIsLost(t *testing.T) {
	for name, harm := range map[string]func(r *rig, path string) error{
		"gone": func(r *rig, path string) error { return r.disk.Remove(path) },
		"torn": func(r *rig, path string) error { return vfs.WriteFile(r.disk, path, []byte("short")) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			blocks, m := r.put("a.car", 1, 20)
			r.register("a", m, nil)
			r.crashed(100)
			paths := r.indexFiles()
			if len(paths) != 1 {
				t.Fatalf("index files: %v", paths)
			}
			if err := harm(r, paths[0]); err != nil {
				t.Fatal(err)
			}
			r.open()
			r.until("its blocks are found", func() bool {
				has, err := r.store.Blockstore(nil).Has(r.ctx(), blocks[3].CID)
				return has && err == nil
			})
			r.await("a", shard.Available)
			r.has(blocks)
		})
	}
}

// Lookups that wait for the start to be complete heed their context.
func TestLookupsHeedTheirContextAtStart(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, nil)
	r.crashed(100)
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold) })
	faults := vfstest.Wrap(r.disk)
	faults.Arm(func(op vfstest.Op) bool { return op.Touches(".idx") }, func(int, vfstest.Op) error {
		<-hold
		return nil
	})
	r.openOn(faults)
	bs := r.store.Blockstore(nil)
	for name, look := range map[string]func(ctx context.Context) error{
		"get": func(ctx context.Context) error { _, err := bs.Get(ctx, blocks[0].CID); return err },
		"has": func(ctx context.Context) error { _, err := bs.Has(ctx, blocks[0].CID); return err },
		"find": func(ctx context.Context) error {
			for _, err := range r.store.Find(ctx, blocks[0].CID) {
				return err
			}
			return errors.New("nothing was yielded")
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		got := make(chan error, 1)
		go func() { got <- look(ctx) }()
		if err := soon(r, name, got); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Files that a process made and did not come to name in the catalogue are
// swept at the next start. Files that stores do not make stay.
func TestOrphansAreSwept(t *testing.T) {
	r := newRig(t)
	first, m := r.put("first.car", 9, 3)
	r.register("first", m, nil)
	r.gate = make(chan struct{})
	blocks, o := r.put("a.car", 1, 20)
	if err := r.store.RegisterShard(r.ctx(), "a", o, nil, nil); err != nil {
		t.Fatal(err)
	}
	r.await("a", shard.Initializing)
	under, release := r.holdCommit(syscall.EIO)
	close(r.gate)
	soon(r, "commit of the index", under)
	crashed := r.disk.Crash(0, 1) // the index is durable, the record does not name it
	release()
	r.store.Close()
	r.disk = crashed
	orphans := r.indexFiles()
	if len(orphans) != 2 {
		t.Fatalf("index files after the crash: %v", orphans)
	}
	layer := r.disk.PathJoin("store", "top", "00000009.layer")
	theirs := []string{
		r.disk.PathJoin("store", "top", "notes.txt"), layer + ".bak",
		r.disk.PathJoin("store", "index", "notes.txt"), orphans[0] + ".bak",
	}
	for _, path := range append([]string{layer}, theirs...) {
		if err := vfs.WriteFile(r.disk, path, []byte("mine")); err != nil {
			t.Fatal(err)
		}
	}
	r.open()
	r.await("a", shard.Available)
	r.until("the index of nobody is swept", func() bool { return len(r.indexFiles()) == 2 })
	r.until("the layer of nobody is swept", func() bool { return !r.exists(layer) })
	for _, path := range theirs {
		if !r.exists(path) {
			t.Errorf("%s was not ours", path)
		}
	}
	r.has(blocks)
	r.reopen()
	r.has(blocks)
	r.has(first)
}

func (r *rig) exists(path string) bool {
	_, err := r.disk.Stat(path)
	return err == nil
}

// R15: a hung source keeps its slot for ever. An opening that nobody waits for
// gives it back.
func TestR15HungOpening(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	blocks, o := r.put("b.car", 2, 20)
	r.register("a", m, nil)
	r.register("b", o, nil)
	r.stop()
	h := newHang(func(url string) bool { return url == m.URL() })
	r.mounts(h.wrap)
	r.cfg.Work.Opens = 1
	r.open()
	for _, key := range []shard.Key{"a", "a"} { // and it may be tried again
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 1)
		go func() {
			_, err := r.store.Acquire(ctx, key, nil)
			got <- err
		}()
		soon(r, "opening", h.entered)
		cancel()
		if err := soon(r, "acquire", got); !errors.Is(err, context.Canceled) {
			t.Errorf("acquire: %v", err)
		}
	}
	r.acquire("b").Close()
	r.has(blocks)
	h.on.Store(false)
	r.acquire("a").Close()
}

// damage flips a bit in the record that holds text.
func (r *rig) damage(text string) {
	r.t.Helper()
	db, err := pebble.Open(r.disk.PathJoin("store", catalogFolder), &pebble.Options{FS: r.disk, Logger: silent{}})
	if err != nil {
		r.t.Fatal(err)
	}
	defer db.Close()
	it, err := db.NewIter(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	defer it.Close()
	n := 0
	for ok := it.First(); ok; ok = it.Next() {
		if i := bytes.Index(it.Value(), []byte(text)); i >= 0 {
			n++
			value := slices.Clone(it.Value())
			value[i] ^= 1
			if err := db.Set(slices.Clone(it.Key()), value, pebble.Sync); err != nil {
				r.t.Fatal(err)
			}
		}
	}
	if n != 1 {
		r.t.Fatalf("%d records hold %q", n, text)
	}
}

// silent is a logger of Pebble's that says nothing.
type silent struct{}

func (silent) Infof(string, ...any)           {}
func (silent) Errorf(string, ...any)          {}
func (silent) Fatalf(format string, a ...any) { panic(fmt.Sprintf(format, a...)) }

// R20: an unparsable record is skipped at start and its shard forgotten. It is
// kept and listed as damaged until somebody destroys it by force.
func TestR20DamagedRecord(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	more, o := r.put("b.car", 2, 20)
	r.register("a", m, nil)
	r.register("b", o, nil)
	r.stop()
	r.damage(m.URL())
	for range 2 { // over restarts
		r.open()
		r.isDamaged("a", m)
		r.has(more)
		r.acquire("b").Close()
		r.stop()
	}
	r.open()
	if err := r.store.Destroy(r.ctx(), "a", &DestroyOptions{Held: Force}); err != nil {
		t.Fatalf("destroy by force: %v", err)
	}
	r.lacks(blocks)
	if _, err := r.store.Info(r.ctx(), "a"); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("info after that: %v", err)
	}
	r.reopen()
	if keys := r.keys(); !slices.Equal(keys, []shard.Key{"b"}) {
		t.Errorf("left: %q", keys)
	}
	r.register("a", m, nil)
	r.has(blocks)
	r.reopen()
	r.has(blocks)
	r.has(more)
}

// isDamaged checks that every call about a shard says that its record is
// damaged, that none repairs or replaces it, and that it is listed.
func (r *rig) isDamaged(key shard.Key, m mount.Mount) {
	r.t.Helper()
	_, info := r.store.Info(r.ctx(), key)
	_, acquire := r.store.Acquire(r.ctx(), key, nil)
	var listed error
	for in, err := range r.store.Shards(r.ctx(), nil) {
		switch {
		case err != nil:
			listed = err
		case in.Key == key:
			r.t.Errorf("listed as if it were sound: %+v", in)
		}
	}
	for what, err := range map[string]error{
		"info": info, "acquire": acquire, "list": listed,
		"register": r.store.Register(r.ctx(), key, m, nil),
		"recover":  r.store.Recover(r.ctx(), key, nil),
		"destroy":  r.store.Destroy(r.ctx(), key, nil),
		"wait":     r.store.Destroy(r.ctx(), key, &DestroyOptions{Held: Wait}),
	} {
		var damaged *catalog.DamagedError
		var about *shard.Error
		if !errors.As(err, &damaged) || damaged.Key != key || !errors.As(err, &about) || about.Key != key {
			r.t.Errorf("%s: %v", what, err)
		}
	}
}
