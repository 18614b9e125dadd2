package dagstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A metered CAR lies on this machine or elsewhere, and counts what is read.
type metered struct {
	mount.RangeOpener
	n *atomic.Int64
}

type meteredFile struct {
	metered
	file mount.FileOpener
}

func (m metered) Open(ctx context.Context) (io.ReadCloser, error) {
	return m.stream(m.RangeOpener.Open(ctx))
}

func (m metered) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	return m.stream(m.RangeOpener.OpenRange(ctx, r))
}

func (m metered) stream(r io.ReadCloser, err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r, meter{m.n}), r}, nil
}

func (m meteredFile) OpenFile(ctx context.Context) (mount.File, error) {
	f, err := m.file.OpenFile(ctx)
	return meteredBytes{f, m.n}, err
}

type meteredBytes struct {
	mount.File
	n *atomic.Int64
}

func (f meteredBytes) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.n.Add(int64(n))
	return n, err
}

type meter struct{ n *atomic.Int64 }

func (m meter) Write(p []byte) (int, error) {
	m.n.Add(int64(len(p)))
	return len(p), nil
}

// meters has all that is read of CARs counted.
func (r *rig) meters(elsewhere bool) *atomic.Int64 {
	n := new(atomic.Int64)
	r.mounts(func(m mount.Mount) mount.Mount {
		file := m.(watched).FileOpener
		far := metered{file.(mount.RangeOpener), n}
		if elsewhere {
			return far
		}
		return meteredFile{far, file}
	})
	r.reopen()
	return n
}

// However a CAR is read, what is found is the same; how much of it is read is
// what the policy says, also after a restart.
func TestIndexPolicies(t *testing.T) {
	const blocks, size = 30, 70_000
	for name, c := range map[string]struct {
		policy      IndexPolicy
		verify, far bool
		all         bool // of the CAR is read
	}{
		"auto":                    {AutoIndex, false, false, true}, // such bodies are as well read as passed over
		"scan":                    {Scan, false, false, true},
		"hop":                     {Hop, false, false, false},
		"hop with Verify":         {Hop, true, false, true},
		"auto elsewhere":          {AutoIndex, false, true, true},
		"scan elsewhere":          {Scan, false, true, true},
		"hop elsewhere":           {Hop, false, true, false},
		"hop elsewhere, verified": {Hop, true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			read := r.meters(c.far)
			data := cartest.RandomV1(1, blocks, size)
			m := r.putBytes("a.car", data)
			r.register("a", m, &RegisterOptions{Lazy: true, Index: c.policy, Verify: c.verify})
			r.reopen()
			read.Store(0)
			r.acquire("a").Close()
			if n := read.Load(); c.all != (n >= int64(len(data))) || !c.all && n > blocks*5000+10_000 {
				t.Errorf("%d of %d bytes were read", n, len(data))
			}
			in := r.info("a")
			if in.Sections != blocks || in.Multihashes != blocks || in.Payload.Size != int64(len(data)) || c.verify != (in.Verified == shard.Full) {
				t.Errorf("%+v", in)
			}
			r.has(cartest.Random(1, blocks, size))
		})
	}
}

func TestIndexPolicyRefused(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	if err := r.store.Register(r.ctx(), "a", m, &RegisterOptions{Index: Adopt + 1}); err == nil {
		t.Error("a policy of no meaning is taken")
	}
	r.mounts(func(m mount.Mount) mount.Mount { return noRanges{m} })
	r.reopen()
	if err := r.store.Register(r.ctx(), "a", m, &RegisterOptions{Index: Hop}); !errors.Is(err, mount.ErrNoRanges) {
		t.Errorf("a source that cannot be hopped through: %v", err)
	}
}

// noRanges is a stream and nothing else.
type noRanges struct{ mount.Mount }

func (m noRanges) Stat(ctx context.Context) (mount.Stat, error) {
	st, err := m.Mount.Stat(ctx)
	st.Ranges = false
	return st, err
}

// halves indexes every second block, and tells neither size nor head.
func halves(ctx context.Context, in io.Reader, emit func(index.Record) error) error {
	n := 0
	_, err := car.Scan(ctx, in, car.Options{}, func(s *car.Section) error {
		if n++; n%2 == 0 {
			return nil
		}
		return emit(index.Record{Multihash: s.Multihash(), Position: index.Position{Offset: s.Offset}})
	})
	return err
}

func everySecond(blocks []cartest.Block) (in, out []cartest.Block) {
	for i, b := range blocks {
		if i%2 == 0 {
			in = append(in, b)
		} else {
			out = append(out, b)
		}
	}
	return in, out
}

func TestIndexer(t *testing.T) {
	r := newRig(t)
	r.cfg.Indexers = map[string]index.Indexer{"halves": halves}
	r.reopen()
	blocks, m := r.put("a.car", 1, 40)
	in, out := everySecond(blocks)
	r.register("a", m, &RegisterOptions{Indexer: "halves", Lazy: true})
	r.reopen() // the name survives
	r.acquire("a").Close()
	r.has(in)
	r.lacks(out)
	if got := r.info("a"); got.Sections != 20 || got.RootCount != 1 || got.Version != 1 || got.Verified != shard.Unverified {
		t.Errorf("%+v", got)
	}
	// It goes along to another place, and to another revision.
	for _, check := range []Comparison{CompareSample, CompareFull} {
		_, n := r.put("b.car", 1, 40)
		if err := r.store.Remount(r.ctx(), "a", n, check); err != nil {
			t.Error(err)
		}
	}
	bad := cartest.RandomV1(1, 40, 100)
	bad[bytes.Index(bad, in[7].Data)] ^= 1
	if err := r.store.Remount(r.ctx(), "a", r.putBytes("c.car", bad), CompareFull); !errors.Is(err, shard.ErrChanged) {
		t.Errorf("a damaged block: %v", err)
	}
	blocks, n := r.put("d.car", 2, 40)
	if err := r.store.Replace(r.ctx(), "a", n, nil); err != nil {
		t.Fatal(err)
	}
	in, out = everySecond(blocks)
	r.has(in)
	r.lacks(out)
}

