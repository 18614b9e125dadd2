package catalog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	pebblevfs "github.com/cockroachdb/pebble/v2/vfs"

	"github.com/dagstore/dagstore/internal/vfs"
)

// Checkpoint makes a catalogue in the folder dir, which must not be there, on the
// same file system: a copy of this one as it is at some moment between call and
// return, in which files are shared where links can be made. All that was
// acknowledged before the call is in it; commits go on meanwhile. It is durable
// when Checkpoint returns nil, and nothing is left of it otherwise, if the disk
// lets that be done. That the disk refuses something there does not break this
// catalogue. The error wraps [fs.ErrExist] if dir is there, [ErrBroken] if this
// catalogue is. One runs at a time.
func (e *Embedded) Checkpoint(ctx context.Context, dir string) error {
	v, err := e.acquire() // so that Close waits
	if err != nil {
		return err
	}
	defer func() { _ = e.release(v) }() // it was only kept open
	if cause := e.fence.cause(); cause != nil {
		return broken(cause)
	}
	leave, err := e.fence.beside(ctx, dir)
	if err != nil {
		return err
	}
	defer leave()
	if err := e.checkpoint(dir); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			_ = e.fence.FS.RemoveAll(dir) // as Pebble does, but for a panic
		}
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return fmt.Errorf("catalog: checkpoint in %s: %w", dir, err)
	}
	if cause := e.fence.cause(); cause != nil {
		// Then Pebble has been told of writes that were none.
		return errors.Join(broken(cause), e.fence.FS.RemoveAll(dir))
	}
	return nil
}

// checkpoint returns what Pebble says. It panics when the folder of the
// checkpoint cannot be synced, without holding anything.
func (e *Embedded) checkpoint(dir string) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			err = fmt.Errorf("panic: %w", r)
		default:
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return e.db.Checkpoint(dir)
}

// An aside is a folder beside the catalogue in which Pebble puts a checkpoint.
// What happens there is none of the fence's business: Pebble hears of each
// failure and gives the checkpoint up.
type aside struct {
	ctx context.Context //nolint:containedctx // of one checkpoint: Pebble takes none
	dir string
}

// beside lets Pebble write into dir until leave is called, or ctx ends.
func (f *fence) beside(ctx context.Context, dir string) (leave func(), err error) {
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-f.closing:
		return nil, ErrClosed
	}
	f.aside.Store(&aside{ctx, dir})
	return func() {
		f.aside.Store(nil)
		<-f.turn
	}, nil
}

// outside returns the folder beside the catalogue that name belongs to, or nil.
func (f *fence) outside(name string) *aside {
	a := f.aside.Load()
	if a == nil {
		return nil
	}
	if rest, ok := strings.CutPrefix(name, a.dir); name == f.PathDir(a.dir) || ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		return a
	}
	return nil
}

// write does an operation there.
func (a *aside) write(op func() error) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	return op()
}

// open does one that opens a file.
func (a *aside) open(op func() (vfs.File, error)) (vfs.File, error) {
	if err := a.ctx.Err(); err != nil {
		return nil, err
	}
	file, err := op()
	if err != nil {
		return nil, err
	}
	return asideFile{file, a}, nil
}

// link gives a file a second name. That this cannot be done here must not look
// like a matter of permissions: Pebble would not copy then.
func (a *aside) link(op func() error) error {
	err := a.write(op)
	if err == nil || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) || a.ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("no link: %s", err.Error())
}

// An asideFile gives up when the context ends.
type asideFile struct {
	vfs.File
	aside *aside
}

func (f asideFile) Write(p []byte) (n int, err error) {
	err = f.aside.write(func() (err error) {
		n, err = f.File.Write(p)
		return err
	})
	return n, err
}

var _ pebblevfs.File = asideFile{}
