package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

// patience is how long anything in these tests may take that takes
// milliseconds; after that it hangs.
const patience = time.Minute

// A world is a store, the disk it lies on and the CARs that it can reach.
// Unlike a rig it is used away from the test's own goroutine: what is wrong is
// an error.
type world struct {
	disk  *vfstest.Disk
	laid  sync.Mutex
	cars  map[string][]byte // by name; what lies under a name is replaced, never changed
	set   *memmount.Set
	log   *complaints
	store *Store
}

func newWorld(disk *vfstest.Disk, cars map[string][]byte) *world {
	w := &world{disk: disk, cars: map[string][]byte{}, set: &memmount.Set{}, log: &complaints{}}
	for name, data := range cars {
		w.lay(name, data)
	}
	return w
}

// lay puts a CAR where the store can reach it.
func (w *world) lay(name string, data []byte) mount.Mount {
	w.laid.Lock()
	defer w.laid.Unlock()
	w.cars[name] = data
	return timeless{w.set.Put(name, data).(mount.FileOpener)}
}

// laidOut returns what lies where the store can reach it now.
func (w *world) laidOut() map[string][]byte {
	w.laid.Lock()
	defer w.laid.Unlock()
	return maps.Clone(w.cars)
}

// A timeless mount does not tell when its CAR was written, so that it is the
// same one in another world.
type timeless struct{ mount.FileOpener }

func (m timeless) Stat(ctx context.Context) (mount.Stat, error) {
	st, err := m.FileOpener.Stat(ctx)
	st.ModTime = time.Time{}
	return st, err
}

// open starts the store of the world on fsys, which is its disk in some guise.
func (w *world) open(fsys vfs.FS) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cfg := Config{
		Logger: slog.New(w.log),
		Mounts: mount.Registry{"mem": func(url string) (mount.Mount, error) {
			m, err := w.set.Open(url)
			if err != nil {
				return nil, err
			}
			return timeless{m.(mount.FileOpener)}, nil
		}},
		Work:   Work{Memory: 1 << 20, Indexings: 2},
		Copies: Copies{Quota: worldQuota},
	}
	s, err := open(ctx, fsys, "store", &cfg, mixed)
	w.store = s
	return err
}

// worldQuota is room for three copies of CARs of a world.
const worldQuota = 3 * 4096

// complaints keeps what a store warns of.
type complaints struct {
	mu    sync.Mutex
	lines []string
}

// Enabled implements [slog.Handler].
func (c *complaints) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

// Handle implements [slog.Handler].
func (c *complaints) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	line.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key != "stack" {
			fmt.Fprintf(&line, " %v", a)
		}
		return true
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, line.String())
	return nil
}

// WithAttrs implements [slog.Handler].
func (c *complaints) WithAttrs([]slog.Attr) slog.Handler { return c }

// WithGroup implements [slog.Handler].
func (c *complaints) WithGroup(string) slog.Handler { return c }

func (c *complaints) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

// A fate is what may be found of a shard. The zero fate is that of a shard
// that is not there.
type fate struct {
	state shard.State // Registered, Available or Errored
	seed  uint64      // of the CAR
	pin   bool
}

var gone = fate{state: shard.Gone}

func (f fate) String() string { return fmt.Sprintf("%v %d (pinned %v)", f.state, f.seed, f.pin) }

// A ledger is what was acknowledged: for each key, what may be found of it.
type ledger struct {
	mu    sync.Mutex
	fates map[shard.Key][]fate
	seeds map[shard.Key][]uint64 // of all CARs that the key ever had
}

func newLedger() *ledger {
	return &ledger{fates: map[shard.Key][]fate{}, seeds: map[shard.Key][]uint64{}}
}

// may says what may be found of key from now on.
func (l *ledger) may(key shard.Key, fates ...fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fates[key] = slices.Clone(fates)
	for _, f := range fates {
		if f.state != shard.Gone && !slices.Contains(l.seeds[key], f.seed) {
			l.seeds[key] = append(l.seeds[key], f.seed)
		}
	}
}

// of returns what may be found of key.
func (l *ledger) of(key shard.Key) []fate {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f, ok := l.fates[key]; ok {
		return f
	}
	return []fate{gone}
}

