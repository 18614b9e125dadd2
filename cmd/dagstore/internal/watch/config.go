package watch

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"runtime"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// Config is what is watched, and how. The defaults are those of fields that
// are zero.
type Config struct {
	Store  *dagstore.Store
	Places []Place

	Jobs   int           // CARs of one place that are added at once, 16 times as many if they are lazy; default 4 for each CPU
	Rest   time.Duration // for how long a file must stay as it is; default 30 s
	Logger *slog.Logger  // default: discards
	Told   func(Event)   // what happens, one call at a time; it must be fast. Default: nobody

	deaf bool // never ask the file system to tell of changes
}

// A Kind is what a place is.
type Kind string

// The kinds of places.
const (
	Folder Kind = "folder"
	Prefix Kind = "prefix"
	List   Kind = "list"
)

// every is how often a place of a kind is looked at.
var every = map[Kind]time.Duration{Folder: time.Minute, Prefix: 10 * time.Minute, List: 5 * time.Minute}

// Interval is how often a place of a kind is looked at unless it is said.
func Interval(k Kind) time.Duration { return every[k] }

// A Place is one watched place.
type Place struct {
	Name   string // path or URL, as it may be shown
	Kind   Kind
	Source Source

	// Every is the time between two looks; default [Interval]. It is longer where
	// looking takes long: no more than a twentieth of the time goes into it.
	Every time.Duration

	Replace bool                     // give a shard whose CAR has changed the new one
	Options dagstore.RegisterOptions // of new shards
}

// A Source finds CARs at a place. Its methods may be called by several
// goroutines at once.
type Source interface {
	// Look yields what is there now, in any order, each once. After an error
	// the look has ended, and nobody knows what else there is; what is wrong
	// with one CAR stands in [Found.Err].
	Look(ctx context.Context) iter.Seq2[Found, error]

	// Open makes of what was found what can be registered. It reads no CAR.
	Open(ctx context.Context, f Found) (CAR, error)

	// Owns reports whether what lies at url would be found by Look, if it were
	// still there. A source that cannot know says no.
	Owns(url string) bool
}

// A Versioned source knows whether anything has changed. Look is not called
// while its version is the same.
type Versioned interface {
	Version(ctx context.Context) (Version, error)
}

// A Version is that of a source.
type Version struct {
	Name     string // "": not known, so look
	Unready  bool   // somebody is changing it: do not look
	Requests int64  // that it took to find out
}

// A Found is one CAR as a look has come upon it.
type Found struct {
	Name     string // path or URL; "": it is nothing but Requests
	Key      shard.Key
	Stat     mount.Stat // as far as the look knows it
	Changed  time.Time  // of anything about a file, as the system notes it; zero where it does not
	Whole    bool       // it came as a whole and need not rest
	Requests int64      // that the look has taken since the one before
	Err      error      // why it cannot be added
	Ref      any        // for Open
}

// A CAR is what is to be registered, besides [Place.Options].
type CAR struct {
	Mount mount.Mount
	Stat  mount.Stat                      // Size -1 and Version "": not known without asking
	Check func(ctx context.Context) error // asked before it is registered; may be nil

	Lazy     bool
	Serve    shard.Mode // Auto: as Place.Options says
	Pin      bool
	Piece    cid.Cid
	Labels   map[string]string
	IndexURL string
}

// fill sets the defaults and says what is wrong.
func (c *Config) fill() error {
	if c.Jobs == 0 {
		c.Jobs = 4 * runtime.GOMAXPROCS(0)
	}
	if c.Rest == 0 {
		c.Rest = 30 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Told == nil {
		c.Told = func(Event) {}
	}
	var errs []error
	seen := make(map[string]bool)
	for i := range c.Places {
		p := &c.Places[i]
		if p.Every == 0 {
			p.Every = Interval(p.Kind)
		}
		if p.Every < time.Second {
			errs = append(errs, fmt.Errorf("%s: looked at every %v: the least is 1 s", p.Name, p.Every))
		}
		if seen[p.Name] {
			errs = append(errs, fmt.Errorf("%s: it is watched twice", p.Name))
		}
		seen[p.Name] = true
	}
	return errors.Join(errs...)
}
