package nodes

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/multiformats/go-multihash"
)

// A Kind is what a UnixFS node is, as its format numbers it.
type Kind uint8

// The kinds of UnixFS.
const (
	Raw Kind = iota // an old leaf of a file
	Folder
	File
	Metadata
	Symlink
	HAMT // a sharded folder, or a part of one
)

// IsFile says whether a node of this kind is bytes.
func (k Kind) IsFile() bool { return k == File || k == Raw }

// A UnixFS is what the data of a dag-pb node says. Its bytes lie in the block.
type UnixFS struct {
	Kind    Kind
	Data    []byte // of a file: its beginning; of a symlink: its target
	Size    int64  // of a file: all of it, by its own account; -1 if it does not say
	Sizes   []int64
	Fanout  uint64 // of a HAMT
	Hash    uint64 // of a HAMT
	ModTime time.Time

	over bool // it speaks of more bytes than there are
}

// ParseUnixFS reads the data of a dag-pb node. An error says that it is not
// UnixFS, which a dag-pb node need not be.
func ParseUnixFS(data []byte) (u UnixFS, err error) {
	u.Size = -1
	hasKind := false
	for len(data) > 0 {
		tag, n := binary.Uvarint(data)
		if n <= 0 {
			return u, broken("UnixFS that is cut short")
		}
		data = data[n:]
		field := tag >> 3
		var v uint64
		var body []byte
		switch tag & 7 {
		case 0:
			if v, n = binary.Uvarint(data); n <= 0 {
				return u, broken("UnixFS that is cut short")
			}
			data = data[n:]
		case 2:
			var ok bool
			if body, data, ok = sized(data); !ok {
				return u, broken("UnixFS that is cut short")
			}
		default:
			return u, broken("UnixFS with a field of tag %d", tag)
		}
		hasKind = hasKind || field == 1
		if err := u.set(tag, v, body); err != nil {
			return u, err
		}
	}
	if !hasKind {
		return u, broken("UnixFS without a type")
	}
	return u, nil
}

// set keeps a field. The mode, and what is not known, is passed by.
func (u *UnixFS) set(tag, v uint64, body []byte) error {
	switch tag {
	case 1 << 3:
		if v > uint64(HAMT) {
			return broken("UnixFS of type %d", v)
		}
		u.Kind = Kind(v)
	case 2<<3 | 2:
		u.Data = body
	case 3 << 3:
		u.Size = u.length(v)
	case 4 << 3:
		u.Sizes = append(u.Sizes, u.length(v))
	case 4<<3 | 2: // packed
		for len(body) > 0 {
			v, n := binary.Uvarint(body)
			if n <= 0 {
				return broken("UnixFS that is cut short")
			}
			body = body[n:]
			u.Sizes = append(u.Sizes, u.length(v))
		}
	case 5 << 3:
		u.Hash = v
	case 6 << 3:
		u.Fanout = v
	case 8<<3 | 2:
		u.setTime(body)
	}
	return nil
}

// length notes what cannot be one: that is no less a file, of which [UnixFS.Measure]
// tells.
func (u *UnixFS) length(v uint64) int64 {
	u.over = u.over || v > math.MaxInt64
	return int64(v & math.MaxInt64)
}

// setTime reads a time of modification: seconds, and nanoseconds in 4 bytes.
// One that is no time is none.
func (u *UnixFS) setTime(b []byte) {
	var seconds int64
	var nanos uint32
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return
		}
		b = b[n:]
		switch tag {
		case 1 << 3:
			v, n := binary.Uvarint(b)
			if n <= 0 {
				return
			}
			seconds, b = int64(v), b[n:]
		case 2<<3 | 5:
			if len(b) < 4 {
				return
			}
			nanos, b = binary.LittleEndian.Uint32(b), b[4:]
		default:
			return
		}
	}
	// HTTP has no times outside of the years 1 to 9999.
	if nanos < uint32(time.Second) && seconds > -62_135_596_800 && seconds < 253_402_300_800 {
		u.ModTime = time.Unix(seconds, int64(nanos)).UTC()
	}
}

// Measure holds the sizes of a file's node against its links, and returns where
// each part ends, from the beginning of the node, and so how long it is.
func (u *UnixFS) Measure(links int) (ends []int64, size int64, err error) {
	if u.over {
		return nil, 0, broken("more bytes than there are")
	}
	if len(u.Sizes) != links {
		return nil, 0, broken("%d sizes of %d parts", len(u.Sizes), links)
	}
	end := int64(len(u.Data))
	ends = u.Sizes[:len(u.Sizes):len(u.Sizes)]
	for i, part := range u.Sizes {
		if part > math.MaxInt64-end {
			return nil, 0, broken("more bytes than there are")
		}
		end += part
		ends[i] = end
	}
	if u.Size >= 0 && u.Size != end {
		return nil, 0, broken("a file that says that it has %d bytes, its parts have %d", u.Size, end)
	}
	return ends, end, nil
}

// IsShard says whether a HAMT is one that names can be found in.
func (u *UnixFS) IsShard() bool {
	return u.Kind == HAMT && u.Hash == multihash.MURMUR3X64_64 &&
		u.Fanout >= 2 && u.Fanout <= maxFanout && u.Fanout&(u.Fanout-1) == 0
}
