package segment

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/dagstore/dagstore/internal/vfs"
)

// Hold keeps every segment that is there until release is called: what is to be
// removed meanwhile is removed then. Several may hold at once. What cannot be
// removed then, or is not since the process ends, is a segment that nobody names.
func (f *Folder) Hold() (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holds++
	done := false
	return func() {
		f.mu.Lock()
		var names []Name
		if !done {
			done = true
			if f.holds--; f.holds == 0 {
				names, f.held = f.held, nil
			}
		}
		f.mu.Unlock()
		for _, name := range names {
			_ = f.fsys.Remove(f.path(name)) // then it is found by who looks for what nobody names
		}
	}
}

// keeps reports whether a segment that is to be removed has to stay for a while.
func (f *Folder) keeps(name Name) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.holds > 0 {
		f.held = append(f.held, name)
	}
	return f.holds > 0
}

// Give puts a segment into another place on the same file system: under a second
// name for the same file, or as a copy where that cannot be. It is durable there
// once [Folder.Settle] of the other place has returned. The error wraps
// [fs.ErrNotExist] if there is no such segment.
func (f *Folder) Give(ctx context.Context, name Name, to *Folder) (linked bool, size int64, err error) {
	if err := f.check(ctx, name.Kind); err != nil {
		return false, 0, err
	}
	target := to.path(name)
	if err := to.ensure(to.fsys.PathDir(target)); err != nil {
		return false, 0, fmt.Errorf("segment: give %v: %w", name, err)
	}
	linked, size, err = vfs.LinkOrCopy(f.fsys, f.path(name), target, ctx.Err)
	if err != nil {
		return false, 0, fmt.Errorf("segment: give %v: %w", name, err)
	}
	return linked, size, nil
}

// Settle makes the names of all segments durable that were given to this place.
func (f *Folder) Settle(ctx context.Context) error {
	f.mu.Lock()
	dirs := slices.Sorted(maps.Keys(f.ready))
	f.mu.Unlock()
	for _, dir := range dirs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := vfs.SyncDir(f.fsys, dir); err != nil {
			return fmt.Errorf("segment: settle: %w", err)
		}
	}
	return nil
}
