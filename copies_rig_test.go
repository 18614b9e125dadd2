package dagstore

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A remoteness is how the sources of a rig are that lie elsewhere. It may be
// changed at any time.
type remoteness struct {
	bytes, streams, stats atomic.Int64
	begun                 atomic.Int64 // streams from the first byte

	mu          sync.Mutex
	noRanges    bool
	unversioned bool
	sizeless    bool                                        // nobody knows how long they are
	down        error                                       // what they say instead
	fault       func(at int64) (int, error)                 // asked before each read, with the place: how much it brings at most, and what it says then; -1: as it is
	stating     func(ctx context.Context, url string) error // asked before it is told how one is
	opening     func(at int64) error                        // asked before a stream is opened
}

func (r *remoteness) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

// elsewhere has the CARs of a rig lie elsewhere.
func (r *rig) elsewhere() *remoteness {
	far := &remoteness{}
	r.mounts(func(m mount.Mount) mount.Mount {
		return remoteCAR{m.(watched).FileOpener.(mount.RangeOpener), far}
	})
	r.reopen()
	r.censused()
	return far
}

// censused waits until the store knows which copies there are. Before that nothing
// is kept of what is read: there might be no room for it.
func (r *rig) censused() {
	r.t.Helper()
	r.until("the copies are counted", func() bool { return r.store.engine.Stats().Copies.Restored })
}

// A remoteCAR is one of them.
type remoteCAR struct {
	car mount.RangeOpener
	far *remoteness
}

func (m remoteCAR) URL() string { return m.car.URL() }

func (m remoteCAR) Stat(ctx context.Context) (mount.Stat, error) {
	m.far.stats.Add(1)
	m.far.mu.Lock()
	stating := m.far.stating
	m.far.mu.Unlock()
	if stating != nil {
		if err := stating(ctx, m.URL()); err != nil {
			return mount.Stat{}, err
		}
	}
	m.far.mu.Lock()
	defer m.far.mu.Unlock()
	if m.far.down != nil {
		return mount.Stat{}, m.far.down
	}
	st, err := m.car.Stat(ctx)
	if m.far.noRanges {
		st.Ranges = false
	}
	if m.far.unversioned {
		st.Version = ""
	}
	if m.far.sizeless {
		st.Size = -1
	}
	return st, err
}

func (m remoteCAR) Open(ctx context.Context) (io.ReadCloser, error) {
	return m.open(0, func() (io.ReadCloser, error) { return m.car.Open(ctx) })
}

func (m remoteCAR) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	m.far.mu.Lock()
	none := m.far.noRanges
	m.far.mu.Unlock()
	if none {
		return nil, mount.ErrNoRanges
	}
	return m.open(r.Offset, func() (io.ReadCloser, error) { return m.car.OpenRange(ctx, r) })
}

func (m remoteCAR) open(at int64, open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	m.far.mu.Lock()
	err, opening := m.far.down, m.far.opening
	m.far.mu.Unlock()
	if err == nil && opening != nil {
		err = opening(at)
	}
	if err != nil {
		return nil, err
	}
	m.far.streams.Add(1)
	if at == 0 {
		m.far.begun.Add(1)
	}
	s, err := open()
	return &remoteStream{s, m.far, at}, err
}

type remoteStream struct {
	io.ReadCloser
	far *remoteness
	at  int64
}

func (s *remoteStream) Read(p []byte) (int, error) {
	s.far.mu.Lock()
	fault := s.far.fault
	s.far.mu.Unlock()
	if fault != nil {
		if most, err := fault(s.at); most >= 0 {
			n, end := s.ReadCloser.Read(p[:min(most, len(p))])
			if err == nil {
				err = end
			}
			s.at += int64(n)
			s.far.bytes.Add(int64(n))
			return n, err
		}
	}
	n, err := s.ReadCloser.Read(p)
	s.at += int64(n)
	s.far.bytes.Add(int64(n))
	return n, err
}

// copyBytes is how much lies in the folder of the copies, in whole blocks of 4
// KiB, and in how many files.
func copyBytes(fsys vfs.FS, dir string) (sum int64, files int) {
	names, err := fsys.List(dir)
	if err != nil {
		return 0, 0
	}
	for _, name := range names {
		path := fsys.PathJoin(dir, name)
		info, err := fsys.Stat(path)
		switch {
		case err != nil:
		case info.IsDir():
			s, n := copyBytes(fsys, path)
			sum, files = sum+s, files+n
		default:
			sum, files = sum+(info.Size()+4095)/4096*4096, files+1
		}
	}
	return sum, files
}

func (r *rig) copyBytes() (int64, int) { return copyBytes(r.disk, "store/copies") }

// copyBytesNow is how much lies there at one moment, while the store works on. A
// walk through the folder may count both what goes and what comes for it: only
// one that saw the same as the walk before it is believed.
func (r *rig) copyBytesNow() (sum int64) {
	r.t.Helper()
	before := ""
	r.until("the folder of the copies rests for a moment", func() bool {
		names := r.copyFiles()
		slices.Sort(names)
		var b strings.Builder
		sum = 0
		for _, name := range names {
			info, err := r.disk.Stat(name)
			if err != nil {
				before = ""
				return false
			}
			sum += (info.Size() + 4095) / 4096 * 4096
			fmt.Fprintln(&b, name, info.Size())
		}
		same := before == b.String()
		before = b.String()
		return same && before != "" || len(names) == 0
	})
	return sum
}

// kept checks how much of a shard is kept here, and that the disk and the figures
// say the same of all of them.
func (r *rig) kept(key shard.Key, want int64) {
	r.t.Helper()
	if in := r.info(key); in.Local.Bytes != want || in.Local.Complete != (want > 0) {
		r.t.Errorf("%q: %+v, want %d bytes", key, in.Local, want)
	}
	r.until("the figures are those of the disk", func() bool {
		sum, files := r.copyBytes()
		st := r.store.Stats()
		return st.CopyBytes == sum && st.Copies == files
	})
}

var errGone = fmt.Errorf("it is down: %w", fs.ErrNotExist)

// copyPath is where the copy of a shard lies.
func (r *rig) copyPath(key shard.Key) string {
	id := r.record(key).Kept.ID
	return r.disk.PathJoin("store", "copies", hex(byte(id)), hex8(id), "data")
}

// cut makes a file short.
func (r *rig) cut(path string) {
	r.t.Helper()
	f, err := r.disk.Create(path, "")
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := f.Write([]byte("short")); err != nil || f.Close() != nil {
		r.t.Fatal(err)
	}
}

func hex(b byte) string    { return fmt.Sprintf("%02x", b) }
func hex8(n uint32) string { return fmt.Sprintf("%08x", n) }
