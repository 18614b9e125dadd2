package layers

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/mmap"
)

// A folder is [Files] on a real disk, mapped for reading.
type folder struct {
	dir  string
	next uint32
}

func (f *folder) path(n uint32) string { return filepath.Join(f.dir, fmt.Sprintf("%08x.layer", n)) }

func (f *folder) Create(_ context.Context, n uint32) (Sink, error) {
	file, err := os.Create(f.path(n))
	return folderSink{file}, err
}

func (f *folder) Open(_ context.Context, n uint32) (File, error) { return mmap.Open(f.path(n)) }
func (f *folder) Remove(_ context.Context, n uint32) error       { return os.Remove(f.path(n)) }

func (f *folder) number(context.Context) (uint32, error) {
	f.next++
	return f.next, nil
}

type folderSink struct{ *os.File }

func (s folderSink) Commit(context.Context) error {
	if err := s.Sync(); err != nil {
		return err
	}
	return s.Close()
}

func (s folderSink) Abort() error { return s.Close() }

func openFolder(b testing.TB) *Inverted {
	inv, _ := openIn(b)
	return inv
}

func openIn(b testing.TB) (*Inverted, *folder) {
	f := &folder{dir: b.TempDir()}
	inv, err := Open(b.Context(), Config{
		Files: f, Next: f.number, Commit: func(context.Context, Change) error { return nil },
	}, nil, nil)
	must(b, err)
	b.Cleanup(func() { must(b, inv.Close(context.Background())) })
	return inv, f
}

// made yields n multihashes out of one buffer, as an index does.
func made(from, n int) iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		mh := block(0)
		for i := from; i < from+n; i++ {
			binary.LittleEndian.PutUint64(mh[2:], uint64(i))
			if !yield(mh, nil) {
				return
			}
		}
	}
}

// Adding, to a durable layer: a thousand shards through the table, and one of
// two million as a layer of its own.
func BenchmarkAdd(b *testing.B) {
	for _, c := range []struct{ shards, blocks int }{{1000, 1000}, {1, 1_000_000}, {1, 2_000_000}} {
		b.Run(fmt.Sprintf("%dx%d", c.shards, c.blocks), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				inv := openFolder(b)
				b.StartTimer()
				for id := range c.shards {
					must(b, inv.Add(b.Context(), index.ID(id), made(id*c.blocks, c.blocks)))
				}
				must(b, inv.Sync(b.Context()))
			}
			b.ReportMetric(float64(b.N*c.shards*c.blocks)/b.Elapsed().Seconds()/1e6, "Mentries/s")
		})
	}
}

// Looking up in layers of a million entries each, and in the table.
func BenchmarkFind(b *testing.B) {
	const n = 1_000_000
	inv := openFolder(b)
	have := 0
	for _, layers := range []int{0, 1, 4, 8} {
		for ; have < layers; have++ {
			must(b, inv.Add(b.Context(), index.ID(have), made(have*n, n)))
			must(b, inv.Sync(b.Context()))
		}
		total := layers * n
		if layers == 0 {
			total = n
			must(b, inv.Add(b.Context(), 0, made(0, n)))
			have = 0
		}
		run := func(name string, base, want int) {
			b.Run(fmt.Sprintf("%dlayers/%s", layers, name), func(b *testing.B) {
				dst := make([]index.ID, 0, 16)
				mh := block(0)
				i := uint64(0)
				b.ReportAllocs()
				for b.Loop() {
					i += 0x9e3779b97f4a7c15
					binary.LittleEndian.PutUint64(mh[2:], uint64(base)+i%uint64(total))
					got, err := inv.Find(dst[:0], mh, 0)
					if err != nil || len(got) != want {
						b.Fatalf("%v, %v", got, err)
					}
				}
			})
		}
		run("hit", 0, 1)
		run("miss", 1<<40, 0)
	}
}

// A block that is in every shard: adding the next shard and finding the newest
// cost the same however many there are.
func BenchmarkSharedBlock(b *testing.B) {
	inv := openFolder(b)
	next := 0
	for _, upTo := range []int{1_000, 10_000, 100_000, 1_000_000} {
		begun := time.Now()
		from := next
		for ; next < upTo; next++ {
			must(b, inv.Add(b.Context(), index.ID(next), made(0, 1)))
			if inv.Due() {
				must(b, inv.Flush(b.Context()))
				for inv.MergeDue() {
					if _, err := inv.Merge(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		per := float64(time.Since(begun).Nanoseconds()) / float64(next-from)
		b.Run(fmt.Sprintf("of%d", upTo), func(b *testing.B) {
			var dst [1]index.ID
			for b.Loop() {
				got, err := inv.Find(dst[:0], block(0), 1)
				if err != nil || got[0] != index.ID(upTo-1) {
					b.Fatal(got, err)
				}
			}
			b.ReportMetric(per, "ns/add")
		})
	}
}

func BenchmarkMerge(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		inv := openFolder(b)
		for id := range fanIn {
			must(b, inv.Add(b.Context(), index.ID(id), made(id*500_000, 500_000)))
			must(b, inv.Sync(b.Context()))
		}
		b.StartTimer()
		if did, err := inv.Merge(b.Context()); !did || err != nil {
			b.Fatal(did, err)
		}
	}
	b.ReportMetric(float64(b.N*fanIn*500_000)/b.Elapsed().Seconds()/1e6, "Mentries/s")
}
