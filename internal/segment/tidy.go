package segment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
)

// Leftovers removes what writers have left behind that were ended and could
// not clean up after themselves, and says how many files and bytes that was.
// It touches nothing that is being written.
func (f *Folder) Leftovers(ctx context.Context) (files, bytes int64, err error) {
	for _, kind := range kinds {
		names, err := f.names(ctx, kind, f.asideDir(kind))
		if err != nil {
			return files, bytes, fmt.Errorf("segment: leftovers: %w", err)
		}
		for _, base := range names {
			n, ok := parse(kind, base)
			if !ok {
				continue // not ours
			}
			if err := ctx.Err(); err != nil {
				return files, bytes, err
			}
			size, err := f.leftover(Name{kind, n})
			if err != nil {
				return files, bytes, fmt.Errorf("segment: leftovers: %w", err)
			}
			if size >= 0 {
				files, bytes = files+1, bytes+size
			}
		}
	}
	return files, bytes, nil
}

// leftover removes an unfinished file, unless it is being written: -1. Nobody
// can begin to write it meanwhile.
func (f *Folder) leftover(name Name) (size int64, err error) {
	err = f.claim(name)
	if errors.Is(err, fs.ErrExist) {
		return -1, nil
	}
	if err != nil {
		return -1, err
	}
	defer f.unclaim(name)
	path := f.fsys.PathJoin(f.asideDir(name.Kind), base(name))
	info, err := f.fsys.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil // it was finished since
	}
	if err != nil {
		return -1, err
	}
	return info.Size(), f.fsys.Remove(path)
}

// Foreign yields the paths, below the folder that this place was given, of
// what lies among its files and has a name that it would not give. It looks at
// names alone.
func (f *Folder) Foreign(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, kind := range kinds {
			more, err := f.foreign(ctx, kind, yield)
			if err != nil {
				yield("", fmt.Errorf("segment: list: %w", err))
				return
			}
			if !more {
				return
			}
		}
	}
}

func (f *Folder) foreign(ctx context.Context, kind Kind, yield func(string, error) bool) (bool, error) {
	top := kindDir(kind)
	names, err := f.names(ctx, kind, f.fsys.PathJoin(f.dir, top))
	if err != nil {
		return false, err
	}
	folders := []string{asideName}
	for _, base := range names {
		_, isFile := parse(kind, base)
		switch {
		case base == asideName:
		case kind != Layer && isPart(base):
			folders = append(folders, base)
		case kind == Layer && isFile:
		default:
			if !yield(f.fsys.PathJoin(top, base), nil) {
				return false, nil
			}
		}
	}
	for _, folder := range folders {
		names, err := f.names(ctx, kind, f.fsys.PathJoin(f.dir, top, folder))
		if err != nil {
			return false, err
		}
		for _, base := range names {
			n, ok := parse(kind, base)
			if ok && (folder == asideName || folder == part(n)) {
				continue
			}
			if !yield(f.fsys.PathJoin(top, folder, base), nil) {
				return false, nil
			}
		}
	}
	return true, nil
}

// names lists a folder; one that is not there has none.
func (f *Folder) names(ctx context.Context, kind Kind, dir string) ([]string, error) {
	if err := f.check(ctx, kind); err != nil {
		return nil, err
	}
	names, err := f.fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}
