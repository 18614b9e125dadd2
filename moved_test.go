package dagstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/servertest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/s3mount"
	"github.com/dagstore/dagstore/shard"
)

// A bucket is one on a real server.
type bucket struct {
	*servertest.S3
	s3 *s3mount.Client
}

const bucketName = "cars"

func newBucket(t *testing.T) *bucket {
	t.Helper()
	b := &bucket{S3: servertest.VersityGW(t)}
	var err error
	b.s3, err = s3mount.New(&s3mount.Config{Services: []s3mount.Service{{Endpoint: b.Endpoint, Region: b.Region,
		Credentials: s3mount.Credentials{AccessKey: b.AccessKey, SecretKey: s3mount.Secret(b.SecretKey)}}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.s3.CloseIdle)
	b.Put(t, "/"+bucketName, nil)
	return b
}

// put makes an object. It may be called by many goroutines at once.
func (b *bucket) put(t *testing.T, name string, body []byte) {
	t.Helper()
	if _, err := b.Do(http.MethodPut, "/"+bucketName+"/"+name, "", body); err != nil {
		t.Error(err)
	}
}

func (b *bucket) mount(t *testing.T, name string) mount.Mount {
	t.Helper()
	m, err := b.s3.Open("s3://" + bucketName + "/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// readers read without a pause until they are stopped.
type readers struct {
	t       *testing.T
	stopped atomic.Bool
	all     sync.WaitGroup
	reads   []atomic.Int64 // of each reader
}

// startReaders has n readers call read, each with its own randomness, until
// stop. An error ends its reader and fails the test.
func startReaders(t *testing.T, n int, read func(random *rand.Rand) error) *readers {
	r := &readers{t: t, reads: make([]atomic.Int64, n)}
	for i := range n {
		random := rand.New(rand.NewPCG(longtest.Seed(), uint64(i)))
		r.all.Go(func() {
			for !r.stopped.Load() {
				if err := read(random); err != nil {
					t.Errorf("reader %d after %d reads: %v", i, r.reads[i].Load(), err)
					return
				}
				r.reads[i].Add(1)
			}
		})
	}
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *readers) stop() (reads int64) {
	r.stopped.Store(true)
	r.all.Wait()
	for i := range r.reads {
		reads += r.reads[i].Load()
	}
	return reads
}

// goOn waits until each reader has read n times more.
func (r *readers) goOn(n int64) {
	r.t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for i := range r.reads {
		for want := r.reads[i].Load() + n; r.reads[i].Load() < want; time.Sleep(time.Millisecond) {
			if r.t.Failed() || time.Now().After(deadline) {
				r.t.Fatalf("reader %d does not get on", i)
			}
		}
	}
}

// eachOf calls do for the numbers below n, eight at once.
func eachOf(n int, do func(i int)) {
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := w; i < n; i += 8 {
				do(i)
			}
		})
	}
	all.Wait()
}

// counted is the sum of a metric over its labels; of a histogram, how often it
// was observed.
func counted(t *testing.T, from prometheus.Gatherer, name string) (n float64) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		found = true
		for _, m := range f.GetMetric() {
			n += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	if !found {
		t.Fatalf("there is no metric %s", name)
	}
	return n
}

const (
	movedBlocks = 8 // of a CAR: few enough that all are compared
	movedSize   = 300
)

// TestMoved: a folder of CARs is copied to a bucket and its shards are remounted
// there while readers read all the time. No read fails, nothing is indexed
// again, and a CAR that was altered on the way stays where it was.
func TestMoved(t *testing.T) {
	n, readerCount := longtest.Runs(200, 1000), longtest.Runs(16, 64)
	altered := n / 3
	b := newBucket(t)
	folder := t.TempDir()
	key := func(i int) shard.Key { return shard.Key(fmt.Sprintf("%04d", i)) }
	path := func(i int) string { return filepath.Join(folder, string(key(i))+".car") }

	var worked atomic.Int64 // pieces of work that were to index
	registry := prometheus.NewRegistry()
	store, err := dagstore.Open(t.Context(), t.TempDir(), &dagstore.Config{
		Mounts:  mount.Registry{"file": filemount.Open, "s3": b.s3.Open},
		Metrics: registry,
		Events: dagstore.Events{Work: func(e dagstore.WorkEvent) {
			if e.Phase == dagstore.Began && e.Op != shard.OpRemount {
				worked.Add(1)
			}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	eachOf(n, func(i int) {
		data := cartest.RandomV1(uint64(i), movedBlocks, movedSize)
		if err := os.WriteFile(path(i), data, 0o600); err != nil {
			t.Error(err)
			return
		}
		m, err := filemount.New(path(i))
		if err == nil {
			err = store.Register(t.Context(), key(i), m, nil)
		}
		if err != nil {
			t.Error(err)
		}
		if i == altered {
			data[len(data)-movedSize/2] ^= 1
		}
		b.put(t, string(key(i))+".car", data)
	})
	if t.Failed() {
		t.FailNow()
	}
	indexed := counted(t, registry, "dagstore_index_seconds")
	if indexed != float64(n) {
		t.Fatalf("%v CARs were indexed, want %d", indexed, n)
	}
	before := indexFiles(t, store, n)

	bs := store.Blockstore(nil)
	readers := startReaders(t, readerCount, func(random *rand.Rand) error {
		i, j := random.IntN(n), random.IntN(movedBlocks)
		want := cartest.RandomBlock(uint64(i), j, movedSize)
		if random.IntN(4) == 0 {
			return holdAndRead(t.Context(), store, key(i), want)
		}
		return readRight(t.Context(), bs, want)
	})
	began := time.Now()
	eachOf(n, func(i int) {
		err := store.Remount(t.Context(), key(i), b.mount(t, string(key(i))+".car"), dagstore.CompareSample)
		if i == altered && !errors.Is(err, shard.ErrChanged) || i != altered && err != nil {
			t.Errorf("remount of %d: %v", i, err)
		}
	})
	took := time.Since(began)
	for i := range n {
		if i != altered {
			if err := os.Remove(path(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	readers.goOn(5)
	reads := readers.stop()

	for i := range n {
		info, err := store.Info(t.Context(), key(i))
		if err != nil {
			t.Fatal(err)
		}
		if moved := info.URL == "s3://"+bucketName+"/"+string(key(i))+".car"; moved != (i != altered) || info.State != shard.Available {
			t.Errorf("%d is %v at %s", i, info.State, info.URL)
		}
		if err := readRight(t.Context(), bs, cartest.RandomBlock(uint64(i), 0, movedSize)); err != nil {
			t.Error(err)
		}
	}
	if now := counted(t, registry, "dagstore_index_seconds"); now != indexed {
		t.Errorf("%v CARs were indexed again", now-indexed)
	}
	if got := worked.Load(); got != int64(n) {
		t.Errorf("work was begun %d times, want once for each of %d", got, n)
	}
	if dropped := store.Stats().EventsDropped; dropped != 0 {
		t.Errorf("%d events are missing", dropped)
	}
	if now := indexFiles(t, store, n); !slices.Equal(now, before) {
		t.Error("another index is used than before")
	}
	cost := b.s3.Cost()
	longtest.Figure(t, "%d CARs moved under %d readers in %v: %d reads, none failed; %d HEADs, %d GETs, %d bytes of S3",
		n, readerCount, took.Round(time.Millisecond), reads, cost.Heads, cost.Gets, cost.Bytes)
}

// indexFiles says when each shard was registered and what its index is like.
func indexFiles(t *testing.T, store *dagstore.Store, n int) []string {
	t.Helper()
	var all []string
	for info, err := range store.Shards(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprint(info.Key, info.Registered, info.Roots, info.Sections, info.Multihashes, info.Payload))
	}
	if len(all) != n {
		t.Fatalf("there are %d shards, want %d", len(all), n)
	}
	return all
}

func readRight(ctx context.Context, bs *dagstore.Blockstore, want cartest.Block) error {
	got, err := bs.Get(ctx, want.CID)
	if err == nil && !bytes.Equal(got.RawData(), want.Data) {
		err = errors.New("other bytes")
	}
	return err
}

func holdAndRead(ctx context.Context, store *dagstore.Store, key shard.Key, want cartest.Block) error {
	a, err := store.Acquire(ctx, key, nil)
	if err != nil {
		return err
	}
	return errors.Join(readRight(ctx, a.Blockstore(), want), a.Close())
}
