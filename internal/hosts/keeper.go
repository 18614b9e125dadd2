package hosts

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/dagstore/dagstore/mount"
)

// Config says how much is borne with.
type Config struct {
	Failures  int           // to reach a host, in a row, until it counts as down; default 3
	First     time.Duration // how long it is left alone then, doubled each time; default 1 s
	Longest   time.Duration // default 5 min
	Patience  time.Duration // the longest that a call waits for a busy host; default 10 s
	Bandwidth int64         // bytes a second of all streams together; 0: no limit
	Changed   func(Health)  // told when a host goes down or comes back; it must not block; nil: nobody is
}

const (
	defaultFailures = 3
	defaultFirst    = time.Second
	defaultLongest  = 5 * time.Minute
	defaultPatience = 10 * time.Second

	mostTries = 3    // of one call to a host that is busy
	mostHosts = 1024 // that are remembered; well ones are forgotten first
)

// A Health is how a host is.
type Health struct {
	Host   string // scheme and authority, as [mount.Host] has it
	Down   bool
	Since  time.Time // since when it is down
	Until  time.Time // until when it is left alone, being down or busy; zero: it is not
	Err    error     // the last reason; nil if it was well the last time
	Calls  int64     // that reached for it
	Failed int64     // of these, that did not reach it
}

// A Keeper knows hosts. It may be used by any number of goroutines, starts
// none, and needs no end.
type Keeper struct {
	cfg     Config
	limiter *rate.Limiter // nil: no limit
	chunk   int           // bytes that one Read may bring, so that no one waits long; with a limiter

	mu    sync.Mutex
	hosts map[string]*host
}

// New returns a keeper that knows no host yet.
func New(cfg Config) *Keeper {
	cfg.Failures = cmp.Or(cfg.Failures, defaultFailures)
	cfg.First = cmp.Or(cfg.First, defaultFirst)
	cfg.Longest = cmp.Or(cfg.Longest, defaultLongest)
	cfg.Patience = cmp.Or(cfg.Patience, defaultPatience)
	k := &Keeper{cfg: cfg, hosts: make(map[string]*host)}
	if cfg.Bandwidth > 0 {
		k.chunk = int(min(max(cfg.Bandwidth/10, 4<<10), 1<<20))
		k.limiter = rate.NewLimiter(rate.Limit(cfg.Bandwidth), k.chunk)
	}
	return k
}

// Hosts returns how the hosts are that were reached for lately, by name.
func (k *Keeper) Hosts() []Health {
	k.mu.Lock()
	all := make([]*host, 0, len(k.hosts))
	for _, h := range k.hosts {
		all = append(all, h)
	}
	k.mu.Unlock()
	health := make([]Health, len(all))
	for i, h := range all {
		h.mu.Lock()
		health[i] = h.health(time.Now())
		h.mu.Unlock()
	}
	slices.SortFunc(health, func(a, b Health) int { return cmp.Compare(a.Host, b.Host) })
	return health
}

// Down returns why the host of url is not reached for now, or nil if it is.
func (k *Keeper) Down(url string) error {
	k.mu.Lock()
	h := k.hosts[mount.Host(url)]
	k.mu.Unlock()
	if h == nil {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.down && time.Now().Before(h.until) {
		return h.unreachable()
	}
	return nil
}

// host returns what is known of the host of url, or nil if it names no server.
func (k *Keeper) host(url string) *host {
	name := mount.Host(url)
	if !strings.Contains(name, "://") {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.hosts[name]
	if h == nil {
		if len(k.hosts) >= mostHosts {
			k.forget()
		}
		h = &host{name: name}
		k.hosts[name] = h
	}
	return h
}

// forget makes room for one host. One that is not well is kept, if others are.
func (k *Keeper) forget() {
	victim := ""
	for name, h := range k.hosts {
		victim = name
		h.mu.Lock()
		well := h.failures == 0 && !h.down
		h.mu.Unlock()
		if well {
			break
		}
	}
	delete(k.hosts, victim)
}

// during reaches for h by method, once or, if h is busy, some times.
func (k *Keeper) during(ctx context.Context, h *host, method func() error) error {
	if h == nil {
		return method()
	}
	waited := time.Duration(0)
	for try := 1; ; try++ {
		slept, probe, err := h.enter(ctx, &k.cfg, k.cfg.Patience-waited)
		if err != nil {
			return err
		}
		waited += slept
		err = k.reach(ctx, h, probe, method)
		if !errors.Is(err, mount.ErrBusy) || try == mostTries {
			return err
		}
		if wait := h.busyFor(); waited+wait > k.cfg.Patience {
			return err
		}
	}
}

// reach calls method and draws the conclusion for h, also if it panics.
func (k *Keeper) reach(ctx context.Context, h *host, probe bool, method func() error) (err error) {
	how := neutral
	defer func() {
		if changed, health := h.exit(&k.cfg, probe, how, whyMissed(ctx, err)); changed && k.cfg.Changed != nil {
			k.cfg.Changed(health)
		}
		if probe && how == missed { // as for all others: it was no fault of this source
			h.mu.Lock()
			err = h.unreachable()
			h.mu.Unlock()
		}
	}()
	err = method()
	how = judge(ctx, err)
	return err
}

// note remembers of h how a stream of it went on.
func (k *Keeper) note(ctx context.Context, h *host, err error) {
	if h == nil {
		return
	}
	_ = k.reach(ctx, h, false, func() error { return err }) // it is told by who read
}
