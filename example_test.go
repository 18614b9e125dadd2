package dagstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// makeCAR writes a CAR of n blocks and returns its path and its root.
func makeCAR(dir, name string, n int) (path string, root cid.Cid) {
	path = filepath.Join(dir, name)
	if err := os.WriteFile(path, cartest.RandomV1(1, n, 100), 0o644); err != nil {
		log.Fatal(err)
	}
	return path, cartest.RandomBlock(1, 0, 100).CID
}

// A CAR is registered, and any of its blocks read, without saying where it is.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path, root := makeCAR(dir, "photos.car", 5)

	store, err := dagstore.Open(ctx, filepath.Join(dir, "store"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	car, err := filemount.New(path)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Register(ctx, "photos", car, nil); err != nil {
		log.Fatal(err)
	}
	block, err := store.Blockstore(nil).Get(ctx, root)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(block.RawData()), "bytes of", block.Cid())
	// Output: 100 bytes of bafkreigrjxh5y3kbtdbivny4773tfvzpiwb5xvne2jcbesdlmpdobckjka
}

// Many registrations share one channel; none waits for another.
func ExampleStore_RegisterShard() {
	ctx := context.Background()
	dir, store := exampleStore(ctx)
	defer os.RemoveAll(dir)
	defer store.Close()

	out := make(chan dagstore.ShardResult, 64)
	due := 0
	for i := range 3 {
		path, _ := makeCAR(dir, fmt.Sprint(i, ".car"), 5)
		car, err := filemount.New(path)
		if err != nil {
			log.Fatal(err)
		}
		if err := store.RegisterShard(ctx, shard.Key(fmt.Sprint(i)), car, out, nil); err != nil {
			fmt.Println(err) // no result will come
			continue
		}
		due++
	}
	for ; due > 0; due-- {
		select {
		case r := <-out:
			fmt.Println(r.Key, r.Err)
		case <-ctx.Done(): // results not taken by now are taken back
			return
		}
	}
	// Unordered output:
	// 0 <nil>
	// 1 <nil>
	// 2 <nil>
}

// A hold on one shard: its blocks by CID, its bytes under a deadline.
func ExampleStore_Acquire() {
	ctx := context.Background()
	dir, store := exampleStore(ctx)
	defer os.RemoveAll(dir)
	defer store.Close()
	path, _ := makeCAR(dir, "photos.car", 5)
	car, err := filemount.New(path)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Register(ctx, "photos", car, nil); err != nil {
		log.Fatal(err)
	}

	a, err := store.Acquire(ctx, "photos", &dagstore.AcquireOptions{LocalOnly: true})
	var fault *shard.Fault
	switch {
	case errors.Is(err, shard.ErrRemote):
		fmt.Println("not here")
		return
	case errors.As(err, &fault):
		fmt.Println(fault.Kind, "at", fault.Offset)
		return
	case err != nil:
		fmt.Println(err)
		return
	}
	defer a.Close()
	for _, root := range a.Roots() {
		block, err := a.Blockstore().Get(ctx, root)
		fmt.Println(len(block.RawData()), err)
		for at, err := range store.Find(ctx, root) {
			fmt.Println(at.Shard, at.Offset, at.Size, err)
		}
	}
	read, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	n, err := io.Copy(io.Discard, a.CAR(read))
	fmt.Println(n, err)
	// Output:
	// 100 <nil>
	// photos 59 100 <nil>
	// 749 <nil>
}

// What is known of a shard, and its end.
func ExampleStore_Destroy() {
	ctx := context.Background()
	dir, store := exampleStore(ctx)
	defer os.RemoveAll(dir)
	defer store.Close()
	path, _ := makeCAR(dir, "photos.car", 5)
	car, err := filemount.New(path)
	if err != nil {
		log.Fatal(err)
	}
	// Lazy: known at once, indexed when somebody asks for it. Hop: without reading the blocks.
	if err := store.Register(ctx, "photos", car, &dagstore.RegisterOptions{Lazy: true, Index: dagstore.Hop}); err != nil {
		log.Fatal(err)
	}
	for info, err := range store.Shards(ctx, &dagstore.Filter{Prefix: "ph"}) {
		fmt.Println(info.Key, info.State, err)
	}
	a, err := store.Acquire(ctx, "photos", nil)
	if err != nil {
		log.Fatal(err)
	}
	info, err := store.Info(ctx, "photos")
	fmt.Println(info.State, info.Sections, err)

	err = store.Destroy(ctx, "photos", nil) // refuses while somebody holds it
	fmt.Println(errors.Is(err, shard.ErrHeld))
	a.Close()
	fmt.Println(store.Destroy(ctx, "photos", &dagstore.DestroyOptions{Held: dagstore.Wait}))
	// Output:
	// photos registered <nil>
	// serving 5 <nil>
	// true
	// <nil>
}