// copy returns the ledger as it is now.
func (l *ledger) copy() *ledger {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := newLedger()
	maps.Copy(c.fates, l.fates)
	for k, v := range l.seeds {
		c.seeds[k] = slices.Clone(v)
	}
	return c
}

// check holds a store that was just opened, after whatever happened to its
// disk, against what was acknowledged.
func (w *world) check(ctx context.Context, l *ledger) error {
	if err := w.indices(ctx); err != nil {
		return fmt.Errorf("on opening: %w", err)
	}
	var errs []error
	known := map[shard.Key]bool{}
	for key := range l.fates {
		found, err := w.settled(ctx, key)
		if err != nil {
			return err
		}
		known[key] = found.state != shard.Gone
		if !slices.Contains(l.fates[key], found) {
			errs = append(errs, fmt.Errorf("%q is %v, may be %v", key, found, l.fates[key]))
			continue
		}
		for _, seed := range l.seeds[key] {
			has := found.state == shard.Available && found.seed == seed
			if err := w.blocks(ctx, seed, has); err != nil {
				errs = append(errs, fmt.Errorf("%q, %v: %w", key, found, err))
			}
		}
	}
	for in, err := range w.store.Shards(ctx, nil) {
		if err != nil || !known[in.Key] {
			errs = append(errs, fmt.Errorf("listed: %q, %v", in.Key, err))
		}
		delete(known, in.Key)
	}
	maps.DeleteFunc(known, func(_ shard.Key, is bool) bool { return !is })
	if len(known) > 0 {
		errs = append(errs, fmt.Errorf("not listed: %v", known))
	}
	return errors.Join(append(errs, w.works(ctx))...)
}

// indices checks that each index that a record names lies there. Nothing else
// than its loss changes such a record in a store that nobody uses.
func (w *world) indices(ctx context.Context) error {
	for r, err := range w.store.parts.catalog.Records(ctx, catalog.Filter{}) {
		if err != nil {
			return err
		}
		if err := w.hasCopy(r); err != nil {
			return err
		}
		if !r.Index.InFile() || r.Intent != catalog.NoIntent {
			continue
		}
		ix, err := w.store.parts.segments.Open(ctx, segment.Name{Kind: segment.Index, N: uint32(r.Index.ID)})
		if err != nil {
			return fmt.Errorf("the index of %q: %w", r.Key, err)
		}
		size := ix.Size()
		if err := ix.Close(); err != nil || size != r.Index.Length {
			return fmt.Errorf("the index of %q has %d bytes, not %d: %v", r.Key, size, r.Index.Length, err)
		}
	}
	return nil
}

// hasCopy checks that the copy that a record names lies there, whole.
func (w *world) hasCopy(r *catalog.Record) error {
	if r.Kept.ID == 0 {
		return nil
	}
	path := w.disk.PathJoin("store", "copies", hex(byte(r.Kept.ID)), hex8(r.Kept.ID), "data")
	info, err := w.disk.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist): // unless it was evicted since
		now, gerr := w.store.parts.catalog.Get(context.Background(), r.Key)
		if gerr == nil && now.Kept.ID == r.Kept.ID {
			return fmt.Errorf("the copy of %q: %w", r.Key, err)
		}
		return nil
	case err != nil:
		return fmt.Errorf("the copy of %q: %w", r.Key, err)
	case info.Size() != r.Kept.Size:
		return fmt.Errorf("the copy of %q has %d bytes, not %d", r.Key, info.Size(), r.Kept.Size)
	}
	return nil
}

// copies waits until no copies are left but those that records name, and the
// figures say what the disk does.
func (w *world) copies(ctx context.Context) error {
	for {
		named := 0
		for _, err := range w.store.parts.catalog.Copies(context.WithoutCancel(ctx)) {
			if err != nil {
				return err
			}
			named++
		}
		sum, files := copyBytes(w.disk, "store/copies")
		if st := w.store.Stats(); st.Copies == named && files == named && st.CopyBytes == sum && sum <= worldQuota {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%d copies are named, %d files have %d bytes, the figures are %+v", named, files, sum, w.store.Stats())
		}
	}
}

