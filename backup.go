package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/internal/vfs"
)

// Backup makes a store in the folder dir, which must not be there, that is this
// one as it was at a moment between call and return: all that was acknowledged
// before the call is in it. It runs beside everything else; only the removal of
// index files waits until it is done. Files that never change share their bytes
// with those of the store, under a second name, where dir is on the same disk and
// this has links; else they are copied. CARs are not taken along: the backup has
// their URLs. It has the identity of this store, too.
//
// dir is there, whole and durable, when Backup returns nil. It is written under
// the name dir+".partial", which is removed if it cannot be completed; what a
// process that was killed has left there, the next Backup to dir removes. The
// error wraps [fs.ErrExist] if dir, or something else under that name, is there;
// [ErrInUse] if another Backup is writing it; [ErrReadOnly] if the store has
// become so; [ErrNoSpace]; [ErrClosed]; [errors.ErrUnsupported] if the store's data
// does not lie in its folder; or it is ctx's own.
func (s *Store) Backup(ctx context.Context, dir string, opts *BackupOptions) (BackupReport, error) {
	if opts == nil {
		opts = &BackupOptions{}
	}
	inside, leave, err := s.engine.Visit(ctx)
	if err != nil {
		return BackupReport{}, err
	}
	defer leave()
	b := &backup{store: s, opts: *opts, fsys: s.parts.fsys, dir: dir, aside: dir + ".partial"}
	err = b.run(inside)
	switch {
	case err == nil:
		return b.report, nil
	case ctx.Err() != nil:
		err = ctx.Err()
	case s.closed.Load():
		err = ErrClosed
	case errors.Is(err, catalog.ErrBroken):
		err = fmt.Errorf("%w: %w", ErrReadOnly, err)
	case vfs.IsFull(err):
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return BackupReport{}, outward(fmt.Errorf("dagstore: backup to %s: %w", dir, err))
}

// BackupOptions may be nil.
type BackupOptions struct {
	// Copies takes local copies of CARs along. Without it the backup has none, and
	// makes them again when they are needed, from their sources.
	Copies bool
}

// BackupReport is what is in a backup, besides its catalogue.
type BackupReport struct {
	Linked, Copied           int64 // files that share their bytes with the store's, and that do not
	LinkedBytes, CopiedBytes int64
}

// A backup is one run of Backup.
type backup struct {
	store      *Store
	opts       BackupOptions
	fsys       vfs.FS
	dir, aside string
	report     BackupReport
}

func (b *backup) run(ctx context.Context) (err error) {
	source, ok := b.store.parts.catalog.(*catalog.Embedded)
	segments, lies := b.store.parts.segments.(*segment.Folder)
	if !ok || !lies {
		return errors.ErrUnsupported
	}
	if err := b.vacant(); err != nil {
		return err
	}
	if err := vfs.MkdirAll(b.fsys, b.aside); err != nil {
		return err
	}
	lock, err := vfs.LockFolder(b.fsys, b.aside)
	if err != nil {
		if errors.Is(err, vfs.ErrLocked) {
			err = fmt.Errorf("%w: %w", ErrInUse, err)
		}
		return err
	}
	ours := false
	defer func() {
		err = errors.Join(err, lock.Close())
		if err != nil && ours {
			err = errors.Join(err, b.clear())
		}
	}()
	if err := b.adopt(); err != nil {
		return err
	}
	ours = true
	if err := b.fill(ctx, source, segments); err != nil {
		return err
	}
	return b.publish(lock)
}

// vacant makes sure that nothing bears the name of the backup, and that this is
// not within the store: there it would be nobody's.
func (b *backup) vacant() error {
	switch _, err := b.fsys.Stat(b.dir); {
	case err == nil:
		return &fs.PathError{Op: "backup", Path: b.dir, Err: fs.ErrExist}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	home, ok := vfs.Native(b.fsys, b.store.parts.dir)
	if !ok {
		return nil
	}
	home, err := filepath.Abs(home)
	if err == nil {
		home, err = filepath.EvalSymlinks(home)
	}
	if err != nil {
		return err
	}
	to, err := filepath.Abs(b.dir)
	if err != nil {
		return err
	}
	// Of what is not there yet, the part that is.
	for at := to; ; at = filepath.Dir(at) {
		resolved, err := filepath.EvalSymlinks(at)
		if errors.Is(err, fs.ErrNotExist) && filepath.Dir(at) != at {
			continue
		}
		if err != nil {
			return err
		}
		if resolved == home || strings.HasPrefix(resolved, home+string(filepath.Separator)) {
			return fmt.Errorf("%w: it lies in the folder of the store", fs.ErrInvalid)
		}
		return nil
	}
}

// adopt removes what a backup has left behind that was cut off, and marks the
// folder as one that a backup writes. A folder that bears no mark, and has more in
// it than a lock, is not touched.
func (b *backup) adopt() error {
	names, err := b.fsys.List(b.aside)
	if err != nil {
		return err
	}
	if !slices.Contains(names, backupFile) {
		for _, name := range names {
			if name != vfs.LockName && name != backupFile+".tmp" {
				return fmt.Errorf("%w: %s holds what no backup has made: %q", fs.ErrExist, b.aside, name)
			}
		}
		return vfs.WriteFile(b.fsys, b.fsys.PathJoin(b.aside, backupFile), nil)
	}
	return b.empty(names)
}

// empty removes what is in the folder, but for the lock and the mark.
func (b *backup) empty(names []string) error {
	for _, name := range names {
		if name == vfs.LockName || name == backupFile {
			continue
		}
		if err := b.fsys.RemoveAll(b.fsys.PathJoin(b.aside, name)); err != nil {
			return err
		}
	}
	return vfs.SyncDir(b.fsys, b.aside)
}

// clear removes what was written, the mark last.
func (b *backup) clear() error {
	names, err := b.fsys.List(b.aside)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = b.empty(names)
	}
	if err == nil {
		err = b.fsys.RemoveAll(b.aside)
	}
	if err != nil {
		return fmt.Errorf("what was written is left in %s: %w", b.aside, err)
	}
	return nil
}

// fill writes all but VERSION. Nothing is removed from the time before the moment
// that the catalogue is of, so all that it names is still there.
func (b *backup) fill(ctx context.Context, source *catalog.Embedded, segments *segment.Folder) (err error) {
	release := segments.Hold()
	defer release()
	at := b.fsys.PathJoin(b.aside, catalogFolder)
	if err := source.Checkpoint(ctx, at); err != nil {
		return err
	}
	// To open it shows that it can be, and tells which files it names. Others must
	// not come along: their numbers may be given out again there.
	c, err := catalog.Open(ctx, catalog.Config{FS: b.fsys, Dir: at, Logger: b.store.cfg.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(context.WithoutCancel(ctx))) }()
	place, err := segment.NewFolder(b.fsys, b.aside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.Close(ctx)) }()
	if err := b.segments(ctx, c, segments, place); err != nil {
		return err
	}
	if err := place.Settle(ctx); err != nil {
		return err
	}
	return b.copies(ctx, c)
}

