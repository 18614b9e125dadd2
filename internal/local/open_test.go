package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

func TestOpenTellsLostFromUnreachable(t *testing.T) {
	then := time.Unix(1e9, 0)
	errDisk := errors.New("the disk says no")
	for name, c := range map[string]struct {
		was, is          mount.Stat
		statErr, openErr error
		indexErr         error
		remote           bool
		lost             bool
		want             []error // nil: it opens
	}{
		"the same":                     {was: mount.Stat{Size: 10, Version: "a"}, is: mount.Stat{Size: 10, Version: "a"}},
		"no version then":              {was: mount.Stat{Size: 10}, is: mount.Stat{Size: 10, Version: "a"}},
		"size unknown then":            {was: mount.Stat{Size: -1}, is: mount.Stat{Size: 10}},
		"same version, other time":     {was: mount.Stat{Size: 10, Version: "a", ModTime: then}, is: mount.Stat{Size: 10, Version: "a", ModTime: then.Add(1)}},
		"remote":                       {remote: true, was: mount.Stat{Size: 10}, is: mount.Stat{Size: 10, Ranges: true}},
		"other version":                {lost: true, want: []error{shard.ErrChanged}, was: mount.Stat{Size: 10, Version: "a"}, is: mount.Stat{Size: 10, Version: "b"}},
		"other size":                   {lost: true, want: []error{shard.ErrChanged}, was: mount.Stat{Size: 10, Version: "a"}, is: mount.Stat{Size: 11, Version: "a"}},
		"other time, no version":       {lost: true, want: []error{shard.ErrChanged}, was: mount.Stat{Size: 10, ModTime: then}, is: mount.Stat{Size: 10, ModTime: then.Add(1)}},
		"remote, other version":        {remote: true, lost: true, want: []error{shard.ErrChanged}, was: mount.Stat{Size: 10, Version: "a"}, is: mount.Stat{Size: 10, Version: "b", Ranges: true}},
		"remote without ranges":        {remote: true, want: []error{shard.ErrSource, mount.ErrNoRanges}, was: mount.Stat{Size: 10}, is: mount.Stat{Size: 10}},
		"file of unknown size":         {want: []error{shard.ErrSource}, was: mount.Stat{Size: -1}, is: mount.Stat{Size: -1}},
		"remote of unknown size":       {remote: true, want: []error{shard.ErrSource}, was: mount.Stat{Size: -1}, is: mount.Stat{Size: -1, Ranges: true}},
		"file absent":                  {openErr: fs.ErrNotExist, want: []error{shard.ErrSource, fs.ErrNotExist}},
		"source cannot be asked":       {statErr: errDisk, want: []error{shard.ErrSource, errDisk}},
		"remote that cannot be asked":  {remote: true, statErr: errDisk, want: []error{shard.ErrSource, errDisk}},
		"index missing":                {lost: true, indexErr: fs.ErrNotExist, want: []error{shard.ErrIndex, fs.ErrNotExist}, was: mount.Stat{Size: 10}, is: mount.Stat{Size: 10}},
		"index damaged":                {lost: true, indexErr: index.ErrDamaged, want: []error{shard.ErrIndex, index.ErrDamaged}, was: mount.Stat{Size: 10}, is: mount.Stat{Size: 10}},
		"index of another version":     {lost: true, indexErr: index.ErrVersion, want: []error{shard.ErrIndex, index.ErrVersion}, was: mount.Stat{Size: 10}, is: mount.Stat{Size: 10}},
		"index that cannot be had now": {indexErr: errDisk, want: []error{errDisk}, was: mount.Stat{Size: 10}, is: mount.Stat{Size: 10}},
	} {
		t.Run(name, func(t *testing.T) {
			file := newFakeFile([]byte("0123456789"))
			m := &fakeMount{stat: c.is, statErr: c.statErr, openErr: c.openErr}
			if !c.remote {
				m.file = file
			} else {
				m.ranges = file.ranges
			}
			h, err := Open(t.Context(), Spec{Mount: m, Source: c.was, OpenIndex: func(context.Context) (IndexFile, error) {
				if c.indexErr != nil {
					return nil, fmt.Errorf("index 7: %w", c.indexErr)
				}
				return &fakeIndex{}, nil
			}})
			if c.want == nil && err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				if !errors.Is(err, want) {
					t.Errorf("%v, want one that wraps %v", err, want)
				}
			}
			var lost *LostError
			if errors.As(err, &lost) != c.lost {
				t.Errorf("LostError in %v: %v", err, !c.lost)
			}
			opened := c.openErr == nil && !c.remote
			if err != nil && opened && file.closed.Load() != 1 {
				t.Errorf("a failed Open closed its file %d times", file.closed.Load())
			}
			if err == nil {
				if h.Local() == c.remote || h.Size() != 10 {
					t.Errorf("local: %v, size: %d", h.Local(), h.Size())
				}
				h.Drop()
			}
		})
	}
}

