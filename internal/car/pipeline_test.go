package car

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	mhcore "github.com/multiformats/go-multihash/core"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// mixed returns a CAR of some MiB with sections of every sort: short ones, long ones that
// lie in several buffers, identity, other hash functions, and each of these wrong.
func mixed(seed uint64) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	root := cartest.Raw([]byte("root"))
	out := cartest.AppendHeader(nil, []cid.Cid{root.CID})
	for len(out) < 6<<20 {
		size := [...]int{0, 1, 100, 5000, joinMax, joinMax + 1, 200_000, bufferSize, 2*bufferSize + 7}[rng.IntN(9)]
		if rng.IntN(40) > 0 {
			size = rng.IntN(3000)
		}
		data := make([]byte, size)
		for i := 0; i < len(data); i += 64 {
			data[i] = byte(rng.Uint32())
		}
		b := cartest.Raw(data)
		switch rng.IntN(12) {
		case 0:
			b = cartest.Sum(cid.DagCBOR, multihash.BLAKE2B_MIN+31, data)
		case 1:
			b = cartest.Identity(data[:min(len(data), 128)])
		case 2:
			b = cartest.Identity([]byte("what it holds"))
			b.Data = data // and what follows it
		case 3:
			b = cartest.V0(data)
		case 4:
			if len(data) > 0 {
				b.Data = bytes.Clone(data)
				b.Data[rng.IntN(len(data))] ^= 1
			}
		case 5: // unknown hash function: no body of it is looked at
			id := append([]byte{1, 0x55, 0xfa, 0xff, 0xff, 0x03, 32}, make([]byte, 32)...)
			out = cartest.AppendSection(out, id, data)
			continue
		}
		out = cartest.AppendBlock(out, b)
	}
	return out
}

// TestHashedBeside holds what comes of hashing in many goroutines against what
// comes of hashing as it is read: section by section, fault by fault.
func TestHashedBeside(t *testing.T) {
	for seed := range uint64(2) {
		data := mixed(seed)
		for _, cut := range []int{len(data), len(data) - 1, len(data) / 2, bufferSize + 5} {
			part := data[:cut]
			want := collect(bytes.NewReader(part), Options{Verify: true})
			if cut == len(data) && (want.err != nil || want.res.Faults <= maxFaulty || len(want.sections) < 300) {
				t.Fatalf("%d sections, %d faults, %v: the CAR does not test much", len(want.sections), want.res.Faults, want.err)
			}
			for name, open := range map[string]func() io.Reader{
				"file":            func() io.Reader { return bytes.NewReader(part) },
				"stream":          func() io.Reader { return struct{ io.Reader }{bytes.NewReader(part)} },
				"stream by parts": func() io.Reader { return &dripping{r: bytes.NewReader(part), n: 30_000} },
			} {
				want := collect(open(), Options{Verify: true})
				for _, n := range []int{1, 2, 7} {
					got := collect(open(), Options{Verify: true, Hashers: n})
					sameReading(t, fmt.Sprintf("seed %d, %d bytes, %s, %d hashers", seed, cut, name, n), got, want)
				}
			}
		}
	}
}

// A CAR of the shortest sections that there are takes no more memory than
// another: what is noted of a section is much longer than they are.
func TestHashedBesideIsBounded(t *testing.T) {
	data := cartest.AppendHeader(nil, []cid.Cid{cartest.Raw(nil).CID})
	good := []byte{4, 1, 0x55, multihash.IDENTITY, 0}
	bad := []byte{2, 9, 9} // no such version of CID
	for len(data) < 4<<20 {
		data = append(append(data, good...), bad...)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	res, err := Scan(t.Context(), bytes.NewReader(data), Options{Verify: true, Hashers: 2}, func(*Section) error { return nil })
	runtime.ReadMemStats(&after)
	if err != nil || res.Identity != res.Faults || res.Identity+res.Faults != res.Sections {
		t.Fatalf("%d good, %d bad of %d sections, %v", res.Identity, res.Faults, res.Sections, err)
	}
	// The lists of four buffers, which double as they grow, and the buffers.
	if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
		t.Errorf("%d MiB of CAR took %d MiB", len(data)>>20, took>>20)
	}
}

// Short sections, of which a buffer holds more than are noted of it, come out
// as without a pipeline.
func TestHashedBesideShort(t *testing.T) {
	data := cartest.AppendHeader(nil, []cid.Cid{cartest.Raw(nil).CID})
	for i := range 3 * itemsMax {
		data = cartest.AppendBlock(data, cartest.Raw(binary.AppendUvarint(nil, uint64(i))))
	}
	want := collect(bytes.NewReader(data), Options{Verify: true})
	got := collect(bytes.NewReader(data), Options{Verify: true, Hashers: 2})
	if want.err != nil || len(want.sections) != 3*itemsMax {
		t.Fatalf("%d sections, %v", len(want.sections), want.err)
	}
	sameReading(t, "short sections", got, want)
}

// dripping reads n bytes at a time.
type dripping struct {
	r io.Reader
	n int
}

func (d *dripping) Read(p []byte) (int, error) { return d.r.Read(p[:min(len(p), d.n)]) }

