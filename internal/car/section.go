package car

import (
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/shard"
)

// MaxHead is how many bytes varint and CID of a section have at most: with
// the longest digest that is taken, 128 bytes, and every varint at its
// longest, they have 173.
const MaxHead = 9 + 4*9 + maxDigest

// maxDigest is the length of the longest identity digest, and of the longest
// digest of any hash function that go-multihash knows.
const maxDigest = 128

// longestDigest is the length of the longest digest in a CID that is a CID at
// all. No hash function has one near that length.
const longestDigest = 1024

// uvarint reads an unsigned varint as multiformats defines it: at most nine
// bytes, and as few as possible. n is its length; 0 if b ends before it does.
func uvarint(b []byte) (v uint64, n int, problem string) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1, ""
	}
	if len(b) > 1 && b[1]-1 < 0x7f {
		return uint64(b[0]&0x7f) | uint64(b[1])<<7, 2, ""
	}
	for i, c := range b {
		switch {
		case i == 9 || i == 8 && c >= 0x80:
			return 0, 0, "varint of more than nine bytes"
		case c >= 0x80:
			v |= uint64(c&0x7f) << (7 * i)
		case c == 0:
			return 0, 0, "varint is not in its shortest form"
		default:
			return v | uint64(c)<<(7*i), i + 1, ""
		}
	}
	return 0, 0, ""
}

// cidParts says where the parts of a CID lie.
type cidParts struct {
	mh, digest int // where these begin
	len        int // of the CID
	code       uint64
}

// A cidProblem is why bytes are no CID that can be used.
type cidProblem uint8

const (
	cidGood  cidProblem = iota
	cidShort            // the bytes end before the CID does
	cidBad              // no CID begins like this
)

// parseCID reads the CID that b begins with. size is how long b would be if
// all of it were there: the digest may lie beyond len(b), but not beyond size.
// If the bytes that say so are missing, the CID is short.
func parseCID(b []byte, size int64) (p cidParts, problem cidProblem, detail string) {
	if len(b) > 1 && b[0] == multihash.SHA2_256 && b[1] == 32 {
		p = cidParts{mh: 0, digest: 2, len: 34, code: multihash.SHA2_256}
		if size < 34 {
			return p, cidShort, "CIDv0"
		}
		return p, cidGood, ""
	}
	if len(b) >= 4 && b[0] == 1 && b[1]|b[2]|b[3] < 0x80 && size >= 4+int64(b[3]) {
		// Every varint has one byte: nearly all CIDs there are.
		return cidParts{mh: 2, digest: 4, len: 4 + int(b[3]), code: uint64(b[2])}, cidGood, ""
	}
	if len(b) == 1 && size > 1 && b[0] == multihash.SHA2_256 {
		return p, cidShort, "CID" // of which version cannot be told
	}
	var fields [4]uint64 // version, codec, hash function, digest length
	pos := 0
	for i := range fields {
		if i == 2 {
			p.mh = pos
		}
		v, n, bad := uvarint(b[pos:])
		switch {
		case bad != "":
			return p, cidBad, bad
		case n == 0:
			return p, cidShort, "CID"
		case i == 0 && v != 1:
			return p, cidBad, "no such version of CID"
		}
		fields[i] = v
		pos += n
	}
	p.digest, p.code = pos, fields[2]
	if fields[3] > uint64(size)-uint64(pos) {
		return p, cidShort, "digest"
	}
	if fields[3] > longestDigest {
		return p, cidBad, "digest of more than 1024 bytes"
	}
	p.len = pos + int(fields[3])
	return p, cidGood, ""
}

// ParseSection reads the head of a section out of buf, whose first byte is at
// offset in the payload: what a scan would have emitted. buf should have
// [MaxHead] bytes, or fewer where the payload ends; the data need not be in
// it. limit is as [Limits.Section]. CID of the Section is a part of buf.
//
// An error is a [*shard.Fault] with that offset, or wraps [io.ErrUnexpectedEOF]
// if buf ends before the head does.
func ParseSection(offset int64, buf []byte, limit int64) (Section, error) {
	limit = orDefault(limit, DefaultSection)
	fault := func(kind shard.FaultKind, detail string) (Section, error) {
		return Section{}, &shard.Fault{Kind: kind, Offset: offset, Detail: detail}
	}
	size, n, bad := uvarint(buf)
	switch {
	case bad != "":
		return fault(shard.BadSection, "length: "+bad)
	case n == 0:
		return Section{}, errHead(offset)
	case size == 0:
		return fault(shard.BadSection, "null padding in place of a section")
	case size > uint64(limit):
		return fault(shard.BadSection, overLimit(size, limit))
	}
	id := buf[n:]
	whole := int64(len(id)) >= int64(size)
	id = id[:min(int64(len(id)), int64(size))]
	p, problem, detail := parseCID(id, int64(size))
	switch {
	case problem == cidBad:
		return fault(shard.BadCID, detail)
	case problem == cidShort && (whole || len(id) >= MaxHead || detail == "digest" || detail == "CIDv0"):
		return fault(shard.BadSection, "section ends inside its "+detail)
	case problem == cidShort:
		return Section{}, errHead(offset)
	}
	var h hashes
	if problem := h.digestProblem(p.code, p.len-p.digest); problem != hashGood {
		return fault(shard.BadCID, problem.detail(p.code, p.len-p.digest))
	}
	if p.len > len(id) {
		return Section{}, errHead(offset)
	}
	return makeSection(offset, n, id[:p.len], int64(size), p), nil
}

func errHead(offset int64) error {
	return fmt.Errorf("car: head of the section at offset %d: %w", offset, io.ErrUnexpectedEOF)
}

func makeSection(offset int64, varint int, id []byte, size int64, p cidParts) Section {
	return Section{
		Offset: offset,
		Head:   varint + p.len,
		Size:   size - int64(p.len),
		CID:    id,
		Code:   p.code,
		mh:     p.mh,
		digest: p.digest,
	}
}

func overLimit(size uint64, limit int64) string {
	return fmt.Sprintf("length of %d bytes, the most is %d", size, limit)
}

// toCID returns id as a CID, undefined if it is none.
func toCID(id []byte) cid.Cid {
	c, err := cid.Cast(id)
	if err != nil {
		return cid.Undef
	}
	return c
}
