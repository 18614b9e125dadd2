package index_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/index/indextest"
	"github.com/dagstore/dagstore/internal/mmap"
)

// try opens data and asks it for everything. It returns the first error.
func try(t *testing.T, f *index.File, recs []index.Record) error {
	t.Helper()
	var errs []error
	for _, r := range recs {
		_, err := f.Find(nil, r.Multihash, 0)
		errs = append(errs, err)
	}
	for _, err := range f.All() {
		errs = append(errs, err)
	}
	for _, err := range errs {
		if err != nil && !errors.Is(err, index.ErrDamaged) {
			t.Errorf("not ErrDamaged: %v", err)
		}
	}
	return errors.Join(errs...)
}

// TestEveryBit turns over bits all over a file. Whatever is asked then is right
// or an error, and Verify finds every one of them.
func TestEveryBit(t *testing.T) {
	recs := withoutIdentity(collect(indextest.Records(1, 700)))
	good, stats := build(t, recs, nil)
	want := collect(open(t, good, "pread").All())
	for bit := 0; bit < 8*len(good); bit += 61 {
		data := slices.Clone(good)
		data[bit/8] ^= 1 << (bit % 8)
		f, err := index.NewFile(memory{bytes.NewReader(data), data}, int64(len(data)))
		if err != nil {
			if !errors.Is(err, index.ErrDamaged) && !errors.Is(err, index.ErrVersion) {
				t.Fatalf("bit %d: %v", bit, err)
			}
			continue
		}
		if f.CRC() != stats.CRC {
			continue // the footer's magic is gone, or its CRC: not the file of the catalogue
		}
		if err := f.Verify(t.Context()); !errors.Is(err, index.ErrDamaged) {
			t.Fatalf("bit %d: Verify = %v", bit, err)
		}
		for i := bit % 13; i < len(want); i += 13 {
			got, err := f.Find(nil, want[i].Multihash, 0)
			if err == nil && !slices.Contains(got, want[i].Position) {
				t.Fatalf("bit %d: a wrong answer for %x: %v", bit, []byte(want[i].Multihash), got)
			}
		}
	}
}

// TestEveryLength cuts a file at every length, and lets one grow.
func TestEveryLength(t *testing.T) {
	recs := collect(indextest.Records(1, 100))
	good, _ := build(t, recs, nil)
	bareData, _ := build(t, recs, &index.WriteOptions{Bare: true})
	for n := range good {
		f, err := index.NewFile(bytes.NewReader(good[:n]), int64(n))
		if n == len(bareData) {
			if err != nil || f.CRC() != 0 {
				t.Errorf("cut to the standard part: %v", err)
			}
			continue
		}
		if !errors.Is(err, index.ErrDamaged) {
			t.Errorf("cut to %d of %d: %v", n, len(good), err)
		}
		if _, err := index.NewFile(bytes.NewReader(good[:n]), int64(len(good))); n < len(good)-1 && !errors.Is(err, index.ErrDamaged) {
			t.Errorf("shorter than it is said, %d of %d: %v", n, len(good), err)
		}
	}
	for _, more := range []string{"\x00", "more", string(good)} {
		if more == string(good) {
			continue // the last footer is good, but does not add up; see below
		}
		data := append(slices.Clone(good), more...)
		if _, err := index.NewFile(bytes.NewReader(data), int64(len(data))); !errors.Is(err, index.ErrDamaged) {
			t.Errorf("%q at the end: %v", more, err)
		}
	}
	twice := slices.Concat(good, good)
	if _, err := index.NewFile(bytes.NewReader(twice), int64(len(twice))); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("twice in one file: %v", err)
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// reseal makes all checksums right again.
func reseal(data []byte) {
	foot := data[len(data)-64:]
	le := binary.LittleEndian
	if sums := le.Uint64(foot[24:]); sums <= uint64(len(data)-64) {
		at := int(sums)
		for off := 0; off < int(sums) && at+4 <= len(data)-64; off += 4096 {
			le.PutUint32(data[at:], crc32.Checksum(data[off:min(off+4096, int(sums))], castagnoli))
			at += 4
		}
		le.PutUint32(foot[48:], crc32.Checksum(data[sums:len(data)-64], castagnoli))
	}
	le.PutUint32(foot[60:], crc32.Checksum(foot[:60], castagnoli))
}

func TestVersion(t *testing.T) {
	data, _ := build(t, collect(indextest.Records(1, 100)), nil)
	data[len(data)-12]++
	reseal(data)
	if _, err := index.NewFile(bytes.NewReader(data), int64(len(data))); !errors.Is(err, index.ErrVersion) ||
		!strings.Contains(err.Error(), "index format 2") {
		t.Errorf("the next version: %v", err)
	}
}

// TestLies has files whose checksums are right and whose content is not: what a
// faulty writer would make. Verify finds them.
func TestLies(t *testing.T) {
	var recs []index.Record
	for i := range 1000 {
		recs = append(recs, index.Record{Multihash: sha(i), Position: index.Position{Offset: int64(i * 100), Size: 60, Head: 37}})
	}
	good, _ := build(t, recs, nil)
	const first, width = 2 + 4 + 8 + 4 + 4 + 8, 40
	fan := int(binary.LittleEndian.Uint64(good[len(good)-48:]))
	for name, lie := range map[string]func(data []byte){
		"two records exchanged": func(d []byte) {
			row := slices.Clone(d[first:][:width])
			copy(d[first:], d[first+width:][:width])
			copy(d[first+width:], row)
		},
		"first record above all": func(d []byte) { copy(d[first:], bytes.Repeat([]byte{255}, 32)) },
		"last record below all":  func(d []byte) { clear(d[first+999*width:][:32]) },
		"negative offset":        func(d []byte) { d[first+39] = 0x80 },
		"fan-out begins late":    func(d []byte) { d[fan]++ },
		"fan-out ends early":     func(d []byte) { d[fan+16*4]-- },
		"fan-out in the middle":  func(d []byte) { d[fan+8*4]++ },
		"fan-out beyond the end": func(d []byte) { d[fan+8*4+3] = 0xff },
	} {
		t.Run(name, func(t *testing.T) {
			data := slices.Clone(good)
			lie(data)
			reseal(data)
			for _, how := range ways {
				f := open(t, data, how)
				if err := f.Verify(t.Context()); !errors.Is(err, index.ErrDamaged) {
					t.Errorf("%s: Verify = %v", how, err)
				}
				_ = try(t, f, recs)
			}
		})
	}
}

// le builds a hostile index by hand.
func le(parts ...any) []byte {
	b := []byte{0x81, 0x08}
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			b = append(b, p...)
		default:
			b, _ = binary.Append(b, binary.LittleEndian, p) // fixed-size values only
		}
	}
	return b
}

