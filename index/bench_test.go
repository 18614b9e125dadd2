package index_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/dagstore/dagstore/index"
)

// multihashes gives n SHA-256 multihashes of random digests, one after another.
func multihashes(n int) []byte {
	rng := rand.NewChaCha8([32]byte{1})
	all := make([]byte, n*34)
	_, _ = rng.Read(all) // never fails
	for i := 0; i < len(all); i += 34 {
		all[i], all[i+1] = 0x12, 32
	}
	return all
}

func fillBuilder(b testing.TB, bu *index.Builder, mhs []byte) {
	b.Helper()
	for i := 0; i < len(mhs); i += 34 {
		if err := bu.Add(mhs[i:i+34], index.Position{Offset: int64(i) * 4, Size: 100, Head: 37}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBuilder adds, sorts and writes. The limit of the same run is
// BenchmarkCopy: the same bytes, added up and written.
func BenchmarkBuilder(b *testing.B) {
	for _, n := range []int{4, 1000, 262_144, 2_000_000} {
		mhs := multihashes(n)
		for _, memory := range []int64{128 << 20, 32 << 20} {
			b.Run(fmt.Sprintf("%d/%dMiB", n, memory>>20), func(b *testing.B) {
				dir := b.TempDir()
				b.ReportAllocs()
				for b.Loop() {
					bu := index.NewBuilder(&index.WriteOptions{Memory: memory, Spill: dir})
					fillBuilder(b, bu, mhs)
					if _, err := bu.WriteTo(b.Context(), io.Discard, identity); err != nil {
						b.Fatal(err)
					}
					if err := bu.Close(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
			})
		}
	}
}

// BenchmarkCopy writes as many bytes as BenchmarkBuilder to rows in memory.
func BenchmarkCopy(b *testing.B) {
	mhs := multihashes(2_000_000)
	for b.Loop() {
		out := make([]byte, 0, 2_000_000*45)
		for i := 0; i < len(mhs); i += 34 {
			out = append(out, mhs[i+2:i+34]...)
			out = binary.LittleEndian.AppendUint64(out, uint64(i))
			out = append(out, 1, 2, 3, 4, 5)
		}
		if !bytes.Equal(out[:32], mhs[2:34]) {
			b.Fatal("copy")
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*2_000_000), "ns/record")
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1000, 100_000, 2_000_000} {
		mhs := multihashes(n)
		path := filepath.Join(b.TempDir(), "index")
		file, err := os.Create(path)
		if err != nil {
			b.Fatal(err)
		}
		bu := index.NewBuilder(nil)
		fillBuilder(b, bu, mhs)
		if _, err := bu.WriteTo(b.Context(), file, identity); err != nil {
			b.Fatal(err)
		}
		if err := file.Close(); err != nil {
			b.Fatal(err)
		}
		b.Run(fmt.Sprintf("%d/open", n), func(b *testing.B) {
			for b.Loop() {
				f, err := index.OpenFile(path)
				if err != nil {
					b.Fatal(err)
				}
				_ = f.Close()
			}
		})
		f, err := index.OpenFile(path)
		if err != nil {
			b.Fatal(err)
		}
		if err := f.Verify(b.Context()); err != nil { // and touch all of it
			b.Fatal(err)
		}
		rng := rand.New(rand.NewPCG(1, 1))
		ask := make([][]byte, 1<<16)
		for i := range ask {
			ask[i] = append([]byte(nil), mhs[34*rng.IntN(n):][:34]...) // apart from mhs, as a caller's is
		}
		b.Run(fmt.Sprintf("%d/hit", n), func(b *testing.B) { benchmarkFind(b, f, ask, 1) })
		for i := range ask {
			ask[i][33] ^= 1
		}
		b.Run(fmt.Sprintf("%d/miss", n), func(b *testing.B) { benchmarkFind(b, f, ask, 0) })
		b.Run(fmt.Sprintf("%d/all", n), func(b *testing.B) {
			for b.Loop() {
				for _, err := range f.All() {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/record")
		})
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkFind(b *testing.B, f *index.File, ask [][]byte, want int) {
	var dst [4]index.Position
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		got, err := f.Find(dst[:0], ask[i%len(ask)], 0)
		if err != nil || len(got) != want {
			b.Fatalf("%v, %v", got, err)
		}
	}
}
