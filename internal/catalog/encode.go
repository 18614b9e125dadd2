package catalog

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/shard"
)

// The format of a record's value; docs/format/catalog.md draws it. Numbers of
// the fixed part are little-endian, fields are tag, length, bytes by rising
// tag, and a field that says nothing is left out.
const (
	recordVersion = 1

	offVersion  = 0
	offState    = 1
	offIntent   = 2
	offFlags    = 3
	offRevision = 4
	offSeq      = 12
	offIndex    = 20
	headSize    = 24
	crcSize     = 4
)

const (
	flagVerify = 1 << iota
	flagPin
	flagDiscard
	flagTrailing
	flagIndexer // there is a field tagIndexer, and who does not know it cannot index the shard
	flagInline  // there is a field tagInline, and who does not know it looks for a file
	flagKept    // there is a field tagKept, and who does not know it would leave the copy behind

	knownFlags = flagVerify | flagPin | flagDiscard | flagTrailing | flagIndexer | flagInline | flagKept
)

// Tags are never used for anything else again.
const (
	tagURL = iota + 1
	tagRegistered
	tagChanged
	tagLabels
	tagPiece
	tagIndex
	tagCAR
	tagRoots
	tagSourceVersion
	tagSourceTime
	tagVerified
	tagFaults
	tagFaulty
	tagFailure
	tagIndexer
	tagPolicy
	tagCopy
	tagInline
	tagIndexURL
	tagClaim
	tagServe
	tagKept
	tagPieceAt

	lastTag = tagPieceAt
)

// castagnoli is the table of the checksum; hash/crc32 makes it once and has
// the processor's instruction do the work where there is one.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checksum covers the key too, so that a value under another key is damage.
func checksum(key shard.Key, body []byte) uint32 {
	var buf [64]byte
	sum := uint32(0)
	for k := string(key); len(k) > 0; {
		n := copy(buf[:], k)
		sum = crc32.Update(sum, castagnoli, buf[:n])
		k = k[n:]
	}
	return crc32.Update(sum, castagnoli, body)
}

// A head is what a batch must know of the record that it replaces.
type head struct {
	revision uint64
	intent   Intent
	seq      uint64 // of the intent; 0 if there is none
	index    index.ID
	kept     uint32 // the copy; 0 if there is none
	piece    string // what its piece is found by; "" if it claims none
}

// appendRecord appends the value of r to dst. seq is the number of its intent.
func appendRecord(dst []byte, r *Record, seq uint64) ([]byte, error) {
	if err := r.validate(); err != nil {
		return dst, err
	}
	start := len(dst)
	dst = appendHead(dst, r, seq)
	dst = appendGiven(dst, r)
	dst = appendFound(dst, r)
	if r.Failure != nil {
		dst = appendField(dst, tagFailure, func(b []byte) []byte { return appendFailure(b, r.Failure) })
	}
	dst = appendText(dst, tagIndexer, r.Indexer)
	if r.Policy != PolicyAuto {
		dst = append(dst, tagPolicy, 1, byte(r.Policy))
	}
	dst = appendText(dst, tagCopy, r.Copy)
	if r.Index.Data != nil {
		dst = binary.AppendUvarint(append(dst, tagInline), uint64(len(r.Index.Data)))
		dst = append(dst, r.Index.Data...)
	}
	dst = appendText(dst, tagIndexURL, r.IndexURL)
	if r.Claim != NoClaim {
		dst = append(dst, tagClaim, 1, byte(r.Claim))
	}
	if r.Serve != shard.Auto {
		dst = append(dst, tagServe, 1, byte(r.Serve))
	}
	if r.Kept.ID != 0 {
		dst = appendField(dst, tagKept, func(b []byte) []byte {
			b = binary.LittleEndian.AppendUint32(b, r.Kept.ID)
			b = binary.AppendVarint(b, r.Kept.Size)
			return appendTime(b, r.Kept.At)
		})
	}
	dst = appendPieceTime(dst, r)
	dst = append(dst, r.unknown...)
	dst = binary.LittleEndian.AppendUint32(dst, checksum(r.Key, dst[start:]))
	if n := len(dst) - start; n > MaxRecord {
		return dst[:start], fmt.Errorf("%w: shard %q: record has %d bytes, the most is %d",
			ErrInvalid, string(r.Key), n, MaxRecord)
	}
	return dst, nil
}

func appendHead(dst []byte, r *Record, seq uint64) []byte {
	var flags byte
	for _, f := range [...]struct {
		on  bool
		bit byte
	}{
		{r.Verify, flagVerify}, {r.Pin, flagPin}, {r.Discard, flagDiscard}, {r.Trailing, flagTrailing},
		{r.Indexer != "", flagIndexer}, {r.Index.Data != nil, flagInline}, {r.Kept.ID != 0, flagKept},
	} {
		if f.on {
			flags |= f.bit
		}
	}
	dst = append(dst, recordVersion, byte(r.State), byte(r.Intent), flags)
	dst = binary.LittleEndian.AppendUint64(dst, r.Revision)
	dst = binary.LittleEndian.AppendUint64(dst, seq)
	return binary.LittleEndian.AppendUint32(dst, uint32(r.Index.ID))
}