// TestHostile has bare indices that claim what is not there: classes B26 to B28.
// Each is refused in little time and memory.
func TestHostile(t *testing.T) {
	row := make([]byte, 40)
	var empty []byte
	for i := range uint64(60_000) {
		empty = append(empty, le(i+1, int32(1), uint32(40), uint64(0))[2:]...)
	}
	for name, data := range map[string][]byte{
		"B26 nothing":              {},
		"B26 no codec":             {0x81},
		"B26 codec of IndexSorted": slices.Concat([]byte{0x80, 0x08}, make([]byte, 40)),
		"B26 text":                 []byte("<!DOCTYPE html><html><body>not found</body></html>"),
		"B27 no count":             le(),
		"B27 count cut":            le(uint16(1)),
		"B27 most codes":           le(int32(1<<31-1), uint64(0x12), int32(1), uint32(40), uint64(40), row),
		"B27 negative codes":       le(int32(-1)),
		"B27 no widths":            le(int32(1), uint64(0x12), int32(0)),
		"B27 most widths":          le(int32(1), uint64(0x12), int32(1<<31-1), uint32(40), uint64(40), row),
		"B27 negative widths":      le(int32(1), uint64(0x12), int32(-5)),
		"B27 width 0":              le(int32(1), uint64(0x12), int32(1), uint32(0), uint64(0)),
		"B27 width 8":              le(int32(1), uint64(0x12), int32(1), uint32(8), uint64(40), row),
		"B27 huge width":           le(int32(1), uint64(0x12), int32(1), uint32(1<<32-1), uint64(1<<32-1), row),
		"B27 terabytes":            le(int32(1), uint64(0x12), int32(1), uint32(40), uint64(40<<40), row),
		"B27 2^64-1":               le(int32(1), uint64(0x12), int32(1), uint32(40), uint64(1<<64-1), row),
		"B27 2^63":                 le(int32(1), uint64(0x12), int32(1), uint32(64), uint64(1<<63), row),
		"B27 uneven":               le(int32(1), uint64(0x12), int32(1), uint32(40), uint64(39), row[:39]),
		"B27 cut":                  le(int32(1), uint64(0x12), int32(1), uint32(40), uint64(80), row),
		"B27 more":                 le(int32(1), uint64(0x12), int32(1), uint32(40), uint64(40), row, row),
		"B27 empty runs":           le(int32(60_000), empty),
		"B28 widths unsorted":      le(int32(1), uint64(0x12), int32(2), uint32(40), uint64(40), row, uint32(28), uint64(28), row[:28]),
		"B28 width repeated":       le(int32(1), uint64(0x12), int32(2), uint32(40), uint64(40), row, uint32(40), uint64(40), row),
		"B28 codes unsorted":       le(int32(2), uint64(0x12), int32(1), uint32(40), uint64(40), row, uint64(0x11), int32(1), uint32(40), uint64(40), row),
		"B28 code repeated":        le(int32(2), uint64(0x12), int32(1), uint32(40), uint64(40), row, uint64(0x12), int32(1), uint32(40), uint64(40), row),
	} {
		t.Run(name, func(t *testing.T) {
			path := save(t, data)
			var took time.Duration
			for range 20 { // a busy machine holds up many of them; that one is fast must do
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				f, err := index.OpenFile(path)
				took = time.Since(start)
				runtime.ReadMemStats(&after)
				if !errors.Is(err, index.ErrDamaged) {
					t.Fatalf("opened %+v, %v", f, err)
				}
				var where *index.DamageError
				if !errors.As(err, &where) || where.Offset < 0 || where.Offset > int64(len(data)) {
					t.Fatalf("it does not say where: %v", err)
				}
				if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
					t.Fatalf("it took %d bytes for a file of %d", n, len(data))
				}
				if took <= 100*time.Millisecond {
					return
				}
			}
			t.Errorf("it took %v for a file of %d bytes", took, len(data))
		})
	}
}

