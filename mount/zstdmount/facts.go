package zstdmount

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/dagstore/dagstore/mount"
)

// facts are what is known of one version of a source.
type facts struct {
	version string
	size    int64  // of what it holds; -1: unknown
	table   *table // nil: it has none that can be believed
}

// cost is how much memory they take, roughly.
func (f *facts) cost() int64 { return 256 + f.table.cost() }

// facts asks the source below how it is, and reads what it says of its size
// unless that is known for this version.
func (f file) facts(ctx context.Context) (mount.Stat, *facts, error) {
	if err := ctx.Err(); err != nil {
		return mount.Stat{}, nil, err
	}
	st, err := f.inner.Stat(ctx)
	if err != nil {
		return mount.Stat{}, nil, err
	}
	if _, ok := f.inner.(mount.RangeOpener); !ok {
		st.Ranges = false
	}
	url := f.inner.URL()
	if known := f.w.known.get(url, st.Version); known != nil {
		return st, known, nil
	}
	known, err := f.look(ctx, st)
	if err != nil {
		return mount.Stat{}, nil, err
	}
	if st.Version != "" {
		f.w.known.put(url, known)
	}
	return st, known, nil
}

// look reads the seek table, or else the header of the first frame. That one
// speaks for all of the source only if nothing else follows: what has no ranges
// may have a table that cannot be read, so its size is left unknown, and so is
// that of a source which is too long for one frame.
func (f file) look(ctx context.Context, st mount.Stat) (*facts, error) {
	known := &facts{version: st.Version, size: -1}
	if !st.Ranges || st.Size < 0 {
		return known, nil
	}
	t, found, err := f.readTable(ctx, st)
	if err != nil {
		return nil, err
	}
	if found { // one that does not fit the source leaves the size unknown
		if _, size := t.end(); t != nil && size <= f.w.cfg.MaxSize {
			known.table, known.size = t, size
		}
		return known, nil
	}
	head := make([]byte, min(zstd.HeaderMaxSize, st.Size))
	if err := f.readAt(ctx, st, head, 0); err != nil {
		return nil, err
	}
	var h zstd.Header
	if err := h.Decode(head); err == nil && !h.Skippable && h.HasFCS && h.FrameContentSize <= uint64(f.w.cfg.MaxSize) {
		size := int64(h.FrameContentSize)
		if st.Size <= size+size/256+64<<10 { // ZSTD_compressBound, rounded up
			known.size = size
		}
	}
	return known, nil // what is wrong with a header, a stream will tell
}

// readAt fills p from the compressed source.
func (f file) readAt(ctx context.Context, st mount.Stat, p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	src, err := mount.OpenRange(ctx, f.inner, mount.Range{Offset: off, Length: int64(len(p)), Version: st.Version})
	if err != nil {
		return err
	}
	_, err = io.ReadFull(src, p)
	if closed := src.Close(); err == nil {
		err = closed
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return f.fail(fmt.Errorf("what it says of itself: %w", err))
	}
	return nil
}
