package copies

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

var origin = Origin{Key: "a/b", URL: "https://a.example/a.car", Version: `"v1"`}

func someBytes(n int64) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{7}).Read(data) // it never fails
	return data
}

// keeperOf is a keeper of what is on a disk, that keeps the least remnant.
func keeperOf(t *testing.T, fsys vfs.FS, quota int64, known ...Known) *Keeper {
	t.Helper()
	k, _, err := newKeeper(fsys)
	if err != nil {
		t.Fatal(err)
	}
	now := k.cfg.Now
	k = New(Config{FS: fsys, Dir: "store/copies", Quota: quota, Least: 1, Now: now})
	if _, err := k.Restore(t.Context(), list(known)); err != nil {
		t.Fatal(err)
	}
	return k
}

// begun begins a copy of o, or goes on with one, in as much space as that takes.
func begun(k *Keeper, id uint32, o Origin, size int64) (*Fill, error) {
	have, need := k.Remnant(o, size)
	s, err := k.Take(need)
	if err != nil || s == nil {
		return nil, errors.Join(err, ErrCrowded)
	}
	if have > 0 {
		return k.Resume(o, size, s)
	}
	return k.Begin(id, o, size, s)
}

// writes writes data from where f is, up to end.
func writes(f *Fill, data []byte, end int64) error {
	for at := f.Size(); at < end; {
		n := min(10_000, end-at)
		if err := f.Write(context.Background(), data[at:at+n]); err != nil {
			return err
		}
		at += n
	}
	return nil
}

// exact checks that what counts is what is on disk.
func exact(k *Keeper, fsys vfs.FS) error {
	sum, files := onDisk(fsys)
	if s := k.Stats(); s.Used != sum || s.Used > k.cfg.Quota {
		return fmt.Errorf("%+v, and %d bytes are on disk in %v", s, sum, files)
	}
	return nil
}

// contents reads the copy id.
func contents(k *Keeper, id uint32) ([]byte, error) {
	f, err := k.Open(id)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f)
	return data, errors.Join(err, f.Close())
}

// What was fetched of a copy is gone on with, wherever it broke off, also by another
// process; and it is believed only as what it is.
func TestResume(t *testing.T) {
	const size = 1_000_003
	data := someBytes(size)
	for _, restart := range []bool{false, true} {
		disk := vfstest.NewDisk()
		k := keeperOf(t, disk, 4<<20)
		for i, cuts := 0, []int64{1, block - 1, block, block + 1, 100_000, 100_001, size - block - 1, size - 1, size}; i < len(cuts); i++ {
			f, err := begun(k, uint32(i+1), origin, size)
			if err != nil {
				t.Fatal(err)
			}
			if i > 0 && (f.Size() != cuts[i-1] || f.ID() != 1) {
				t.Errorf("it goes on with %d bytes of copy %d, after %d", f.Size(), f.ID(), cuts[i-1])
			}
			had := make([]byte, f.Size())
			if n, err := f.ReadAt(had, 0); n < len(had) || !bytes.Equal(had, data[:n]) {
				t.Errorf("of %d bytes it has %d, and perhaps others: %v", len(had), n, err)
			}
			if err := writes(f, data, cuts[i]); err != nil {
				t.Fatal(err)
			}
			if cuts[i] == size {
				if err := f.Commit(); err != nil {
					t.Fatal(err)
				}
				k.Named(1, false, time.Unix(1, 0))
				break
			}
			if err := f.Keep(); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Keep(), f.Drop(), exact(k, disk)); err != nil { // a second end is none
				t.Error(err)
			}
			for _, o := range []Origin{
				{Key: "a", URL: origin.URL, Version: origin.Version}, {Key: origin.Key, URL: "https://b.example/a.car", Version: origin.Version},
				{Key: origin.Key, URL: origin.URL, Version: `"v2"`}, {Key: origin.Key, URL: origin.URL},
			} {
				if have, need := k.Remnant(o, size); have != 0 || need != size {
					t.Errorf("%+v is something else", o)
				}
			}
			if have, _ := k.Remnant(origin, size+1); have != 0 {
				t.Error("it has another size")
			}
			if restart {
				k = keeperOf(t, disk, 4<<20)
				if err := exact(k, disk); err != nil {
					t.Error(err)
				}
			}
		}
		if got, err := contents(k, 1); err != nil || !bytes.Equal(got, data) {
			t.Errorf("the copy has %d bytes, or others: %v", len(got), err)
		}
		if _, files := onDisk(disk); len(files) != 1 {
			t.Errorf("on disk are %v", files)
		}
		if err := exact(k, disk); err != nil || k.Stats().Remnants > 0 {
			t.Errorf("%v, %+v", err, k.Stats())
		}
	}
}