// TestUnsorted has bare indices that open, and whose records are out of order:
// a lookup may miss, and reading all of them says so.
func TestUnsorted(t *testing.T) {
	recs := make([]byte, 0, 40*3000)
	for i := range 3000 {
		recs = append(append(recs, sha(i)[2:]...), make([]byte, 8)...)
	}
	data := le(int32(1), uint64(0x12), int32(1), uint32(40), uint64(len(recs)), recs)
	for _, how := range ways {
		f := open(t, data, how)
		if err := f.Verify(t.Context()); !errors.Is(err, index.ErrDamaged) {
			t.Errorf("Verify = %v", err)
		}
		for i := range 100 {
			if _, err := f.Find(nil, sha(i), 0); err != nil {
				t.Errorf("Find = %v", err)
			}
		}
	}
	negative := le(int32(1), uint64(0x12), int32(1), uint32(40), uint64(40), []byte(sha(1)[2:]), int64(-1))
	if _, err := open(t, negative, "pread").Find(nil, sha(1), 0); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("an offset of 2^64-1: %v", err)
	}
}

// TestTruncated takes a file away under its mapping.
func TestTruncated(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows refuses to truncate a mapped file")
	}
	recs := collect(indextest.Records(1, 5000))
	for _, bare := range []bool{false, true} {
		data, _ := build(t, recs, &index.WriteOptions{Bare: bare})
		path := save(t, data)
		f, err := index.OpenFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, int64(os.Getpagesize())); err != nil {
			t.Fatal(err)
		}
		err = errors.Join(try(t, f, recs), f.Verify(t.Context()))
		var fault *mmap.Fault
		var where *index.DamageError
		if !errors.Is(err, index.ErrDamaged) || !errors.As(err, &fault) || !errors.As(err, &where) || where.Offset%4096 != 0 {
			t.Errorf("bare=%v: %v", bare, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A faulty reader fails at its nth read.
type faulty struct {
	io.ReaderAt
	err  error
	left int
}

func (r *faulty) ReadAt(p []byte, off int64) (int, error) {
	if r.left--; r.left < 0 {
		return 0, r.err
	}
	return r.ReaderAt.ReadAt(p, off)
}

func TestEveryRead(t *testing.T) {
	recs := withoutIdentity(collect(indextest.Records(1, 300)))
	data, _ := build(t, recs, nil)
	cause := errors.New("input/output error")
	for _, err := range []error{cause, fs.ErrClosed, io.EOF, nil} {
		ended := false
		for n := 0; !ended && n < 100_000; n++ {
			r := &faulty{bytes.NewReader(data), err, n}
			f, got := index.NewFile(r, int64(len(data)))
			for i := 0; got == nil && i < len(recs); i += 50 {
				_, got = f.Find(nil, recs[i].Multihash, 0)
			}
			for _, e := range allOf(f, got) {
				got = e
			}
			if ended = got == nil; ended {
				break
			}
			closed := err == fs.ErrClosed
			if errors.Is(got, index.ErrDamaged) == closed || err != nil && err != io.EOF && !errors.Is(got, err) {
				t.Fatalf("read %d fails with %v: %v", n, err, got)
			}
		}
		if !ended {
			t.Errorf("never got through with %v", err)
		}
	}
}

// allOf gives the last error of All, or err if there is one already.
func allOf(f *index.File, err error) []error {
	if err != nil {
		return []error{err}
	}
	for _, e := range f.All() {
		err = e
	}
	return []error{err}
}

func TestFindDoesNotAllocate(t *testing.T) {
	recs := withoutIdentity(collect(indextest.Records(1, 5000)))
	data, _ := build(t, recs, nil)
	f := open(t, data, "mapped")
	dst := make([]index.Position, 0, 1000)
	i := 0
	if n := testing.AllocsPerRun(len(recs), func() {
		if _, err := f.Find(dst, recs[i%len(recs)].Multihash, 0); err != nil {
			t.Fatal(err)
		}
		i++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDamageErrorText(t *testing.T) {
	err := &index.DamageError{Offset: 4096, Detail: "the page cannot be read", Err: io.EOF}
	if got, want := fmt.Sprint(err), "index: damaged at offset 4096: the page cannot be read: EOF"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
