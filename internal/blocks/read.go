package blocks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// headGuess is how much is read where the index does not know how long a
// section is. Most blocks below it then come with one read.
const headGuess = 4 << 10

// read reads the section at pos and returns its data, compared with l.cid. An
// error that is of these bytes is a [*shard.Fault].
func (l *lookup) read(h *local.Handle, pos index.Position) ([]byte, error) {
	data, err := l.readOnce(h, pos)
	if l.again(h, err) {
		data, err = l.readOnce(h, pos)
	}
	return data, err
}

// again says whether err is of bytes that were read ahead, and forgets these:
// they may have been spoilt on their way, and would be wrong each time.
func (l *lookup) again(h *local.Handle, err error) bool {
	var fault *shard.Fault
	if !l.ahead || !errors.As(err, &fault) {
		return false
	}
	l.ahead = false
	l.r.ahead.distrust(h)
	return true
}

func (l *lookup) readOnce(h *local.Handle, pos index.Position) ([]byte, error) {
	if pos.Size < 0 || pos.Head <= 0 {
		return l.readUnsized(h, pos)
	}
	if err := l.bounds(h, pos); err != nil {
		return nil, err
	}
	buf := l.alloc(pos.Head + int(pos.Size))
	if err := l.readFull(h, buf, pos.Offset); err != nil {
		return nil, err
	}
	return l.check(h, pos, buf)
}

// readUnsized reads a section of which only the offset is known.
func (l *lookup) readUnsized(h *local.Handle, pos index.Position) ([]byte, error) {
	sec, have, err := l.readHead(h, pos)
	if err != nil {
		return nil, err
	}
	defer have.free()
	pos.Head, pos.Size = sec.Head, sec.Size
	if err := l.bounds(h, pos); err != nil {
		return nil, err
	}
	buf := l.alloc(pos.Head + int(pos.Size))
	n := copy(buf, have.b)
	if err := l.readFull(h, buf[n:], pos.Offset+int64(n)); err != nil {
		return nil, err
	}
	return l.check(h, pos, buf)
}

// readHead reads the beginning of the section at pos. The buffer, which the
// caller frees, holds what was read, and the CID of the Section.
func (l *lookup) readHead(h *local.Handle, pos index.Position) (car.Section, *buffer, error) {
	n := min(headGuess, payloadSize(h)-pos.Offset)
	if pos.Offset < 0 || n <= 0 {
		return car.Section{}, nil, l.badEntry(h, pos, "it lies past the end of the payload")
	}
	buf := newBuffer(int(n))
	if err := l.readFull(h, buf.b, pos.Offset); err != nil {
		buf.free()
		return car.Section{}, nil, err
	}
	sec, err := l.parse(h, pos, buf.b)
	if err != nil {
		buf.free()
		return car.Section{}, nil, err
	}
	return sec, buf, nil
}

// check compares a whole section with the index and with the CID that was
// asked for, and returns its data.
func (l *lookup) check(h *local.Handle, pos index.Position, buf []byte) ([]byte, error) {
	sec, err := l.parse(h, pos, buf)
	if err != nil {
		return nil, err
	}
	if sec.Head != pos.Head || sec.Size != pos.Size {
		return nil, l.badEntry(h, pos, fmt.Sprintf("the section has %d bytes of head and %d of data, the index says %d and %d",
			sec.Head, sec.Size, pos.Head, pos.Size))
	}
	data := buf[sec.Head:]
	if l.opts.Unchecked {
		return data, nil
	}
	return data, car.Check(l.cid, h.Payload().Offset+pos.Offset, data)
}

// parse reads the head of the section at pos, and sees to it that the block is
// the one that was asked for, by its own account.
func (l *lookup) parse(h *local.Handle, pos index.Position, buf []byte) (car.Section, error) {
	sec, err := car.ParseSection(pos.Offset, buf[:min(len(buf), car.MaxHead)], h.Limits().Section)
	switch {
	case err != nil:
		return sec, l.noSection(h, pos, err)
	case !bytes.Equal(sec.Multihash(), l.mh):
		return sec, l.badEntry(h, pos, fmt.Sprintf("the section there is of multihash %x", []byte(sec.Multihash())))
	}
	return sec, nil
}

// noSection is the fault of an entry that leads to where no section begins.
func (l *lookup) noSection(h *local.Handle, pos index.Position, err error) *shard.Fault {
	detail := "no section begins there"
	var fault *shard.Fault
	if errors.As(err, &fault) && fault.Detail != "" {
		detail += ": " + fault.Detail
	}
	return l.badEntry(h, pos, detail)
}

// bounds refuses a section that is longer than is allowed, or than the
// payload, before memory is made for it: what an index says is a claim.
// A section of no more than limit bytes with CID has no more of data.
func (l *lookup) bounds(h *local.Handle, pos index.Position) error {
	limit := h.Limits().Section
	switch {
	case limit == 0:
		limit = car.DefaultSection
	case limit < 0:
		limit = math.MaxInt64
	}
	rest := payloadSize(h) - pos.Offset
	switch {
	case pos.Offset < 0 || int64(pos.Head) > rest || pos.Size > rest-int64(pos.Head): // no sum: it could overflow
		return l.badEntry(h, pos, fmt.Sprintf("its %d bytes of head and %d of data reach past the end of the payload", pos.Head, pos.Size))
	case pos.Size > limit:
		return &shard.Fault{
			Kind: shard.BadSection, Offset: h.Payload().Offset + pos.Offset, CID: l.asked(),
			Detail: fmt.Sprintf("%d bytes of data, the most is %d", pos.Size, limit),
		}
	}
	return nil
}

// payloadSize is how long the payload is; what a record says of it may be more
// than the file has.
func payloadSize(h *local.Handle) int64 {
	p := h.Payload()
	rest := h.Size() - p.Offset
	if p.Size > 0 {
		return min(p.Size, rest)
	}
	return rest
}

func (l *lookup) badEntry(h *local.Handle, pos index.Position, detail string) *shard.Fault {
	return &shard.Fault{
		Kind: shard.BadEntry, Offset: h.Payload().Offset + pos.Offset, CID: l.asked(), Detail: detail,
	}
}

// readFull fills buf from off in the payload. It is within the source, as
// bounds has seen, so that an end in between is a change.
func (l *lookup) readFull(h *local.Handle, buf []byte, off int64) error {
	if h.Local() {
		return l.readDirect(h, buf, off)
	}
	kept, err := l.r.ahead.read(l.ctx, h, buf, off, payloadSize(h), func(p []byte, off int64) error {
		return l.readDirect(h, p, off)
	})
	l.ahead = l.ahead || kept
	return err
}

func (l *lookup) readDirect(h *local.Handle, buf []byte, off int64) error {
	n, err := h.ReadAt(l.ctx, buf, h.Payload().Offset+off)
	switch {
	case n == len(buf):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %d bytes came instead of %d", shard.ErrSource, n, len(buf))
	default:
		return err
	}
}

// alloc returns n bytes for a section: new ones if they are the caller's to
// keep, pooled ones if they are not.
func (l *lookup) alloc(n int) []byte {
	if !l.pooled {
		return make([]byte, n)
	}
	l.buf.free()
	l.buf = newBuffer(n)
	return l.buf.b
}
