package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/dagstore/dagstore/internal/blocks"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/internal/engine"
	"github.com/dagstore/dagstore/internal/metrics"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/shard"
)

// This file alone knows both Config and the configurations of the packages
// below: it fills the latter from the former.

const (
	versionFile   = "VERSION"
	versionText   = "dagstore 1\n" // of the layout of the folder; see docs/format/store.md
	catalogFolder = "catalog"
	spillFolder   = "spill" // what is sorted on disk; nothing in it outlives a process
	spillPrefix   = "dagstore-"

	backupFile = "BACKUP" // marks a folder that a backup is being written to

	copiesFolder     = "copies"
	quarantineFolder = "quarantine"
)

// ours are the names that a store has in its folder.
var ours = []string{versionFile, versionFile + ".tmp", vfs.LockName, catalogFolder, spillFolder, "index", "top", "manifests", copiesFolder, quarantineFolder}

// parts are what a store is made of, besides its engine.
type parts struct {
	fsys     vfs.FS
	dir      string
	lock     io.Closer
	catalog  catalog.Catalog
	segments segment.Place
	copies   *copies.Keeper
}

// openParts opens what lies in dir, or makes it.
func openParts(ctx context.Context, fsys vfs.FS, dir string, cfg *Config) (_ *parts, err error) {
	fresh, err := inspect(fsys, dir)
	switch {
	case err != nil:
		return nil, err
	case fresh && cfg.NoCreate:
		return nil, fmt.Errorf("%w: %s", ErrNoStore, dir)
	case fresh:
		if err := vfs.MkdirAll(fsys, dir); err != nil {
			return nil, err
		}
	}
	p := &parts{fsys: fsys, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close(context.WithoutCancel(ctx)))
		}
	}()
	if p.lock, err = vfs.LockFolder(fsys, dir); err != nil {
		if errors.Is(err, vfs.ErrLocked) {
			err = fmt.Errorf("%w: %w", ErrInUse, err)
		}
		return nil, err
	}
	if !fresh {
		_ = fsys.Remove(fsys.PathJoin(dir, backupFile)) // of the backup that made this store
	}
	if err = p.openCatalog(ctx, cfg); err != nil {
		return nil, err
	}
	segments, err := segment.NewFolder(fsys, dir)
	if err != nil {
		return nil, err
	}
	p.segments = segments
	if fresh {
		// Last: a folder without it holds nothing that was acknowledged.
		if err = vfs.WriteFile(fsys, fsys.PathJoin(dir, versionFile), []byte(versionText)); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// openCatalog sets the catalogue once it is open: a nil pointer in an
// interface would be taken for one.
func (p *parts) openCatalog(ctx context.Context, cfg *Config) error {
	c, err := catalog.Open(ctx, catalog.Config{
		FS: p.fsys, Dir: p.fsys.PathJoin(p.dir, catalogFolder), Logger: cfg.Logger,
	})
	switch {
	case errors.Is(err, catalog.ErrVersion):
		return fmt.Errorf("%w: %w", ErrVersion, err)
	case err != nil:
		return err
	}
	p.catalog = c
	return nil
}

// inspect tells whether a store has still to be made in dir. It changes
// nothing, and refuses a store of another version and a folder that holds
// something else.
func inspect(fsys vfs.FS, dir string) (fresh bool, err error) {
	text, err := vfs.ReadFile(fsys, fsys.PathJoin(dir, versionFile), 256)
	switch {
	case err == nil && string(text) == versionText:
		return false, nil
	case err == nil:
		return false, fmt.Errorf("%w: %s says %q, this program writes %q", ErrVersion, dir, text, versionText)
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	for _, name := range names {
		if !slices.Contains(ours, name) {
			return false, fmt.Errorf("%w: %s is not empty and has no %s file: %q lies there", ErrNoStore, dir, versionFile, name)
		}
	}
	return true, err
}

// close closes what was opened, the last first.
func (p *parts) close(ctx context.Context) error {
	var errs []error
	if p.segments != nil {
		errs = append(errs, p.segments.Close(ctx))
	}
	if p.catalog != nil {
		errs = append(errs, p.catalog.Close(ctx))
	}
	if p.lock != nil {
		errs = append(errs, p.lock.Close())
	}
	return errors.Join(errs...)
}

// bounds are what no user is asked about.
type bounds struct {
	window int // indexings in memory that nobody waits for; the rest of the queue is on disk
	inline int // bytes of the largest index that lies in the record of its shard and not in a file

	least int64            // bytes that are kept of a copy which did not become complete; 0: as many as are worth it
	now   func() time.Time // nil: [time.Now]
}

func (b bounds) clock() func() time.Time {
	if b.now == nil {
		return time.Now
	}
	return b.now
}

var usual = bounds{window: 4096, inline: 4096}

// open opens a store in a file system.
func open(ctx context.Context, fsys vfs.FS, dir string, cfg *Config, b bounds) (*Store, error) {
	c, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	p, err := openParts(ctx, fsys, dir, &c)
	if err != nil {
		return nil, err
	}
	s := &Store{cfg: c, parts: p}
	s.firstLook()
	spill, left, err := prepareSpill(fsys, dir)
	if err != nil {
		return nil, errors.Join(err, p.close(context.WithoutCancel(ctx)))
	}
	s.observer = newObserver(c.Events, c.Logger)
	if c.Metrics != nil {
		s.metrics = metrics.New(s.showMetrics)
	}
	s.spill.left = left
	s.engine, err = engine.New(ctx, engine.Config{
		Catalog:   p.catalog,
		Segments:  p.segments,
		Mounts:    s.keepHosts(),
		Indexers:  c.Indexers,
		Limits:    car.Limits(c.Limits),
		Indexings: c.Work.Indexings,
		Fetches:   c.Work.Fetches,
		Waits:     c.Work.Waits,
		Opens:     c.Work.Opens,
		Memory:    c.Work.Memory,
		Queue:     c.Work.Queue,
		Handles:   c.Work.Handles,
		Window:    b.window,
		Inline:    b.inline,
		Spill:     spill,
		Stall:     c.Work.Stall,
		Retry:     retryRule(c.Retry),
		Closed:    ErrClosed,
		ReadOnly:  ErrReadOnly,
		NoSpace:   ErrNoSpace,
		Space:     s.level,
		Log:       c.Logger,
		Now:       b.clock(),
		Watch:     s.watcher(),
		Tracer:    c.tracer(),

		CopyConfig: s.openCopies(b),
	})
	if err != nil {
		s.observer.close(eventGrace)
		return nil, errors.Join(err, p.close(context.WithoutCancel(ctx)))
	}
	s.running.Store(s.engine)
	s.reader = blocks.New(s.blocksConfig())
	if err := s.offerMetrics(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openCopies makes what keeps the copies. Whatever the configuration says, it
// knows those that are there.
func (s *Store) openCopies(b bounds) engine.CopyConfig {
	needed := make(chan struct{}, 1)
	quota := s.cfg.Copies.Quota
	switch {
	case s.cfg.Copies.None:
		quota = 0
	case quota == 0:
		quota = mostQuota
		if u, err := s.parts.fsys.GetDiskUsage(s.parts.dir); err == nil && u.TotalBytes > 0 {
			quota = int64(min(mostQuota, u.TotalBytes/quotaShare))
		}
	}
	s.parts.copies = copies.New(copies.Config{
		FS: s.parts.fsys, Dir: s.parts.fsys.PathJoin(s.parts.dir, copiesFolder),
		Quota: quota, High: s.cfg.Copies.High, Low: s.cfg.Copies.Low, Least: b.least, Now: b.clock(),
		Need: func() {
			select {
			case needed <- struct{}{}:
			default: // it is known
			}
		},
	})
	return engine.CopyConfig{Copies: s.parts.copies, Needed: needed, Order: s.cfg.Copies.order()}
}

// order is the strategy for what goes first, as the engine calls it.
func (c *Copies) order() func(a, b engine.Copy) int {
	evict := c.Evict
	if evict == nil {
		return nil
	}
	return func(a, b engine.Copy) int { return evict(CopyInfo(a), CopyInfo(b)) }
}

// localOf is how much of a shard lies on this machine.
func localOf(shot *engine.Snapshot) shard.Local {
	r := shot.Record
	l := shard.Local{Chosen: r.Serve, Mode: r.Serve, Pinned: r.Pin, Bytes: r.Kept.Size, Complete: r.Kept.Complete(), LastCopy: shot.Copy.Last}
	if r.Kept.ID != 0 && !l.Complete {
		l.Bytes = shot.Copy.Bytes
	}
	if l.Mode == shard.Auto {
		switch l.Mode = shard.InPlace; {
		case l.Complete:
			l.Mode = shard.Copy
		case r.Kept.ID != 0:
			l.Mode = shard.Sparse
		}
	}
	return l
}

func retryRule(r Retry) engine.Retry {
	return engine.Retry{
		OnAcquire: r.When != Never,
		OnOpen:    r.When == OnOpen,
		Attempts:  r.Attempts,
		First:     r.First,
		Longest:   r.Longest,
	}
}

// prepareSpill makes the folder for what is sorted on disk, and removes what a
// process that was killed has left in it; what cannot be removed hurts nobody
// and is left to GC. A store in memory has no such folder.
func prepareSpill(fsys vfs.FS, dir string) (folder string, left []string, err error) {
	native, ok := vfs.Native(fsys, fsys.PathJoin(dir, spillFolder))
	if !ok {
		return "", nil, nil
	}
	if err := os.MkdirAll(native, 0o777); err != nil {
		return "", nil, err
	}
	left, err = spilled(native)
	return native, left, err
}

// info is what the engine knows of a shard, in the caller's words.
func (s *Store) info(shot *engine.Snapshot) shard.Info {
	r := shot.Record
	in := shard.Info{
		Key: r.Key, State: shot.State, URL: r.URL, Labels: r.Labels,
		Version: r.Version, Roots: r.Roots, RootCount: r.RootCount,
		Bytes: r.Bytes, Payload: r.Payload, Source: r.SourceVersion, Trailing: r.Trailing,
		Sections: r.Sections, Multihashes: r.Multihashes,
		Verified: r.Verified, VerifiedAt: r.VerifiedAt, Claimed: r.Claim.Open(), Piece: claimOf(r), PieceChecked: r.PieceAt,
		Holders: shot.Holders, Waiting: shot.Waiting,
		Local:    localOf(shot),
		Progress: shot.Progress, Failure: r.Failure,
		Faults: r.Faults, Faulty: r.Faulty,
		Registered: r.Registered, Changed: r.Changed,
	}
	in.Labels = maps.Clone(in.Labels)
	in.Roots = slices.Clone(in.Roots)
	in.Faulty = slices.Clone(in.Faulty)
	s.faults.merge(r.Index.ID, &in)
	return in
}
