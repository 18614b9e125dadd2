package memmount

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// A Set is a number of CARs by name. Its zero value is empty and ready. Its
// methods may be called by any number of goroutines at once; a Set must not be
// copied after its first use.
type Set struct {
	mu   sync.RWMutex
	cars map[string]car
}

// car is what lies under a name; it is replaced, never changed.
type car struct {
	data    []byte
	version string
	stored  time.Time
}

// Put lays data under name, in the place of what was there, and returns the
// mount of that name. Any name will do, the empty one included. The Set keeps
// data without a copy: nobody may change it from now on. Streams and files
// that are open go on with what they were opened on.
//
// The version that Stat gives is made of the bytes (SHA-256, which Put takes
// the time to compute), so equal bytes have equal versions in every process.
func (s *Set) Put(name string, data []byte) mount.Mount {
	sum := sha256.Sum256(data)
	c := car{data: data, version: hex.EncodeToString(sum[:16]), stored: time.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cars == nil {
		s.cars = make(map[string]car)
	}
	s.cars[name] = c
	return &memory{set: s, name: name}
}

// Delete takes away what lies under name, if anything does. Its mounts stay,
// and give errors that wrap [io/fs.ErrNotExist] until the next Put.
func (s *Set) Delete(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.cars, name)
}

// Open is the opener of "mem" URLs: "mem:" and the name, percent-escaped. What
// is not escaped canonically is taken and spelt canonically by the Mount; a
// query wraps [mount.ErrURL]. The name need not be in the set yet. An error does
// not repeat the URL, which may hold a credential that does not belong there.
func (s *Set) Open(url string) (mount.Mount, error) {
	name, ok := strings.CutPrefix(url, "mem:")
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with \"mem:\"", mount.ErrURL)
	}
	if i := strings.IndexAny(name, "?#"); i >= 0 {
		return nil, fmt.Errorf("%w: a %q in a name is written %%%X", mount.ErrURL, name[i], name[i])
	}
	name, err := mount.UnescapePath(name)
	if err != nil {
		return nil, err
	}
	return &memory{set: s, name: name}, nil
}

// get returns what lies under name now.
func (s *Set) get(ctx context.Context, name string) (car, error) {
	if err := ctx.Err(); err != nil {
		return car{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	c, ok := s.cars[name]
	if !ok {
		return car{}, fmt.Errorf("memmount: %q: %w", name, fs.ErrNotExist)
	}
	return c, nil
}

// memory is the mount of one name.
type memory struct {
	set  *Set
	name string
}

var (
	_ mount.RangeOpener = (*memory)(nil)
	_ mount.FileOpener  = (*memory)(nil)

	_ mount.SiblingOpener = (*memory)(nil)
)

// URL implements [mount.Mount].
func (m *memory) URL() string { return "mem:" + mount.EscapePath(m.name) }

// OpenSibling implements [mount.SiblingOpener]: it is the mount of the name
// with suffix behind it.
func (m *memory) OpenSibling(suffix string) (mount.Mount, error) {
	return &memory{set: m.set, name: m.name + suffix}, nil
}

// Stat implements [mount.Mount].
func (m *memory) Stat(ctx context.Context) (mount.Stat, error) {
	c, err := m.set.get(ctx, m.name)
	if err != nil {
		return mount.Stat{}, err
	}
	return mount.Stat{Size: int64(len(c.data)), Version: c.version, ModTime: c.stored, Ranges: true}, nil
}

// Open implements [mount.Mount].
func (m *memory) Open(ctx context.Context) (io.ReadCloser, error) {
	return m.OpenRange(ctx, mount.Range{Length: -1})
}

// OpenRange implements [mount.RangeOpener].
func (m *memory) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	c, err := m.set.get(ctx, m.name)
	if err != nil {
		return nil, err
	}
	if r.Version != "" && r.Version != c.version {
		return nil, fmt.Errorf("memmount: %q: %w: it has version %s, not %s", m.name, mount.ErrChanged, c.version, r.Version)
	}
	r, err = r.Resolve(int64(len(c.data)))
	if err != nil {
		return nil, fmt.Errorf("memmount: %q: %w", m.name, err)
	}
	return &stream{ctx: ctx, data: c.data[r.Offset : r.Offset+r.Length]}, nil
}

// OpenFile implements [mount.FileOpener].
func (m *memory) OpenFile(ctx context.Context) (mount.File, error) {
	c, err := m.set.get(ctx, m.name)
	if err != nil {
		return nil, err
	}
	return file{bytes.NewReader(c.data)}, nil
}

// file reads in place. There is nothing to close.
type file struct{ data *bytes.Reader }

// ReadAt implements [io.ReaderAt].
func (f file) ReadAt(p []byte, off int64) (int, error) { return f.data.ReadAt(p, off) }

// Close implements [io.Closer].
func (f file) Close() error { return nil }

// stream reads what is left of data.
type stream struct {
	ctx    context.Context // governs this one stream, see [mount.Mount]
	data   []byte
	closed bool
}

// Read implements [io.Reader].
func (s *stream) Read(p []byte) (int, error) {
	switch err := s.ctx.Err(); {
	case s.closed:
		return 0, fs.ErrClosed
	case err != nil:
		return 0, err
	case len(s.data) == 0:
		return 0, io.EOF
	}
	n := copy(p, s.data)
	s.data = s.data[n:]
	return n, nil
}

// Close implements [io.Closer].
func (s *stream) Close() error {
	s.closed = true
	return nil
}
