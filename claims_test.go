package dagstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	format "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// recordsOf reads the records of a CAR, identity left out.
func recordsOf(t testing.TB, data []byte) (recs []index.Record) {
	t.Helper()
	_, err := car.Scan(t.Context(), bytes.NewReader(data), car.Options{Size: int64(len(data))}, func(s *car.Section) error {
		if !s.Identity() {
			p := index.Position{Offset: s.Offset, Size: s.Size, Head: s.Head}
			recs = append(recs, index.Record{Multihash: slices.Clone(s.Multihash()), Position: p})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return recs
}

// writeIndex makes an index file of recs.
func writeIndex(t testing.TB, recs []index.Record, bare bool) []byte {
	t.Helper()
	var buf bytes.Buffer
	err := index.Write(t.Context(), &buf, func(yield func(index.Record, error) bool) {
		for _, r := range recs {
			if !yield(r, nil) {
				return
			}
		}
	}, &index.WriteOptions{Bare: bare})
	if err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// A placing is where an index lies.
type placing string

const (
	inside placing = "inside"
	beside placing = "beside"
	named  placing = "named"
)

// place lays a CARv1 with an index of it, and returns how it is registered.
func (r *rig) place(at placing, payload, ix []byte, opts RegisterOptions) (mount.Mount, *RegisterOptions) {
	r.t.Helper()
	switch at {
	case inside:
		payload = cartest.V2(payload, cartest.Container{Index: ix, DataPadding: 7})
	case beside:
		r.cars.Put("a.car.idx", ix)
	case named:
		r.cars.Put("elsewhere.idx", ix)
		opts.IndexURL = "mem:elsewhere.idx"
	}
	return r.putBytes("a.car", payload), &opts
}

// reach counts what is asked of CARs, which lie on this machine or elsewhere,
// and what is beside them.
type reach struct {
	ranges, bytes, whole, stats atomic.Int64 // of what is no index
	indices                     atomic.Int64 // streams of indices
}

// reaches wraps every mount. Those that lie elsewhere offer ranges, no file.
func (r *rig) reaches(far bool) *reach {
	n := new(reach)
	r.mounts(func(m mount.Mount) mount.Mount {
		w := reached{m.(watched).FileOpener.(mount.RangeOpener), n}
		if far {
			return w
		}
		return reachedFile{w}
	})
	r.reopen()
	return n
}

type reached struct {
	mount.RangeOpener
	n *reach
}

func (m reached) isIndex() bool { return bytes.HasSuffix([]byte(m.URL()), []byte(".idx")) }

func (m reached) Stat(ctx context.Context) (mount.Stat, error) {
	m.n.stats.Add(1)
	return m.RangeOpener.Stat(ctx)
}

func (m reached) Open(ctx context.Context) (io.ReadCloser, error) {
	if m.isIndex() {
		m.n.indices.Add(1)
		return m.RangeOpener.Open(ctx)
	}
	m.n.whole.Add(1)
	return m.metered(m.RangeOpener.Open(ctx))
}

func (m reached) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	m.n.ranges.Add(1)
	return m.metered(m.RangeOpener.OpenRange(ctx, r))
}

func (m reached) OpenSibling(suffix string) (mount.Mount, error) {
	beside, err := mount.OpenSibling(m.RangeOpener, suffix)
	if err != nil {
		return nil, err
	}
	return reached{beside.(mount.RangeOpener), m.n}, nil
}

func (m reached) metered(r io.ReadCloser, err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r, meter{&m.n.bytes}), r}, nil
}

type reachedFile struct{ reached }

func (m reachedFile) OpenFile(ctx context.Context) (mount.File, error) {
	f, err := mount.OpenFile(ctx, m.RangeOpener)
	return meteredBytes{f, &m.n.bytes}, err
}

func (m reachedFile) OpenSibling(suffix string) (mount.Mount, error) {
	beside, err := m.reached.OpenSibling(suffix)
	if err != nil {
		return nil, err
	}
	return reachedFile{beside.(reached)}, nil
}

// faultsOf gathers the damage that is told of.
func (r *rig) faultsOf(kind shard.FaultKind) (count func() int) {
	var mu sync.Mutex
	n := 0
	r.cfg.Events.Fault = func(f FaultEvent) {
		mu.Lock()
		defer mu.Unlock()
		if f.Kind == kind {
			n++
		}
	}
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// confirmed waits until no claim is open.
func (r *rig) confirmed(key shard.Key) {
	r.t.Helper()
	r.until("the index is confirmed", func() bool { return !r.info(key).Claimed })
}

// Wherever an index lies and however it is used, what is found is the same; a
// sample of it and an adoption read next to nothing of a CAR elsewhere.
func TestIndexThatCameWithTheCAR(t *testing.T) {
	const blocks, size = 600, 700
	for _, at := range []placing{inside, beside, named} {
		for policy, name := range map[IndexPolicy]string{AutoIndex: "auto", Check: "check", Sample: "sample", Adopt: "adopt"} {
			for _, far := range []bool{false, true} {
				for _, bare := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s %s far %v bare %v", name, at, far, bare), func(t *testing.T) {
						testClaim(t, at, policy, far, bare, blocks, size)
					})
				}
			}
		}
	}
}

