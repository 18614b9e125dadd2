package blocks

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// beside is what an engine does for [Config.Go].
type beside struct {
	ctx  context.Context //nolint:containedctx // of the goroutines
	end  context.CancelFunc
	work sync.WaitGroup
}

func (b *beside) run(f func(ctx context.Context)) bool {
	if b.ctx.Err() != nil {
		return false
	}
	b.work.Go(func() { f(b.ctx) })
	return true
}

// besides is a configuration of s by which pieces are fetched beside readers.
// close is what an engine does when it closes.
func (s *fakeStore) besides() (cfg Config, close func()) {
	b := &beside{}
	b.ctx, b.end = context.WithCancel(context.Background())
	cfg = s.config()
	cfg.Go = b.run
	close = func() { b.end(); b.work.Wait() }
	s.tb.Cleanup(close)
	return cfg, close
}

// A slowMount takes a while for each 64 KiB, as a network does.
type slowMount struct {
	mount.Mount
	pause func(ctx context.Context, off int64) error // before the bytes at off come

	mu       sync.Mutex
	asked    []mount.Range
	open, at int // streams, and the most at once
	left     int // streams that were closed before their end
	sent     int64
}

type slowStream struct {
	io.ReadCloser
	ctx  context.Context //nolint:containedctx // of the request
	m    *slowMount
	off  int64
	rest int64
}

func (m *slowMount) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	s, err := mount.OpenRange(ctx, m.Mount, r)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, r)
	m.open++
	m.at = max(m.at, m.open)
	return &slowStream{s, ctx, m, r.Offset, r.Length}, nil
}

func (s *slowStream) Read(p []byte) (int, error) {
	if err := s.m.pause(s.ctx, s.off); err != nil {
		return 0, err
	}
	n, err := s.ReadCloser.Read(p[:min(len(p), 64<<10)])
	s.off, s.rest = s.off+int64(n), s.rest-int64(n)
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.sent += int64(n)
	return n, err
}

func (s *slowStream) Close() error {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	s.m.open--
	if s.rest > 0 {
		s.m.left++
	}
	return s.ReadCloser.Close()
}

// slow makes a shard of blocks that is read by m.
func slow(s *fakeStore, data []byte, m *slowMount) *fakeShard {
	m.Mount = fakeMemory(data)
	return s.addMount(m, data, false)
}

// steady is a pause of d before each part of a stream.
func steady(d time.Duration) func(context.Context, int64) error {
	return func(ctx context.Context, _ int64) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestTheNextIsFetchedWhileThisIsRead: of a source and a reader the slower one
// alone decides how long it takes, and the source has one request at a time.
func TestTheNextIsFetchedWhileThisIsRead(t *testing.T) {
	const each = time.Millisecond // for 64 KiB, of the source as of the reader
	blocks := cartest.Random(1, 1024, 64<<10-40)
	data := cartest.V1(nil, blocks)
	took := map[bool]time.Duration{}
	for _, together := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newStore(t, 10)
			m := &slowMount{pause: steady(each)}
			sh := slow(s, data, m)
			cfg, _ := s.besides()
			if !together {
				cfg.Go = nil
			}
			r := readerOf(s.hold(sh), cfg)
			began := time.Now()
			for _, b := range blocks {
				got, err := r.Get(t.Context(), b.CID, Options{})
				if err != nil || !bytes.Equal(got, b.Data) {
					t.Fatal(err)
				}
				time.Sleep(each)
			}
			took[together] = time.Since(began)
			synctest.Wait()
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.open != 0 || m.at > 1 {
				t.Errorf("%d requests are open, %d were at once", m.open, m.at)
			}
			if m.sent > int64(len(data)) {
				t.Errorf("%d bytes of %d", m.sent, len(data))
			}
		})
	}
	// Until 2 MiB are read each piece is waited for.
	if least := 2048 * each; took[false] < least || took[true] > least*6/10 {
		t.Errorf("%v, and %v if the next is fetched meanwhile", took[false], took[true])
	}
}

