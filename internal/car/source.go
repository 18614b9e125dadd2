package car

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/dagstore/dagstore/shard"
)

const (
	bufferSize       = 1 << 20
	headerBufferSize = 64 << 10 // for a header alone; longer ones pass through it

	// A body of which at least this much is not in the buffer is jumped over
	// where the source allows it. Below, reading on is as cheap as a seek.
	jumpMin = 128 << 10
	jumpFar = 64 << 10 // where to hop costs a request

	// The first read and the one after a jump are short, because another jump
	// may follow; each further one is four times as long.
	firstRead = 4 << 10

	progressStep = 1 << 20
)

// A source is a window that moves forward over an io.Reader.
type source struct {
	ctx  context.Context //nolint:containedctx // a source lives for one call only
	r    io.Reader
	at   io.ReaderAt // nil: r is a stream
	base int64       // where r stood at the beginning, in at
	size int64       // -1: not known

	buf    []byte
	lo, hi int   // what is buffered: buf[lo:hi]
	off    int64 // of buf[lo], from the beginning
	read   int   // how much to ask for next, if no more is needed
	hop    bool  // no reads ahead: what follows is not wanted
	jump   int64 // what is jumped over from so many bytes on
	eof    bool  // nothing follows buf[hi-1]
	err    error // sticky

	pipe *pipeline // nil, or what still needs what was buffered

	progress func(int64)
	reported int64
}

func newSource(ctx context.Context, r io.Reader, opt Options, buffer int) *source {
	s := &source{ctx: ctx, r: r, size: opt.Size, progress: opt.Progress, read: buffer, jump: jumpMin}
	if opt.Size <= 0 {
		s.size = -1
	} else if opt.Size < int64(buffer) {
		// Small CARs come by the million: they pay for what they are.
		buffer = max(int(opt.Size), minBuffer)
	}
	s.buf = make([]byte, buffer)

	// Files, sections of files and bytes in memory. A pipe is an *os.File too,
	// and says here that it cannot seek.
	if seeker, ok := r.(io.Seeker); ok {
		if at, ok := r.(io.ReaderAt); ok {
			if base, err := seeker.Seek(0, io.SeekCurrent); err == nil {
				s.at, s.base = at, base
				if !opt.Verify { // nothing is jumped over
					s.read, s.hop = firstRead, opt.Hop && !opt.Far
				}
				switch {
				case s.hop:
					s.jump = 2
				case opt.Hop:
					s.jump = jumpFar
				}
			}
		}
	}
	return s
}

// minBuffer holds whatever is peeked at.
const minBuffer = max(MaxHead, maxRoot, sniffLen)

// peek returns what is buffered, at least n bytes of it unless the source
// ends before. n must be at most minBuffer.
func (s *source) peek(n int) ([]byte, error) {
	if s.hi-s.lo < n && !s.eof {
		if err := s.fill(n); err != nil {
			return nil, err
		}
	}
	return s.buf[s.lo:s.hi], nil
}

// advance passes over n buffered bytes.
func (s *source) advance(n int) {
	s.lo += n
	s.off += int64(n)
}

// skip passes over n bytes, buffered or not. If the source ends before these
// do it returns errCut.
func (s *source) skip(n int64) error {
	buffered := int64(s.hi - s.lo)
	if n <= buffered {
		s.advance(int(n))
		return nil
	}
	s.advance(int(buffered))
	n -= buffered
	if n > math.MaxInt64-s.base-s.off {
		return errCut // no source is as long as that
	}
	if s.at != nil && n >= s.jump && !s.eof {
		// All but the last byte: that it can be read shows that the others
		// are there, which the success of a seek does not.
		s.off += n - 1
		n = 1
		s.lo, s.read = s.hi, firstRead
	}
	for n > 0 {
		b, err := s.peek(1)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return errCut
		}
		step := min(n, int64(len(b)))
		s.advance(int(step))
		n -= step
	}
	return nil
}

// errCut is returned where the source ends too early for what is being read.
// It never leaves the package: who knows what was cut makes it a Fault.
var errCut = errors.New("cut short")

