package dagstore

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
)

// Unlimited lifts a limit for which 0 means the default.
const Unlimited = -1

// Config is how a store works. The zero value is a good one: each field says
// its default.
type Config struct {
	Mounts   mount.Registry           // default: {"file": filemount.Open}, no network
	Indexers map[string]index.Indexer // default: none but that of the CAR's own sections
	NoCreate bool                     // ErrNoStore instead of a new store

	Copies Copies
	Work   Work
	Hosts  Hosts
	Retry  Retry
	Limits Limits

	Logger  *slog.Logger          // default: discards
	Metrics prometheus.Registerer // default: none; docs/metrics.md lists what is registered until Close
	Traces  trace.TracerProvider  // default: none
	Events  Events                // default: nobody is told
}

// Copies bounds what is kept of CARs from elsewhere on this machine. Which shards
// have copies is said by [RegisterOptions.Serve].
//
// Space is spoken for before it is written, so the files of all copies, also of
// unfinished ones, are never more than Quota, each in whole blocks of 4 KiB. Who
// makes a copy waits until others have gone, and gets shard.ErrQuota if that
// cannot help: it is larger than the quota, or than what copies leave of it that
// do not go. Those are pinned ones, and those that may be the last: a complete
// copy goes only if its source has shown within a day that it still has the same
// bytes. A copy goes only while nobody holds its shard.
type Copies struct {
	None  bool  // keep none: what can be read where it lies is read there, for what cannot there is shard.ErrQuota
	Quota int64 // bytes; default: a tenth of the store's file system, 100 GiB at most

	// Copies go once more than High of the quota is used, or somebody waits for
	// space, until no more than Low is. Default 0.95 and 0.80.
	High, Low float64

	// Evict orders what may go: negative if a goes before b. Default: what was
	// used longer ago goes first, where a copy that was not used since a restart
	// counts as used when it was made. It is called by one goroutine at a time.
	Evict func(a, b CopyInfo) int
}

// Work bounds what runs at once.
type Work struct {
	Indexings int   // CARs on this machine read at once; default: one for each CPU
	Fetches   int   // CARs from elsewhere read at once; default 8
	Waits     int   // of CARs that must be made ready first (see mount.Stat), read at once; default 2
	Opens     int   // shards opened at once; default 16
	Memory    int64 // bytes for building indices, all together; default 256 MiB
	Queue     int   // calls waiting for the loop; default 4096
	Handles   int   // idle open shards; default 1024

	// Stall gives up a source that brings no byte for so long, while it is
	// being read or opened; default 30 s. The error is shard.ErrStalled.
	Stall time.Duration
}

// Hosts is how servers are treated that sources lie on. What is wrong with one
// is one fact and not one for each of its CARs; see [Store.Hosts].
type Hosts struct {
	// A host that could not be reached Failures times in a row is left alone for
	// First, then tried by one call; as long as that fails the pause doubles,
	// up to Longest. Defaults: 3, 1 s, 5 min.
	Failures       int
	First, Longest time.Duration

	// Patience is how long a call waits for a host that says that it is busy.
	// If it wants to be left alone for longer, the call fails with
	// [mount.ErrBusy]. Default 10 s.
	Patience time.Duration

	Bandwidth int64 // bytes a second that are read from all of them together; default Unlimited
}

// Retry is what the store does by itself about a failed shard. Attempts and
// waits are counted over restarts; a success begins anew.
type Retry struct {
	When     RetryPolicy   // default OnAcquire
	Attempts int           // that fail in a row; then only Recover tries again; default 5
	First    time.Duration // wait after the first failure, doubled after each; default 1 s
	Longest  time.Duration // default 1 h
}

// A RetryPolicy is when a failed shard is tried again once its wait is over.
type RetryPolicy uint8

const (
	OnAcquire RetryPolicy = iota // when somebody asks for it
	OnOpen                       // that, and in the background when the store is opened, and when its host is back
	Never                        // only by Recover
)

// Limits bounds what a CAR may ask for.
type Limits struct {
	Header    int64 // bytes; default 32 MiB, as go-car
	Section   int64 // bytes; default 32 MiB
	Roots     int   // default 1,000,000
	NoPadding bool  // null padding is a fault, not the end
}

const (
	defaultFetches = 8
	defaultWaits   = 2
	defaultOpens   = 16
	defaultMemory  = 256 << 20
	defaultQueue   = 4096
	defaultHandles = 1024
	defaultStall   = 30 * time.Second
	defaultMisses  = 3
	defaultPause   = 5 * time.Minute
	defaultWait    = 10 * time.Second
	leastBandwidth = 1 << 10
	defaultRetries = 5
	defaultFirst   = time.Second
	defaultLongest = time.Hour
	leastTime      = time.Millisecond
	defaultBytes   = 32 << 20
	defaultRoots   = 1_000_000
	leastMemory    = 1 << 20
	defaultHigh    = 0.95
	defaultLow     = 0.80
	quotaShare     = 10 // a tenth of the file system
	mostQuota      = 100 << 30
)

