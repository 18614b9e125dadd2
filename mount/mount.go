package mount

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"
)

// A Mount is one CAR at one place. It holds no connection and needs no close.
// Its methods may be called by any number of goroutines at once. A method
// returns soon after its context ends, with the error of the context, and so
// does a Read or ReadAt that is waiting on what it returned. A panic fails the
// shard, not the process.
//
// Package mounttest checks all of this.
type Mount interface {
	// URL is where the CAR lies: absolute, canonical, percent-escaped, equal
	// for equal places, without credentials and without a fragment (but that
	// of a [Section]). Opening it again gives a Mount with the same URL and
	// the same source after any restart, whatever bytes the path is made of.
	// It does no I/O and never changes.
	URL() string

	// Stat asks the source how it is now. A source that is absent gives an
	// error that wraps [io/fs.ErrNotExist].
	Stat(ctx context.Context) (Stat, error)

	// Open streams the source from its first byte. The stream is for one
	// goroutine; ctx governs it until it is closed, which its caller must do.
	// It ends with io.EOF only when the source says that it ends there: a
	// stream that breaks off gives io.ErrUnexpectedEOF.
	Open(ctx context.Context) (io.ReadCloser, error)
}

// Stat is how a source is at one moment.
type Stat struct {
	Size    int64     // bytes; -1: unknown until read
	Version string    // ETag, object version, …: changes when the bytes do; "" where there is none
	ModTime time.Time // zero where there is none
	Ranges  bool      // [OpenRange] will work
	Waits   bool      // bytes must be made ready first (tape, unsealing): fetched by a pool apart
}

// A RangeOpener can begin anywhere. It is optional; callers use [OpenRange].
type RangeOpener interface {
	Mount

	// OpenRange streams the bytes of r under the rules of Open. A source whose
	// version is not r.Version gives [ErrChanged]; one that answers with other
	// bytes than asked gives an error, never those bytes. A range that is not
	// wholly in the source gives [ErrRange], or io.ErrUnexpectedEOF where only
	// the stream can tell; one of no bytes, at its very end too, is empty. A
	// source that turns out not to offer ranges gives [ErrNoRanges].
	OpenRange(ctx context.Context, r Range) (io.ReadCloser, error)
}

// A FileOpener lies on this machine: its bytes are read in place, at random,
// without a wait that would need a context. It is optional; callers use
// [OpenFile].
type FileOpener interface {
	Mount

	// OpenFile opens the source. The File stays what it is when another file
	// takes its place, so a Stat that comes after OpenFile and has the version
	// that is wanted speaks of the bytes that the File holds.
	OpenFile(ctx context.Context) (File, error)
}

// A File is a local source. ReadAt may be called by many goroutines at once.
// Close waits for none of them; its caller sees to that.
type File interface {
	io.ReaderAt
	io.Closer
}

// A Range is Length bytes from Offset on, of one version of a source.
type Range struct {
	Offset, Length int64  // Length -1: to the end
	Version        string // as [Stat] gave it; "" for any
}

// Resolve returns r with its length in bytes, for a source of size bytes. It
// wraps [ErrRange] if r is not wholly in it.
func (r Range) Resolve(size int64) (Range, error) {
	if err := r.check(); err != nil {
		return r, err
	}
	if r.Length == -1 && r.Offset <= size {
		r.Length = size - r.Offset
	}
	if r.Length == -1 || r.Offset+r.Length > size {
		return r, fmt.Errorf("%w: %s, the source has %d bytes", ErrRange, r, size)
	}
	return r, nil
}

// check refuses what is a range of no source at all.
func (r Range) check() error {
	if r.Offset < 0 || r.Length < -1 || r.Offset > math.MaxInt64-max(r.Length, 0) {
		return fmt.Errorf("%w: %s", ErrRange, r)
	}
	return nil
}

// String says which bytes r is about.
func (r Range) String() string {
	if r.Length == -1 {
		return fmt.Sprintf("all bytes from offset %d on", r.Offset)
	}
	return fmt.Sprintf("%d bytes from offset %d on", r.Length, r.Offset)
}

// OpenRange streams a range of m. Without a [RangeOpener] it gives
// [ErrNoRanges]: it never reads and throws away what lies before the range.
func OpenRange(ctx context.Context, m Mount, r Range) (io.ReadCloser, error) {
	ro, ok := m.(RangeOpener)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrNoRanges, m.URL())
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return ro.OpenRange(ctx, r)
}

// OpenFile opens m in place, or gives [ErrNotLocal] if m is no [FileOpener].
func OpenFile(ctx context.Context, m Mount) (File, error) {
	fo, ok := m.(FileOpener)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrNotLocal, m.URL())
	}
	return fo.OpenFile(ctx)
}