// fill reads until n bytes are buffered or the source ends.
func (s *source) fill(n int) error {
	if s.err != nil {
		return s.err
	}
	if err := s.ctx.Err(); err != nil {
		s.err = err
		return err
	}
	s.report(false)
	if err := s.makeRoom(n); err != nil {
		s.err = err
		return err
	}
	want := s.lo + n
	for stuck := 0; s.hi < want && !s.eof; {
		got, err := s.readSome(s.buf[s.hi:min(max(want, s.hi+s.read), len(s.buf))])
		s.hi += got
		switch {
		case err == io.EOF: //nolint:errorlint // a Reader ends with io.EOF itself; one that is wrapped is a failure
			s.eof = true
		case err != nil:
			s.err = s.failed(err)
			return s.err
		case got > 0:
			stuck = 0
		default:
			if stuck++; stuck == 100 {
				s.err = s.failed(io.ErrNoProgress)
				return s.err
			}
		}
	}
	if !s.hop {
		s.read = min(4*s.read, len(s.buf))
	}
	return nil
}

// makeRoom makes room for n bytes, those that are buffered included.
func (s *source) makeRoom(n int) error {
	if s.pipe != nil && s.pipe.holds() {
		if len(s.buf)-s.hi >= max(n-(s.hi-s.lo), turnMin) {
			return nil
		}
		return s.turn()
	}
	s.moveTo(s.buf)
	return nil
}

// turn goes on in another buffer, so that this one stays as it is.
func (s *source) turn() error {
	buf, err := s.pipe.turn()
	if err != nil {
		return err
	}
	s.moveTo(buf)
	return nil
}

// moveTo has what is buffered at the beginning of buf.
func (s *source) moveTo(buf []byte) {
	s.hi = copy(buf, s.buf[s.lo:s.hi])
	s.lo, s.buf = 0, buf
}

// readSome reads once, no further than the size of the source.
func (s *source) readSome(p []byte) (n int, err error) {
	pos := s.off + int64(s.hi-s.lo)
	if s.size >= 0 {
		left := s.size - pos
		if left <= 0 {
			return 0, io.EOF
		}
		p = p[:min(int64(len(p)), left)]
	}
	if s.at != nil {
		n, err = s.at.ReadAt(p, s.base+pos)
	} else {
		n, err = s.r.Read(p)
	}
	if err == io.EOF && pos+int64(n) < s.size { //nolint:errorlint // a Reader ends with io.EOF itself
		err = s.short(pos, n)
	}
	return n, err
}

// short is the error of a read at pos that came upon the end after n bytes,
// before the size of the source. After a jump the end may lie anywhere before.
func (s *source) short(pos int64, n int) error {
	if s.at != nil && n == 0 {
		return fmt.Errorf("it has nothing there, and should have %d bytes: %w", s.size, io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("it ends after %d of %d bytes: %w", pos+int64(n), s.size, io.ErrUnexpectedEOF)
}

// failed says that and where r failed. A source that knows better than "cannot
// be read" what is wrong with it is believed.
func (s *source) failed(err error) error {
	pos := s.off + int64(s.hi-s.lo)
	for _, known := range []error{
		context.Canceled, context.DeadlineExceeded,
		shard.ErrSource, shard.ErrStalled, shard.ErrChanged, shard.ErrDenied, shard.ErrQuota,
	} {
		if errors.Is(err, known) {
			return fmt.Errorf("car: reading at offset %d: %w", pos, err)
		}
	}
	return fmt.Errorf("%w: at offset %d: %w", shard.ErrSource, pos, err)
}

// ended returns an error if the source goes on behind the size that it
// should have: it grew, or was another than announced. Only who has come to
// that size can tell.
func (s *source) ended() error {
	if s.size < 0 || s.off+int64(s.hi-s.lo) != s.size {
		return nil
	}
	var one [1]byte
	for range 100 {
		var n int
		var err error
		if s.at != nil {
			n, err = s.at.ReadAt(one[:], s.base+s.size)
		} else {
			n, err = s.r.Read(one[:])
		}
		switch {
		case n > 0:
			return fmt.Errorf("%w: it goes on after its %d bytes", shard.ErrChanged, s.size)
		case err == io.EOF:
			return nil
		case err != nil:
			return s.failed(err)
		}
	}
	return s.failed(io.ErrNoProgress)
}

// report tells the progress, now or if enough has come together.
func (s *source) report(now bool) {
	if s.progress == nil {
		return
	}
	if done := s.off; done-s.reported >= progressStep || now && done > s.reported {
		s.reported = done
		s.progress(done)
	}
}
