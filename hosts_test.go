package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A farServer has CARs elsewhere, and can be away.
type farServer struct {
	r     *rig
	away  atomic.Bool
	asked atomic.Int64
}

// open is the opener of "far" URLs.
func (s *farServer) open(url string) (mount.Mount, error) {
	name, ok := strings.CutPrefix(url, "far://host.example/")
	if !ok {
		return nil, mount.ErrURL
	}
	m, err := s.r.cars.Open("mem:" + name)
	if err != nil {
		return nil, err
	}
	return farCAR{m, url, s}, nil
}

func (s *farServer) ask() error {
	s.asked.Add(1)
	if s.away.Load() {
		return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return nil
}

type farCAR struct {
	m   mount.Mount
	url string
	s   *farServer
}

func (c farCAR) URL() string { return c.url }

func (c farCAR) Stat(ctx context.Context) (mount.Stat, error) {
	if err := c.s.ask(); err != nil {
		return mount.Stat{}, err
	}
	return c.m.Stat(ctx)
}

func (c farCAR) Open(ctx context.Context) (io.ReadCloser, error) {
	if err := c.s.ask(); err != nil {
		return nil, err
	}
	return c.m.Open(ctx)
}

func (c farCAR) OpenRange(ctx context.Context, at mount.Range) (io.ReadCloser, error) {
	if err := c.s.ask(); err != nil {
		return nil, err
	}
	return mount.OpenRange(ctx, c.m, at)
}

// A dead host is one fact, and no attempt of its shards, which are read when it
// is back.
func TestDeadHostIsOneFact(t *testing.T) {
	const shards = 200
	r := newRig(t)
	r.stop()
	far := &farServer{r: r}
	far.away.Store(true)
	r.cfg.Mounts["far"] = far.open
	r.cfg.Hosts = Hosts{First: 200 * time.Millisecond}
	r.cfg.Retry.First = time.Millisecond
	heard := make(chan HostHealth, 10)
	r.cfg.Events.Host = func(h HostHealth) { heard <- h }
	r.open()

	var all []cartest.Block
	key := func(i int) shard.Key { return shard.Key(fmt.Sprintf("%03d", i)) }
	begun := time.Now()
	for i := range shards {
		blocks, _ := r.put(string(key(i)), uint64(i), 3)
		all = append(all, blocks...)
		m, err := far.open("far://host.example/" + string(key(i)))
		if err != nil {
			t.Fatal(err)
		}
		err = r.store.Register(r.ctx(), key(i), m, nil)
		if !errors.Is(err, shard.ErrSource) || !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("%d: %v", i, err)
		}
	}
	if tries, most := far.asked.Load(), 3+1+int64(time.Since(begun)/r.cfg.Hosts.First); tries > most {
		t.Errorf("the host was asked %d times, want %d at most", tries, most)
	}
	if h := soon(r, "that it is down", heard); !h.Down || h.Host != "far://host.example" || h.Err == nil {
		t.Errorf("heard %+v", h)
	}
	if h := r.store.Hosts(); len(h) != 1 || !h[0].Down || h[0].Failed < 3 {
		t.Errorf("hosts: %+v", h)
	}
	counted := 0
	for info, err := range r.store.Shards(r.ctx(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		counted += info.Failure.Attempts
	}
	if counted > 3+int(time.Since(begun)/r.cfg.Hosts.First)+1 {
		t.Errorf("%d attempts are held against the shards", counted)
	}

	far.away.Store(false)
	r.until("all are read", func() bool {
		left := 0
		for info, err := range r.store.Shards(r.ctx(), &Filter{States: []shard.State{shard.Errored}}) {
			if err != nil {
				t.Fatal(err)
			}
			left++
			_ = r.store.Recover(r.ctx(), info.Key, nil)
		}
		return left == 0
	})
	if h := soon(r, "that it is back", heard); h.Down {
		t.Errorf("heard %+v", h)
	}
	r.has(all)
}

func TestHostsOfTheConfiguration(t *testing.T) {
	if err := (&Config{Hosts: Hosts{Failures: -1, First: -1, Longest: 1, Patience: -1, Bandwidth: 1}}).Validate(); err == nil {
		t.Error("valid")
	} else {
		for _, field := range []string{"Failures", "First", "Longest", "Patience", "Bandwidth"} {
			if !strings.Contains(err.Error(), "Config.Hosts."+field) {
				t.Errorf("%v does not name %s", err, field)
			}
		}
	}
	for _, rate := range []int64{0, Unlimited, 1 << 20} {
		if err := (&Config{Hosts: Hosts{Bandwidth: rate}}).Validate(); err != nil {
			t.Errorf("Bandwidth %d: %v", rate, err)
		}
	}
}

// When a host is back, the shards that failed with it are tried again without
// being asked for, and the tick finds out that it is.
func TestShardsOfAHostThatIsBack(t *testing.T) {
	const shards = 20
	inBubble(t, func(t *testing.T, r *rig) {
		far := &farServer{r: r}
		far.away.Store(true)
		r.cfg.Mounts["far"] = far.open
		r.cfg.Retry.When = OnOpen
		r.reopen()
		for i := range shards {
			name := fmt.Sprint(i)
			r.put(name, uint64(i), 3)
			m, err := far.open("far://host.example/" + name)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.store.Register(t.Context(), shard.Key(name), m, nil); !errors.Is(err, shard.ErrSource) {
				t.Fatal(err)
			}
		}
		bad := r.putBytes("bad", []byte("no CAR"))
		if err := r.store.Register(t.Context(), "bad", bad, nil); !errors.Is(err, shard.ErrCAR) {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // it is asked again and again, each time by one call
		if n := far.asked.Load(); n > 3+3600/15 {
			t.Errorf("it was asked %d times in an hour", n)
		}
		if s := r.store.Stats().Shards; s[shard.Errored] != shards+1 {
			t.Errorf("shards: %v", s)
		}
		far.away.Store(false)
		time.Sleep(defaultPause + 2*15*time.Second)
		if s := r.store.Stats().Shards; s[shard.Errored] != 1 || s[shard.Available] != shards {
			t.Errorf("shards: %v", s)
		}
		if in := r.info("bad"); in.Failure.Attempts != 1 {
			t.Errorf("what failed for another reason was tried %d times", in.Failure.Attempts)
		}
	})
}
