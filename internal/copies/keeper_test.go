package copies

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

const quota = 10 * block

func newKeeper(fsys vfs.FS, known ...Known) (*Keeper, []uint32, error) {
	clock := time.Unix(1_000_000, 0)
	var mu sync.Mutex
	var k *Keeper
	k = New(Config{FS: fsys, Dir: "store/copies", Quota: quota, Need: func() { go k.NoMore(nil) }, Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(time.Second)
		return clock
	}})
	lost, err := k.Restore(context.Background(), list(known))
	return k, lost, err
}

func list(known []Known) iter.Seq2[Known, error] {
	return func(yield func(Known, error) bool) {
		for _, c := range known {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// fill makes a copy of size bytes, of a length that is known or not.
func fill(k *Keeper, id uint32, size int64, known bool) error {
	say, first := size, size
	if !known {
		say, first = -1, block
	}
	s, err := k.Take(first)
	if err != nil {
		return err
	}
	if s == nil {
		return ErrCrowded
	}
	f, err := k.Begin(id, Origin{}, say, s)
	if err != nil {
		return err
	}
	for left := size; left > 0 && err == nil; left -= 1000 {
		err = f.Write(context.Background(), make([]byte, min(left, 1000)))
	}
	if err == nil {
		err = f.Commit()
	}
	if err != nil {
		return errors.Join(err, f.Drop())
	}
	k.Named(id, false, time.Unix(1_000_000, 0))
	return nil
}

// evict has the keeper's next victims go, as the engine does.
func evict(k *Keeper) (n int, err error) {
	victims, _ := k.Victims(func(uint32) bool { return false }, false)
	for _, v := range victims {
		k.Leaving(v.ID)
		err = errors.Join(err, k.Remove(v.ID))
		n++
	}
	return n, err
}

// onDisk is how much lies in the folder of the copies, in whole blocks.
func onDisk(fsys vfs.FS) (sum int64, files []string) {
	var walk func(dir string)
	walk = func(dir string) {
		names, err := fsys.List(dir)
		if err != nil {
			return
		}
		for _, name := range names {
			path := fsys.PathJoin(dir, name)
			info, err := fsys.Stat(path)
			switch {
			case err != nil:
			case info.IsDir():
				walk(path)
			default:
				sum += charged(info.Size())
				files = append(files, path)
			}
		}
	}
	walk("store/copies")
	slices.Sort(files)
	return sum, files
}

// TestLeastRecentlyUsedGoesFirst fills the quota and asks who goes.
func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	disk := vfstest.NewDisk()
	k, _, err := newKeeper(disk)
	if err != nil {
		t.Fatal(err)
	}
	for id := uint32(1); id <= 9; id++ {
		if err := fill(k, id, block, true); err != nil {
			t.Fatal(err)
		}
	}
	k.Touch(1)
	k.Pin(2, true)
	k.Hold(3)
	k.Last(4)
	told := make(chan error, 1)
	k.Queue(2*block, func(s *Space, err error) {
		s.Give()
		told <- err
	})
	victims, goal := k.Victims(func(id uint32) bool { return id == 5 }, false)
	var ids []uint32
	for _, v := range victims {
		ids = append(ids, v.ID)
	}
	// 9 are used and 2 are wanted: down to 8 of 10.
	if goal != block || !slices.Equal(ids, []uint32{6}) {
		t.Errorf("victims %v for %d bytes", ids, goal)
	}
	if all, _ := k.Victims(func(uint32) bool { return false }, true); len(all) != 6 || all[5].ID != 1 {
		t.Errorf("all that may go: %v", all)
	}
	k.Rest(3)
	if all, _ := k.Victims(func(uint32) bool { return false }, true); len(all) != 7 || all[6].ID != 3 {
		t.Errorf("after it was held: %v", all)
	}
	if _, err := evict(k); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-told:
		if err != nil {
			t.Error(err)
		}
	default:
		t.Error("whoever waits for space was not told of it")
	}
	if _, err := disk.Stat("store/copies/05/00000005"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of what has gone: %v", err)
	}
}

// TestWhatCannotBeFails asks for what no waiting brings.
func TestWhatCannotBeFails(t *testing.T) {
	k, _, err := newKeeper(vfstest.NewDisk())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Take(quota + 1); !errors.Is(err, shard.ErrQuota) {
		t.Errorf("more than there is: %v", err)
	}
	if err := fill(k, 1, 6*block, true); err != nil {
		t.Fatal(err)
	}
	var told error
	a := k.Queue(5*block, func(_ *Space, err error) { told = err })
	if told != nil {
		t.Fatalf("it can be had, once copy 1 goes: %v", told)
	}
	k.Last(1)
	if !errors.Is(told, shard.ErrQuota) || a.Leave() {
		t.Errorf("the last copy does not go: %v", told)
	}
	k.Confirm(1, time.Now())
	k.Pin(1, true)
	if _, err := k.Take(5 * block); !errors.Is(err, shard.ErrQuota) {
		t.Errorf("nor does a pinned one: %v", err)
	}
	if err := fill(k, 2, 4*block, true); err != nil {
		t.Errorf("what there is room for: %v", err)
	}
}

// A last copy is one until its source is due to be asked again: who needs its
// space then waits for the answer.
func TestLastCopyIsAskedForAgain(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	needed := 0
	k := New(Config{
		FS: vfstest.NewDisk(), Dir: "copies", Quota: quota, High: 1, Now: func() time.Time { return now },
		Need: func() { needed++ },
	})
	if _, err := k.Restore(t.Context(), list(nil)); err != nil {
		t.Fatal(err)
	}
	for id := range uint32(2) { // two minutes apart
		if err := fill(k, 1+id, 4*block, true); err != nil {
			t.Fatal(err)
		}
		k.Last(1 + id)
		now = now.Add(2 * time.Minute)
	}
	refused := func(n int64) bool {
		s, err := k.Take(n)
		s.Give()
		return errors.Is(err, shard.ErrQuota)
	}
	for wait := range 30 { // from the fourth minute on; the first is due after ten, the second after twelve
		at := 4 + wait
		if first, both := refused(6*block), refused(10*block); first != (at < 10) || both != (at < 12) {
			t.Errorf("after %d minutes: refused %v, %v", at, first, both)
		}
		now = now.Add(time.Minute)
	}
	var told error
	needed = 0
	k.Queue(10*block, func(_ *Space, err error) { told = err })
	if victims, _ := k.Victims(func(uint32) bool { return false }, false); needed == 0 || len(victims) != 2 || told != nil {
		t.Fatalf("nobody is asked: %v, %v", victims, told)
	}
	k.Last(2)
	if !errors.Is(told, shard.ErrQuota) {
		t.Errorf("a source that still does not answer: %v", told)
	}
}

// TestUnknownLength fills copies of which nobody knows how long they will be.
func TestUnknownLength(t *testing.T) {
	disk := vfstest.NewDisk()
	k, _, err := newKeeper(disk)
	if err != nil {
		t.Fatal(err)
	}
	if err := fill(k, 1, 3*block+1, false); err != nil {
		t.Fatal(err)
	}
	if s := k.Stats(); s.Used != 4*block {
		t.Errorf("%d bytes are used", s.Used)
	}
	k.Pin(1, true)
	if err := fill(k, 2, quota+1, false); !errors.Is(err, shard.ErrQuota) {
		t.Errorf("one that never ends: %v", err)
	}
	// Two that together need more than there is: one of them gives way.
	ctx := t.Context()
	var fills [2]*Fill
	for i := range fills {
		s, err := k.Take(block)
		if err != nil || s == nil {
			t.Fatal(s, err)
		}
		if fills[i], err = k.Begin(uint32(10+i), Origin{}, -1, s); err != nil {
			t.Fatal(err)
		}
	}
	k.Pin(1, false)
	k.Hold(1)
	if err := fills[0].Write(ctx, make([]byte, 3*block)); err != nil {
		t.Fatal(err)
	}
	if err := fills[1].Write(ctx, make([]byte, 4*block)); !errors.Is(err, ErrCrowded) {
		t.Errorf("no space: %v", err)
	}
	for _, f := range fills {
		if err := f.Drop(); err != nil {
			t.Fatal(err)
		}
	}
	// One that waits is dropped meanwhile, as work is that hangs.
	s, err := k.Take(block)
	if err != nil || s == nil {
		t.Fatal(s, err)
	}
	f, err := k.Begin(20, Origin{}, -1, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Drop(); err != nil {
		t.Fatal(err)
	}
	if f.Write(ctx, make([]byte, 2*block)) == nil || f.Commit() == nil {
		t.Error("what was dropped goes on")
	}
	if s := k.Stats(); s.Used != 4*block {
		t.Errorf("%d bytes are used", s.Used)
	}
}

// TestLength refuses what is shorter or longer than it should be (R24).
func TestLength(t *testing.T) {
	disk := vfstest.NewDisk()
	k, _, err := newKeeper(disk)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{99, 101} {
		s, err := k.Take(100)
		if err != nil {
			t.Fatal(err)
		}
		f, err := k.Begin(uint32(size), Origin{}, 100, s)
		if err != nil {
			t.Fatal(err)
		}
		err = f.Write(t.Context(), make([]byte, size))
		if err == nil {
			err = f.Commit()
		}
		if !errors.Is(err, shard.ErrSource) {
			t.Errorf("%d bytes of 100: %v", size, err)
		}
		if err := f.Drop(); err != nil {
			t.Fatal(err)
		}
	}
	if _, files := onDisk(disk); len(files) > 0 || k.Stats().Used != 0 {
		t.Errorf("left: %v, %d bytes used", files, k.Stats().Used)
	}
}

// TestForeignStays leaves alone what the keeper has not made (R4).
func TestForeignStays(t *testing.T) {
	disk := vfstest.NewDisk()
	foreign := []string{
		"store/copies/05/00000005/notes", "store/copies/05/0000000F/data", "store/copies/05/00000006/data",
		"store/copies/readme", "store/copies/zz/data", "store/copies/5/data",
	}
	for _, path := range append([]string{"store/copies/05/00000005/data", "store/copies/07/00000007/partial"}, foreign...) {
		if err := vfs.MkdirAll(disk, disk.PathDir(path)); err != nil {
			t.Fatal(err)
		}
		if err := vfs.WriteFile(disk, path, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	k, _, err := newKeeper(disk)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := k.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	slices.Sort(foreign)
	if _, files := onDisk(disk); !slices.Equal(files, foreign) {
		t.Errorf("left: %v\nwant: %v", files, foreign)
	}
	var told []string
	for path, err := range k.Foreign(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		told = append(told, path)
	}
	if want := []string{"05/00000005/notes", "05/00000006", "05/0000000F", "5", "readme", "zz"}; !slices.Equal(slices.Sorted(slices.Values(told)), want) {
		t.Errorf("told of %v, want %v", told, want)
	}
}

// TestCrash cuts a history of copies before each operation on the disk: what a
// record may name is there, whole; what none names goes; the accounting is that
// of the disk.
func TestCrash(t *testing.T) {
	seed := longtest.Seed()
	images := 0
	for run := range longtest.Runs(6, 100) {
		rng := rand.New(rand.NewPCG(seed, uint64(run)))
		disk := vfstest.NewDisk()
		faults := vfstest.Wrap(disk)
		k, _, err := newKeeper(faults)
		if err != nil {
			t.Fatal(err)
		}
		named := map[uint32]int64{} // as a catalogue would have it
		faults.Arm(vfstest.Op.Changes, func(n int, op vfstest.Op) error {
			images++
			var known []Known
			for id, size := range named {
				known = append(known, Known{ID: id, Size: size})
			}
			percent := []int{0, 30, 100}[rng.IntN(3)]
			if err := recovers(disk.Crash(percent, rng.Uint64()), known); err != nil {
				t.Errorf("run %d from seed %d, before operation %d (%v), %d%%: %v", run, seed, n, op, percent, err)
			}
			return nil
		})
		for id := uint32(1); id < 30; id++ {
			size := rng.Int64N(3 * block)
			if err := fill(k, id, size, rng.IntN(2) == 0); err == nil {
				named[id] = size
			} else if !errors.Is(err, ErrCrowded) {
				t.Fatal(err)
			}
			if s := k.Stats(); s.Used > quota {
				t.Fatalf("%d bytes of %d are used", s.Used, quota)
			}
			if rng.IntN(3) > 0 {
				continue
			}
			for id := range named {
				delete(named, id) // durable before anything is removed
				k.Leaving(id)
				if err := k.Remove(id); err != nil {
					t.Fatal(err)
				}
				if rng.IntN(2) == 0 {
					break
				}
			}
		}
		faults.Disarm()
	}
	longtest.Figure(t, "%d images of crashes among copies from seed %d", images, seed)
}

// recovers starts a keeper on what a crash has left.
func recovers(disk *vfstest.Disk, known []Known) error {
	k, lost, err := newKeeper(disk, known...)
	if err != nil || len(lost) > 0 {
		return fmt.Errorf("lost %v, %w", lost, err)
	}
	sum, files := onDisk(disk)
	if s := k.Stats(); s.Used != sum || s.Copies != len(known) || len(files) != len(known) {
		return fmt.Errorf("%d bytes are used by %d copies; on disk are %d, in %v; named are %v", s.Used, s.Copies, sum, files, known)
	}
	return nil
}

// TestDiskFails has each operation fail in each way: a copy is whole or there is
// none, what cannot be removed counts on, and goes when that ends.
func TestDiskFails(t *testing.T) {
	for _, m := range []struct {
		err     error
		selects func(vfstest.Op) bool
	}{
		{syscall.EIO, vfstest.Op.Changes}, {syscall.ENOSPC, vfstest.Op.Changes}, {syscall.EROFS, vfstest.Op.Changes},
		{syscall.EMFILE, vfstest.Op.Opens}, {vfstest.ErrShort, vfstest.Op.Writes}, {syscall.EIO, vfstest.Op.Syncs},
	} {
		for _, sticky := range []bool{false, true} {
			for n := 0; ; n++ {
				disk := vfstest.NewDisk()
				faults := vfstest.Wrap(disk)
				k, _, err := newKeeper(faults)
				if err != nil {
					t.Fatal(err)
				}
				faults.FailAt(n, sticky, m.selects, m.err)
				first, second := fill(k, 1, 2*block, true), fill(k, 2, 2*block, false)
				for id, err := range map[uint32]error{1: first, 2: second} {
					if _, is := k.Fact(id); is != (err == nil) {
						t.Errorf("%v at %d, sticky %v: copy %d is kept: %v; %v", m.err, n, sticky, id, is, err)
					}
				}
				if first == nil {
					k.Leaving(1)
					_ = k.Remove(1) // tried again below
				}
				reached := faults.Disarm() > n
				sum, _ := onDisk(disk)
				if s := k.Stats(); s.Used < sum || s.Used > quota {
					t.Errorf("%v at %d, sticky %v: %d bytes are on disk, %d counted", m.err, n, sticky, sum, s.Used)
				}
				if _, _, err := k.Clean(t.Context()); err != nil {
					t.Fatal(err)
				}
				k.Leaving(2)
				if err := k.Remove(2); err != nil {
					t.Fatal(err)
				}
				if sum, files := onDisk(disk); sum != 0 || len(files) > 0 || k.Stats().Used != 0 {
					t.Errorf("%v at %d, sticky %v: left %v, %d bytes counted", m.err, n, sticky, files, k.Stats().Used)
				}
				if !reached {
					break
				}
			}
		}
	}
}
