package dagstore

import (
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

	Work   Work
	Retry  Retry
	Limits Limits

	Logger  *slog.Logger          // default: discards
	Metrics prometheus.Registerer // default: none; docs/metrics.md lists what is registered until Close
	Traces  trace.TracerProvider  // default: none
	Events  Events                // default: nobody is told
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
	OnOpen                       // that, and in the background when the store is opened
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
	defaultRetries = 5
	defaultFirst   = time.Second
	defaultLongest = time.Hour
	leastTime      = time.Millisecond
	defaultBytes   = 32 << 20
	defaultRoots   = 1_000_000
	leastMemory    = 1 << 20
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
	if out.Retry.When > Never {
		errs = append(errs, fmt.Errorf("dagstore: Config.Retry.When is %d, which no RetryPolicy is", out.Retry.When))
	}
	limit(&errs, "Retry.Attempts", &out.Retry.Attempts, defaultRetries, math.MaxInt)
	number(&errs, "Retry.First", &out.Retry.First, defaultFirst, leastTime)
	number(&errs, "Retry.Longest", &out.Retry.Longest, defaultLongest, leastTime)
	limit(&errs, "Limits.Header", &out.Limits.Header, defaultBytes, math.MaxInt64)
	limit(&errs, "Limits.Section", &out.Limits.Section, defaultBytes, math.MaxInt64)
	limit(&errs, "Limits.Roots", &out.Limits.Roots, defaultRoots, math.MaxInt)
	return out, errors.Join(errs...)
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
