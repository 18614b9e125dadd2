package zstdmount_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/mount/mounttest"
	"github.com/dagstore/dagstore/mount/zstdmount"
)

// sample is n bytes that compress a little.
func sample(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.IntN(16))
	}
	return b
}

// frame packs data; sized says that its header shall say how much that is.
func frame(t testing.TB, data []byte, sized bool, opts ...zstd.EOption) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil, append(opts, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true))...)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if sized {
		return w.EncodeAll(data, nil)
	}
	var b bytes.Buffer
	w.Reset(&b)
	_, err = w.Write(data)
	if err = errors.Join(err, w.Flush(), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// frames packs data in frames of size bytes, with a seek table behind them.
func frames(t testing.TB, data []byte, size int, checksums bool) []byte {
	t.Helper()
	var packed, entries []byte
	n := 0
	for len(data) > 0 {
		part := data[:min(size, len(data))]
		data = data[len(part):]
		f := frame(t, part, n%2 == 0)
		packed = append(packed, f...)
		entries = binary.LittleEndian.AppendUint32(entries, uint32(len(f)))
		entries = binary.LittleEndian.AppendUint32(entries, uint32(len(part)))
		if checksums {
			entries = binary.LittleEndian.AppendUint32(entries, 0)
		}
		n++
	}
	return append(packed, seekTable(entries, n, checksums)...)
}

func seekTable(entries []byte, n int, checksums bool) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 0x184D2A5E)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(entries)+9))
	b = append(b, entries...)
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	var descriptor byte
	if checksums {
		descriptor = 1 << 7
	}
	return binary.LittleEndian.AppendUint32(append(b, descriptor), 0x8F92EAB1)
}

func entry(packed, plain int) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(packed))
	return binary.LittleEndian.AppendUint32(b, uint32(plain))
}

// rig is a set of compressed CARs in memory.
type rig struct {
	cars memmount.Set
	reg  mount.Registry
}

func newRig(cfg zstdmount.Config) *rig {
	r := new(rig)
	r.reg = mount.Registry{"mem": r.cars.Open, "zstd+mem": cfg.Wrap(r.cars.Open)}
	return r
}

func (r *rig) put(t testing.TB, packed []byte) mount.Mount {
	t.Helper()
	r.cars.Put("x.car.zst", packed)
	m, err := r.reg.Open("zstd+mem:x.car.zst")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func read(ctx context.Context, m mount.Mount) ([]byte, error) {
	r, err := m.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestLaws(t *testing.T) {
	data := sample(20_000)
	for name, c := range map[string]struct {
		packed []byte
		want   []byte
		size   int64
		ranges bool
	}{
		"sized":            {frame(t, data, true), data, int64(len(data)), false},
		"unsized":          {frame(t, data, false), data, -1, false},
		"two frames":       {append(frame(t, data[:7], false), frame(t, data[7:], true)...), data, -1, false},
		"skippable first":  {append([]byte("\x50\x2a\x4d\x18\x01\x00\x00\x00x"), frame(t, data, true)...), data, -1, false},
		"empty":            {frame(t, nil, true), nil, 0, false},
		"one byte":         {frame(t, data[:1], true, zstd.WithSingleSegment(true)), data[:1], 1, false},
		"table":            {frames(t, data, 1000, false), data, int64(len(data)), true},
		"checksums":        {frames(t, data, 777, true), data, int64(len(data)), true},
		"one frame":        {frames(t, data, len(data), true), data, int64(len(data)), true},
		"empty, by table":  {frames(t, nil, 1, false), nil, 0, true},
		"three in a table": {frames(t, data[:3], 1, false), data[:3], 3, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(zstdmount.Config{})
			m := r.put(t, c.packed)
			if err := mounttest.Test(t.Context(), r.reg, m, c.want); err != nil {
				t.Error(err)
			}
			st, err := m.Stat(t.Context())
			if err != nil || st.Size != c.size || st.Ranges != c.ranges {
				t.Errorf("%+v, %v", st, err)
			}
		})
	}
}

// What lies on a disk is one more kind below, and so is one that offers nothing
// but a stream.
func TestLawsOverOthers(t *testing.T) {
	data := sample(5000)
	path := filepath.Join(t.TempDir(), "x #.car.zst")
	if err := os.WriteFile(path, frames(t, data, 512, true), 0o600); err != nil {
		t.Fatal(err)
	}
	below, err := filemount.New(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		open   mount.Opener
		ranges bool
	}{
		"file": {filemount.Open, true},
		"plain": {func(url string) (mount.Mount, error) {
			m, err := filemount.Open(url)
			return struct{ mount.Mount }{m}, err
		}, false},
		"shy": {func(url string) (mount.Mount, error) {
			m, err := filemount.Open(url)
			return struct{ mount.RangeOpener }{m.(mount.RangeOpener)}, err
		}, true},
		"beside": {func(url string) (mount.Mount, error) {
			m, err := filemount.Open(url)
			return struct{ mount.SiblingOpener }{m.(mount.SiblingOpener)}, err
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			reg := mount.Registry{"file": filemount.Open, "zstd+file": zstdmount.Wrap(c.open)}
			m, err := reg.Open("zstd+" + below.URL())
			if err != nil {
				t.Fatal(err)
			}
			if err := mounttest.Test(t.Context(), reg, m, data); err != nil {
				t.Error(err)
			}
			if _, ok := m.(mount.RangeOpener); ok != c.ranges {
				t.Errorf("is a RangeOpener: %v", ok)
			}
		})
	}
}

// A stream that is cut at any byte is never taken for complete, whether the
// source below says so or ends as if that were all.
func TestCutAnywhere(t *testing.T) {
	data := sample(600)
	for name, packed := range map[string][]byte{
		"sized": frame(t, data, true), "unsized": frame(t, data, false), "table": frames(t, data, 200, false),
		"two frames": append(frame(t, data[:400], false), frame(t, data[400:], false)...),
	} {
		for at := range len(packed) + 1 {
			_, err := read(t.Context(), over(t, packed, mounttest.Fault{At: int64(at), Do: mounttest.Fail, Err: io.ErrUnexpectedEOF}))
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%s, broken off at %d: %v", name, at, err)
			}
			if at == len(packed) {
				break
			}
			r := newRig(zstdmount.Config{})
			got, err := read(t.Context(), r.put(t, packed[:at]))
			if !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, zstdmount.ErrDamaged) && !atBoundary(name, got) {
				t.Fatalf("%s, cut at %d of %d: %d bytes, %v", name, at, len(packed), len(got), err)
			}
			if !bytes.HasPrefix(data, got) {
				t.Fatalf("%s, cut at %d: other bytes", name, at)
			}
		}
	}
}