func testClaim(t *testing.T, at placing, policy IndexPolicy, far, bare bool, blocks, size int) {
	r := newRig(t)
	lies := r.faultsOf(shard.BadEntry)
	n := r.reaches(far)
	payload := cartest.RandomV1(1, blocks, size)
	m, opts := r.place(at, payload, writeIndex(t, recordsOf(t, payload), bare), RegisterOptions{Index: policy, Lazy: true})
	r.register("a", m, opts)
	r.reopen() // what was said survives
	stats := n.stats.Load()
	if err := r.store.RegisterShard(r.ctx(), "a", m, nil, opts); err != nil {
		t.Fatal(err)
	}
	r.acquire("a").Close()
	in := r.info("a")
	sampled := policy == Sample || policy == AutoIndex && far
	if sampled != (in.Verified == shard.Sampled) || sampled && !in.Claimed || policy == Check && in.Claimed {
		t.Errorf("%+v", in)
	}
	if in.Sections != int64(blocks) || in.Multihashes != int64(blocks) || in.Payload.Size != int64(len(payload)) || len(in.Roots) != 1 {
		t.Errorf("%+v", in)
	}
	if asked := n.ranges.Load() + n.stats.Load() - stats + n.indices.Load(); sampled && far && (asked > 20+1 || n.whole.Load() > 0) { // one is of opening it
		t.Errorf("%d ranges, %d times how it is, %d times all of it", n.ranges.Load(), n.stats.Load()-stats, n.whole.Load())
	}
	if policy == Adopt {
		r.confirmed("a")
		if in := r.info("a"); in.Verified != shard.Unverified || in.Sections != int64(blocks) {
			t.Errorf("once confirmed: %+v", in)
		}
	}
	r.has(cartest.Random(1, blocks, size))
	r.reopen()
	r.has(cartest.Random(1, blocks, size))
	if lies() > 0 {
		t.Errorf("%d lies in a good index", lies())
	}
}

// A lie is what is made of a good index, which mutate gets as records and as a
// bare file of these.
type indexLie struct {
	name   string
	mutate func(recs []index.Record, bare []byte) []byte
	quiet  bool // a sample may not meet it
}

// tell checks that a lie costs the index, whoever uses it, and no byte of any
// block: each is served as it is, or, while the claim is believed, missed.
func (l indexLie) tell(t *testing.T, payload []byte, blocks []cartest.Block) {
	for policy, name := range map[IndexPolicy]string{Check: "check", Sample: "sample", Adopt: "adopt"} {
		for _, at := range []placing{inside, beside} {
			t.Run(fmt.Sprintf("%s, %s, %s", l.name, name, at), func(t *testing.T) {
				r := newRig(t)
				lies := r.faultsOf(shard.BadEntry)
				r.reaches(at == beside) // elsewhere; inside, in place
				recs := recordsOf(t, payload)
				m, opts := r.place(at, payload, l.mutate(recs, writeIndex(t, recs, true)), RegisterOptions{Index: policy})
				r.register("a", m, opts)
				missed := r.misses(blocks)
				if policy == Adopt {
					r.confirmed("a")
				}
				if in := r.info("a"); in.State != shard.Available && in.State != shard.Serving || policy != Sample && in.Claimed {
					t.Errorf("%+v", in)
				}
				if l.quiet && policy == Sample && lies() == 0 {
					return // it was not met, and costs what it says
				}
				r.until("the lie is told", func() bool { return lies() > 0 })
				r.confirmed("a")
				r.has(blocks)
				if policy == Check && missed > 0 {
					t.Errorf("%d blocks were missed although every entry was held against the CAR", missed)
				}
				// It is not asked again.
				r.reopen()
				told := lies()
				r.has(blocks)
				if lies() != told {
					t.Error("it is told again after a restart")
				}
			})
		}
	}
}