func sameReading(t *testing.T, name string, got, want collected) {
	t.Helper()
	if fmt.Sprint(got.err) != fmt.Sprint(want.err) {
		t.Errorf("%s: %v, want %v", name, got.err, want.err)
	}
	if !reflect.DeepEqual(got.res, want.res) {
		t.Errorf("%s: result\n%+v, want\n%+v", name, got.res, want.res)
	}
	if len(got.sections) != len(want.sections) {
		t.Errorf("%s: %d sections, want %d", name, len(got.sections), len(want.sections))
		return
	}
	for i := range got.sections {
		if !reflect.DeepEqual(got.sections[i], want.sections[i]) {
			t.Errorf("%s: section %d is %+v, want %+v", name, i, got.sections[i], want.sections[i])
			return
		}
	}
}

// The error of emit and that of the source come at the same section as without
// a pipeline, and nothing is emitted after it.
func TestHashedBesideStops(t *testing.T) {
	data := mixed(9)
	stop, broken := errors.New("stop"), errors.New("broken")
	for _, at := range []int{0, 1, 150, 300} {
		n := 0
		_, err := Scan(t.Context(), bytes.NewReader(data), Options{Verify: true, Hashers: 2}, func(*Section) error {
			if n++; n > at {
				return stop
			}
			return nil
		})
		if err != stop || n != at+1 {
			t.Errorf("emit fails at section %d: %v after %d", at, err, n)
		}
	}
	source := func() io.Reader {
		return io.MultiReader(bytes.NewReader(data[:3<<20]), iotest.ErrReader(broken))
	}
	want := collect(source(), Options{Verify: true})
	got := collect(source(), Options{Verify: true, Hashers: 2})
	if !errors.Is(got.err, broken) {
		t.Errorf("a source that breaks: %v", got.err)
	}
	sameReading(t, "a source that breaks", got, want)
}

// endless is one section after the other, and ends its context after a while.
type endless struct {
	section []byte
	at      int
	reads   int
	after   int
	cancel  context.CancelFunc
}

func (e *endless) Read(p []byte) (int, error) {
	if e.reads++; e.reads == e.after {
		e.cancel()
	}
	n := 0
	for n < len(p) {
		m := copy(p[n:], e.section[e.at:])
		n, e.at = n+m, (e.at+m)%len(e.section)
	}
	return n, nil
}

// A scan ends within one read of its context, hashing or not.
func TestScanIsCancelled(t *testing.T) {
	head := cartest.AppendHeader(nil, []cid.Cid{cartest.Raw(nil).CID})
	for name, opt := range map[string]Options{
		"scan": {}, "hashing": {Verify: true}, "hashing beside": {Verify: true, Hashers: 2},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		src := &endless{section: cartest.AppendBlock(nil, cartest.Raw(make([]byte, 3000))), after: 20, cancel: cancel}
		_, err := Scan(ctx, io.MultiReader(bytes.NewReader(head), src), opt, func(*Section) error { return nil })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if src.reads > src.after+1 {
			t.Errorf("%s: %d reads after the end of the context", name, src.reads-src.after)
		}
		cancel()
	}
}

// lastCancels ends its context with its last byte.
type lastCancels struct {
	io.Reader
	cancel context.CancelFunc
}

func (l lastCancels) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err != nil {
		l.cancel()
	}
	return n, err
}

// A context that ends when all is read and not yet hashed is an error too: what
// was not emitted is never passed over in silence.
func TestScanIsCancelledAtTheEnd(t *testing.T) {
	data := cartest.RandomV1(1, 100, 10_000)
	for _, n := range []int{0, 2} {
		ctx, cancel := context.WithCancel(t.Context())
		emitted := 0
		res, err := Scan(ctx, lastCancels{bytes.NewReader(data), cancel}, Options{Verify: true, Hashers: n}, func(*Section) error {
			emitted++
			return nil
		})
		if err == nil && emitted != int(res.Sections) || err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%d hashers: %d of %d sections, %v", n, emitted, res.Sections, err)
		}
	}
}

// burning is a hash function that panics.
type burning struct{ hash.Hash }

func (burning) Write([]byte) (int, error) { panic("on fire") }
func (burning) Sum([]byte) []byte         { panic("on fire") }
func (burning) Reset()                    {}
func (burning) Size() int                 { return 64 }
func (burning) BlockSize() int            { return 64 }

// R23: a panic on a goroutine that hashes is an error, also for whoever waits
// for that goroutine's hash.
func TestR23HashPanicsBeside(t *testing.T) {
	mhcore.Register(multihash.X11, func() hash.Hash { return burning{} })
	id := append([]byte{1, 0x55, 0x80, 0x22, 64}, make([]byte, 64)...)
	for _, size := range []int{10, 5 * bufferSize} {
		data := cartest.RandomV1(1, 100, 100_000)
		data = cartest.AppendSection(data, id, make([]byte, size))
		data = append(data, data[len(data)-size:]...)
		_, err := Scan(t.Context(), bytes.NewReader(data), Options{Verify: true, Hashers: 2}, func(*Section) error { return nil })
		if !errors.Is(err, shard.ErrIndex) {
			t.Errorf("a body of %d bytes whose hash panics: %v", size, err)
		}
	}
}

// A panic of the source comes out of Scan as it is, and leaves no goroutine
// behind: goleak looks for that.
func TestR23SourcePanicsBeside(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("the panic was swallowed")
		}
	}()
	data := cartest.RandomV1(1, 100, 100_000)
	_, _ = Scan(t.Context(), io.MultiReader(bytes.NewReader(data), panicking{}), Options{Verify: true, Hashers: 2}, func(*Section) error { return nil })
}

type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("no source") }
