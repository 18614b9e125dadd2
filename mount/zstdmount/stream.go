package zstdmount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/klauspost/compress/zstd"

	"github.com/dagstore/dagstore/mount"
)

// stream decodes src: frame by frame where a table says where they lie, and
// holds each against it; else all that comes.
type stream struct {
	file  file
	ctx   context.Context //nolint:containedctx // governs this one stream, see [mount.Mount]
	src   io.ReadCloser
	in    counter       // what the decoder has read of src
	dec   *zstd.Decoder // nil: nothing is left to decode
	out   int64         // bytes that were decoded
	table *table        // nil: there is none
	frame int           // of the table, under way
	start int64         // in the CAR, of what is decoded
	full  bool          // the end of src is to be reached, and the size to be held against
	size  int64         // of all; -1: unknown
	skip  int64         // bytes to decode before those that are wanted
	waste []byte        // where to
	left  int64         // bytes that are wanted; -1: all
	err   error         // how it ended
	shut  bool
}

// stream decodes all of a source.
func (f file) stream(ctx context.Context, src io.ReadCloser, known *facts) (*stream, error) {
	return begun(&stream{file: f, ctx: ctx, src: src, table: known.table, full: true, size: known.size, left: -1})
}

// part decodes from frame first on, where src begins.
func (f file) part(ctx context.Context, src io.ReadCloser, t *table, first int, r mount.Range) (*stream, error) {
	_, plain := t.at(first)
	return begun(&stream{file: f, ctx: ctx, src: src, table: t, frame: first, start: plain, skip: r.Offset - plain, left: r.Length})
}

func begun(s *stream) (*stream, error) {
	var err error
	s.in = counter{r: s.src, left: -1}
	if s.dec, err = s.file.w.decoder(); err != nil {
		return nil, errors.Join(s.file.fail(err), s.src.Close())
	}
	if s.table == nil || s.frame < s.table.frames() {
		s.openFrame()
	}
	return s, nil
}

// openFrame lets the decoder begin with what comes next.
func (s *stream) openFrame() {
	if s.table != nil {
		begin, _ := s.table.at(s.frame)
		end, _ := s.table.at(s.frame + 1)
		s.in.left = end - begin
	}
	if err := s.dec.Reset(&s.in); err != nil {
		s.err = s.reason(err)
	}
}

