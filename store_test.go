package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

func TestRegisterReadStopStart(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 500)
	r.register("a", m, nil)
	r.has(blocks)
	in := r.info("a")
	if in.State != shard.Available || in.Sections != 500 || in.Multihashes != 500 || in.Version != 1 ||
		!slices.Equal(in.Roots, []cid.Cid{blocks[0].CID}) || in.Bytes == 0 || in.URL != m.URL() {
		t.Errorf("info: %+v", in)
	}
	streams := r.reads.Load()
	r.reopen()
	r.has(blocks)
	if n := r.reads.Load(); n != streams {
		t.Errorf("the CAR was read %d times again after a restart", n-streams)
	}
	if again := r.info("a"); !again.Registered.Equal(in.Registered) || again.Sections != in.Sections {
		t.Errorf("after a restart: %+v, before: %+v", again, in)
	}
}

func TestAccessor(t *testing.T) {
	r := newRig(t)
	data := cartest.RandomV1(1, 50, 100)
	v2 := cartest.V2(data, cartest.Container{})
	r.register("a", r.putBytes("a.car", v2), nil)
	a := r.acquire("a")
	if in := r.info("a"); in.State != shard.Serving || in.Holders != 1 {
		t.Errorf("held: %+v", in)
	}
	if got, err := io.ReadAll(a.CAR(r.ctx())); err != nil || string(got) != string(v2) {
		t.Errorf("CAR: %d bytes, %v", len(got), err)
	}
	var b strings.Builder
	if n, err := a.Payload(r.ctx()).WriteTo(&b); err != nil || b.String() != string(data) || n != int64(len(data)) {
		t.Errorf("payload: %d bytes, %v", n, err)
	}
	p := a.Payload(r.ctx())
	if at, err := p.Seek(-10, io.SeekEnd); err != nil || at != int64(len(data))-10 {
		t.Errorf("seek: %d, %v", at, err)
	}
	if got, err := io.ReadAll(p); err != nil || string(got) != string(data[len(data)-10:]) {
		t.Errorf("tail: %q, %v", got, err)
	}
	n := 0
	for rec, err := range a.Index().All() {
		if err != nil || rec.Size != 100 {
			t.Fatal(rec, err)
		}
		n++
	}
	if n != 50 || a.Index().Len() != 50 {
		t.Errorf("%d records, Len %d", n, a.Index().Len())
	}
	a.Close()
	a.Close()
	if _, err := a.Blockstore().Get(r.ctx(), cartest.RandomBlock(1, 0, 100).CID); !errors.Is(err, ErrClosed) {
		t.Errorf("get after close: %v", err)
	}
	if _, err := a.CAR(r.ctx()).Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	r.await("a", shard.Available)
}

func TestRegisterAgain(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 5)
	_, other := r.put("b.car", 2, 5)
	r.register("a", m, nil)
	if err := r.store.Register(r.ctx(), "a", m, nil); !errors.Is(err, shard.ErrExists) {
		t.Errorf("the same again: %v", err)
	}
	if err := r.store.Register(r.ctx(), "a", other, nil); !errors.Is(err, shard.ErrKeyUsed) {
		t.Errorf("another source: %v", err)
	}
	var about *shard.Error
	if err := r.store.Register(r.ctx(), "a", m, nil); !errors.As(err, &about) || about.Key != "a" || about.Op != shard.OpRegister {
		t.Errorf("the error does not say what it is about: %v", err)
	}
	if _, err := r.store.Info(r.ctx(), "b"); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("info of nothing: %v", err)
	}
	if _, err := r.store.Acquire(r.ctx(), "b", nil); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("acquire of nothing: %v", err)
	}
	if err := r.store.Destroy(r.ctx(), "b", nil); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("destroy of nothing: %v", err)
	}
}

func TestShardsFilter(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 3)
	for i := range 700 { // more than two pages
		r.register(shard.Key(fmt.Sprintf("p/%03d", i)), m, &RegisterOptions{Lazy: i%2 == 0})
	}
	r.register("q", m, nil)
	list := func(f *Filter) (keys []shard.Key) {
		for in, err := range r.store.Shards(r.ctx(), f) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, in.Key)
		}
		return keys
	}
	if n := len(list(nil)); n != 701 {
		t.Errorf("%d shards", n)
	}
	if keys := list(&Filter{Prefix: "p/", After: "p/690"}); len(keys) != 9 || keys[0] != "p/691" {
		t.Errorf("after: %v", keys)
	}
	if n := len(list(&Filter{Prefix: "p/", States: []shard.State{shard.Registered}})); n != 350 {
		t.Errorf("%d lazy ones", n)
	}
	for range r.store.Shards(r.ctx(), nil) {
		break
	}
}

func TestLazy(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 20)
	r.register("a", m, &RegisterOptions{Lazy: true})
	if in := r.info("a"); in.State != shard.Registered || r.reads.Load() != 0 {
		t.Errorf("lazy: %v after %d reads", in.State, r.reads.Load())
	}
	r.reopen()
	if in := r.info("a"); in.State != shard.Registered {
		t.Errorf("after a restart: %v", in.State)
	}
	a := r.acquire("a")
	defer a.Close()
	if _, err := a.Blockstore().Get(r.ctx(), blocks[3].CID); err != nil {
		t.Error(err)
	}
	r.has(blocks)
}

