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
	r.bounds.window = 4
	r.open()
	r.until("all are gone", func() bool { return len(r.keys()) == 0 })
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