// Read implements [io.Reader].
func (s *stream) Read(p []byte) (int, error) {
	for {
		switch err := s.ctx.Err(); {
		case s.shut:
			return 0, fs.ErrClosed
		case s.err != nil:
			return 0, s.err
		case err != nil:
			return 0, err
		case s.left == 0 || s.dec == nil:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		n, err := s.decode(s.wanted(p))
		s.err = err
		if s.skip > 0 {
			s.skip -= int64(n)
			continue
		}
		if s.left > 0 {
			s.left -= int64(n)
		}
		if n > 0 || err != nil {
			return n, s.err
		}
	}
}

// wanted is where the next bytes are decoded to.
func (s *stream) wanted(p []byte) []byte {
	switch {
	case s.skip > 0:
		if s.waste == nil {
			s.waste = make([]byte, min(s.skip, 64<<10))
		}
		return s.waste[:min(int64(len(s.waste)), s.skip)]
	case s.left > 0:
		return p[:min(int64(len(p)), s.left)]
	}
	return p
}

// decode reads from the decoder, and goes on to the next frame.
func (s *stream) decode(p []byte) (int, error) {
	if s.table != nil && s.frame == s.table.frames() {
		return 0, s.atEnd()
	}
	n, err := s.dec.Read(p)
	s.out += int64(n)
	cfg := s.file.w.cfg
	switch {
	case s.out > cfg.MaxSize:
		return 0, s.file.fail(fmt.Errorf("%w: it holds more than MaxSize, %d bytes", ErrLimit, cfg.MaxSize))
	case s.out > freeRatio && s.out/cfg.MaxRatio > s.in.n:
		return 0, s.file.fail(fmt.Errorf("%w: %d compressed bytes hold more than MaxRatio, %d, times as many", ErrLimit, s.in.n, cfg.MaxRatio))
	case s.table != nil && s.out > s.tabled():
		return 0, s.unlikeTable()
	case s.full && s.size >= 0 && s.out > s.size:
		return 0, s.file.fail(fmt.Errorf("%w: it holds more than the %d bytes that its first frame says: pack it as one frame, or with a seek table", ErrDamaged, s.size))
	case errors.Is(err, io.EOF):
		return n, s.frameEnds()
	case err != nil:
		return n, s.reason(err)
	}
	return n, nil
}

// frameEnds is what follows when the decoder has reached an end.
func (s *stream) frameEnds() error {
	if s.in.err != nil { // the decoder takes some of them for an end
		return s.reason(s.in.err)
	}
	if s.table == nil {
		return s.atEnd()
	}
	switch {
	case s.in.left > 0:
		return s.reason(io.ErrUnexpectedEOF)
	case s.out != s.tabled():
		return s.unlikeTable()
	}
	s.frame++
	if s.frame < s.table.frames() {
		s.openFrame()
		return s.err
	}
	return nil // and the next decode is at the end
}

// tabled is what this stream shall have decoded after the frame under way.
func (s *stream) tabled() int64 {
	_, end := s.table.at(s.frame + 1)
	return end - s.start
}

func (s *stream) unlikeTable() error {
	return s.file.fail(fmt.Errorf("%w: a frame does not hold what the seek table says", ErrDamaged))
}

// atEnd is what follows after the last frame.
func (s *stream) atEnd() error {
	if !s.full {
		return s.file.fail(io.ErrUnexpectedEOF)
	}
	if s.table != nil { // the table itself is left
		s.in.left = -1
		if _, err := io.Copy(io.Discard, &s.in); err != nil {
			return s.reason(err)
		}
	}
	switch {
	case s.in.n == 0:
		return s.file.fail(fmt.Errorf("it has no frame: %w", io.ErrUnexpectedEOF))
	case s.size >= 0 && s.out != s.size:
		return s.file.fail(fmt.Errorf("%w: it holds %d bytes, not the %d that it says", ErrDamaged, s.out, s.size))
	}
	return io.EOF
}

// reason tells apart what is wrong with the frames, with their claims, and with
// the stream below.
func (s *stream) reason(err error) error {
	switch {
	case s.in.err != nil:
		return s.in.err // it names its own place
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return s.file.fail(fmt.Errorf("it ends within a frame: %w", io.ErrUnexpectedEOF))
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return s.file.fail(fmt.Errorf("%w: a frame wants a larger window than MaxWindow, %d bytes", ErrLimit, s.file.w.cfg.MaxWindow))
	}
	return s.file.fail(fmt.Errorf("%w: %w", ErrDamaged, err))
}

// Close implements [io.Closer].
func (s *stream) Close() error {
	if s.shut {
		return nil
	}
	s.shut = true
	s.file.w.giveBack(s.dec)
	s.dec = nil
	return s.src.Close()
}

// counter counts what is read through it, ends after left bytes unless left
// is -1, and remembers what was wrong.
type counter struct {
	r    io.Reader
	n    int64
	left int64
	err  error
}

// Read implements [io.Reader].
func (c *counter) Read(p []byte) (int, error) {
	if c.left == 0 {
		return 0, io.EOF
	}
	if c.left > 0 {
		p = p[:min(int64(len(p)), c.left)]
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.left > 0 {
		c.left -= int64(n)
	}
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// decoder returns one that decodes in the goroutine that reads from it.
func (w *wrapper) decoder() (*zstd.Decoder, error) {
	if d, ok := w.decoders.Get().(*zstd.Decoder); ok {
		return d, nil
	}
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(uint64(w.cfg.MaxWindow)), zstd.WithDecodeBuffersBelow(0))
}

func (w *wrapper) giveBack(d *zstd.Decoder) {
	if d != nil && d.Reset(nil) == nil {
		w.decoders.Put(d)
	}
}
