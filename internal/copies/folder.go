package copies

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dagstore/dagstore/internal/vfs"
)

// The layout; docs/format/copy.md draws it:
//
//	copies/5e/2b3c4d5e/data     the copy 0x2b3c4d5e, complete
//	copies/5e/2b3c4d5e/partial  the same while it is written, or to be gone on with
//	copies/5e/2b3c4d5e/progress how much of it is on disk, and of what that is
//	copies/5e/2b3c4d5e/sparse   what was read of a CAR, and
//	copies/5e/2b3c4d5e/extents  which of it lies where
//
// Numbers are given out one after the other, so their last byte spreads them
// evenly.
const (
	dataName    = "data"
	partialName = "partial"
	digits      = 8
)

func part(id uint32) string { return fmt.Sprintf("%02x", id&0xff) }

func base(id uint32) string { return fmt.Sprintf("%08x", id) }

// parse is the inverse of base. It takes no other spelling, so that nothing
// foreign is ever taken for ours.
func parse(name string) (uint32, bool) {
	if len(name) != digits || strings.ToLower(name) != name {
		return 0, false
	}
	n, err := strconv.ParseUint(name, 16, 32)
	return uint32(n), err == nil && base(uint32(n)) == name
}

// isPart reports whether part ever gives name.
func isPart(name string) bool {
	n, err := strconv.ParseUint(name, 16, 8)
	return err == nil && part(uint32(n)) == name
}

func (k *Keeper) folder(id uint32) string {
	return k.cfg.FS.PathJoin(k.cfg.Dir, part(id), base(id))
}

func (k *Keeper) path(id uint32, name string) string {
	return k.cfg.FS.PathJoin(k.cfg.Dir, part(id), base(id), name)
}