// A mark that outlives the process: this shard's copy is not to be evicted.
func ExampleStore_Pin() {
	ctx := context.Background()
	dir, store := exampleStore(ctx)
	defer os.RemoveAll(dir)
	defer store.Close()
	path, _ := makeCAR(dir, "photos.car", 5)
	car, err := filemount.New(path)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Register(ctx, "photos", car, nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println(store.Pin(ctx, "photos"))
	info, err := store.Info(ctx, "photos")
	fmt.Println(info.Local.Pinned, err)
	fmt.Println(store.Unpin(ctx, "photos"))
	fmt.Println(store.Evict(ctx, "photos", nil)) // no copy: no error
	// Output:
	// <nil>
	// true <nil>
	// <nil>
	// <nil>
}

// A CAR that was moved, and a new export of it: neither costs a moment without
// the old one.
func ExampleStore_Remount() {
	ctx := context.Background()
	dir, store := exampleStore(ctx)
	defer os.RemoveAll(dir)
	defer store.Close()
	at := func(name string, blocks int) mount.Mount {
		path, _ := makeCAR(dir, name, blocks)
		car, err := filemount.New(path)
		if err != nil {
			log.Fatal(err)
		}
		return car
	}
	if err := store.Register(ctx, "photos", at("photos.car", 5), nil); err != nil {
		log.Fatal(err)
	}
	fmt.Println(store.Remount(ctx, "photos", at("moved.car", 5), dagstore.CompareFull))
	err := store.Remount(ctx, "photos", at("other.car", 6), dagstore.CompareNone)
	fmt.Println(errors.Is(err, shard.ErrChanged))
	fmt.Println(store.Replace(ctx, "photos", at("newer.car", 7), nil))
	info, err := store.Info(ctx, "photos")
	fmt.Println(filepath.Base(info.URL), info.Sections, err)
	// Output:
	// <nil>
	// true
	// <nil>
	// newer.car 7 <nil>
}

// What belongs to no shard any more goes by itself; GC tells what there was.
func ExampleStore_GC() {
	ctx := context.Background()
	dir, store := exampleStore(ctx)
	defer os.RemoveAll(dir)
	defer store.Close()
	if err := os.WriteFile(filepath.Join(dir, "store", "notes.txt"), []byte("mine"), 0o600); err != nil {
		log.Fatal(err)
	}
	report, err := store.GC(ctx)
	fmt.Println(report.Files, report.Left, report.Foreign, err)
	// Output:
	// 0 0 [notes.txt] <nil>
}

// A check of all that the store has made, which also repairs.
func ExampleStore_Reconcile() {
	ctx := context.Background()
	dir, store := exampleStore(ctx)
	defer os.RemoveAll(dir)
	defer store.Close()
	if err := os.WriteFile(filepath.Join(dir, "store", "top", "notes.txt"), []byte("mine"), 0o600); err != nil {
		log.Fatal(err)
	}
	for d, err := range store.Reconcile(ctx, true) {
		fmt.Println(d.Kind, d.What, d.Mended, err)
	}
	// Output:
	// foreign file "top/notes.txt" was not made by the store false <nil>
}

func exampleStore(ctx context.Context) (dir string, store *dagstore.Store) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	if store, err = dagstore.Open(ctx, filepath.Join(dir, "store"), nil); err != nil {
		log.Fatal(err)
	}
	return dir, store
}

// A program watches what becomes of its shards.
func ExampleEvents() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path, _ := makeCAR(dir, "photos.car", 5)
	store, err := dagstore.Open(ctx, filepath.Join(dir, "store"), &dagstore.Config{
		Events: dagstore.Events{
			Transition: func(t dagstore.Transition) { fmt.Println(t.Key, t.From, "to", t.To) },
			Dropped:    func(n int64) { fmt.Println(n, "events are missing here") },
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	car, err := filemount.New(path)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Register(ctx, "photos", car, nil); err != nil {
		log.Fatal(err)
	}
	for store.Stats().Counting { // the shards there were before
		time.Sleep(time.Millisecond)
	}
	fmt.Println(store.Stats().Shards[shard.Available], "available")
	if err := store.Close(); err != nil { // tells what still waits
		log.Fatal(err)
	}
	// Unordered output:
	// photos gone to initializing
	// photos initializing to available
	// 1 available
}
