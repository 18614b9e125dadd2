package catalog

import (
	"fmt"
	"testing"
	"time"

	"github.com/dagstore/dagstore/shard"
)

func lazy(i int) *Record {
	now := time.Unix(1_700_000_000, int64(i)).UTC()
	return &Record{
		Key: shard.Key(fmt.Sprintf("some/folder/shard-%08d", i)), Revision: 1, State: shard.Registered,
		URL: fmt.Sprintf("file:///data/cars/some/folder/shard-%08d.car", i), Registered: now, Changed: now,
	}
}

// BenchmarkApply registers shards in batches of 1,000; an operation is one shard.
func BenchmarkApply(b *testing.B) {
	c, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; {
		batch := &Batch{}
		for ; len(batch.Puts) < 1000 && i < b.N; i++ {
			batch.Puts = append(batch.Puts, Put{Record: lazy(i)})
		}
		if err := c.Apply(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := c.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkEncode(b *testing.B) {
	r := lazy(1)
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		buf, _ = appendRecord(buf[:0], r, 0)
	}
	b.ReportMetric(float64(len(buf)), "B/record")
}

func BenchmarkDecode(b *testing.B) {
	r := lazy(1)
	buf, err := appendRecord(nil, r, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeRecord(r.Key, buf); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRead gets single records, and lists all, of 200,000.
func BenchmarkRead(b *testing.B) {
	const n = 200_000
	c, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; i < n; {
		batch := &Batch{}
		for ; len(batch.Puts) < 5000; i++ {
			batch.Puts = append(batch.Puts, Put{Record: lazy(i)})
		}
		if err := c.Apply(b.Context(), batch); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("get", func(b *testing.B) {
		i := 0
		for b.Loop() {
			i = (i + 7919) % n
			if _, err := c.Get(b.Context(), shard.Key(fmt.Sprintf("some/folder/shard-%08d", i))); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			count := 0
			for _, err := range c.Records(b.Context(), Filter{}) {
				if err != nil {
					b.Fatal(err)
				}
				count++
			}
			if count != n {
				b.Fatalf("listed %d", count)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
	})
	if err := c.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
}
