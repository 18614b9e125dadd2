package catalog

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

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

// BenchmarkLayout compares records under the whole key of the shard with
// records under a hash of it, as docs/rfc/0002-record-keys.md tells: Pebble
// alone, a million records, batches of 1,000, synced.
func BenchmarkLayout(b *testing.B) {
	const n = 1_000_000
	paths := func(i int) shard.Key { return shard.Key(fmt.Sprintf("some/folder/shard-%08d", i)) }
	cids := func(i int) shard.Key {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8), byte(i >> 16)})
		return shard.Key(fmt.Sprintf("bafy%x", sum[:28]))
	}
	whole := func(k shard.Key) []byte { return recordKey(k) }
	hashed := func(k shard.Key) []byte {
		sum := sha256.Sum256([]byte(k))
		return append([]byte{spaceRecord}, sum[:16]...)
	}
	for _, bc := range []struct {
		name   string
		shards func(int) shard.Key
		key    func(shard.Key) []byte
		inside bool // the value holds the shard's key
	}{
		{"paths/whole", paths, whole, false},
		{"paths/hashed", paths, hashed, true},
		{"cids/whole", cids, whole, false},
		{"cids/hashed", cids, hashed, true},
	} {
		b.Run(bc.name, func(b *testing.B) {
			for b.Loop() {
				layout(b, n, bc.shards, bc.key, bc.inside)
			}
		})
	}
}

func layout(b *testing.B, n int, shards func(int) shard.Key, key func(shard.Key) []byte, inside bool) {
	c, err := Open(b.Context(), Config{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	for i := 0; i < n; {
		batch := c.db.NewBatch()
		for end := i + 1000; i < end; i++ {
			r := lazy(i)
			r.Key = shards(i)
			value, err := appendRecord(nil, r, 0)
			if inside {
				value = appendString(value, string(r.Key))
			}
			k := key(r.Key)
			if _, closer, err := c.db.Get(k); err == nil {
				closer.Close()
				b.Fatal("is there already")
			}
			if err := errors.Join(err, batch.Set(k, value, nil)); err != nil {
				b.Fatal(err)
			}
		}
		if err := batch.Commit(pebble.Sync); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/time.Since(start).Seconds(), "writes/s")
	if err := c.db.Compact(b.Context(), []byte("r"), []byte("s"), false); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(c.db.Metrics().DiskSpaceUsage())/float64(n), "B/record")
	start = time.Now()
	for i := range 100_000 {
		_, closer, err := c.db.Get(key(shards(i * 7919 % n)))
		if err != nil {
			b.Fatal(err)
		}
		closer.Close()
	}
	b.ReportMetric(float64(time.Since(start).Nanoseconds())/100_000, "ns/get")
	start = time.Now()
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: []byte("r"), UpperBound: []byte("s")})
	if err != nil {
		b.Fatal(err)
	}
	count := 0
	for ok := it.First(); ok; ok = it.Next() {
		count++
	}
	if err := errors.Join(it.Close(), c.Close(b.Context())); err != nil || count != n {
		b.Fatal(count, err)
	}
	b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(n), "ns/listed")
}