// Size returns how long the file of a complete copy is. It asks the disk; the
// error wraps [io/fs.ErrNotExist] if there is no such file.
func (k *Keeper) Size(id uint32) (int64, error) {
	info, err := k.cfg.FS.Stat(k.path(id, dataName))
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Open opens the file of a complete copy.
func (k *Keeper) Open(id uint32) (vfs.File, error) {
	return k.cfg.FS.Open(k.path(id, dataName))
}

// Native returns the path of a complete copy on the machine, and whether it has
// one.
func (k *Keeper) Native(id uint32) (string, bool) {
	return vfs.Native(k.cfg.FS, k.path(id, dataName))
}

// Remove removes the files of a copy that is leaving, or was never named, and
// gives back what they counted. If they cannot be removed they go on counting,
// and [Keeper.Clean] tries again.
func (k *Keeper) Remove(id uint32) error {
	err := k.unlink(id)
	k.mu.Lock()
	e := k.entries[id]
	switch {
	case e != nil && err == nil:
		k.drop(e)
	case e != nil:
		k.leave(e)
		k.change(e, func() { e.state = stuck })
	}
	if !k.restored {
		k.removed[id] = struct{}{}
	}
	k.unlock(true)
	return err
}

// unlink removes the files of a copy that we name, and its folder if nothing
// else is in it.
func (k *Keeper) unlink(id uint32) error {
	for _, name := range fileNames {
		if err := k.cfg.FS.Remove(k.path(id, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	_ = k.cfg.FS.Remove(k.folder(id)) // what is left is empty, or holds what is not ours
	return nil
}

// Ranges is the size of a sparse copy.
const Ranges = -1

// A Known is a copy that a record names.
type Known struct {
	ID        uint32
	Size      int64 // Ranges: it is sparse
	Pinned    bool
	Spare     bool // nobody has asked for it
	Confirmed time.Time
}

// fileNames are those of the files in the folder of a copy.
var fileNames = [...]string{dataName, partialName, sparseName, extentsName, progressName}

// found is how long the files in the folder of one copy are; -1: there is none.
type found [len(fileNames)]int64

// nothing is an empty folder.
var nothing = found{-1, -1, -1, -1, -1}

func (f found) data() int64 { return f[0] }

// partial is how long a copy is that is not complete, and has a file of progress.
func (f found) partial() int64 {
	if f[0] >= 0 || f[2] >= 0 || f[3] >= 0 || f[4] < 0 {
		return -1
	}
	return f[1]
}

// bytes is how much the files count.
func (f found) bytes() (n int64) {
	for _, size := range f {
		n += charged(max(size, 0))
	}
	return n
}

// is reports whether that is what a record names, as far as lengths tell.
func (f found) is(c Known) bool {
	if c.Size == Ranges {
		return f[2] >= 0 && f[3] >= headLength
	}
	return f.data() == c.Size
}

// Restore learns what lies in the folder and which copies records name, removes
// what is nobody's, and returns the copies that are named and not there, or not
// of their size. Whoever waits for space is answered from then on. It runs beside
// everything else, once at a time; what is made or given up meanwhile is told by
// the other methods. It looks at as many files as there are copies. After an
// error, who asks for space gets that, with [shard.ErrQuota], until another try
// has succeeded.
func (k *Keeper) Restore(ctx context.Context, known iter.Seq2[Known, error]) (lost []uint32, err error) {
	if k.Restored() {
		return nil, nil
	}
	lost, strays, err := k.restore(ctx, known)
	if err != nil {
		k.mu.Lock()
		k.unknown = err
		k.unlock(false)
		return lost, err
	}
	var errs []error
	for _, id := range strays {
		errs = append(errs, k.Remove(id))
	}
	return lost, errors.Join(errs...)
}

// Restored reports whether it is known what lies in the folder.
func (k *Keeper) Restored() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.restored
}

func (k *Keeper) restore(ctx context.Context, known iter.Seq2[Known, error]) (lost, strays []uint32, err error) {
	there := map[uint32]found{}
	for id, err := range k.walk(ctx) {
		if err != nil {
			return lost, nil, err
		}
		there[id], err = k.look(id)
		if err != nil {
			return lost, nil, err
		}
	}
	for c, err := range known {
		if err != nil {
			return lost, nil, err
		}
		f, ok := there[c.ID]
		if !ok {
			f = nothing
		}
		if !k.take(c, f) {
			continue // it was made, or given up, since
		}
		delete(there, c.ID)
		if !f.is(c) {
			lost = append(lost, c.ID)
		}
	}
	parts := map[uint32]*remnant{}
	for id, f := range there {
		if length := f.partial(); length >= 0 {
			if parts[id], err = k.readRemnant(id, length); err != nil {
				return lost, nil, err
			}
		}
	}
	k.mu.Lock()
	for id, f := range there {
		if _, removed := k.removed[id]; removed || k.entries[id] != nil {
			continue
		}
		e := &entry{id: id, state: leaving}
		k.entries[id] = e
		k.change(e, func() { e.charge = f.bytes() })
		if p := parts[id]; p == nil || !k.takeRemnant(e, p) {
			strays = append(strays, id)
		}
	}
	k.restored, k.unknown, k.removed = true, nil, nil
	k.unlock(true)
	return lost, strays, nil
}

// take makes an entry of a copy of an earlier process.
func (k *Keeper) take(c Known, f found) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, removed := k.removed[c.ID]; removed || k.entries[c.ID] != nil {
		return false
	}
	e := &entry{id: c.ID, state: kept, pinned: c.Pinned, spare: c.Spare, confirmed: c.Confirmed, used: c.Confirmed}
	k.entries[c.ID] = e
	k.change(e, func() { e.charge = f.bytes() })
	k.count++
	k.list(e)
	return true
}

// takeRemnant makes of e, which an earlier process has left, a remnant that can be gone on
// with, if it is the only one for its shard. The lock is held.
func (k *Keeper) takeRemnant(e *entry, p *remnant) bool {
	if p.old(k.cfg.Now()) || k.remnants[p.key] != nil {
		return false
	}
	k.change(e, func() { e.state, e.rest = partly, p })
	k.remnants[p.key] = e
	return true
}

// walk yields the copies of which there is a folder.
func (k *Keeper) walk(ctx context.Context) iter.Seq2[uint32, error] {
	return func(yield func(uint32, error) bool) {
		parts, err := k.names(k.cfg.Dir)
		if err != nil {
			yield(0, err)
			return
		}
		for _, p := range parts {
			if !isPart(p) {
				continue
			}
			names, err := k.names(k.cfg.FS.PathJoin(k.cfg.Dir, p))
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(0, err)
				return
			}
			for _, name := range names {
				if id, ok := parse(name); ok && part(id) == p && !yield(id, nil) {
					return
				}
			}
		}
	}
}

// look tells what lies in the folder of a copy.
func (k *Keeper) look(id uint32) (f found, err error) {
	f = nothing
	for i, name := range fileNames {
		info, err := k.cfg.FS.Stat(k.path(id, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return f, err
		default:
			f[i] = info.Size()
		}
	}
	return f, nil
}

// names lists a folder; one that is not there, or is a file, has none.
func (k *Keeper) names(dir string) ([]string, error) {
	names, err := k.cfg.FS.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		if info, serr := k.cfg.FS.Stat(dir); serr == nil && !info.IsDir() {
			return nil, nil
		}
	}
	return names, err
}

// Clean removes what lies in the folder and is nobody's: copies that could not
// be removed before, and what the keeper does not know. It does nothing before
// Restore has ended.
func (k *Keeper) Clean(ctx context.Context) (files, bytes int64, err error) {
	k.mu.Lock()
	restored := k.restored
	var again []uint32
	for id, e := range k.entries {
		if e.state == stuck {
			again = append(again, id)
		}
	}
	k.mu.Unlock()
	if !restored {
		return 0, 0, nil
	}
	for id, err := range k.walk(ctx) {
		if err != nil {
			return files, bytes, err
		}
		k.mu.Lock()
		if k.entries[id] == nil {
			again = append(again, id)
		}
		k.mu.Unlock()
	}
	for _, id := range again {
		if err := ctx.Err(); err != nil {
			return files, bytes, err
		}
		f, err := k.look(id)
		if err == nil {
			err = k.Remove(id)
		}
		if err != nil {
			return files, bytes, err
		}
		for _, size := range f {
			if size >= 0 {
				files, bytes = files+1, bytes+size
			}
		}
	}
	return files, bytes, nil
}

// Knows reports whether a copy is being written, kept, or about to be removed.
func (k *Keeper) Knows(id uint32) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.restored || k.entries[id] != nil
}