// settled waits until nothing is under way for key and returns what it is.
func (w *world) settled(ctx context.Context, key shard.Key) (fate, error) {
	for {
		in, err := w.store.Info(ctx, key)
		switch {
		case errors.Is(err, shard.ErrUnknown):
			return gone, nil
		case err != nil:
			return fate{}, err
		}
		switch in.State {
		case shard.Initializing, shard.Recovering, shard.Destroying, shard.Serving, shard.Draining:
			if err := pause(ctx); err != nil {
				return fate{}, fmt.Errorf("%q stays %v: %w", key, in.State, err)
			}
			continue
		case shard.Registered, shard.Available, shard.Errored, shard.Gone:
		}
		f := fate{state: in.State, pin: in.Local.Pinned}
		if _, err := fmt.Sscanf(in.Labels["seed"], "%d", &f.seed); err != nil {
			return fate{}, fmt.Errorf("the labels of %q: %v", key, in.Labels)
		}
		return f, nil
	}
}

// pause lets what runs beside go on for a moment.
func pause(ctx context.Context) error {
	timer := time.NewTimer(100 * time.Microsecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// blocks checks that every block of a CAR is found and read as it is, or that
// none is found.
func (w *world) blocks(ctx context.Context, seed uint64, has bool) error {
	bs := w.store.Blockstore(nil)
	for i, b := range worldRandom(seed) {
		if !has {
			if there, err := bs.Has(ctx, b.CID); there || err != nil && !errors.Is(err, shard.ErrFailed) {
				return fmt.Errorf("block %d of %d is there: %v, %w", i, seed, there, err)
			}
			continue
		}
		if got, err := bs.Get(ctx, b.CID); err != nil {
			return fmt.Errorf("block %d of %d: %w", i, seed, err)
		} else if string(got.RawData()) != string(b.Data) {
			return fmt.Errorf("block %d of %d has other bytes", i, seed)
		}
	}
	return nil
}

// The CARs of a world. The index of an even one is small enough for its record,
// that of an odd one is not.
const worldSize = 60

func worldBlocks(seed uint64) int { return 12 + int(seed%2) }

func worldCAR(seed uint64) []byte { return cartest.RandomV1(seed, worldBlocks(seed), worldSize) }

func worldRandom(seed uint64) []cartest.Block {
	return cartest.Random(seed, worldBlocks(seed), worldSize)
}

// nothingElse waits until no file is left but those that the catalogue names.
// A layer that was merged while somebody read it goes with the next flush, or
// at the next start.
func (w *world) nothingElse(ctx context.Context) error {
	for {
		want, err := w.named(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		have := map[segment.Name]bool{}
		for _, kind := range []segment.Kind{segment.Index, segment.Layer} {
			for e, err := range w.store.parts.segments.List(context.WithoutCancel(ctx), kind) {
				if err != nil {
					return err
				}
				have[e.Name] = true
			}
		}
		if maps.Equal(want, have) {
			return w.copies(ctx)
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("the catalogue names %v, there are %v", want, have)
		}
	}
}

// named returns the files that the catalogue names.
func (w *world) named(ctx context.Context) (map[segment.Name]bool, error) {
	names := map[segment.Name]bool{}
	for r, err := range w.store.parts.catalog.Records(ctx, catalog.Filter{}) {
		if err != nil {
			return nil, err
		}
		if r.Index.InFile() {
			names[segment.Name{Kind: segment.Index, N: uint32(r.Index.ID)}] = true
		}
	}
	layers, err := w.store.parts.catalog.Layers(ctx)
	for _, l := range layers {
		names[segment.Name{Kind: segment.Layer, N: l.N}] = true
	}
	return names, err
}

// works checks that a store takes, serves and gives up a shard.
func (w *world) works(ctx context.Context) error {
	const seed = 1 << 40
	m := w.lay("works.car", worldCAR(seed))
	if err := w.store.Register(ctx, "works", m, nil); err != nil {
		return fmt.Errorf("a new shard: %w", err)
	}
	if err := w.blocks(ctx, seed, true); err != nil {
		return fmt.Errorf("a new shard: %w", err)
	}
	if err := w.store.Destroy(ctx, "works", nil); err != nil {
		return fmt.Errorf("destroy of a new shard: %w", err)
	}
	return nil
}