// segments takes along the files that the catalogue names. One that is not there
// was not there before, either: the backup is damaged as the store is.
func (b *backup) segments(ctx context.Context, c catalog.Catalog, from, to *segment.Folder) error {
	named := roaring.New()
	for id, err := range c.Owners(ctx) {
		if err != nil {
			return err
		}
		named.Add(uint32(id))
	}
	layers, err := c.Layers(ctx)
	if err != nil {
		return err
	}
	inTop := roaring.New()
	for _, l := range layers {
		inTop.Add(l.N)
	}
	sets := roaring.New()
	for m, err := range c.Manifests(ctx, "") {
		if errors.Is(err, catalog.ErrDamaged) {
			continue // and stays so
		}
		if err != nil {
			return err
		}
		sets.Add(m.File) // 0, which no file has, for a small one
	}
	for kind, wanted := range map[segment.Kind]*roaring.Bitmap{segment.Index: named, segment.Layer: inTop, segment.Manifest: sets} {
		for file, err := range from.List(ctx, kind) {
			if err == nil && wanted.Contains(file.Name.N) {
				err = b.give(ctx, file.Name, from, to)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *backup) give(ctx context.Context, name segment.Name, from, to *segment.Folder) error {
	linked, size, err := from.Give(ctx, name, to)
	if err != nil {
		return err
	}
	if linked {
		b.report.Linked, b.report.LinkedBytes = b.report.Linked+1, b.report.LinkedBytes+size
	} else {
		b.report.Copied, b.report.CopiedBytes = b.report.Copied+1, b.report.CopiedBytes+size
	}
	return nil
}

// forgottenAtOnce bounds the batches in which a backup forgets copies.
const forgottenAtOnce = 1000

// copies takes local copies along, if they are wanted, and has the catalogue of
// the backup forget those that do not come.
func (b *backup) copies(ctx context.Context, c catalog.Catalog) error {
	dir := b.fsys.PathJoin(b.aside, copiesFolder)
	var batch catalog.Batch
	for known, err := range c.Copies(ctx) {
		if err != nil {
			return err
		}
		r, err := c.Get(ctx, known.Key)
		if errors.Is(err, catalog.ErrDamaged) {
			continue // and stays so
		}
		if err != nil {
			return err
		}
		if b.opts.Copies {
			linked, copied, err := b.store.parts.copies.Give(known.ID, !r.Kept.Complete(), dir, ctx.Err)
			if err == nil {
				b.report.count(linked, copied)
				continue
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			// It has gone since the moment that the backup is of.
		}
		without := *r
		without.Kept = catalog.Kept{}
		without.Revision++
		batch.Puts = append(batch.Puts, catalog.Put{Record: &without, Expect: r.Revision})
		if len(batch.Puts) == forgottenAtOnce {
			if err := c.Apply(ctx, &batch); err != nil {
				return err
			}
			batch = catalog.Batch{}
		}
	}
	if len(batch.Puts) == 0 {
		return nil
	}
	return c.Apply(ctx, &batch)
}

func (r *BackupReport) count(linked, copied int64) {
	if linked > 0 {
		r.Linked++
	}
	if copied > 0 {
		r.Copied++
	}
	r.LinkedBytes, r.CopiedBytes = r.LinkedBytes+linked, r.CopiedBytes+copied
}

// publish makes a store of what was written, and gives it its name.
func (b *backup) publish(lock io.Closer) error {
	if err := vfs.WriteFile(b.fsys, b.fsys.PathJoin(b.aside, versionFile), []byte(versionText)); err != nil {
		return err
	}
	if runtime.GOOS == "windows" { // where a folder cannot be renamed in which a file is open
		if err := lock.Close(); err != nil {
			return err
		}
	}
	if err := b.vacant(); err != nil {
		return err
	}
	if err := b.fsys.Rename(b.aside, b.dir); err != nil {
		return err
	}
	if err := vfs.SyncDir(b.fsys, b.fsys.PathDir(b.dir)); err != nil {
		return err
	}
	_ = b.fsys.Remove(b.fsys.PathJoin(b.dir, backupFile)) // it means nothing there, and Open removes it, too
	return nil
}