// TestWhoStopsHasPaidForAPart of what was read, wherever that is.
func TestWhoStopsHasPaidForAPart(t *testing.T) {
	blocks := cartest.Random(1, 300, 64<<10-40)
	data := cartest.V1(nil, blocks)
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, 10)
		m := &slowMount{pause: func(context.Context, int64) error { return nil }}
		cfg, _ := s.besides()
		r := readerOf(s.hold(slow(s, data, m)), cfg)
		for i, b := range blocks {
			if _, err := r.Get(t.Context(), b.CID, Options{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // all that is begun comes
			if read := int64(i+1) * 64 << 10; m.sent > max(read+aheadFirst, read+read/aheadShare*3/2+64<<10) {
				t.Errorf("%d bytes came for %d", m.sent, read)
			}
		}
	})
}

// hanging is a mount that stops in the middle of its n-th request of at least
// 200,000 bytes: those are ahead of a reader of small blocks.
type hanging struct {
	slowMount
	n, seen int
	deaf    bool          // to the end of the context
	loose   chan struct{} // closed to go on
}

func newHanging(n int) *hanging {
	m := &hanging{n: n, loose: make(chan struct{})}
	m.pause = func(context.Context, int64) error { return nil }
	return m
}

func (m *hanging) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	s, err := m.slowMount.OpenRange(ctx, r)
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.Length < 200_000 || err != nil {
		return s, err
	}
	if m.seen++; m.seen == m.n {
		return &hungStream{s, ctx, m, 100_000}, nil
	}
	return s, err
}

type hungStream struct {
	io.ReadCloser
	ctx  context.Context //nolint:containedctx // of the request
	m    *hanging
	left int
}

func (s *hungStream) Read(p []byte) (int, error) {
	if s.left == 0 {
		done := s.ctx.Done()
		if s.m.deaf {
			done = nil
		}
		select {
		case <-done:
			return 0, s.ctx.Err()
		case <-s.m.loose:
			s.left = -1
		}
	}
	if s.left > 0 {
		p = p[:min(len(p), s.left)]
	}
	n, err := s.ReadCloser.Read(p)
	if s.left > 0 {
		s.left -= n
	}
	return n, err
}

// hang reads blocks until one has to wait for a fetch that hangs, and returns
// which that was.
func hang(t *testing.T, r *Reader, blocks []cartest.Block) int {
	t.Helper()
	for i, b := range blocks {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		got, err := r.Get(ctx, b.CID, Options{})
		cancel()
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return i
		case err != nil || !bytes.Equal(got, b.Data):
			t.Fatal(err)
		}
	}
	t.Fatal("nothing hangs")
	return 0
}

func hungReader(t *testing.T, n int, change func(*hanging, *Config)) (*fakeStore, *hanging, *local.Handle, *Reader, []cartest.Block, func()) {
	t.Helper()
	blocks := cartest.Random(1, 1500, 4000)
	data := cartest.V1(nil, blocks)
	s := newStore(t, 10)
	m := newHanging(n)
	m.Mount = fakeMemory(data)
	h := s.hold(s.addMount(m, data, false))
	cfg, close := s.besides()
	if change != nil {
		change(m, &cfg)
	}
	return s, m, h, readerOf(h, cfg), blocks, close
}

// TestWhoComesToBytesOnTheirWayWaits for as long as his context says, and asks
// for nothing himself; when they come he has them.
func TestWhoComesToBytesOnTheirWayWaits(t *testing.T) {
	for _, n := range []int{1, 12} { // the first piece, and one that is fetched meanwhile
		synctest.Test(t, func(t *testing.T) {
			_, m, _, r, blocks, _ := hungReader(t, n, nil)
			at := hang(t, r, blocks)
			asked := len(m.asked)
			for range 3 {
				if again := at + hang(t, r, blocks[at:]); again != at {
					t.Fatalf("block %d comes, and %d did not", again, at)
				}
			}
			if len(m.asked) != asked {
				t.Errorf("%d requests more", len(m.asked)-asked)
			}
			got := make(chan error)
			go func() { _, err := r.Get(t.Context(), blocks[at].CID, Options{}); got <- err }()
			synctest.Wait()
			close(m.loose)
			if err := <-got; err != nil || len(m.asked) > asked+1 {
				t.Errorf("%v, %d requests", err, len(m.asked)-asked)
			}
		})
	}
}