// A crash at any moment leaves nothing that is believed and is not so: what there is
// of a copy begins as its source does, and goes on to be that.
func TestCrashWhileCopying(t *testing.T) {
	const (
		step = 64 << 10
		size = 3*step + 12345
	)
	data := someBytes(size)
	disk := vfstest.NewDisk()
	faults := vfstest.Wrap(disk)
	type image struct {
		disk *vfstest.Disk
		op   string
	}
	var images []image
	k := keeperOf(t, faults, 2*size)
	k.step = step
	faults.Arm(vfstest.Op.Changes, func(n int, op vfstest.Op) error {
		if !op.Writes() || op.Base() == progressName || n%5 == 0 {
			percent := []int{0, 50, 100}[n%3]
			images = append(images, image{disk.Crash(percent, uint64(n)), fmt.Sprintf("%d %v, %d%%", n, op, percent)})
		}
		return nil
	})
	for _, end := range []int64{1000, 2*step + 17, size} {
		f, err := begun(k, 1, origin, size)
		if err != nil {
			t.Fatal(err)
		}
		if err := writes(f, data, end); err != nil {
			t.Fatal(err)
		}
		finish := f.Keep
		if end == size {
			finish = f.Commit
		}
		if err := finish(); err != nil {
			t.Fatal(err)
		}
	}
	faults.Disarm()
	resumed := 0
	for _, im := range images {
		k := keeperOf(t, im.disk, 2*size)
		if err := exact(k, im.disk); err != nil {
			t.Errorf("%s: %v", im.op, err)
		}
		f, err := begun(k, 2, origin, size)
		if err != nil {
			t.Fatal(err)
		}
		if f.ID() == 1 {
			resumed++
		}
		had := make([]byte, f.Size())
		if n, _ := f.ReadAt(had, 0); n < len(had) || !bytes.Equal(had, data[:n]) {
			t.Errorf("%s: of the %d bytes that it has some are others", im.op, len(had))
		}
		if err := errors.Join(writes(f, data, size), f.Commit()); err != nil {
			t.Fatal(err)
		}
		if got, err := contents(k, f.ID()); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: the copy has %d bytes, or others: %v", im.op, len(got), err)
		}
		if err := exact(k, im.disk); err != nil {
			t.Errorf("%s, completed: %v", im.op, err)
		}
	}
	if resumed == 0 || resumed == len(images) {
		t.Errorf("%d of %d were gone on with", resumed, len(images))
	}
	longtest.Figure(t, "%d images of a copy that was broken off twice: %d gone on with, all right", len(images), resumed)
}

// Whatever the disk refuses, what counts is what is there, and nothing is believed
// that was not synced.
func TestFaultsWhileKeeping(t *testing.T) {
	const size = 50_000
	data := someBytes(size)
	for n := 0; ; n++ {
		disk := vfstest.NewDisk()
		faults := vfstest.Wrap(disk)
		k := keeperOf(t, faults, 1<<20)
		faults.FailAt(n, false, vfstest.Op.Changes, syscall.EIO)
		for round := range int64(2) {
			f, err := begun(k, uint32(1+round), origin, size)
			if err != nil {
				break
			}
			if writes(f, data, 20_000*(1+round)) != nil {
				_ = f.Drop() // as who fills does
				break
			}
			_ = f.Keep() // it is dropped if that fails
		}
		ended := faults.Disarm() <= n
		if _, _, err := k.Clean(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := exact(k, disk); err != nil {
			t.Errorf("operation %d: %v", n, err)
		}
		k = keeperOf(t, disk.Crash(0, 1), 1<<20)
		if f, err := begun(k, 3, origin, size); err != nil {
			t.Errorf("operation %d: %v", n, err)
		} else {
			had := make([]byte, f.Size())
			if m, _ := f.ReadAt(had, 0); m < len(had) || !bytes.Equal(had, data[:m]) {
				t.Errorf("operation %d: of the %d bytes that it has some are others", n, len(had))
			}
			if err := f.Drop(); err != nil {
				t.Error(err)
			}
		}
		if ended {
			break
		}
	}
}

// A file of progress that is damaged anywhere says nothing, or what it said before.
func TestDamagedProgress(t *testing.T) {
	p := remnant{key: origin.Key, source: origin.source(), size: 1000, known: 10, at: time.Unix(5, 0)}
	whole := append(p.head(), make([]byte, progressLength-slotsAt)...)
	copy(whole[slotsAt:], p.slot())
	p.known = 20
	copy(whole[slotsAt+slotStep:], p.slot())
	if got := parseRemnant(whole); got == nil || got.known != 20 || got.next != 0 || got.key != origin.Key || got.source != p.source || got.size != 1000 || !got.at.Equal(p.at) {
		t.Fatalf("it says %+v", got)
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x10
		got := parseRemnant(bad)
		switch {
		case i < slotsAt && got != nil:
			t.Errorf("byte %d: it is of %+v", i, got)
		case i >= slotsAt && (got == nil || got.known != 20 && (got.known != 10 || i < slotsAt+slotStep)):
			t.Errorf("byte %d: %+v", i, got)
		}
		if got := parseRemnant(whole[:i]); i < slotsAt+slotStep+slotSize && got != nil && got.known > 10 {
			t.Errorf("%d bytes of it: %+v", i, got)
		}
	}
}

// keeps makes a remnant of a block for key.
func keeps(t *testing.T, k *Keeper, id uint32, key string) Origin {
	t.Helper()
	o := Origin{Key: key, URL: "https://a.example/" + key, Version: "1"}
	f, err := begun(k, id, o, 4*block)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writes(f, make([]byte, block), block), f.Keep()); err != nil {
		t.Fatal(err)
	}
	return o
}

