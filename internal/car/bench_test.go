package car

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
)

// BenchmarkScan compares a scan of a file with what limits it: a plain read of
// the same file through a buffer of 1 MiB, or the hash of its bytes.
func BenchmarkScan(b *testing.B) {
	for _, w := range []struct {
		name    string
		n, size int
	}{
		{"tiny", 500_000, 100},
		{"mid", 64 << 10, 1 << 10},
		{"leaf", 256, 256 << 10},
		{"big", 64, 1 << 20},
	} {
		b.Run(w.name, func(b *testing.B) {
			f, size := randomFile(b, w.n, w.size)
			b.Run("limit=read", func(b *testing.B) { benchRead(b, f, size, io.Discard) })
			b.Run("scan", func(b *testing.B) { benchScan(b, f, w.n, Options{Size: size}) })
			b.Run("limit=sha256", func(b *testing.B) { benchRead(b, f, size, sha256.New()) })
			b.Run("verify", func(b *testing.B) { benchScan(b, f, w.n, Options{Size: size, Verify: true}) })
		})
	}
}

func randomFile(b *testing.B, n, size int) (*os.File, int64) {
	f, err := os.Create(filepath.Join(b.TempDir(), "random.car"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = f.Close() })
	total, err := cartest.WriteRandom(f, 1, n, size)
	if err != nil {
		b.Fatal(err)
	}
	return f, total
}

func benchRead(b *testing.B, f *os.File, size int64, w io.Writer) {
	b.SetBytes(size)
	buf := make([]byte, 1<<20)
	for b.Loop() {
		r := io.NewSectionReader(f, 0, size)
		for {
			n, err := r.Read(buf)
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			_, _ = w.Write(buf[:n])
		}
	}
}

func benchScan(b *testing.B, f *os.File, n int, opt Options) {
	b.SetBytes(opt.Size)
	b.ReportAllocs()
	for b.Loop() {
		var sections, sum int64
		_, err := Scan(context.Background(), io.NewSectionReader(f, 0, opt.Size), opt, func(s *Section) error {
			sections++
			sum += s.Size + int64(s.Digest()[0])
			return nil
		})
		if err != nil || sections != int64(n) || sum == 0 {
			b.Fatalf("%d sections, %v", sections, err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/section")
}

func BenchmarkCheck(b *testing.B) {
	block := cartest.RandomBlock(1, 0, 1<<10)
	b.Run("limit=sha256", func(b *testing.B) {
		b.SetBytes(1 << 10)
		for b.Loop() {
			if sum := sha256.Sum256(block.Data); bytes.Equal(sum[:], block.Data) {
				b.Fatal("equal")
			}
		}
	})
	b.Run("check", func(b *testing.B) {
		b.SetBytes(1 << 10)
		b.ReportAllocs()
		for b.Loop() {
			if err := Check(block.CID, 0, block.Data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
