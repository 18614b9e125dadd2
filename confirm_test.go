package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// A labeled CAR lies elsewhere: it is read by ranges, and its version is a
// label that says nothing about its bytes.
type labeled struct {
	mount.RangeOpener
	label *atomic.Value // string
}

func (r *rig) labels(label *atomic.Value) {
	r.mounts(func(m mount.Mount) mount.Mount { return labeled{m.(watched).FileOpener.(mount.RangeOpener), label} })
}

func (m labeled) Stat(ctx context.Context) (mount.Stat, error) {
	st, err := m.RangeOpener.Stat(ctx)
	st.Version, st.ModTime = m.label.Load().(string), time.Time{}
	return st, err
}

func (m labeled) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	if have := m.label.Load().(string); r.Version != "" && r.Version != have {
		return nil, fmt.Errorf("%w: it is %q, not %q", mount.ErrChanged, have, r.Version)
	}
	r.Version = ""
	return m.RangeOpener.OpenRange(ctx, r)
}

// onDisk writes a CAR of n blocks of size bytes to a file, and registers it.
func (r *rig) onDisk(key shard.Key, seed uint64, n, size int) (path string, blocks []cartest.Block) {
	r.t.Helper()
	path = filepath.Join(r.t.TempDir(), "a.car")
	if err := os.WriteFile(path, cartest.RandomV1(seed, n, size), 0o600); err != nil {
		r.t.Fatal(err)
	}
	m, err := filemount.New(path)
	if err != nil {
		r.t.Fatal(err)
	}
	r.register(key, m, nil)
	return path, cartest.Random(seed, n, size)
}

// touch gives a file another time.
func (r *rig) touch(path string) {
	r.t.Helper()
	when := time.Unix(1_000_000_000, 0)
	if err := os.Chtimes(path, when, when); err != nil {
		r.t.Fatal(err)
	}
}

func TestTouchedSourceIsNotIndexedAgain(t *testing.T) {
	r := newRig(t)
	path, blocks := r.onDisk("a", 1, 200, 100)
	before, index := r.info("a"), r.indexFiles()
	r.touch(path)
	a := r.acquire("a")
	defer a.Close()
	in := r.info("a")
	if in.Source == before.Source || in.Verified != shard.Sampled || in.VerifiedAt.Before(before.Changed) || in.State != shard.Serving {
		t.Errorf("after the touch: %+v", in)
	}
	for i := range 2 {
		if now := r.indexFiles(); !slices.Equal(now, index) {
			t.Errorf("it was indexed again: %v, then %v", index, now)
		}
		r.has(blocks)
		r.crash(0, uint64(i)) // what was confirmed is on disk
		if got := r.info("a"); got.Source != in.Source || !got.VerifiedAt.Equal(in.VerifiedAt) {
			t.Errorf("after a crash: %+v", got)
		}
	}
	changed := r.info("a").Changed
	r.acquire("a").Close()
	if now := r.info("a").Changed; !now.Equal(changed) {
		t.Error("what is confirmed was confirmed again")
	}
}

func TestOtherBytesOfTheSameSize(t *testing.T) {
	for name, change := range map[string]func(data []byte, other []byte) []byte{
		"all of it":        func(_, other []byte) []byte { return other },
		"all but the head": func(data, other []byte) []byte { return append(data[:59:59], other[59:]...) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			path, old := r.onDisk("a", 1, 200, 100)
			index := r.indexFiles()
			if err := os.WriteFile(path, change(cartest.RandomV1(1, 200, 100), cartest.RandomV1(2, 200, 100)), 0o600); err != nil {
				t.Fatal(err)
			}
			r.touch(path)
			r.acquire("a").Close()
			r.has(cartest.Random(2, 200, 100))
			r.lacks(old)
			r.until("the old index is removed", func() bool { return r.files() == 1 })
			if now := r.indexFiles(); slices.Equal(now, index) {
				t.Error("it was not indexed again")
			}
			if in := r.info("a"); in.Verified != shard.Unverified {
				t.Errorf("verified: %v", in.Verified)
			}
		})
	}
}