// atBoundary: of frames without a size or a table nobody can know that more
// were to come.
func atBoundary(name string, got []byte) bool {
	return name == "table" && len(got)%200 == 0 || name == "two frames" && len(got)%400 == 0
}

// over mounts packed so that the stream of the first Open has fault; what Stat
// reads before it has none.
func over(t *testing.T, packed []byte, fault mounttest.Fault) mount.Mount {
	t.Helper()
	var cars memmount.Set
	cars.Put("x", packed)
	faulty := false
	open := zstdmount.Wrap(func(url string) (mount.Mount, error) {
		m, err := cars.Open(url)
		return switched{m.(mount.RangeOpener), &faulty, fault}, err
	})
	m, err := open("zstd+mem:x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Stat(t.Context()); err != nil {
		t.Fatal(err)
	}
	faulty = true
	return m
}

type switched struct {
	mount.RangeOpener
	on    *bool
	fault mounttest.Fault
}

func (s switched) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	if *s.on {
		return mount.OpenRange(ctx, mounttest.Faulty(s.RangeOpener, s.fault), r)
	}
	return s.RangeOpener.OpenRange(ctx, r)
}

// A bit that flips anywhere costs an error, and never a byte that is another
// and was taken for good to the end.
func TestFlipAnywhere(t *testing.T) {
	data := sample(500)
	for name, packed := range map[string][]byte{
		"sized": frame(t, data, true), "unsized": frame(t, data, false), "table": frames(t, data, 200, false),
	} {
		for at := range packed {
			bad := bytes.Clone(packed)
			bad[at] ^= 1 << (at % 8)
			got, err := read(t.Context(), newRig(zstdmount.Config{}).put(t, bad))
			if err == nil && !bytes.Equal(got, data) && !atBoundary(name, got) {
				t.Fatalf("%s, flipped at %d: %d bytes, no error", name, at, len(got))
			}
			if err != nil && !errors.Is(err, zstdmount.ErrDamaged) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, zstdmount.ErrLimit) {
				t.Fatalf("%s, flipped at %d: %v", name, at, err)
			}
		}
	}
}

