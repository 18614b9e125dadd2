package layers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/dagstore/dagstore/index"
)

// Files is where layers lie, by number. All methods may be called at once
// from many goroutines.
type Files interface {
	// Create begins layer n, which is not there for anybody until
	// [Sink.Commit] returned. A number is created once and never again.
	Create(ctx context.Context, n uint32) (Sink, error)

	// Open opens a committed layer for reading.
	Open(ctx context.Context, n uint32) (File, error)

	// Remove removes a layer. That it is not there is no error.
	Remove(ctx context.Context, n uint32) error
}

// A Sink takes the bytes of a new layer, in large pieces. Exactly one of
// Commit and Abort ends it, except that a failed Commit is followed by Abort.
type Sink interface {
	io.Writer

	// Commit returns when the file survives a crash under its name.
	Commit(ctx context.Context) error

	// Abort leaves nothing behind, as far as that can be done.
	Abort() error
}

// A File is a layer that is read. If it has a method Bytes() []byte that
// returns the whole file, as a mapping of package mmap does, lookups go straight to
// memory.
type File interface {
	io.ReaderAt
	io.Closer

	// Size is the length in bytes.
	Size() int64
}

// A Layer is what the catalogue remembers of one layer.
type Layer struct {
	N           uint32   // its number, given out once
	Length      int64    // of the file, in bytes
	CRC         uint32   // of its footer
	Entries     int64    // pairs of key and id
	Keys        int64    // different keys
	First, Last index.ID // the lowest and the highest id
}

// A Change is one batch for the catalogue, all of it or nothing.
type Change struct {
	Add     []Layer    // new in the list of layers
	Remove  []uint32   // gone from the list
	Settled []index.ID // pending no longer: layers hold them, or they are dead
	Purged  []index.ID // dead, and held by no layer any more: they may be forgotten
}

// Config says how an inverted index works. Key, Files, Next and Commit must be
// set; the rest has defaults.
type Config struct {
	// Key is that of the SipHash; chosen at random when the store is made, the same ever after.
	Key [16]byte

	Files Files

	// Next gives out a number for a new layer. It never gives one twice, also
	// not after a crash.
	Next func(ctx context.Context) (uint32, error)

	// Commit returns when c is durable. If after an error it is not known
	// whether c is, every later Commit must fail too, until the index is
	// opened with what is on disk: nothing is lost then by either.
	Commit func(ctx context.Context, c Change) error

	// Keep says of a dead id that nothing holds whether it has to be remembered
	// all the same, because its file is still there. It must neither block nor
	// call the index. nil: none has to.
	Keep func(id index.ID) bool

	// Spoiled is told of each layer that proves to be damaged while it is
	// read, once. It must neither block nor call the index. nil: nobody is.
	Spoiled func(n uint32)

	// Unread is told when the last reader has left a layer that is out of use,
	// so that [Inverted.Sweep] can close and remove its file. It is told by
	// that reader, and must neither block nor call the index. nil: nobody is.
	Unread func()

	// MemEntries is when the table in memory is due to be flushed. An Add
	// that finds twice as much, in all tables, flushes first. A shard with
	// more becomes a layer of its own. Default 1,000,000, which is some
	// 32 MiB.
	MemEntries int

	// MemShards is the same for shards: default 1,024. It bounds what is
	// pending, and so how long a start takes.
	MemShards int

	// MaxAge is how old the oldest entry in memory grows until a flush is
	// due: default 30 s.
	MaxAge time.Duration

	// MergeShare is the share of time that a merge works while somebody looks
	// up or adds, over 0 and up to 1: default 0.5. Beside nobody, and as long as there are
	// too many layers, it works without a pause.
	MergeShare float64

	// IdleAfter is for how long nothing was added until layers are merged
	// further than the limits ask for: default 1 min.
	IdleAfter time.Duration

	// Spill is the folder for sorted runs of very large shards: default
	// [os.TempDir].
	Spill string

	// Now is the clock for MaxAge: default [time.Now].
	Now func() time.Time

	pause    func(context.Context, time.Duration) error // of merges
	slow     func(context.Context, time.Duration) error // of Adds
	partKeys int                                        // keys of a partition
	runKeys  int                                        // keys of a sorted run
}

const (
	defaultMemEntries = 1_000_000
	defaultMemShards  = 1_024
	defaultMaxAge     = 30 * time.Second
	defaultMergeShare = 0.5
	defaultIdleAfter  = time.Minute
	defaultPartKeys   = 32_000 // so the three bytes of a filter that are asked for lie within 3 KiB
	defaultRunKeys    = 2_000_000

	// maxMemEntries keeps the numbers of nodes in a table well below 2^32.
	maxMemEntries = 1 << 28
)

// withDefaults returns a copy with every default filled in, or an error that
// names every field that is at fault.
func (c Config) withDefaults() (Config, error) {
	var errs []error
	missing := func(name string, is bool) {
		if is {
			errs = append(errs, fmt.Errorf("layers: Config.%s is not set", name))
		}
	}
	missing("Files", c.Files == nil)
	missing("Next", c.Next == nil)
	missing("Commit", c.Commit == nil)
	if c.MemEntries < 0 || c.MemEntries > maxMemEntries {
		errs = append(errs, fmt.Errorf("layers: Config.MemEntries is %d, not 0 to %d", c.MemEntries, maxMemEntries))
	}
	if c.MemShards < 0 {
		errs = append(errs, fmt.Errorf("layers: Config.MemShards is negative: %d", c.MemShards))
	}
	if c.MaxAge < 0 {
		errs = append(errs, fmt.Errorf("layers: Config.MaxAge is negative: %v", c.MaxAge))
	}
	if c.MergeShare < 0 || c.MergeShare > 1 || math.IsNaN(c.MergeShare) {
		errs = append(errs, fmt.Errorf("layers: Config.MergeShare is %v, not from 0 to 1", c.MergeShare))
	}
	if c.IdleAfter < 0 {
		errs = append(errs, fmt.Errorf("layers: Config.IdleAfter is negative: %v", c.IdleAfter))
	}
	fill(&c.MergeShare, defaultMergeShare)
	fill(&c.IdleAfter, defaultIdleAfter)
	fill(&c.MemEntries, defaultMemEntries)
	fill(&c.MemShards, defaultMemShards)
	fill(&c.MaxAge, defaultMaxAge)
	fill(&c.partKeys, defaultPartKeys)
	fill(&c.runKeys, defaultRunKeys)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.pause == nil {
		c.pause = pause
	}
	if c.slow == nil {
		c.slow = pause
	}
	return c, errors.Join(errs...)
}

func fill[T int | float64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}