// Strays yields the copies of which there are files and that the keeper does not
// know.
func (k *Keeper) Strays(ctx context.Context) iter.Seq2[uint32, error] {
	return func(yield func(uint32, error) bool) {
		for id, err := range k.walk(ctx) {
			if err == nil && k.Knows(id) {
				continue
			}
			var f found
			if err == nil {
				f, err = k.look(id)
			}
			if err == nil && f == nothing {
				continue
			}
			if !yield(id, err) || err != nil {
				return
			}
		}
	}
}

// Foreign yields the paths, below the folder of all copies, of what lies there
// and has a name that the keeper would not give.
func (k *Keeper) Foreign(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		parts, err := k.names(k.cfg.Dir)
		for i := 0; err == nil && i < len(parts); i++ {
			var more bool
			if more, err = k.foreign(ctx, parts[i], yield); !more && err == nil {
				return
			}
		}
		if err != nil {
			yield("", fmt.Errorf("copies: list: %w", err))
		}
	}
}

// foreign is Foreign for one of the folders in the folder of all copies.
func (k *Keeper) foreign(ctx context.Context, p string, yield func(string, error) bool) (more bool, err error) {
	if !isPart(p) {
		return yield(p, nil), nil
	}
	names, err := k.names(k.cfg.FS.PathJoin(k.cfg.Dir, p))
	if err != nil {
		return false, err
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if id, ok := parse(name); !ok || part(id) != p {
			if !yield(k.cfg.FS.PathJoin(p, name), nil) {
				return false, nil
			}
			continue
		}
		files, err := k.names(k.cfg.FS.PathJoin(k.cfg.Dir, p, name))
		if err != nil {
			return false, err
		}
		for _, file := range files {
			if !slices.Contains(fileNames[:], file) && !yield(filepath.Join(p, name, file), nil) {
				return false, nil
			}
		}
	}
	return true, nil
}

// IsSparse reports whether the files of a sparse copy are there. It asks the disk.
func (k *Keeper) IsSparse(id uint32) (bool, error) {
	f, err := k.look(id)
	return f.is(Known{Size: Ranges}), err
}