// appendGiven appends what the user said.
func appendGiven(dst []byte, r *Record) []byte {
	dst = appendText(dst, tagURL, r.URL)
	dst = appendTimeField(dst, tagRegistered, r.Registered)
	dst = appendTimeField(dst, tagChanged, r.Changed)
	if len(r.Labels) > 0 {
		dst = appendField(dst, tagLabels, func(b []byte) []byte {
			for _, name := range slices.Sorted(maps.Keys(r.Labels)) {
				b = appendString(b, name)
				b = appendString(b, r.Labels[name])
			}
			return b
		})
	}
	if r.Piece.Defined() {
		dst = appendText(dst, tagPiece, r.Piece.KeyString())
	}
	return dst
}

// appendFound appends what indexing found.
func appendFound(dst []byte, r *Record) []byte {
	if r.Index.Length != 0 || r.Index.CRC != 0 {
		dst = appendField(dst, tagIndex, func(b []byte) []byte {
			b = binary.AppendVarint(b, r.Index.Length)
			return binary.LittleEndian.AppendUint32(b, r.Index.CRC)
		})
	}
	car := [...]int64{
		int64(r.Version), int64(r.RootCount), r.Bytes, r.Payload.Offset, r.Payload.Size, r.Sections, r.Multihashes,
	}
	if car != [len(car)]int64{} {
		dst = appendField(dst, tagCAR, func(b []byte) []byte {
			for _, n := range car {
				b = binary.AppendVarint(b, n)
			}
			return b
		})
	}
	if len(r.Roots) > 0 {
		dst = appendField(dst, tagRoots, func(b []byte) []byte {
			for _, c := range r.Roots {
				b = appendString(b, c.KeyString())
			}
			return b
		})
	}
	dst = appendText(dst, tagSourceVersion, r.SourceVersion)
	dst = appendTimeField(dst, tagSourceTime, r.SourceTime)
	if r.Verified != shard.Unverified || !r.VerifiedAt.IsZero() {
		dst = appendField(dst, tagVerified, func(b []byte) []byte {
			b = append(b, byte(r.Verified))
			return appendTime(b, r.VerifiedAt)
		})
	}
	if r.Faults != 0 {
		dst = appendField(dst, tagFaults, func(b []byte) []byte { return binary.AppendVarint(b, r.Faults) })
	}
	if len(r.Faulty) > 0 {
		dst = appendField(dst, tagFaulty, func(b []byte) []byte {
			for i := range r.Faulty {
				b = appendFault(b, &r.Faulty[i])
			}
			return b
		})
	}
	return dst
}

// appendField appends a field whose length is known only when it was written:
// nearly all are shorter than 128 bytes, so one byte is kept for the length
// and the rest moved when that was not enough.
func appendField(dst []byte, tag byte, body func([]byte) []byte) []byte {
	dst = append(dst, tag, 0)
	start := len(dst)
	dst = body(dst)
	n := len(dst) - start
	if n < 0x80 {
		dst[start-1] = byte(n)
		return dst
	}
	var size [binary.MaxVarintLen64]byte
	return slices.Replace(dst, start-1, start, size[:binary.PutUvarint(size[:], uint64(n))]...)
}

func appendText(dst []byte, tag byte, s string) []byte {
	if s == "" {
		return dst
	}
	return appendString(append(dst, tag), s)
}

func appendTimeField(dst []byte, tag byte, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	return appendField(dst, tag, func(b []byte) []byte { return appendTime(b, t) })
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

// appendTime appends seconds and nanoseconds since 1970; the zero time is
// nothing at all, so it stands last wherever it stands.
func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	dst = binary.AppendVarint(dst, t.Unix())
	return binary.AppendUvarint(dst, uint64(t.Nanosecond()))
}

// appendFault appends kind, offset, block and detail.
func appendFault(dst []byte, f *shard.Fault) []byte {
	dst = append(dst, byte(f.Kind))
	dst = binary.AppendVarint(dst, f.Offset)
	if f.CID.Defined() {
		dst = appendString(dst, f.CID.KeyString())
	} else {
		dst = append(dst, 0)
	}
	return appendString(dst, clip(f.Detail, maxText))
}

// castCID is the inverse of CID.KeyString.
func castCID(b []byte) (cid.Cid, error) {
	if len(b) == 0 {
		return cid.Undef, nil
	}
	return cid.Cast(b)
}
