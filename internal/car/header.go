package car

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/dagstore/dagstore/shard"
)

// The parts of a CARv2 before its payload.
const (
	pragmaSize   = 11
	v2HeaderSize = 40
	minData      = pragmaSize + v2HeaderSize

	fieldData  = pragmaSize + 16 // where the three offsets stand
	fieldSize  = fieldData + 8
	fieldIndex = fieldSize + 8

	fullyIndexed = 0x80 // in the first byte of the characteristics
)

// A headerReader reads all that stands before the first section.
type headerReader struct {
	src    *source
	opt    Options
	header Header

	// Of the header that is being read:
	start int64 // where it begins, its length included
	left  int64 // bytes of it that have not been read
	size  int64 // without its length
}

func (h *headerReader) read() error {
	first, err := h.src.peek(sniffLen)
	if err != nil {
		return err
	}
	other := sniff(first)
	err = h.readFirst()
	if f, ok := errors.AsType[*shard.Fault](err); ok && f.Kind == shard.BadHeader && other != "" {
		return &shard.Fault{Kind: shard.NotCAR, Detail: "it looks like " + other}
	}
	return err
}

func (h *headerReader) readFirst() error {
	version, err := h.readOne(h.src.size)
	if err != nil {
		return err
	}
	h.header.Version = version
	h.header.DataSize = h.src.size
	if version == 2 {
		if h.size != pragmaSize-1 {
			return badHeader(h.start, "version 2, but not the pragma of a CARv2")
		}
		if err := h.readContainer(); err != nil {
			return err
		}
	}
	h.header.FirstSection = h.src.off - h.header.DataOffset
	return nil
}

// readContainer reads the header of a CARv2 and that of the CARv1 inside of it.
func (h *headerReader) readContainer() error {
	b, err := h.src.peek(v2HeaderSize)
	if err != nil {
		return err
	}
	if len(b) < v2HeaderSize {
		return badHeader(pragmaSize, "the header of the CARv2 is cut short after %d of %d bytes", len(b), v2HeaderSize)
	}
	h.header.FullyIndexed = b[0]&fullyIndexed != 0
	data := binary.LittleEndian.Uint64(b[fieldData-pragmaSize:])
	size := binary.LittleEndian.Uint64(b[fieldSize-pragmaSize:])
	index := binary.LittleEndian.Uint64(b[fieldIndex-pragmaSize:])
	if err := checkContainer(data, size, index, h.src.size); err != nil {
		return err
	}
	h.header.DataOffset, h.header.DataSize, h.header.IndexOffset = int64(data), int64(size), int64(index)

	h.src.advance(v2HeaderSize)
	if err := h.src.skip(int64(data) - minData); errors.Is(err, errCut) {
		return badContainer(fieldData, "the file ends before its data at %d", data)
	} else if err != nil {
		return err
	}
	inner, err := h.readOne(int64(data + size))
	if err != nil {
		return err
	}
	if inner != 1 {
		return badContainer(int64(data), "there is a CARv%d inside of the CARv2", inner)
	}
	return nil
}

// checkContainer checks the offsets of a CARv2 against one another and the
// size of the file, -1 if that is unknown.
func checkContainer(data, size, index uint64, file int64) error {
	const most = math.MaxInt64
	end := data + size // does not wrap when it is looked at
	switch {
	case data == 0 && size == 0 && index == 0:
		return badContainer(fieldData, "all offsets are zero: it was not finished by its writer")
	case data < minData:
		return badContainer(fieldData, "data offset %d lies in the header, which has %d bytes", data, minData)
	case data >= most || file >= 0 && data > uint64(file):
		return badContainer(fieldData, "data offset %d lies behind the end of the file", data)
	case size == 0:
		return badContainer(fieldSize, "data size is zero")
	case size > most-data || file >= 0 && end > uint64(file):
		return badContainer(fieldSize, "data of %d bytes at %d goes over the end of the file", size, data)
	case index == 0:
		return nil
	case index < end:
		return badContainer(fieldIndex, "index offset %d lies before the end of the data at %d", index, end)
	case index > most || file >= 0 && index >= uint64(file):
		return badContainer(fieldIndex, "index offset %d lies behind the end of the file", index)
	}
	return nil
}

// readOne reads one header with its length and returns the version that it
// says. end is how far it may reach at most, -1 if that is unknown.
func (h *headerReader) readOne(end int64) (version int, err error) {
	h.start = h.src.off
	b, err := h.src.peek(10) // the longest varint, and one byte that makes it too long
	if err != nil {
		return 0, err
	}
	if end >= 0 && int64(len(b)) > end-h.start {
		b = b[:end-h.start]
	}
	size, n, bad := uvarint(b)
	switch {
	case len(b) == 0 && h.start == 0:
		return 0, badHeader(0, "the file is empty")
	case bad != "":
		return 0, badHeader(h.start, "length: %s", bad)
	case n == 0:
		return 0, badHeader(h.start, "it is cut short inside its length")
	case size == 0:
		return 0, badHeader(h.start, "its length is zero")
	case size > uint64(h.opt.Header):
		return 0, badHeader(h.start, "%s", overLimit(size, h.opt.Header))
	case end >= 0 && size > uint64(end-h.start-int64(n)):
		return 0, badHeader(h.start, "length of %d bytes where %d are left", size, end-h.start-int64(n))
	}
	h.src.advance(n)
	h.size, h.left = int64(size), int64(size)
	return h.readMap()
}

func badHeader(offset int64, format string, args ...any) error {
	return &shard.Fault{Kind: shard.BadHeader, Offset: offset, Detail: fmt.Sprintf(format, args...)}
}

func badContainer(offset int64, format string, args ...any) error {
	return &shard.Fault{Kind: shard.BadContainer, Offset: offset, Detail: fmt.Sprintf(format, args...)}
}
