package extsort

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A shape makes the n rows of a test.
type shape struct {
	name string
	row  func(rng *rand.Rand, row []byte)
}

var shapes = []shape{
	{"random", func(rng *rand.Rand, row []byte) { fill(rng, row) }},
	{"same first byte", func(rng *rand.Rand, row []byte) { fill(rng, row[1:]); row[0] = 7 }},
	{"same 8 bytes", func(rng *rand.Rand, row []byte) { fill(rng, row[min(8, len(row)):]) }},
	{"same but the last byte", func(rng *rand.Rand, row []byte) { row[len(row)-1] = byte(rng.Uint32()) }},
	{"all the same", func(*rand.Rand, []byte) {}},
	{"few values", func(rng *rand.Rand, row []byte) { row[rng.IntN(len(row))] = byte(rng.IntN(3)) }},
	{"two apart by one bit", func(rng *rand.Rand, row []byte) {
		row[0] = byte(rng.IntN(2)) << 7
		fill(rng, row[min(3, len(row)):])
	}},
	{"runs of bits", func(rng *rand.Rand, row []byte) {
		for i := range row {
			if rng.IntN(3) > 0 {
				break
			}
			row[i] = 1 << rng.IntN(8)
		}
	}},
}

func fill(rng *rand.Rand, row []byte) {
	for i := range row {
		row[i] = byte(rng.Uint32())
	}
}

func sorted(t testing.TB, s *Sorter, width int) []byte {
	t.Helper()
	var got []byte
	if err := s.All(t.Context(), func(row []byte) error {
		if len(row) != width {
			t.Fatalf("a row of %d bytes, want %d", len(row), width)
		}
		got = append(got, row...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

// want sorts rows the plain way.
func want(rows []byte, width int) []byte {
	var list [][]byte
	for r := range slices.Chunk(rows, width) {
		list = append(list, r)
	}
	slices.SortFunc(list, bytes.Compare)
	return slices.Concat(list...)
}

func add(t testing.TB, s *Sorter, row []byte) {
	t.Helper()
	slot, err := s.Row(row[0])
	if err != nil {
		t.Fatal(err)
	}
	copy(slot, row)
}

func TestSort(t *testing.T) {
	for _, shape := range shapes {
		for _, width := range []int{1, 9, 45, 300, maxRow} {
			for _, memory := range []int64{minMemory, 64 << 20} {
				for _, n := range []int{0, 1, 2, 40, 5000} { // the last makes buckets
					if n*width > 1<<19 {
						continue
					}
					t.Run(fmt.Sprintf("%s/%dx%d/%d", shape.name, n, width, memory), func(t *testing.T) {
						testSort(t, shape, width, memory, n)
					})
				}
			}
		}
	}
}

func testSort(t *testing.T, shape shape, width int, memory int64, n int) {
	dir := t.TempDir()
	p := NewPool(memory, dir)
	s, err := p.Sorter(width)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	rows := make([]byte, 0, n*width)
	for range n {
		row := make([]byte, width)
		shape.row(rng, row)
		rows = append(rows, row...)
		add(t, s, row)
	}
	if s.Len() != int64(n) {
		t.Errorf("Len = %d, want %d", s.Len(), n)
	}
	if got := sorted(t, s, width); !bytes.Equal(got, want(rows, width)) {
		t.Error("rows are lost, made up or out of order")
	}
	if p.used < 0 || p.used > memory {
		t.Errorf("%d bytes are counted as used, of %d", p.used, memory)
	}
	if _, err := s.Row(0); !errors.Is(err, ErrClosed) {
		t.Errorf("Row after All: %v", err)
	}
	closeAndLook(t, p, dir)
}

func closeAndLook(t *testing.T, p *Pool, dir string) {
	t.Helper()
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files left behind: %v, %v", left, err)
	}
}

// TestShared lets Sorters of many widths compete for one budget.
func TestShared(t *testing.T) {
	for _, memory := range []int64{minMemory, 17 << 20} {
		dir := t.TempDir()
		p := NewPool(memory, dir)
		widths := []int{1, 13, 45, 45, 200}
		var sorters []*Sorter
		for _, w := range widths {
			s, err := p.Sorter(w)
			if err != nil {
				t.Fatal(err)
			}
			sorters = append(sorters, s)
		}
		rng := rand.New(rand.NewPCG(2, 2))
		rows := make([][]byte, len(widths))
		for i := range 40_000 {
			n := 2
			if i%3 > 0 {
				n = rng.IntN(len(widths))
			}
			row := make([]byte, widths[n])
			fill(rng, row)
			rows[n] = append(rows[n], row...)
			add(t, sorters[n], row)
			if p.used > memory+slabSize {
				t.Fatalf("%d bytes in use, the budget is %d", p.used, memory)
			}
		}
		if want := memory == minMemory; p.Spilled() != want {
			t.Errorf("Spilled = %v with a budget of %d", p.Spilled(), memory)
		}
		for i, s := range sorters {
			if !bytes.Equal(sorted(t, s, widths[i]), want(rows[i], widths[i])) {
				t.Errorf("Sorter %d: rows are lost, made up or out of order", i)
			}
		}
		closeAndLook(t, p, dir)
	}
}

// TestAlike counts comparisons by time alone as a last resort: a quadratic sort
// of this many alike rows would take hours, and the test would end by timeout.
func TestAlike(t *testing.T) {
	p := NewPool(128<<20, t.TempDir())
	defer p.Close()
	s, err := p.Sorter(45)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	row := make([]byte, 45)
	const n = 100_000
	for range n {
		binary.BigEndian.PutUint64(row[16:], rng.Uint64()&0xffff0000ffff0000)
		add(t, s, row)
	}
	last, count := make([]byte, 45), 0
	if err := s.All(t.Context(), func(row []byte) error {
		if bytes.Compare(last, row) > 0 {
			return fmt.Errorf("row %d is out of order", count)
		}
		copy(last, row)
		count++
		return nil
	}); err != nil || count != n {
		t.Errorf("%d rows, %v", count, err)
	}
}

func TestErrors(t *testing.T) {
	p := NewPool(0, filepath.Join(t.TempDir(), "none"))
	for _, w := range []int{-1, 0, maxRow + 1} {
		if _, err := p.Sorter(w); err == nil {
			t.Errorf("rows of %d bytes: no error", w)
		}
	}
	s, err := p.Sorter(45)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil && s.Len() < 100_000 {
		_, err = s.Row(0)
	}
	if !errors.Is(err, ErrSpill) || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder to spill to: %v", err)
	}
	// What came of the rows is not known, so nothing of the pool works any more,
	// also where a row would still fit.
	other, err := p.Sorter(1)
	if err == nil {
		_, err = other.Row(0)
	}
	if !errors.Is(err, ErrSpill) {
		t.Errorf("Row of another Sorter after a failed spill: %v", err)
	}
	if err := s.All(t.Context(), func([]byte) error { return nil }); !errors.Is(err, ErrSpill) {
		t.Errorf("All after a failed spill: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Row(0); !errors.Is(err, ErrClosed) {
		t.Errorf("Row after Close: %v", err)
	}
	if _, err := p.Sorter(1); !errors.Is(err, ErrClosed) {
		t.Errorf("Sorter after Close: %v", err)
	}
}

// spilled returns a Sorter with several runs on the disk.
func spilled(t *testing.T) (*Pool, *Sorter) {
	t.Helper()
	p := NewPool(minMemory, t.TempDir())
	t.Cleanup(func() { p.Close() })
	s, err := p.Sorter(45)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(4, 4))
	row := make([]byte, 45)
	for range 10_000 {
		fill(rng, row)
		add(t, s, row)
	}
	if len(s.runs) < 3 {
		t.Fatalf("%d runs, want some", len(s.runs))
	}
	return p, s
}

func TestDamagedSpill(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"changed": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte{1, 2, 3}, 1000)
			return errors.Join(err, f.Close())
		},
		"cut": func(path string) error { return os.Truncate(path, 5000) },
	} {
		t.Run(name, func(t *testing.T) {
			p, s := spilled(t)
			if err := damage(p.spill.f.Name()); err != nil {
				t.Fatal(err)
			}
			if err := s.All(t.Context(), func([]byte) error { return nil }); !errors.Is(err, ErrSpill) {
				t.Errorf("All = %v, want ErrSpill", err)
			}
		})
	}
}

func TestStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, s := spilled(t)
	if err := s.All(ctx, func([]byte) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("All with spilled runs = %v", err)
	}
	p := NewPool(1<<20, t.TempDir())
	defer p.Close()
	s, err := p.Sorter(3)
	if err != nil {
		t.Fatal(err)
	}
	add(t, s, []byte("abc"))
	if err := s.All(ctx, func([]byte) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("All in memory = %v", err)
	}
	_, s = spilled(t)
	stop := errors.New("stop")
	if err := s.All(t.Context(), func([]byte) error { return stop }); err != stop {
		t.Errorf("All = %v, want the error of yield", err)
	}
}

func BenchmarkSort(b *testing.B) {
	for _, n := range []int{4, 4000, 2_000_000} {
		for _, memory := range []int64{128 << 20, 16 << 20} {
			b.Run(fmt.Sprintf("%d/%dMiB", n, memory>>20), func(b *testing.B) { benchmarkSort(b, n, memory) })
		}
	}
}

func benchmarkSort(b *testing.B, n int, memory int64) {
	digests := make([]byte, 1<<16)
	rng := rand.NewChaCha8([32]byte{})
	_, _ = rng.Read(digests) // never fails
	dir := b.TempDir()
	b.ReportAllocs()
	for b.Loop() {
		p := NewPool(memory, dir)
		s, err := p.Sorter(45)
		if err != nil {
			b.Fatal(err)
		}
		for range n {
			v := rng.Uint64()
			row, err := s.Row(byte(v >> 56))
			if err != nil {
				b.Fatal(err)
			}
			binary.BigEndian.PutUint64(row, v)
			copy(row[8:], digests[v&0x7fff:])
		}
		if err := s.All(b.Context(), func([]byte) error { return nil }); err != nil {
			b.Fatal(err)
		}
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/row")
}
