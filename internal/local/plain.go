package local

import (
	"context"
	"os"
)

// A plainFile is a [mount.File] that is a file of the system and no more: its
// bytes at every offset are what its ReadAt gives. Only one that says so itself
// is read past its own ReadAt, since a file may be wrapped by something that
// changes what is read.
type plainFile interface {
	Plain() *os.File // nil: it is none after all
}

// plainOf prepares reads past all that a read of a file goes through otherwise:
// after a system call every return from a function is one that the processor
// did not foresee, and together they cost a good part of what the read does.
func plainOf(s source) plain {
	if f, ok := s.(*fileSource); ok {
		if p, ok := f.file.(plainFile); ok {
			return newPlain(p.Plain())
		}
	}
	return plain{}
}

// ReadWhole fills p from off in the source, as ReadAt does, if that can be done
// at once and in the cheapest way; if not it returns false, and ReadAt tells
// why. It needs a pin. A source that is not local is not asked.
func (h *Handle) ReadWhole(ctx context.Context, p []byte, off int64) bool {
	if !h.plain.can() {
		if !h.Local() {
			return false
		}
		n, err := h.ReadAt(ctx, p, off)
		return n == len(p) && err == nil
	}
	if h.Err() != nil || off < 0 || int64(len(p)) > h.Size()-off || !h.plain.read(p, off) {
		return false
	}
	if h.count != nil {
		h.count(len(p))
	}
	return true
}