// A bit that flips in one of few blocks is noticed.
func TestFlipInFewBlocks(t *testing.T) {
	r := newRig(t)
	path, blocks := r.onDisk("a", 1, 10, 100)
	index := r.indexFiles()
	data := cartest.RandomV1(1, 10, 100)
	data[len(data)-1] ^= 1 // in the last block
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	r.touch(path)
	r.acquire("a").Close()
	if now := r.indexFiles(); slices.Equal(now, index) {
		t.Error("it was not noticed")
	}
	r.has(blocks[:9])
	if _, err := r.store.Blockstore(nil).Get(r.ctx(), blocks[9].CID); !errors.Is(err, shard.ErrBlock) {
		t.Errorf("the flipped block: %v", err)
	}
}

// A source elsewhere is read by the version that was confirmed.
func TestOtherVersionElsewhere(t *testing.T) {
	r := newRig(t)
	var label atomic.Value
	label.Store("one")
	r.labels(&label)
	r.reopen()
	blocks, m := r.put("a.car", 1, 200)
	r.register("a", m, nil)
	index := r.indexFiles()
	label.Store("two")
	a := r.acquire("a")
	defer a.Close()
	if in := r.info("a"); in.Source != "two" || in.Verified != shard.Sampled {
		t.Errorf("%+v", in)
	}
	r.has(blocks)
	if n, err := io.Copy(io.Discard, a.CAR(r.ctx())); err != nil || n != r.info("a").Bytes {
		t.Errorf("%d bytes, %v", n, err)
	}
	if now := r.indexFiles(); !slices.Equal(now, index) {
		t.Error("it was indexed again")
	}
}

// A confirmation that the disk refuses is not believed; reads go on.
func TestConfirmedCommitFails(t *testing.T) {
	r := newRig(t)
	path, blocks := r.onDisk("a", 1, 200, 100)
	before := r.info("a")
	r.touch(path)
	under, release := r.holdCommit(io.ErrShortWrite)
	got := make(chan error, 1)
	go func() {
		a, err := r.store.Acquire(r.ctx(), "a", nil)
		if err == nil {
			a.Close()
		}
		got <- err
	}()
	soon(r, "the commit", under)
	release()
	if err := soon(r, "the acquire", got); !errors.Is(err, ErrReadOnly) {
		t.Errorf("acquire: %v", err)
	}
	r.has(blocks)
	r.await("a", shard.Available)
	if in := r.info("a"); in.Source != before.Source || in.Verified != before.Verified {
		t.Errorf("a refused confirmation is told: %+v", in)
	}
	r.acquire("a").Close()
}

// A source elsewhere that takes another version while it is open is asked again
// by the next opening. Who holds it fails to read, and the shard does not fail.
func TestAnotherVersionWhileOpen(t *testing.T) {
	for name, held := range map[string]bool{"held": true, "idle": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			label := &atomic.Value{}
			label.Store("one")
			r.labels(label)
			r.reopen()
			blocks, m := r.put("a.car", 1, 200)
			r.register("a", m, nil)
			index := r.indexFiles()
			a := r.acquire("a")
			if !held {
				a.Close()
			}
			label.Store("two")
			if _, err := r.store.Blockstore(nil).Get(r.ctx(), blocks[150].CID); err != nil && !errors.Is(err, shard.ErrChanged) {
				t.Errorf("the read that meets it: %v", err)
			}
			r.until("the other version is known", func() bool {
				r.acquire("a").Close()
				return r.info("a").Source == "two"
			})
			if in := r.info("a"); in.Failure != nil || in.Verified != shard.Sampled {
				t.Errorf("%+v", in)
			}
			r.has(blocks)
			if now := r.indexFiles(); !slices.Equal(now, index) {
				t.Errorf("it was indexed again: %v, then %v", index, now)
			}
			if held {
				if _, err := a.Blockstore().Get(r.ctx(), blocks[150].CID); !errors.Is(err, shard.ErrChanged) {
					t.Errorf("the old holder: %v", err)
				}
				a.Close()
			}
			r.await("a", shard.Available)
		})
	}
}
