package blocks

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
)

// countMount is on this machine, and counts what is read of it.
type countMount struct {
	mount.Mount
	reads, bytes atomic.Int64
}

func (m *countMount) OpenFile(ctx context.Context) (mount.File, error) {
	f, err := mount.OpenFile(ctx, m.Mount)
	return countFile{f, m}, err
}

type countFile struct {
	mount.File
	m *countMount
}

func (f countFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.reads.Add(1)
	f.m.bytes.Add(int64(len(p)))
	return f.File.ReadAt(p, off)
}

// TestABlockIsOneReadOfItsLength: and what is no more than a question about it
// is none, open or not, asked of one shard or of all.
func TestABlockIsOneReadOfItsLength(t *testing.T) {
	blocks := append(cartest.Random(1, 50, 700), mixed()...)
	data := cartest.V2(cartest.V1(nil, blocks), cartest.Container{})
	var set memmount.Set
	m := &countMount{Mount: set.Put("car", data)}
	s := newStore(t, 10)
	sh := s.addMount(m, data, false)
	nothing := func([]byte) error { return nil }
	check := func(t *testing.T, r *Reader) {
		ctx := t.Context()
		for _, b := range blocks {
			pos := sh.index.pos[string(b.CID.Hash())][0]
			for name, do := range map[string]struct {
				reads int64
				call  func() error
			}{
				"Get":  {1, func() error { _, err := r.Get(ctx, b.CID, Options{}); return err }},
				"View": {1, func() error { return r.View(ctx, b.CID, Options{}, nothing) }},
				"Size": {0, func() error { _, err := r.Size(ctx, b.CID, Options{}); return err }},
				"Has":  {0, func() error { _, err := r.Has(ctx, b.CID, Options{}); return err }},
			} {
				m.reads.Store(0)
				m.bytes.Store(0)
				if err := do.call(); err != nil {
					t.Fatal(err)
				}
				if n, size := m.reads.Load(), m.bytes.Load(); n != do.reads || size != n*(int64(pos.Head)+pos.Size) {
					t.Errorf("%s of %v: %d reads of %d bytes in all, want %d of %d and %d",
						name, b.CID, n, size, do.reads, pos.Head, pos.Size)
				}
			}
		}
	}
	t.Run("all", func(t *testing.T) { check(t, s.reader()) })
	h := s.hold(sh)
	t.Run("all, open", func(t *testing.T) { check(t, s.reader()) })
	t.Run("one", func(t *testing.T) { check(t, readerOf(h, s.config())) })
}
