package cartest

import (
	"bytes"
	"math"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/shard"
)

// A Bad is a CAR with damaged framing, and what must be said about it.
type Bad struct {
	Class, Name string // B1 to B31, and what it is of that class
	Data        []byte
	Kind        shard.FaultKind
	Offset      int64 // of the faulty element
	Limits      Limits
}

// Limits are those under which a CAR is bad. 0 is the default of the parser, -1
// is none.
type Limits struct {
	Header, Section int64
	NoPadding       bool
}

// The limits by default: a header and a section of 32 MiB, a million roots.
const (
	mostBytes = 32 << 20
	mostRoots = 1_000_000
)

// Out of these are the damaged ones made.
var (
	goodBlocks = Good()
	goodHeader = AppendHeader(nil, []cid.Cid{goodBlocks[0].CID})
	goodV1     = V1([]cid.Cid{goodBlocks[0].CID}, goodBlocks)
)

// Good returns the three blocks of which damaged CARs are made: those that lie
// in front of the damage, and on both sides of a faulty block, are of them.
func Good() []Block { return Random(1, 3, 50) }

const noHeader = "\xa2\x65roots\x80\x67version\x01" // a header without its length

// header returns a CARv1 header with this CBOR.
func header(parts ...string) []byte {
	cbor := strings.Join(parts, "")
	return append(AppendUvarint(nil, uint64(len(cbor))), cbor...)
}

func join(parts ...any) []byte {
	var out []byte
	for _, p := range parts {
		switch p := p.(type) {
		case []byte:
			out = append(out, p...)
		case string:
			out = append(out, p...)
		}
	}
	return out
}

// Bads returns made files of classes B1 to B16, B23 to B25 and B31,
// each with the beginning of its faulty element.
func Bads() []Bad {
	return slices.Concat(badHeaders(), badCBOR(), badSections(), badContainers(), badEnds(), notCARs())
}