func TestClosed(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a.car", 1, 5)
	r.register("a", m, nil)
	a := r.acquire("a")
	bs := r.store.Blockstore(nil)
	if err := errors.Join(r.store.Close(), r.store.Close()); err != nil {
		t.Fatal(err)
	}
	_, info := r.store.Info(r.ctx(), "a")
	_, acquire := r.store.Acquire(r.ctx(), "a", nil)
	_, get := bs.Get(r.ctx(), blocks[0].CID)
	_, held := a.Blockstore().Get(r.ctx(), blocks[0].CID)
	_, read := a.CAR(r.ctx()).Read(make([]byte, 1))
	for name, err := range map[string]error{
		"register": r.store.Register(r.ctx(), "b", m, nil), "destroy": r.store.Destroy(r.ctx(), "a", nil),
		"recover": r.store.Recover(r.ctx(), "a", nil), "info": info, "acquire": acquire, "get": get, "held": held, "read": read,
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	for _, err := range r.store.Shards(r.ctx(), nil) {
		if !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
	a.Close()
}

func TestOpenRefuses(t *testing.T) {
	r := newRig(t)
	if _, err := open(r.ctx(), r.faults, "store", &r.cfg, usual); !errors.Is(err, ErrInUse) {
		t.Errorf("a second time: %v", err)
	}
	cfg := r.cfg
	cfg.NoCreate = true
	if _, err := open(r.ctx(), r.faults, "nothing", &cfg, usual); !errors.Is(err, ErrNoStore) {
		t.Errorf("NoCreate: %v", err)
	}
	if names, _ := r.disk.List("nothing"); len(names) > 0 {
		t.Errorf("NoCreate made %v", names)
	}
	write := func(name, text string) {
		t.Helper()
		if err := vfs.WriteFile(r.disk, name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"newer", "full"} {
		if err := vfs.MkdirAll(r.disk, dir); err != nil {
			t.Fatal(err)
		}
	}
	write("newer/VERSION", "dagstore 99\n")
	if _, err := open(r.ctx(), r.faults, "newer", &r.cfg, usual); !errors.Is(err, ErrVersion) {
		t.Errorf("newer: %v", err)
	}
	if names, _ := r.disk.List("newer"); !slices.Equal(names, []string{"VERSION"}) {
		t.Errorf("a newer store was changed: %v", names)
	}
	write("full/letter.txt", "dear")
	if _, err := open(r.ctx(), r.faults, "full", &r.cfg, usual); !errors.Is(err, ErrNoStore) {
		t.Errorf("a folder of something else: %v", err)
	}
	if _, err := open(r.ctx(), r.faults, "bad", &Config{Work: Work{Opens: -1, Memory: 5}}, usual); err == nil ||
		!strings.Contains(err.Error(), "Opens") || !strings.Contains(err.Error(), "Memory") {
		t.Errorf("validate does not report every fault: %v", err)
	}
}

// A store whose catalogue cannot be opened gives an error, its lock back, and
// no panic.
func TestOpenFails(t *testing.T) {
	r := newRig(t)
	if err := r.store.Close(); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(ended, r.disk, "store", &r.cfg, usual); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	for n := range 40 { // each operation of an opening fails once
		faults := vfstest.Wrap(r.disk)
		faults.FailAt(n, false, nil, syscall.EIO)
		s, err := open(t.Context(), faults, "store", &r.cfg, usual)
		if err == nil {
			err = s.Close()
		}
		if err == nil && faults.Disarm() > n {
			t.Logf("operation %d failed, and nobody missed it", n)
		}
	}
	r.open()
}

// A crash at any moment of the making of a store leaves a folder in which one
// can be made.
func TestCrashWhileMade(t *testing.T) {
	for n := range 200 {
		disk := vfstest.NewDisk()
		faults := vfstest.Wrap(disk)
		faults.FailAt(n, true, vfstest.Op.Changes, syscall.EIO)
		cfg := Config{}
		s, err := open(t.Context(), faults, "store", &cfg, usual)
		if err == nil {
			s.Close()
		}
		reached := faults.Disarm() > n
		crashed := disk.Crash(100, 1)
		if s, err = open(t.Context(), crashed, "store", &cfg, usual); err != nil {
			t.Fatalf("after a crash at operation %d: %v", n, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if !reached {
			t.Logf("%d operations", n)
			return
		}
	}
}

func TestUnknownScheme(t *testing.T) {
	r := newRig(t)
	if err := r.store.Register(r.ctx(), "a", strange{}, nil); !errors.Is(err, mount.ErrScheme) {
		t.Errorf("%v", err)
	}
}

type strange struct{ mount.Mount }

func (strange) URL() string { return "strange://place" }

func TestContextEndsBeforeTheQueue(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 5)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.store.Register(ctx, "a", m, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if _, err := r.store.Info(r.ctx(), "a"); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("it was registered all the same: %v", err)
	}
}