// Validate returns all that is wrong with c, joined, after defaults. A nil c
// is the default.
func (c *Config) Validate() error {
	_, err := c.withDefaults()
	return err
}

// withDefaults returns a copy of c in which every default is filled in.
func (c *Config) withDefaults() (Config, error) {
	var out Config
	if c != nil {
		out = *c
	}
	out.Mounts, out.Indexers = maps.Clone(out.Mounts), maps.Clone(out.Indexers)
	if out.Mounts == nil {
		out.Mounts = mount.Registry{"file": filemount.Open}
	}
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	number(&errs, "Work.Indexings", &out.Work.Indexings, runtime.GOMAXPROCS(0), 1)
	number(&errs, "Work.Fetches", &out.Work.Fetches, defaultFetches, 1)
	number(&errs, "Work.Waits", &out.Work.Waits, defaultWaits, 1)
	number(&errs, "Work.Opens", &out.Work.Opens, defaultOpens, 1)
	number(&errs, "Work.Memory", &out.Work.Memory, defaultMemory, leastMemory)
	number(&errs, "Work.Queue", &out.Work.Queue, defaultQueue, 1)
	number(&errs, "Work.Handles", &out.Work.Handles, defaultHandles, 1)
	if out.Work.Stall == Unlimited {
		out.Work.Stall = math.MaxInt64
	}
	number(&errs, "Work.Stall", &out.Work.Stall, defaultStall, leastTime)
	number(&errs, "Hosts.Failures", &out.Hosts.Failures, defaultMisses, 1)
	number(&errs, "Hosts.First", &out.Hosts.First, defaultFirst, leastTime)
	number(&errs, "Hosts.Longest", &out.Hosts.Longest, defaultPause, leastTime)
	number(&errs, "Hosts.Patience", &out.Hosts.Patience, defaultWait, leastTime)
	if out.Hosts.Bandwidth == Unlimited {
		out.Hosts.Bandwidth = 0
	}
	number(&errs, "Hosts.Bandwidth", &out.Hosts.Bandwidth, math.MaxInt64, leastBandwidth)
	if out.Retry.When > Never {
		errs = append(errs, fmt.Errorf("dagstore: Config.Retry.When is %d, which no RetryPolicy is", out.Retry.When))
	}
	limit(&errs, "Retry.Attempts", &out.Retry.Attempts, defaultRetries, math.MaxInt)
	number(&errs, "Retry.First", &out.Retry.First, defaultFirst, leastTime)
	number(&errs, "Retry.Longest", &out.Retry.Longest, defaultLongest, leastTime)
	out.Copies.check(&errs)
	limit(&errs, "Limits.Header", &out.Limits.Header, defaultBytes, math.MaxInt64)
	limit(&errs, "Limits.Section", &out.Limits.Section, defaultBytes, math.MaxInt64)
	limit(&errs, "Limits.Roots", &out.Limits.Roots, defaultRoots, math.MaxInt)
	return out, errors.Join(errs...)
}

// check fills in defaults, but for the quota, which depends on the disk.
func (c *Copies) check(errs *[]error) {
	c.High, c.Low = cmp.Or(c.High, defaultHigh), cmp.Or(c.Low, defaultLow)
	if c.Quota < 0 {
		*errs = append(*errs, fmt.Errorf("dagstore: Config.Copies.Quota is %d, the least is 1; set None to keep no copies", c.Quota))
	}
	if !(0 < c.Low && c.Low <= c.High && c.High <= 1) {
		*errs = append(*errs, fmt.Errorf("dagstore: Config.Copies.Low is %v and High %v: they are parts of the quota, and Low is not more than High", c.Low, c.High))
	}
}

// number fills in the default of a field and checks that it is not too small.
func number[T int | int64 | time.Duration](errs *[]error, name string, field *T, def, least T) {
	if *field == 0 {
		*field = def
	}
	if *field < least {
		*errs = append(*errs, fmt.Errorf("dagstore: Config.%s is %v, the least is %v", name, *field, least))
	}
}

// limit is number for a field that Unlimited lifts.
func limit[T int | int64](errs *[]error, name string, field *T, def, most T) {
	if *field == Unlimited {
		*field = most
	}
	number(errs, name, field, def, 1)
}

// tracer makes the spans; nil if nobody wants any.
func (c *Config) tracer() trace.Tracer {
	if c.Traces == nil {
		return nil
	}
	return c.Traces.Tracer("github.com/dagstore/dagstore")
}