// Remnants go before any copy, oldest first, those last that somebody is about to go
// on with; and when nobody has gone on with them for long, or somebody says so.
func TestRemnantsGo(t *testing.T) {
	disk := vfstest.NewDisk()
	k := keeperOf(t, disk, 20*block)
	wanted := keeps(t, k, 1, "wanted")
	k.Remnant(wanted, 4*block)
	keeps(t, k, 2, "older")
	keeps(t, k, 3, "newer")
	if err := fill(k, 4, 10*block, true); err != nil {
		t.Fatal(err)
	}
	left := func(want ...string) {
		t.Helper()
		keys := k.RemnantKeys()
		if len(keys) != len(want) {
			t.Errorf("left are %v, want %v", keys, want)
		}
		for _, key := range want {
			if k.remnants[key] == nil {
				t.Errorf("left are %v, want %v", keys, want)
			}
		}
		if err := exact(k, disk); err != nil {
			t.Error(err)
		}
	}
	if n, err := k.Yield(true); n != 0 || err != nil {
		t.Errorf("nothing has to go: %d, %v", n, err)
	}
	yields := func(ask int64, all bool, n int, want ...string) {
		t.Helper()
		var got *Space
		a := k.Queue(ask, func(s *Space, err error) {
			if err != nil {
				t.Error(err)
			}
			got = s
		})
		if m, err := k.Yield(all); m != n || err != nil {
			t.Errorf("%d have gone, %v", m, err)
		}
		a.Leave()
		got.Give()
		left(want...)
	}
	yields(5*block, false, 1, "newer", "wanted")
	yields(9*block, false, 1, "wanted")
	yields(9*block, false, 0, "wanted")
	yields(9*block, true, 1)
	o := keeps(t, k, 5, "again")
	if id := k.DropRemnant("again", o, 4*block); id != 0 {
		t.Error("it is of just that")
	}
	o.Version = "2"
	if id := k.DropRemnant("again", o, 4*block); id != 5 || k.Remove(id) != nil {
		t.Errorf("%d is of another version", id)
	}
	left()
	keeps(t, k, 6, "old")
	if ids := k.OldRemnants(); len(ids) != 0 {
		t.Errorf("%v are not old", ids)
	}
	k.remnants["old"].rest.at = time.Unix(0, 0)
	if ids := k.OldRemnants(); len(ids) != 1 || k.Remove(ids[0]) != nil {
		t.Errorf("%v are old", ids)
	}
	left()
	keeps(t, k, 7, "twice")
	f, err := k.Begin(8, Origin{Key: "twice", URL: "x", Version: "1"}, 3*block, space(t, k, 3*block))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writes(f, make([]byte, block), block), f.Keep()); err != nil {
		t.Fatal(err)
	}
	left("twice")
	if _, files := onDisk(disk); strings.Contains(strings.Join(files, " "), base(7)) {
		t.Errorf("on disk are %v", files)
	}
}

func space(t *testing.T, k *Keeper, n int64) *Space {
	t.Helper()
	s, err := k.Take(n)
	if s == nil || err != nil {
		t.Fatal(s, err)
	}
	return s
}

// What is not worth being kept, or cannot be gone on with, is dropped.
func TestNoRemnant(t *testing.T) {
	for name, c := range map[string]struct {
		o     Origin
		size  int64
		bytes int64
		least int64
	}{
		"no version":    {Origin{Key: "a", URL: "b"}, 4 * block, block, 1},
		"no size":       {origin, -1, block, 1},
		"too little":    {origin, 4 * block, block, block + 1},
		"a key so long": {Origin{Key: strings.Repeat("k", mostKey+1), URL: "b", Version: "c"}, 4 * block, block, 1},
		"all of it":     {origin, block, block, 1},
		"nothing":       {origin, block, 0, 1},
	} {
		disk := vfstest.NewDisk()
		k := keeperOf(t, disk, quota)
		k.cfg.Least = c.least
		f, err := k.Begin(1, c.o, c.size, space(t, k, max(c.size, block)))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(writes(f, make([]byte, c.bytes), c.bytes), f.Keep(), exact(k, disk)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, files := onDisk(disk); len(files) > 0 || k.Stats().Remnants > 0 {
			t.Errorf("%s: there are %v", name, files)
		}
	}
}