// An indexer that is not there is refused, or, if it was once, fails the shard.
func TestIndexerUnknown(t *testing.T) {
	r := newRig(t)
	_, m := r.put("a.car", 1, 20)
	for name, opts := range map[string]*RegisterOptions{
		"not there": {Indexer: "halves"},
	} {
		if err := r.store.Register(r.ctx(), "a", m, opts); !errors.Is(err, shard.ErrIndex) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.cfg.Indexers = map[string]index.Indexer{"halves": halves}
	r.reopen()
	for _, opts := range []*RegisterOptions{{Indexer: "halves", Verify: true}, {Indexer: "halves", Index: Hop}} {
		if err := r.store.Register(r.ctx(), "a", m, opts); !errors.Is(err, shard.ErrIndex) {
			t.Errorf("%+v: %v", opts, err)
		}
	}
	r.register("a", m, &RegisterOptions{Indexer: "halves", Lazy: true})
	r.cfg.Indexers = nil
	r.reopen()
	if _, err := r.store.Acquire(r.ctx(), "a", nil); !errors.Is(err, shard.ErrIndex) || !strings.Contains(err.Error(), "halves") {
		t.Errorf("%v", err)
	}
	if in := r.info("a"); in.State != shard.Errored {
		t.Errorf("%+v", in)
	}
	r.cfg.Indexers = map[string]index.Indexer{"halves": halves}
	r.reopen()
	if err := r.store.Recover(r.ctx(), "a", nil); err != nil {
		t.Error(err)
	}
}

// What an indexer does wrong is the shard's error, never a wrong byte.
func TestIndexerFails(t *testing.T) {
	failure := errors.New("I give up")
	read := func(in io.Reader) { _, _ = io.Copy(io.Discard, in) }
	r := newRig(t)
	r.cfg.Indexers = map[string]index.Indexer{
		"panics": func(context.Context, io.Reader, func(index.Record) error) error { panic("on fire") },
		"fails":  func(context.Context, io.Reader, func(index.Record) error) error { return failure },
		"swallows": func(_ context.Context, in io.Reader, _ func(index.Record) error) error {
			read(in)
			return nil
		},
		"lies": func(_ context.Context, in io.Reader, emit func(index.Record) error) error {
			read(in)
			for i, b := range cartest.Random(1, 5, 100) {
				if err := emit(index.Record{Multihash: b.CID.Hash(), Position: index.Position{Offset: int64(i * 7)}}); err != nil {
					return err
				}
			}
			return nil
		},
		"below": func(_ context.Context, _ io.Reader, emit func(index.Record) error) error {
			return emit(index.Record{Multihash: cartest.Raw(nil).CID.Hash(), Position: index.Position{Offset: -1}})
		},
	}
	r.mounts(func(m mount.Mount) mount.Mount { return breaking{m.(watched).FileOpener} })
	r.reopen()
	for name, want := range map[string]error{"panics": shard.ErrIndex, "fails": failure, "below": index.ErrRecord} {
		_, m := r.put("good.car", 1, 20)
		if err := r.store.Register(r.ctx(), shard.Key(name), m, &RegisterOptions{Indexer: name}); !errors.Is(err, want) || !errors.Is(err, shard.ErrIndex) {
			t.Errorf("%s: %v", name, err)
		}
		r.await(shard.Key(name), shard.Errored)
	}
	_, m := r.put("breaks.car", 1, 200)
	if err := r.store.Register(r.ctx(), "swallows", m, &RegisterOptions{Indexer: "swallows"}); !errors.Is(err, shard.ErrSource) {
		t.Errorf("a source that breaks off: %v", err)
	}
	_, m = r.put("good.car", 1, 20)
	r.register("lies", m, &RegisterOptions{Indexer: "lies"})
	for _, b := range cartest.Random(1, 5, 100) {
		if _, err := r.store.Blockstore(nil).Get(r.ctx(), b.CID); !errors.Is(err, shard.ErrIndex) {
			t.Errorf("an entry that lies: %v", err)
		}
	}
}

// breaking is a CAR that, if its name says so, breaks off in the middle.
type breaking struct{ mount.FileOpener }

func (m breaking) OpenFile(ctx context.Context) (mount.File, error) {
	f, err := m.FileOpener.OpenFile(ctx)
	if err == nil && strings.Contains(m.URL(), "breaks") {
		return brokenOff{f}, nil
	}
	return f, err
}

type brokenOff struct{ mount.File }

func (f brokenOff) ReadAt(p []byte, off int64) (int, error) {
	if off > 5000 {
		return 0, io.ErrUnexpectedEOF
	}
	return f.File.ReadAt(p[:min(len(p), 5001)], off)
}