// misses reads all blocks and counts those that are missed. None may be wrong.
func (r *rig) misses(blocks []cartest.Block) (n int) {
	r.t.Helper()
	for i, b := range blocks {
		got, err := r.store.Blockstore(nil).Get(r.ctx(), b.CID)
		switch {
		case err == nil && !bytes.Equal(got.RawData(), b.Data):
			r.t.Fatalf("block %d has other bytes", i)
		case err != nil && !format.IsNotFound(err) && !errors.Is(err, shard.ErrIndex) && !errors.Is(err, shard.ErrCAR) && !errors.Is(err, shard.ErrBlock):
			r.t.Fatalf("block %d: %v", i, err)
		case err != nil:
			n++
		}
	}
	return n
}

// head of a MultihashIndexSorted with one code and one width.
func headOf(code uint64, width uint32, size uint64) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32([]byte{0x81, 0x08}, 1)
	b = le.AppendUint32(le.AppendUint64(b, code), 1)
	return le.AppendUint64(le.AppendUint32(b, width), size)
}

func testLies(t *testing.T, lies ...indexLie) {
	payload := cartest.RandomV1(3, 120, 300)
	for _, l := range lies {
		l.tell(t, payload, cartest.Random(3, 120, 300))
	}
}

// B22: the same CID twice, with equal and with other bytes. An index may list
// either, or both: the good one is served.
func TestB22SameCIDTwice(t *testing.T) {
	good, other := cartest.Raw([]byte("the good block")), cartest.Raw([]byte("another block"))
	forged := cartest.Block{CID: good.CID, Data: []byte("the bad block!")}
	payload := cartest.V1(nil, []cartest.Block{forged, other, good, good, other})
	for policy, name := range map[IndexPolicy]string{Check: "check", Sample: "sample", Adopt: "adopt", Scan: "scan"} {
		for what, keep := range map[string]func(i int) bool{
			"all": func(int) bool { return true }, "the bad one": func(i int) bool { return i < 2 }, "the good one": func(i int) bool { return i == 2 || i == 4 },
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				r := newRig(t)
				r.reaches(false)
				var recs []index.Record
				for i, rec := range recordsOf(t, payload) {
					if keep(i) {
						recs = append(recs, rec)
					}
				}
				m, opts := r.place(beside, payload, writeIndex(t, recs, true), RegisterOptions{Index: policy})
				r.register("a", m, opts)
				r.until("the good block is served", func() bool { return r.misses([]cartest.Block{good, other}) == 0 })
			})
		}
	}
}

// B26: an index of an unknown format.
func TestB26UnknownIndexCodec(t *testing.T) {
	testLies(t,
		indexLie{"another codec", func(_ []index.Record, b []byte) []byte { b[0] = 0x82; return b }, false},
		indexLie{"no codec at all", func([]index.Record, []byte) []byte { return []byte("<html>") }, false},
		indexLie{"one byte", func([]index.Record, []byte) []byte { return []byte{0x81} }, false},
	)
}

// B27: counts, widths and lengths that are huge, zero or uneven.
func TestB27IndexCounts(t *testing.T) {
	le := binary.LittleEndian
	from := func(b []byte) func([]index.Record, []byte) []byte {
		return func([]index.Record, []byte) []byte { return slices.Clone(b) }
	}
	testLies(t,
		indexLie{"8 TiB", from(headOf(0x12, 40, 8<<40)), false},
		indexLie{"2^62", from(headOf(0x12, 40, 1<<62)), false},
		indexLie{"2^64-1", from(headOf(0x12, 40, 1<<64-1)), false},
		indexLie{"two billion codes", from(le.AppendUint32([]byte{0x81, 0x08}, 1<<31-1)), false},
		indexLie{"minus one codes", from(le.AppendUint32([]byte{0x81, 0x08}, 1<<32-1)), false},
		indexLie{"a width of 0", from(append(headOf(0x12, 0, 8), make([]byte, 8)...)), false},
		indexLie{"a width of 8", from(append(headOf(0x12, 8, 8), make([]byte, 8)...)), false},
		indexLie{"a width of 2^32-1", from(headOf(0x12, 1<<32-1, 1<<32-1)), false},
		indexLie{"uneven", from(append(headOf(0x12, 40, 41), make([]byte, 41)...)), false},
		indexLie{"cut", func(_ []index.Record, b []byte) []byte { return b[:len(b)-1] }, false},
		indexLie{"longer", func(_ []index.Record, b []byte) []byte { return append(b, 0) }, false},
	)
}

