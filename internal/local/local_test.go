package local

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

// fakeIndex is an index of one record that knows when it is misused: to ask it
// after it was closed would be a fault of memory in a mapped one.
type fakeIndex struct {
	pos    index.Position
	closed atomic.Int32
	abused atomic.Int32
}

func (f *fakeIndex) Find(dst []index.Position, _ multihash.Multihash, _ int) ([]index.Position, error) {
	f.use()
	return append(dst, f.pos), nil
}

func (f *fakeIndex) All() iter.Seq2[index.Record, error] {
	return func(yield func(index.Record, error) bool) {
		f.use()
		for yield(index.Record{Position: f.pos}, nil) {
			f.use()
		}
	}
}

func (f *fakeIndex) Len() int64 {
	f.use()
	return 1
}

func (f *fakeIndex) Sample(int) ([]index.Record, error) {
	f.use()
	return []index.Record{{Position: f.pos}}, nil
}

func (f *fakeIndex) use() {
	if f.closed.Load() != 0 {
		f.abused.Add(1)
	}
}

func (f *fakeIndex) Close() error {
	f.closed.Add(1)
	return nil
}

// check fails the test unless f was closed as often as closed says and never
// used afterwards.
func (f *fakeIndex) check(t *testing.T, closed int32) {
	t.Helper()
	if got := f.closed.Load(); got != closed {
		t.Fatalf("index was closed %d times, want %d", got, closed)
	}
	if n := f.abused.Load(); n != 0 {
		t.Fatalf("index was used %d times after it was closed", n)
	}
}

// fakeMount is a mount of data of which each test changes what it needs.
type fakeMount struct {
	stat    mount.Stat
	statErr error
	openErr error
	file    *fakeFile // nil: not local
	ranges  func(ctx context.Context, r mount.Range) (io.ReadCloser, error)
}

func (m *fakeMount) URL() string { return "fake:car" }

func (m *fakeMount) Stat(context.Context) (mount.Stat, error) { return m.stat, m.statErr }

func (m *fakeMount) Open(context.Context) (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

func (m *fakeMount) OpenFile(context.Context) (mount.File, error) {
	switch {
	case m.openErr != nil:
		return nil, m.openErr
	case m.file == nil:
		return nil, mount.ErrNotLocal
	}
	return m.file, nil
}

func (m *fakeMount) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	if m.ranges == nil {
		return nil, mount.ErrNoRanges
	}
	return m.ranges(ctx, r)
}

// fakeFile is a local source in memory that may be cut, may fail and may panic.
type fakeFile struct {
	data   atomic.Pointer[[]byte]
	err    error
	panics bool
	closed atomic.Int32
}

func newFakeFile(data []byte) *fakeFile {
	f := new(fakeFile)
	f.data.Store(&data)
	return f
}

func (f *fakeFile) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case f.panics:
		panic("the driver is on fire")
	case f.err != nil:
		return 0, f.err
	case f.closed.Load() != 0:
		return 0, errors.New("read of a closed file")
	}
	data := *f.data.Load()
	if off >= int64(len(data)) {
		return 0, io.EOF
	}
	n := copy(p, data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *fakeFile) Close() error {
	f.closed.Add(1)
	return nil
}

// ranges has the file answer as a source that is read by ranges.
func (f *fakeFile) ranges(_ context.Context, r mount.Range) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(f, r.Offset, r.Length)), nil
}

// opened returns a handle of id over ten bytes in memory, and its index.
func opened(tb testing.TB, id index.ID) (*Handle, *fakeIndex) {
	tb.Helper()
	var set memmount.Set
	idx := &fakeIndex{}
	h, err := Open(tb.Context(), Spec{
		Key:       shard.Key("k"),
		ID:        id,
		Mount:     set.Put("car", []byte("0123456789")),
		Source:    mount.Stat{Size: 10},
		Payload:   shard.Extent{Size: 10},
		OpenIndex: func(context.Context) (IndexFile, error) { return idx, nil },
	})
	if err != nil {
		tb.Fatal(err)
	}
	return h, idx
}