func TestTables(t *testing.T) {
	data := sample(1000)
	f, half := frame(t, data, true), frame(t, data[:500], true)
	halves := append(half[:len(half):len(half)], frame(t, data[500:], true)...)
	for name, c := range map[string]struct {
		packed []byte
		size   int64
		ranges bool
		err    error // of a stream
	}{
		"good":              {append(f[:len(f):len(f)], seekTable(entry(len(f), 1000), 1, false)...), 1000, true, nil},
		"says more":         {append(f[:len(f):len(f)], seekTable(entry(len(f), 1001), 1, false)...), 1001, true, zstdmount.ErrDamaged},
		"says less":         {append(f[:len(f):len(f)], seekTable(entry(len(f), 999), 1, false)...), 999, true, zstdmount.ErrDamaged},
		"another place":     {append(f[:len(f):len(f)], seekTable(entry(len(f)-1, 1000), 1, false)...), -1, false, nil},
		"cut within":        {append(f[:len(f):len(f)], seekTable(append(entry(len(f)-9, 500), entry(9, 500)...), 2, false)...), 1000, true, io.ErrUnexpectedEOF},
		"too many":          {append(f[:len(f):len(f)], seekTable(entry(len(f), 1000), 1<<31, false)...), -1, false, nil},
		"one more":          {append(f[:len(f):len(f)], seekTable(entry(len(f), 1000), 2, false)...), -1, false, nil},
		"more, then less":   {append(halves[:len(halves):len(halves)], seekTable(append(entry(len(half), 501), entry(len(halves)-len(half), 499)...), 2, false)...), 1000, true, zstdmount.ErrDamaged},
		"a million frames":  {append(f[:len(f):len(f)], seekTable(append(entry(len(f), 1000), make([]byte, 8<<20)...), 1<<20+1, false)...), -1, false, nil},
		"one huge frame":    {append(f[:len(f):len(f)], seekTable(entry(len(f), 1<<31), 1, false)...), 1 << 31, false, zstdmount.ErrDamaged},
		"reserved bits":     {reserved(append(f[:len(f):len(f)], seekTable(entry(len(f), 1000), 1, false)...)), -1, false, nil},
		"more than MaxSize": {append(f[:len(f):len(f)], seekTable(bytes.Repeat(entry(0, 1<<32-1), 300), 300, false)...), -1, false, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(zstdmount.Config{})
			m := r.put(t, c.packed)
			st, err := m.Stat(t.Context())
			if err != nil || st.Size != c.size || st.Ranges != c.ranges {
				t.Errorf("%+v, %v", st, err)
			}
			got, err := read(t.Context(), m)
			if !errors.Is(err, c.err) || err == nil && !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func reserved(b []byte) []byte {
	b[len(b)-5] |= 4
	return b
}

// A range reads no more than the frames that it touches.
func TestRangeReadsItsFrames(t *testing.T) {
	data := sample(100_000)
	r := newRig(zstdmount.Config{})
	packed := frames(t, data, 1000, false)
	r.cars.Put("x", packed)
	var asked int64
	open := zstdmount.Wrap(func(url string) (mount.Mount, error) {
		m, err := r.cars.Open(url)
		return asking{m.(mount.RangeOpener), &asked}, err
	})
	m, err := open("zstd+mem:x")
	if err != nil {
		t.Fatal(err)
	}
	for i, at := range []int64{50_500, 3, 99_999} {
		asked = 0
		body, err := mount.OpenRange(t.Context(), m, mount.Range{Offset: at, Length: 1})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		if err != nil || len(got) != 1 || got[0] != data[at] {
			t.Errorf("at %d: %v, %v", at, got, err)
		}
		if i > 0 && asked > 1100 { // the table is known by then
			t.Errorf("at %d: %d bytes were asked for", at, asked)
		}
		body.Close()
	}
}

type asking struct {
	mount.RangeOpener
	n *int64
}

func (a asking) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	*a.n += r.Length
	return a.RangeOpener.OpenRange(ctx, r)
}

func TestChanged(t *testing.T) {
	r := newRig(zstdmount.Config{})
	m := r.put(t, frames(t, sample(5000), 1000, false))
	st, err := m.Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.put(t, frames(t, sample(6000), 1000, false))
	if _, err := mount.OpenRange(t.Context(), m, mount.Range{Length: 1, Version: st.Version}); !errors.Is(err, mount.ErrChanged) {
		t.Errorf("%v", err)
	}
	if now, err := m.Stat(t.Context()); err != nil || now.Size != 6000 {
		t.Errorf("%+v, %v", now, err)
	}
	r.cars.Delete("x.car.zst")
	if _, err := m.Stat(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestURL(t *testing.T) {
	r := newRig(zstdmount.Config{})
	for url, want := range map[string]error{
		"zstd+mem:x?token=secret": mount.ErrURL, "zstd+mem://ann:secret@h/%zz": mount.ErrURL, "zstd+mem:x#secret": mount.ErrURL, "zstd+file:///x": mount.ErrScheme,
	} {
		if _, err := r.reg.Open(url); !errors.Is(err, want) || strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := zstdmount.Wrap(r.cars.Open)("mem:x"); !errors.Is(err, mount.ErrURL) {
		t.Error(err)
	}
	m, err := r.reg.Open("zstd+mem:a%2db#bytes=1-2")
	if err != nil || m.URL() != "zstd+mem:a-b#bytes=1-2" {
		t.Errorf("%v, %v", m, err)
	}
}

// What lies beside is not compressed.
func TestSibling(t *testing.T) {
	r := newRig(zstdmount.Config{})
	m := r.put(t, frame(t, []byte("car"), true))
	r.cars.Put("x.car.zst.idx", []byte("index"))
	beside, err := mount.OpenSibling(m, ".idx")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := read(t.Context(), beside); string(got) != "index" || err != nil || beside.URL() != "mem:x.car.zst.idx" {
		t.Errorf("%s has %q, %v", beside.URL(), got, err)
	}
}