// B28: widths, codes and records out of order, or repeated.
func TestB28UnsortedWidths(t *testing.T) {
	le := binary.LittleEndian
	twice := func(first, second uint32) func(recs []index.Record, b []byte) []byte {
		return func([]index.Record, []byte) []byte {
			out := le.AppendUint32(le.AppendUint64(le.AppendUint32([]byte{0x81, 0x08}, 1), 0x12), 2)
			for _, width := range []uint32{first, second} {
				out = append(le.AppendUint64(le.AppendUint32(out, width), uint64(width)), make([]byte, width)...)
			}
			return out
		}
	}
	testLies(t,
		indexLie{"falling", twice(40, 28), false},
		indexLie{"repeated", twice(40, 40), false},
		indexLie{"records", func(_ []index.Record, b []byte) []byte {
			const head, width = 2 + 4 + 8 + 4 + 4 + 8, 40
			first := slices.Clone(b[head : head+width])
			copy(b[head:], b[head+width:head+2*width])
			copy(b[head+width:], first)
			return b
		}, false},
	)
}

// B29: offsets that lead to another block, into the middle of one, or past the
// data.
func TestB29IndexOffsets(t *testing.T) {
	move := func(where func(recs []index.Record, i int) int64) func([]index.Record, []byte) []byte {
		return func(recs []index.Record, _ []byte) []byte {
			moved := slices.Clone(recs)
			for i := range moved {
				moved[i].Offset = where(recs, i)
			}
			return writeIndex(t, moved, true)
		}
	}
	testLies(t,
		indexLie{"to another block", move(func(recs []index.Record, i int) int64 { return recs[(i+1)%len(recs)].Offset }), false},
		indexLie{"into the middle", move(func(recs []index.Record, i int) int64 { return recs[i].Offset + int64(recs[i].Head) + 5 }), false},
		indexLie{"past the data", move(func(recs []index.Record, i int) int64 { return recs[i].Offset + 1<<20 }), false},
		indexLie{"into the header", move(func([]index.Record, int) int64 { return 1 }), false},
		indexLie{"past the end of all files", move(func([]index.Record, int) int64 { return 1<<63 - 1 }), false},
		indexLie{"one of them", move(func(recs []index.Record, i int) int64 {
			if i == 7 {
				return recs[8].Offset
			}
			return recs[i].Offset
		}), true},
		indexLie{"sizes", func(recs []index.Record, _ []byte) []byte {
			for i := range recs {
				recs[i].Size--
			}
			return writeIndex(t, recs, false)
		}, false},
		indexLie{"heads", func(recs []index.Record, _ []byte) []byte {
			for i := range recs {
				recs[i].Head++
				recs[i].Size--
			}
			return writeIndex(t, recs, false)
		}, false},
	)
}

// B30: an index that omits or invents blocks.
func TestB30OmittedAndInvented(t *testing.T) {
	testLies(t,
		indexLie{"every second is omitted", func(recs []index.Record, _ []byte) []byte {
			var half []index.Record
			for i := 0; i < len(recs); i += 2 {
				half = append(half, recs[i])
			}
			return writeIndex(t, half, true)
		}, false},
		indexLie{"the last is omitted", func(recs []index.Record, _ []byte) []byte { return writeIndex(t, recs[:len(recs)-1], true) }, true},
		indexLie{"all are omitted", func([]index.Record, []byte) []byte { return writeIndex(t, nil, true) }, false},
		indexLie{"as many again are invented", func(recs []index.Record, _ []byte) []byte {
			for i, b := range cartest.Random(99, len(recs), 300) {
				recs = append(recs, index.Record{Multihash: b.CID.Hash(), Position: index.Position{Offset: recs[i].Offset + 3, Size: -1}})
			}
			return writeIndex(t, recs, true)
		}, false},
		indexLie{"more than there is room for", func(recs []index.Record, _ []byte) []byte {
			for _, b := range cartest.Random(99, 2000, 300) {
				recs = append(recs, index.Record{Multihash: b.CID.Hash(), Position: index.Position{Offset: recs[0].Offset, Size: -1}})
			}
			return writeIndex(t, recs, true)
		}, false},
	)
}