func badHeaders() []Bad {
	const h = shard.BadHeader
	root := string(AppendLink(nil, goodBlocks[0].CID.Bytes()))
	return []Bad{
		{Class: "B1", Name: "nothing", Data: nil, Kind: h},
		{Class: "B1", Name: "null bytes only", Data: make([]byte, 4096), Kind: h},
		{Class: "B2", Name: "in the length", Data: []byte{0xba}, Kind: h},
		{Class: "B2", Name: "in the map", Data: goodHeader[:10], Kind: h},
		{Class: "B2", Name: "in a root", Data: goodHeader[:len(goodHeader)-12], Kind: h},
		{Class: "B2", Name: "in the container", Data: V2(goodV1, Container{})[:40], Kind: h, Offset: 11},
		{Class: "B2", Name: "inside of the container", Data: V2(goodV1[:10], Container{}), Kind: h, Offset: 51},
		{Class: "B3", Name: "ten bytes", Data: join("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", noHeader), Kind: h},
		{Class: "B3", Name: "endless", Data: bytes.Repeat([]byte{0x80}, 5000), Kind: h},
		{Class: "B4", Name: "one byte too long", Data: join("\x91\x00", noHeader), Kind: h},
		{Class: "B4", Name: "many bytes too long", Data: join("\x91\x80\x80\x80\x00", noHeader), Kind: h},
		{Class: "B5", Name: "one over the default", Data: AppendUvarint(nil, mostBytes+1), Kind: h},
		{Class: "B5", Name: "all of an int64", Data: join(AppendUvarint(nil, math.MaxInt64), noHeader), Kind: h},
		{Class: "B5", Name: "one over what was set", Data: header(noHeader), Kind: h, Limits: Limits{Header: 16}},
		{Class: "B6", Name: "one byte", Data: join("\x12", noHeader), Kind: h},
		{Class: "B6", Name: "30 MiB", Data: join(AppendUvarint(nil, 30<<20), noHeader), Kind: h},
		{Class: "B8", Name: "version 0", Data: header("\xa2\x65roots\x80\x67version\x00"), Kind: h, Offset: 17},
		{Class: "B8", Name: "version 3", Data: header("\xa2\x65roots\x80\x67version\x03"), Kind: h, Offset: 17},
		{Class: "B8", Name: "a huge version", Data: header("\xa2\x65roots\x80\x67version\x1b\xff\xff\xff\xff\xff\xff\xff\xff"), Kind: h, Offset: 17},
		{Class: "B8", Name: "a negative version", Data: header("\xa2\x65roots\x80\x67version\x20"), Kind: h, Offset: 17},
		{Class: "B8", Name: "version 2 with roots", Data: header("\xa2\x65roots\x80\x67version\x02"), Kind: h},
		{Class: "B10", Name: "one over the default", Data: header("\xa2\x65roots\x9a\x00\x0f\x42\x41\x67version\x01"), Kind: h, Offset: 8},
		{Class: "B10", Name: "2^64-1", Data: header("\xa2\x65roots\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), Kind: h, Offset: 8},
		{Class: "B10", Name: "more than the header holds", Data: header("\xa2\x65roots\x9a\x00\x0f\x42\x40", root), Kind: h, Offset: 8},
		{Class: "B10", Name: "a million and one that are there", Data: manyRoots(mostRoots + 1), Kind: h, Offset: 11},
		{Class: "B10", Name: "the last of a million is bad", Data: lastRootBad(), Kind: h, Offset: int64(len(lastRootBad())) - 17},
		{Class: "B11", Name: "no CID under the tag", Data: header("\xa2\x65roots\x81\xd8\x2a\x43\x00\x05\x06\x67version\x01"), Kind: h, Offset: 9},
		{Class: "B11", Name: "a CID and more", Data: header("\xa2\x65roots\x81\xd8\x2a\x46\x00\x01\x55\x00\x00\x00\x67version\x01"), Kind: h, Offset: 9},
		{Class: "B11", Name: "no null byte", Data: header("\xa2\x65roots\x81\xd8\x2a\x44\x01\x55\x00\x00\x67version\x01"), Kind: h, Offset: 9},
		{Class: "B11", Name: "another tag", Data: header("\xa2\x65roots\x81\xd8\x2b\x45\x00\x01\x55\x00\x00\x67version\x01"), Kind: h, Offset: 9},
		{Class: "B11", Name: "a text", Data: header("\xa2\x65roots\x82", root, "\x63cid\x67version\x01"), Kind: h, Offset: int64(9 + len(root))},
		{Class: "B11", Name: "of 20 MiB", Data: header("\xa2\x65roots\x81\xd8\x2a\x5a\x01\x40\x00\x00", strings.Repeat("\x00", 20<<20)), Kind: h, Offset: 12},
	}
}

// tinyRoot is the shortest root there is: an identity CID of nothing.
const tinyRoot = "\xd8\x2a\x45\x00\x01\x55\x00\x00"

func manyRoots(n int) []byte {
	return header("\xa2\x65roots", string(AppendCBORHead(nil, 4, uint64(n))), strings.Repeat(tinyRoot, n), "\x67version\x01")
}

func lastRootBad() []byte {
	good := manyRoots(mostRoots)
	good[len(good)-17] = 0xd9 // the tag of the last root
	return good
}

func badCBOR() []Bad {
	const h = shard.BadHeader
	nested := func(open string, n int) []byte { return header("\xa2\x65roots", strings.Repeat(open, n)) }
	return []Bad{
		{Class: "B7", Name: "no CBOR", Data: join("\x08", "deadbeef"), Kind: h},
		{Class: "B7", Name: "trailing bytes", Data: header(noHeader, "\x00"), Kind: h},
		{Class: "B7", Name: "a list", Data: header("\x82\x65roots\x80"), Kind: h},
		{Class: "B7", Name: "three keys", Data: header("\xa3\x65roots\x80\x67version\x01\x61a\x01"), Kind: h},
		{Class: "B7", Name: "version twice", Data: header("\xa2\x67version\x01\x67version\x01"), Kind: h, Offset: 11},
		{Class: "B7", Name: "roots twice", Data: header("\xa2\x65roots\x80\x65roots\x80"), Kind: h, Offset: 9},
		{Class: "B7", Name: "an unknown key", Data: header("\xa2\x65toots\x80\x67version\x01"), Kind: h, Offset: 2},
		{Class: "B7", Name: "a key that is a number", Data: header("\xa2\x01\x80\x67version\x01"), Kind: h, Offset: 2},
		{Class: "B7", Name: "a long key", Data: header("\xa2\x7a\x00\xff\xff\xff", strings.Repeat("k", 99)), Kind: h, Offset: 2},
		{Class: "B7", Name: "a map of indefinite length", Data: header("\xbf\x65roots\x80\x67version\x01\xff"), Kind: h, Offset: 1},
		{Class: "B7", Name: "a list of indefinite length", Data: header("\xa2\x65roots\x9f\xff\x67version\x01"), Kind: h, Offset: 8},
		{Class: "B7", Name: "a number not in its shortest form", Data: header("\xa2\x65roots\x80\x67version\x18\x01"), Kind: h, Offset: 17},
		{Class: "B7", Name: "a length not in its shortest form", Data: header("\xa2\x65roots\x9b\x00\x00\x00\x00\x00\x01\x00\x00"), Kind: h, Offset: 8},
		{Class: "B7", Name: "no version", Data: header("\xa1\x65roots\x80"), Kind: h},
		{Class: "B7", Name: "no roots", Data: header("\xa1\x67version\x01"), Kind: h},
		{Class: "B7", Name: "roots that are a number", Data: header("\xa2\x65roots\x01\x67version\x01"), Kind: h, Offset: 8},
		{Class: "B7", Name: "it ends inside", Data: header("\xa2\x65roots\x80\x67vers"), Kind: h},
		{Class: "B9", Name: "lists", Data: nested("\x81", 100_000), Kind: h, Offset: 11},
		{Class: "B9", Name: "maps", Data: nested("\xa1\x61a", 1_000_000), Kind: h, Offset: 11 - 1 + 1},
		{Class: "B9", Name: "tags", Data: nested("\xc6", 100_000), Kind: h, Offset: 10},
		{Class: "B9", Name: "lists in place of the header", Data: header(strings.Repeat("\x81", 20_000)), Kind: h},
	}
}

func badSections() []Bad {
	const s = shard.BadSection
	end := int64(len(goodV1))
	id := goodBlocks[0].CID.Bytes()
	after := func(parts ...any) []byte { return append(bytes.Clone(goodV1), join(parts...)...) }
	length := func(n uint64) []byte { return AppendUvarint(nil, n) }
	inV2 := func(parts ...any) []byte {
		return V2(after(parts...), Container{Index: []byte{0x81, 0x08}})
	}
	return []Bad{
		{Class: "B12", Name: "one over the default", Data: after(length(mostBytes+1), id), Kind: s, Offset: end},
		{Class: "B12", Name: "one over what was set", Data: after(), Kind: s, Offset: int64(len(goodHeader)), Limits: Limits{Section: 85}},
		{Class: "B12", Name: "in a container", Data: inV2(length(1<<40), id), Kind: s, Offset: end + 51},
		{Class: "B13", Name: "one byte", Data: goodV1[:end-1], Kind: s, Offset: end - 87},
		{Class: "B13", Name: "20 MiB", Data: after(length(20<<20), id, "data"), Kind: s, Offset: end},
		{Class: "B13", Name: "cut in the length", Data: after("\x80"), Kind: s, Offset: end},
		{Class: "B13", Name: "cut in the CID", Data: after("\x60", id[:20]), Kind: s, Offset: end},
		{Class: "B13", Name: "over the data of a container", Data: inV2("\x60", id), Kind: s, Offset: end + 51},
		{Class: "B13", Name: "without limits", Data: after(length(math.MaxInt64), id), Kind: s, Offset: end, Limits: Limits{Section: -1}},
		{Class: "B14", Name: "2^63", Data: after(length(1<<63), id), Kind: s, Offset: end},
		{Class: "B14", Name: "2^64-1", Data: after(length(math.MaxUint64), id), Kind: s, Offset: end},
		{Class: "B14", Name: "2^63-1", Data: after(length(math.MaxInt64), id), Kind: s, Offset: end},
		{Class: "B15", Name: "forbidden at the end", Data: after("\x00"), Kind: shard.BadEnd, Offset: end, Limits: Limits{NoPadding: true}},
		{Class: "B15", Name: "forbidden in between", Data: after("\x00", goodV1[len(goodHeader):]), Kind: shard.BadEnd, Offset: end, Limits: Limits{NoPadding: true}},
		{Class: "B15", Name: "forbidden in a container", Data: inV2("\x00\x00"), Kind: shard.BadEnd, Offset: end + 51, Limits: Limits{NoPadding: true}},
		{Class: "B16", Name: "CIDv0", Data: after("\x21", "\x12\x20", id[:31]), Kind: s, Offset: end},
		{Class: "B16", Name: "CIDv1", Data: after("\x23", id[:35], "more of the file, which is not of this section"), Kind: s, Offset: end},
		{Class: "B16", Name: "one byte", Data: after("\x01\x01", goodV1[len(goodHeader):]), Kind: s, Offset: end},
		{Class: "B16", Name: "a digest of 2^62", Data: after("\x40\x01\x55\x12", length(1<<62), strings.Repeat("x", 100)), Kind: s, Offset: end},
		{Class: "B4", Name: "length of a section", Data: after("\xa4\x00", id), Kind: s, Offset: end},
		{Class: "B3", Name: "length of a section", Data: after(strings.Repeat("\x81", 50)), Kind: s, Offset: end},
	}
}

func badContainers() []Bad {
	const c = shard.BadContainer
	size := uint64(len(goodV1))
	v2 := func(data, size, index uint64) []byte {
		return append(AppendV2Header(nil, [16]byte{}, data, size, index), goodV1...)
	}
	self := V2(V2(goodV1, Container{}), Container{})
	return []Bad{
		{Class: "B23", Name: "data at 0", Data: v2(0, size, 0), Kind: c, Offset: 27},
		{Class: "B23", Name: "data at 50", Data: v2(50, size, 0), Kind: c, Offset: 27},
		{Class: "B23", Name: "data at a negative offset", Data: v2(math.MaxUint64-50, size, 0), Kind: c, Offset: 27},
		{Class: "B23", Name: "data behind the end", Data: v2(1<<40, size, 0), Kind: c, Offset: 27},
		{Class: "B23", Name: "data at the last offset there is", Data: v2(math.MaxInt64, size, 0), Kind: c, Offset: 27},
		{Class: "B23", Name: "not finished", Data: v2(0, 0, 0), Kind: c, Offset: 27},
		{Class: "B23", Name: "no data", Data: v2(51, 0, 0), Kind: c, Offset: 35},
		{Class: "B23", Name: "index in the header", Data: v2(51, size, 30), Kind: c, Offset: 43},
		{Class: "B23", Name: "index in the data", Data: v2(51, size, 60), Kind: c, Offset: 43},
		{Class: "B23", Name: "index at a negative offset", Data: v2(51, size, 1<<63), Kind: c, Offset: 43},
		{Class: "B23", Name: "it contains itself", Data: self, Kind: c, Offset: 51},
		{Class: "B24", Name: "one byte", Data: v2(51, size+1, 0), Kind: c, Offset: 35},
		{Class: "B24", Name: "negative", Data: v2(51, math.MaxUint64, 0), Kind: c, Offset: 35},
		{Class: "B24", Name: "2^63-1", Data: v2(51, math.MaxInt64, 0), Kind: c, Offset: 35},
	}
}

func badEnds() []Bad {
	end := int64(len(goodV1))
	v2 := V2(goodV1, Container{})
	return []Bad{
		{Class: "B25", Name: "text after a CARv1", Data: join(goodV1, "and so on"), Kind: shard.BadSection, Offset: end},
		{Class: "B25", Name: "after the data of a container", Data: join(v2, "and so on"), Kind: shard.BadEnd, Offset: end + 51},
		{Class: "B25", Name: "after padding after a container", Data: join(v2, make([]byte, 99), "x"), Kind: shard.BadEnd, Offset: end + 51 + 99},
	}
}

func notCARs() []Bad {
	tar := make([]byte, 1536)
	copy(tar, "blocks/bafkqaaa")
	copy(tar[257:], "ustar\x0000")
	out := []Bad{{Class: "B31", Name: "tar", Data: tar}}
	for name, data := range map[string]string{
		"gzip":             "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xf3\x48\xcd\xc9",
		"zstd":             "\x28\xb5\x2f\xfd\x04\x58\x59\x00\x00",
		"xz":               "\xfd7zXZ\x00\x00\x04\xe6\xd6\xb4\x46",
		"zip":              "PK\x03\x04\x14\x00\x00\x00\x08\x00",
		"HTML":             "<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>",
		"HTML with spaces": "\r\n  <html lang=en><body>Please log in</body></html>",
		"XML":              `<?xml version="1.0" encoding="UTF-8"?><Error><Code>NoSuchKey</Code></Error>`,
		"JSON":             `{"message": "not found"}`,
		"text":             "404 page not found\n",
		"LFS pointer":      "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
		"a bare index":     "\x81\x08\x01\x00\x00\x00\x12\x00\x00\x00\x00\x00\x00\x00",
		"PDF":              "%PDF-1.7\n%\xe2\xe3\xcf\xd3\n",
	} {
		out = append(out, Bad{Class: "B31", Name: name, Data: []byte(data)})
	}
	for i := range out {
		out[i].Kind = shard.NotCAR
	}
	return out
}

// A Faulty is a CAR of which single blocks cannot be used.
type Faulty struct {
	Class, Name string
	Sections    []byte // what lies between two good blocks
	Kind        shard.FaultKind
	Faults      int
	Verify      bool // found only if bodies are hashed
	Emitted     int  // out of Sections
}

// CAR returns the CARv1 with a good block before the sections and one behind.
// They begin at offset at.
func (f *Faulty) CAR() (data []byte, at int64) {
	data = AppendBlock(bytes.Clone(goodHeader), goodBlocks[0])
	at = int64(len(data))
	return AppendBlock(append(data, f.Sections...), goodBlocks[2]), at
}

// Faulties returns made files of classes B17 to B22, and of B25 what is one.
func Faulties() []Faulty {
	digest := strings.Repeat("d", 32)
	section := func(parts ...any) []byte { return AppendSection(nil, join(parts...), []byte("data")) }
	id := goodBlocks[1].CID.Bytes()
	twice := join(AppendBlock(nil, goodBlocks[1]), AppendBlock(nil, goodBlocks[1]))
	lie := func(b Block) []byte {
		return AppendSection(nil, b.CID.Bytes(), append([]byte("x"), b.Data[1:]...))
	}
	blake3 := func(n int) []byte {
		mh, _ := multihash.Sum([]byte("data"), multihash.BLAKE3, n)
		return cid.NewCidV1(cid.Raw, mh).Bytes()
	}
	const bad = shard.BadCID
	return []Faulty{
		{Class: "B17", Name: "version 0", Sections: section("\x00\x55\x12\x20", digest), Kind: bad, Faults: 1},
		{Class: "B17", Name: "version 2", Sections: section("\x02\x55\x12\x20", digest), Kind: bad, Faults: 1},
		{Class: "B17", Name: "a codec that is no varint", Sections: section("\x01", strings.Repeat("\xff", 12), "\x12\x20", digest), Kind: bad, Faults: 1},
		{Class: "B17", Name: "a hash code in a long form", Sections: section("\x01\x55\x92\x00\x20", digest), Kind: bad, Faults: 1},
		{Class: "B17", Name: "a hundred of them", Sections: bytes.Repeat([]byte("\x03\x07\x07\x07"), 100), Kind: bad, Faults: 100},
		{Class: "B18", Name: "129 bytes", Sections: section("\x01\x55\x00\x81\x01", strings.Repeat("i", 129)), Kind: bad, Faults: 1},
		{Class: "B18", Name: "20 kB", Sections: section("\x01\x55\x00\xa0\x9c\x01", strings.Repeat("i", 20_000)), Kind: bad, Faults: 1},
		{Class: "B18", Name: "128 bytes, which may be", Sections: AppendBlock(nil, Identity(make([]byte, 128))), Emitted: 1},
		{Class: "B18", Name: "0 bytes, which may be", Sections: AppendBlock(nil, Identity(nil)), Emitted: 1},
		{Class: "B19", Name: "SHA2-256 of 31 bytes", Sections: section("\x01\x55\x12\x1f", digest), Kind: bad, Faults: 1},
		{Class: "B19", Name: "SHA2-256 of 0 bytes", Sections: section("\x01\x55\x12\x00"), Kind: bad, Faults: 1},
		{Class: "B19", Name: "SHA2-512 of 32 bytes", Sections: section("\x01\x55\x13\x20", digest), Kind: bad, Faults: 1},
		{Class: "B19", Name: "BLAKE3 of one byte", Sections: section(blake3(1)), Kind: bad, Faults: 1},
		{Class: "B19", Name: "BLAKE3 of 64 bytes, which may be", Sections: section(blake3(64)), Emitted: 1},
		{Class: "B19", Name: "BLAKE2b of one byte", Sections: AppendBlock(nil, Sum(cid.Raw, multihash.BLAKE2B_MIN, []byte("data"))), Kind: bad, Faults: 1},
		{Class: "B19", Name: "BLAKE2b of 19 bytes", Sections: AppendBlock(nil, Sum(cid.Raw, multihash.BLAKE2B_MIN+18, []byte("data"))), Kind: bad, Faults: 1},
		{Class: "B19", Name: "BLAKE2b of 20 bytes, which may be", Sections: AppendBlock(nil, Sum(cid.Raw, multihash.BLAKE2B_MIN+19, []byte("data"))), Emitted: 1},
		{Class: "B20", Name: "a checksum", Sections: AppendBlock(nil, Sum(cid.Raw, multihash.MURMUR3X64_64, []byte("data"))), Kind: bad, Faults: 1},
		{Class: "B20", Name: "no such function", Sections: section("\x01\x55\xff\xff\x03\x20", digest), Kind: bad, Faults: 1},
		{Class: "B20", Name: "a named one that nobody has", Sections: section("\x01\x55\x92\x20\x20", digest), Kind: bad, Faults: 1},
		{Class: "B21", Name: "other bytes", Sections: lie(goodBlocks[1]), Kind: shard.BadHash, Faults: 1, Verify: true},
		{Class: "B21", Name: "fewer bytes", Sections: AppendSection(nil, id, []byte("data")), Kind: shard.BadHash, Faults: 1, Verify: true},
		{Class: "B21", Name: "no bytes", Sections: AppendSection(nil, id, nil), Kind: shard.BadHash, Faults: 1, Verify: true},
		{Class: "B21", Name: "of an identity CID", Sections: lie(Identity([]byte("same length"))), Kind: shard.BadHash, Faults: 1, Verify: true},
		{Class: "B21", Name: "many of an identity CID", Sections: AppendSection(nil, Identity([]byte("short")).CID.Bytes(), make([]byte, 3<<20)), Kind: shard.BadHash, Faults: 1, Verify: true},
		{Class: "B21", Name: "of a large block", Sections: lie(RandomBlock(5, 0, 3<<20)), Kind: shard.BadHash, Faults: 1, Verify: true},
		{Class: "B21", Name: "of BLAKE2b", Sections: lie(Sum(cid.DagCBOR, multihash.BLAKE2B_MIN+31, make([]byte, 99))), Kind: shard.BadHash, Faults: 1, Verify: true},
		// The header of a CAR that was appended has a length like a section, so
		// the framing holds; what is in it is no CID.
		{Class: "B25", Name: "a CARv1 after a CARv1", Sections: goodV1, Kind: bad, Faults: 1, Emitted: 3},
		{Class: "B22", Name: "equal bytes", Sections: twice, Emitted: 2},
		{Class: "B22", Name: "other bytes", Sections: join(twice, lie(goodBlocks[1])), Kind: shard.BadHash, Faults: 1, Emitted: 2, Verify: true},
	}
}