// TestTheEndOfAllFetching, be it that the store closes or that nothing comes:
// readers ask for themselves.
func TestTheEndOfAllFetching(t *testing.T) {
	const stall = 30 * time.Second
	for name, c := range map[string]struct {
		deaf bool
		end  func(close func())
	}{
		"Close":          {false, func(close func()) { close() }},
		"a stall":        {false, func(func()) { time.Sleep(2 * stall) }},
		"a deaf mount":   {true, func(func()) { time.Sleep(2 * stall) }},
		"Close, in vain": {true, func(close func()) { go close(); synctest.Wait() }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, m, _, r, blocks, end := hungReader(t, 12, func(m *hanging, cfg *Config) { m.deaf, cfg.Stall = c.deaf, stall })
				at := hang(t, r, blocks)
				c.end(end)
				began := time.Now()
				for _, b := range blocks[at:] {
					if got, err := r.Get(t.Context(), b.CID, Options{}); err != nil || !bytes.Equal(got, b.Data) {
						t.Fatal(err)
					}
				}
				if d := time.Since(began); d != 0 {
					t.Errorf("they wait for %v", d)
				}
				close(m.loose)
				end()
				if m.open != 0 {
					t.Errorf("%d requests are open", m.open)
				}
			})
		})
	}
}

// TestSeverEndsWhatIsFetched, which keeps the files of the shard open no longer
// than until its next part comes.
func TestSeverEndsWhatIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m, h, r, blocks, _ := hungReader(t, 12, nil)
		at := hang(t, r, blocks)
		failed := make(chan error)
		go func() { _, err := r.Get(t.Context(), blocks[at].CID, Options{}); failed <- err }()
		synctest.Wait()
		h.Sever()
		close(m.loose)
		if err := <-failed; !errors.Is(err, shard.ErrDestroyed) {
			t.Errorf("a reader who waited: %v", err)
		}
		synctest.Wait()
		s.cache.Close()
		if m.open != 0 || r.ahead.bytes != 0 || len(r.ahead.shards) != 0 {
			t.Errorf("%d requests, %d bytes of %d shards", m.open, r.ahead.bytes, len(r.ahead.shards))
		}
	})
}

// TestAJumpEndsWhatIsFetched: nothing more comes of it.
func TestAJumpEndsWhatIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, m, _, r, blocks, _ := hungReader(t, 12, nil)
		at := hang(t, r, blocks)
		if _, err := r.Get(t.Context(), blocks[0].CID, Options{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if m.open != 0 || m.left != 1 || r.ahead.bytes != 0 {
			t.Errorf("%d requests are open, %d were left, %d bytes", m.open, m.left, r.ahead.bytes)
		}
		if _, err := r.Get(t.Context(), blocks[at].CID, Options{}); err != nil {
			t.Error(err)
		}
	})
}

// TestFetchingIsBounded over all shards, by readers who go through them at once,
// some from one shard, and who jump at times.
func TestFetchingIsBounded(t *testing.T) {
	s := newStore(t, 100)
	cfg, end := s.besides()
	all := New(cfg)
	var wg sync.WaitGroup
	var most atomic.Int64
	for i := range 12 {
		blocks := cartest.Random(uint64(i), 120, 60_000)
		sh, _ := far(t, s, blocks, i%3 == 0)
		r := all.Of(s.hold(sh))
		for j := range 1 + i%2 {
			wg.Go(func() {
				random := rand.New(rand.NewPCG(uint64(i), uint64(j)))
				for k := 0; k < len(blocks); k++ {
					if random.IntN(100) == 0 {
						k = max(0, k-20)
					}
					got, err := r.Get(t.Context(), blocks[k].CID, Options{})
					if err != nil || !bytes.Equal(got, blocks[k].Data) {
						t.Error(err)
						return
					}
					all.ahead.mu.Lock()
					most.Store(max(most.Load(), int64(all.ahead.bytes)))
					all.ahead.mu.Unlock()
				}
			})
		}
	}
	wg.Wait()
	end()
	sum := 0
	for _, w := range all.ahead.shards {
		for _, x := range w.pieces {
			sum += x.cost()
			if x.users != 1 || x.fetching {
				t.Errorf("a piece has %d users", x.users)
			}
		}
	}
	if sum != all.ahead.bytes || most.Load() > aheadAll || most.Load() == 0 {
		t.Errorf("%d bytes are kept, %d are counted, %d at most", sum, all.ahead.bytes, most.Load())
	}
	s.cache.Close()
}
