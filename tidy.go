package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// GC removes what belongs to no shard: files of indices, of copies and of the
// inverted index that nothing names any more, what a process that was killed has left
// behind, and what is remembered of shards that are gone. It rewrites a part of
// the inverted index of which more than a quarter is of such shards. It only
// removes files that the store made. A start does the same in the background,
// and a destroyed shard is removed without it; it is for those who want to know
// what there was, and that it is gone.
//
// It runs beside everything else and holds up nobody; two at once wait for
// each other. It stops soon after ctx ends. A crash in the middle of it loses
// nothing, and the next one goes on. It wraps [ErrReadOnly] if something has to
// be written about it and cannot be. With an error comes the report of what was
// done until then.
func (s *Store) GC(ctx context.Context) (GCReport, error) {
	var report GCReport
	inside, leave, err := s.engine.Visit(ctx)
	if err != nil {
		return report, err
	}
	defer leave()
	did, err := s.engine.GC(inside)
	report = GCReport{Files: did.Files, Bytes: did.Bytes, Left: did.Left, Forgotten: did.Forgotten}
	if err == nil {
		err = s.removeLeftovers(inside, &report)
	}
	if err == nil {
		report.Foreign, err = s.someForeign(inside)
	}
	if err != nil && s.closed.Load() {
		err = ErrClosed
	}
	return report, outward(err)
}

// GCReport is what GC did.
type GCReport struct {
	Files, Bytes int64 // removed

	// Left are files that are to go and are still there: somebody reads them,
	// or the system would not remove them. They go with the last reader, or
	// with the next GC.
	Left int64

	// Forgotten are destroyed and replaced indices of which nothing is left,
	// neither a file nor an entry anywhere.
	Forgotten int64

	// Foreign are paths, relative to the store's folder, of what lies in it
	// and was not made by the store: at most 100 of them. It stays.
	Foreign []string
}

const maxForeign = 100

func (s *Store) someForeign(ctx context.Context) (paths []string, err error) {
	for path, err := range s.foreign(ctx) {
		if err != nil {
			return paths, err
		}
		if paths = append(paths, path); len(paths) == maxForeign {
			break
		}
	}
	return paths, nil
}

// removeLeftovers removes what was begun to be written and given up.
func (s *Store) removeLeftovers(ctx context.Context, report *GCReport) error {
	if p, ok := s.parts.segments.(interface {
		Leftovers(ctx context.Context) (files, bytes int64, err error)
	}); ok {
		files, bytes, err := p.Leftovers(ctx)
		report.Files += files
		report.Bytes += bytes
		if err != nil {
			return err
		}
	}
	s.spill.Lock()
	defer s.spill.Unlock()
	s.spill.left = slices.DeleteFunc(s.spill.left, func(path string) bool {
		info, err := os.Lstat(path)
		if err == nil {
			err = os.Remove(path)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return true
		case err != nil:
			report.Left++
			return false
		}
		report.Files++
		report.Bytes += info.Size()
		return true
	})
	return ctx.Err()
}

// foreign yields what lies in the store's folder and has a name that the store
// does not give, as paths relative to it. What lies in the folder of the
// catalogue is the business of who keeps it.
func (s *Store) foreign(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if !s.foreignNames(yield) {
			return
		}
		for path, err := range s.parts.copies.Foreign(ctx) {
			if !yield(s.parts.fsys.PathJoin(copiesFolder, path), err) {
				return
			}
		}
		p, ok := s.parts.segments.(interface {
			Foreign(ctx context.Context) iter.Seq2[string, error]
		})
		if !ok {
			return
		}
		for path, err := range p.Foreign(ctx) {
			if !yield(path, err) {
				return
			}
		}
	}
}

// foreignNames is foreign for the folder itself and those of its folders that
// no part of the store looks after.
func (s *Store) foreignNames(yield func(string, error) bool) bool {
	fsys := s.parts.fsys
	for _, folder := range []string{"", spillFolder, quarantineFolder} {
		own := func(name string) bool {
			return folder == "" && slices.Contains(ours, name) ||
				folder == spillFolder && strings.HasPrefix(name, spillPrefix)
		}
		names, err := fsys.List(fsys.PathJoin(s.parts.dir, folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield("", fmt.Errorf("dagstore: list: %w", err))
			return false
		}
		for _, name := range names {
			if !own(name) && !yield(fsys.PathJoin(folder, name), nil) {
				return false
			}
		}
	}
	return true
}

// spilled removes what is left of sorting in the folder dir, and returns the
// paths of what could not be removed.
func spilled(dir string) (left []string, err error) {
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range names {
		if !strings.HasPrefix(e.Name(), spillPrefix) || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			left = append(left, path)
		}
	}
	return left, nil
}