func TestOpenCatchesAPanic(t *testing.T) {
	m := panicMount{&fakeMount{file: newFakeFile([]byte("0123456789"))}}
	_, err := Open(t.Context(), Spec{Mount: m})
	var p *PanicError
	if !errors.As(err, &p) || !errors.Is(err, shard.ErrSource) || len(p.Stack) == 0 {
		t.Fatal(err)
	}
	if n := m.file.closed.Load(); n != 1 {
		t.Fatalf("the file was closed %d times", n)
	}
}

type panicMount struct{ *fakeMount }

func (panicMount) Stat(context.Context) (mount.Stat, error) { panic("the client is on fire") }

func TestOpenReadsTheRootsThatTheRecordLacks(t *testing.T) {
	blocks := cartest.Random(1, 300, 10)
	var roots []cid.Cid
	for _, b := range blocks {
		roots = append(roots, b.CID)
	}
	car := cartest.V1(roots, blocks)
	var set memmount.Set
	spec := Spec{
		Mount:     set.Put("many roots", car),
		Source:    mount.Stat{Size: int64(len(car))},
		Roots:     roots[:256],
		RootCount: 300,
		OpenIndex: func(context.Context) (IndexFile, error) { return &fakeIndex{}, nil },
	}
	h, err := Open(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Drop()
	if !slices.Equal(h.Roots(), roots) {
		t.Fatalf("%d roots, want %d", len(h.Roots()), len(roots))
	}

	var lost *LostError
	spec.RootCount = 301
	if _, err := Open(t.Context(), spec); !errors.As(err, &lost) || !errors.Is(err, shard.ErrChanged) {
		t.Errorf("a record of more roots than there are: %v", err)
	}
	spec.Mount = set.Put("garbage", bytes.Repeat([]byte{0xff}, len(car)))
	if _, err := Open(t.Context(), spec); !errors.As(err, &lost) || !errors.Is(err, shard.ErrChanged) {
		t.Errorf("a header that is none: %v", err)
	}
	spec.Mount = &fakeMount{stat: spec.Source, file: &fakeFile{err: io.ErrClosedPipe}}
	if _, err := Open(t.Context(), spec); errors.As(err, &lost) || !errors.Is(err, shard.ErrSource) {
		t.Errorf("a header that cannot be read: %v", err)
	}
}

// TestFileThatChangesUnderTheHandle is for real files: one that shrinks is
// noticed by the read, one that is replaced by the next opening.
func TestFileThatChangesUnderTheHandle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.car")
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := filemount.New(path)
	if err != nil {
		t.Fatal(err)
	}
	was, err := m.Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spec := Spec{Mount: m, Source: was, OpenIndex: func(context.Context) (IndexFile, error) { return &fakeIndex{}, nil }}
	h, err := Open(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Drop()
	if err := os.Truncate(path, 5); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 10)
	if n, err := h.ReadAt(t.Context(), p, 0); !errors.Is(err, shard.ErrChanged) || n > 5 {
		t.Errorf("read of a file that shrank: %d, %v", n, err)
	}
	var lost *LostError
	if _, err := Open(t.Context(), spec); !errors.As(err, &lost) || !errors.Is(err, shard.ErrChanged) {
		t.Errorf("open of a file that shrank: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), spec); errors.As(err, &lost) || !errors.Is(err, fs.ErrNotExist) || !errors.Is(err, shard.ErrSource) {
		t.Errorf("open of a file that is gone: %v", err)
	}
}
