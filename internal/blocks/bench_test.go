package blocks

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car/cartest"
)

// BenchmarkGet is Get of 1 KiB out of a file, beside what bounds it: the same
// preads into new memory, without and with SHA-256.
func BenchmarkGet(b *testing.B) {
	const n = 16_384
	blocks := cartest.Random(1, n, 1024)
	s := newStore(b, 10)
	sh, path := s.addFile(cartest.V1(nil, blocks), false)
	h := s.hold(sh)
	pos := make([]index.Position, n)
	for i := range blocks {
		pos[i] = sh.index.pos[string(blocks[i].CID.Hash())][0]
	}
	at := func(i int) int { return i * 7919 % n }

	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	pread := func(b *testing.B, i int) []byte {
		p := pos[at(i)]
		buf := make([]byte, p.Head+int(p.Size))
		if _, err := file.ReadAt(buf, p.Offset); err != nil {
			b.Fatal(err)
		}
		return buf[p.Head:]
	}
	b.Run("limit=pread", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			pread(b, i)
		}
	})
	b.Run("limit=pread+sha256", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if sha256.Sum256(pread(b, i)) == [32]byte{} {
				b.Fatal("a wonder")
			}
		}
	})

	cfg := s.config()
	cfg.Candidates = func(_ context.Context, _ multihash.Multihash, yield func(index.ID) bool) error {
		yield(sh.id)
		return nil
	}
	for _, r := range []struct {
		name string
		r    *Reader
	}{{"one", readerOf(h, cfg)}, {"all", New(cfg)}} {
		for _, o := range []struct {
			name string
			opts Options
		}{{"unchecked", Options{Unchecked: true}}, {"checked", Options{}}} {
			b.Run(r.name+"/"+o.name, func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if _, err := r.r.Get(b.Context(), blocks[at(i)].CID, o.opts); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
	b.Run("one/view", func(b *testing.B) {
		r := readerOf(h, cfg)
		f := func([]byte) error { return nil }
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if err := r.View(b.Context(), blocks[at(i)].CID, Options{}, f); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkFar is a traversal of a CAR elsewhere that comes as fast as memory, each
// block hashed by who reads alone and by others, too.
func BenchmarkFar(b *testing.B) {
	for _, size := range []int{256 << 10, 1 << 10} {
		blocks := cartest.Random(1, (64<<20)/size, size)
		s := newStore(b, 10)
		sh, _ := far(b, s, blocks, false)
		h := s.hold(sh)
		for most := range 2 {
			b.Run(fmt.Sprintf("%d/others=%d", size, most), func(b *testing.B) {
				cfg, end := s.besides()
				defer end()
				b.SetBytes(64 << 20)
				best := time.Hour
				proofs, pieces := 0, 0
				for b.Loop() {
					r := readerOf(h, cfg)
					r.ahead.most = most
					began := time.Now()
					for _, block := range blocks {
						if _, err := r.Get(b.Context(), block.CID, Options{}); err != nil {
							b.Fatal(err)
						}
					}
					best = min(best, time.Since(began))
					proofs, pieces = r.ahead.proofs, r.ahead.pieces
				}
				b.ReportMetric((64<<20)/1e6/best.Seconds(), "MB/s-at-best")
				b.ReportMetric(float64(proofs), "proofs")
				b.ReportMetric(float64(pieces), "pieces")
			})
		}
	}
}
