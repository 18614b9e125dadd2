package car

import (
	"bytes"
	"math"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// A badFile is a CAR with damaged framing, and what must be said about it.
type badFile struct {
	class, name string
	data        []byte
	kind        shard.FaultKind
	offset      int64
	opt         Options
}

var (
	goodBlocks = cartest.Random(1, 3, 50)
	goodHeader = cartest.AppendHeader(nil, []cid.Cid{goodBlocks[0].CID})
	goodV1     = cartest.V1([]cid.Cid{goodBlocks[0].CID}, goodBlocks)
)

const noHeader = "\xa2\x65roots\x80\x67version\x01" // a header without its length

// header returns a CARv1 header with this CBOR.
func header(parts ...string) []byte {
	cbor := strings.Join(parts, "")
	return append(cartest.AppendUvarint(nil, uint64(len(cbor))), cbor...)
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

// badFiles returns the made files of classes B1 to B16, B23 to B25 and B31,
// each with the beginning of its faulty element.
func badFiles() []badFile {
	return slices.Concat(badHeaders(), badCBOR(), badSections(), badContainers(), badEnds(), notCARs())
}

func badHeaders() []badFile {
	const h = shard.BadHeader
	root := string(cartest.AppendLink(nil, goodBlocks[0].CID.Bytes()))
	return []badFile{
		{class: "B1", name: "nothing", data: nil, kind: h},
		{class: "B1", name: "null bytes only", data: make([]byte, 4096), kind: h},
		{class: "B2", name: "in the length", data: []byte{0xba}, kind: h},
		{class: "B2", name: "in the map", data: goodHeader[:10], kind: h},
		{class: "B2", name: "in a root", data: goodHeader[:len(goodHeader)-12], kind: h},
		{class: "B2", name: "in the container", data: cartest.V2(goodV1, cartest.Container{})[:40], kind: h, offset: 11},
		{class: "B2", name: "inside of the container", data: cartest.V2(goodV1[:10], cartest.Container{}), kind: h, offset: 51},
		{class: "B3", name: "ten bytes", data: join("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", noHeader), kind: h},
		{class: "B3", name: "endless", data: bytes.Repeat([]byte{0x80}, 5000), kind: h},
		{class: "B4", name: "one byte too long", data: join("\x91\x00", noHeader), kind: h},
		{class: "B4", name: "many bytes too long", data: join("\x91\x80\x80\x80\x00", noHeader), kind: h},
		{class: "B5", name: "one over the default", data: cartest.AppendUvarint(nil, DefaultHeader+1), kind: h},
		{class: "B5", name: "all of an int64", data: join(cartest.AppendUvarint(nil, math.MaxInt64), noHeader), kind: h},
		{class: "B5", name: "one over what was set", data: header(noHeader), kind: h, opt: Options{Limits: Limits{Header: 16}}},
		{class: "B6", name: "one byte", data: join("\x12", noHeader), kind: h},
		{class: "B6", name: "30 MiB", data: join(cartest.AppendUvarint(nil, 30<<20), noHeader), kind: h},
		{class: "B8", name: "version 0", data: header("\xa2\x65roots\x80\x67version\x00"), kind: h, offset: 17},
		{class: "B8", name: "version 3", data: header("\xa2\x65roots\x80\x67version\x03"), kind: h, offset: 17},
		{class: "B8", name: "a huge version", data: header("\xa2\x65roots\x80\x67version\x1b\xff\xff\xff\xff\xff\xff\xff\xff"), kind: h, offset: 17},
		{class: "B8", name: "a negative version", data: header("\xa2\x65roots\x80\x67version\x20"), kind: h, offset: 17},
		{class: "B8", name: "version 2 with roots", data: header("\xa2\x65roots\x80\x67version\x02"), kind: h},
		{class: "B10", name: "one over the default", data: header("\xa2\x65roots\x9a\x00\x0f\x42\x41\x67version\x01"), kind: h, offset: 8},
		{class: "B10", name: "2^64-1", data: header("\xa2\x65roots\x9b\xff\xff\xff\xff\xff\xff\xff\xff"), kind: h, offset: 8},
		{class: "B10", name: "more than the header holds", data: header("\xa2\x65roots\x9a\x00\x0f\x42\x40", root), kind: h, offset: 8},
		{class: "B10", name: "a million and one that are there", data: manyRoots(DefaultRoots + 1), kind: h, offset: 11},
		{class: "B10", name: "the last of a million is bad", data: lastRootBad(), kind: h, offset: int64(len(lastRootBad())) - 17},
		{class: "B11", name: "no CID under the tag", data: header("\xa2\x65roots\x81\xd8\x2a\x43\x00\x05\x06\x67version\x01"), kind: h, offset: 9},
		{class: "B11", name: "a CID and more", data: header("\xa2\x65roots\x81\xd8\x2a\x46\x00\x01\x55\x00\x00\x00\x67version\x01"), kind: h, offset: 9},
		{class: "B11", name: "no null byte", data: header("\xa2\x65roots\x81\xd8\x2a\x44\x01\x55\x00\x00\x67version\x01"), kind: h, offset: 9},
		{class: "B11", name: "another tag", data: header("\xa2\x65roots\x81\xd8\x2b\x45\x00\x01\x55\x00\x00\x67version\x01"), kind: h, offset: 9},
		{class: "B11", name: "a text", data: header("\xa2\x65roots\x82", root, "\x63cid\x67version\x01"), kind: h, offset: int64(9 + len(root))},
		{class: "B11", name: "of 20 MiB", data: header("\xa2\x65roots\x81\xd8\x2a\x5a\x01\x40\x00\x00", strings.Repeat("\x00", 20<<20)), kind: h, offset: 12},
	}
}

// tinyRoot is the shortest root there is: an identity CID of nothing.
const tinyRoot = "\xd8\x2a\x45\x00\x01\x55\x00\x00"

func manyRoots(n int) []byte {
	return header("\xa2\x65roots", string(cartest.AppendCBORHead(nil, cborArray, uint64(n))), strings.Repeat(tinyRoot, n), "\x67version\x01")
}

func lastRootBad() []byte {
	good := manyRoots(DefaultRoots)
	good[len(good)-17] = 0xd9 // the tag of the last root
	return good
}

func badCBOR() []badFile {
	const h = shard.BadHeader
	nested := func(open string, n int) []byte { return header("\xa2\x65roots", strings.Repeat(open, n)) }
	return []badFile{
		{class: "B7", name: "no CBOR", data: join("\x08", "deadbeef"), kind: h},
		{class: "B7", name: "trailing bytes", data: header(noHeader, "\x00"), kind: h},
		{class: "B7", name: "a list", data: header("\x82\x65roots\x80"), kind: h},
		{class: "B7", name: "three keys", data: header("\xa3\x65roots\x80\x67version\x01\x61a\x01"), kind: h},
		{class: "B7", name: "version twice", data: header("\xa2\x67version\x01\x67version\x01"), kind: h, offset: 11},
		{class: "B7", name: "roots twice", data: header("\xa2\x65roots\x80\x65roots\x80"), kind: h, offset: 9},
		{class: "B7", name: "an unknown key", data: header("\xa2\x65toots\x80\x67version\x01"), kind: h, offset: 2},
		{class: "B7", name: "a key that is a number", data: header("\xa2\x01\x80\x67version\x01"), kind: h, offset: 2},
		{class: "B7", name: "a long key", data: header("\xa2\x7a\x00\xff\xff\xff", strings.Repeat("k", 99)), kind: h, offset: 2},
		{class: "B7", name: "a map of indefinite length", data: header("\xbf\x65roots\x80\x67version\x01\xff"), kind: h, offset: 1},
		{class: "B7", name: "a list of indefinite length", data: header("\xa2\x65roots\x9f\xff\x67version\x01"), kind: h, offset: 8},
		{class: "B7", name: "a number not in its shortest form", data: header("\xa2\x65roots\x80\x67version\x18\x01"), kind: h, offset: 17},
		{class: "B7", name: "a length not in its shortest form", data: header("\xa2\x65roots\x9b\x00\x00\x00\x00\x00\x01\x00\x00"), kind: h, offset: 8},
		{class: "B7", name: "no version", data: header("\xa1\x65roots\x80"), kind: h},
		{class: "B7", name: "no roots", data: header("\xa1\x67version\x01"), kind: h},
		{class: "B7", name: "roots that are a number", data: header("\xa2\x65roots\x01\x67version\x01"), kind: h, offset: 8},
		{class: "B7", name: "it ends inside", data: header("\xa2\x65roots\x80\x67vers"), kind: h},
		{class: "B9", name: "lists", data: nested("\x81", 100_000), kind: h, offset: 11},
		{class: "B9", name: "maps", data: nested("\xa1\x61a", 1_000_000), kind: h, offset: 11 - 1 + 1},
		{class: "B9", name: "tags", data: nested("\xc6", 100_000), kind: h, offset: 10},
		{class: "B9", name: "lists in place of the header", data: header(strings.Repeat("\x81", 20_000)), kind: h},
	}
}

func badSections() []badFile {
	const s = shard.BadSection
	end := int64(len(goodV1))
	id := goodBlocks[0].CID.Bytes()
	after := func(parts ...any) []byte { return append(bytes.Clone(goodV1), join(parts...)...) }
	length := func(n uint64) []byte { return cartest.AppendUvarint(nil, n) }
	inV2 := func(parts ...any) []byte {
		return cartest.V2(after(parts...), cartest.Container{Index: []byte{0x81, 0x08}})
	}
	return []badFile{
		{class: "B12", name: "one over the default", data: after(length(DefaultSection+1), id), kind: s, offset: end},
		{class: "B12", name: "one over what was set", data: after(), kind: s, offset: int64(len(goodHeader)), opt: Options{Limits: Limits{Section: 85}}},
		{class: "B12", name: "in a container", data: inV2(length(1<<40), id), kind: s, offset: end + 51},
		{class: "B13", name: "one byte", data: goodV1[:end-1], kind: s, offset: end - 87},
		{class: "B13", name: "20 MiB", data: after(length(20<<20), id, "data"), kind: s, offset: end},
		{class: "B13", name: "cut in the length", data: after("\x80"), kind: s, offset: end},
		{class: "B13", name: "cut in the CID", data: after("\x60", id[:20]), kind: s, offset: end},
		{class: "B13", name: "over the data of a container", data: inV2("\x60", id), kind: s, offset: end + 51},
		{class: "B13", name: "without limits", data: after(length(math.MaxInt64), id), kind: s, offset: end, opt: Options{Limits: Limits{Section: Unlimited}}},
		{class: "B14", name: "2^63", data: after(length(1<<63), id), kind: s, offset: end},
		{class: "B14", name: "2^64-1", data: after(length(math.MaxUint64), id), kind: s, offset: end},
		{class: "B14", name: "2^63-1", data: after(length(math.MaxInt64), id), kind: s, offset: end},
		{class: "B15", name: "forbidden at the end", data: after("\x00"), kind: shard.BadEnd, offset: end, opt: Options{Limits: Limits{NoPadding: true}}},
		{class: "B15", name: "forbidden in between", data: after("\x00", goodV1[len(goodHeader):]), kind: shard.BadEnd, offset: end, opt: Options{Limits: Limits{NoPadding: true}}},
		{class: "B15", name: "forbidden in a container", data: inV2("\x00\x00"), kind: shard.BadEnd, offset: end + 51, opt: Options{Limits: Limits{NoPadding: true}}},
		{class: "B16", name: "CIDv0", data: after("\x21", "\x12\x20", id[:31]), kind: s, offset: end},
		{class: "B16", name: "CIDv1", data: after("\x23", id[:35], "more of the file, which is not of this section"), kind: s, offset: end},
		{class: "B16", name: "one byte", data: after("\x01\x01", goodV1[len(goodHeader):]), kind: s, offset: end},
		{class: "B16", name: "a digest of 2^62", data: after("\x40\x01\x55\x12", length(1<<62), strings.Repeat("x", 100)), kind: s, offset: end},
		{class: "B4", name: "length of a section", data: after("\xa4\x00", id), kind: s, offset: end},
		{class: "B3", name: "length of a section", data: after(strings.Repeat("\x81", 50)), kind: s, offset: end},
	}
}

func badContainers() []badFile {
	const c = shard.BadContainer
	size := uint64(len(goodV1))
	v2 := func(data, size, index uint64) []byte {
		return append(cartest.AppendV2Header(nil, [16]byte{}, data, size, index), goodV1...)
	}
	self := cartest.V2(cartest.V2(goodV1, cartest.Container{}), cartest.Container{})
	return []badFile{
		{class: "B23", name: "data at 0", data: v2(0, size, 0), kind: c, offset: 27},
		{class: "B23", name: "data at 50", data: v2(50, size, 0), kind: c, offset: 27},
		{class: "B23", name: "data at a negative offset", data: v2(math.MaxUint64-50, size, 0), kind: c, offset: 27},
		{class: "B23", name: "data behind the end", data: v2(1<<40, size, 0), kind: c, offset: 27},
		{class: "B23", name: "data at the last offset there is", data: v2(math.MaxInt64, size, 0), kind: c, offset: 27},
		{class: "B23", name: "not finished", data: v2(0, 0, 0), kind: c, offset: 27},
		{class: "B23", name: "no data", data: v2(51, 0, 0), kind: c, offset: 35},
		{class: "B23", name: "index in the header", data: v2(51, size, 30), kind: c, offset: 43},
		{class: "B23", name: "index in the data", data: v2(51, size, 60), kind: c, offset: 43},
		{class: "B23", name: "index at a negative offset", data: v2(51, size, 1<<63), kind: c, offset: 43},
		{class: "B23", name: "it contains itself", data: self, kind: c, offset: 51},
		{class: "B24", name: "one byte", data: v2(51, size+1, 0), kind: c, offset: 35},
		{class: "B24", name: "negative", data: v2(51, math.MaxUint64, 0), kind: c, offset: 35},
		{class: "B24", name: "2^63-1", data: v2(51, math.MaxInt64, 0), kind: c, offset: 35},
	}
}

func badEnds() []badFile {
	end := int64(len(goodV1))
	v2 := cartest.V2(goodV1, cartest.Container{})
	return []badFile{
		{class: "B25", name: "text after a CARv1", data: join(goodV1, "and so on"), kind: shard.BadSection, offset: end},
		{class: "B25", name: "after the data of a container", data: join(v2, "and so on"), kind: shard.BadEnd, offset: end + 51},
		{class: "B25", name: "after padding after a container", data: join(v2, make([]byte, 99), "x"), kind: shard.BadEnd, offset: end + 51 + 99},
	}
}

func notCARs() []badFile {
	tar := make([]byte, 1536)
	copy(tar, "blocks/bafkqaaa")
	copy(tar[257:], "ustar\x0000")
	out := []badFile{{class: "B31", name: "tar", data: tar}}
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
		out = append(out, badFile{class: "B31", name: name, data: []byte(data)})
	}
	for i := range out {
		out[i].kind = shard.NotCAR
	}
	return out
}

// A faultyFile is a CAR of which single blocks cannot be used.
type faultyFile struct {
	class, name string
	sections    []byte // what lies between two good blocks
	kind        shard.FaultKind
	faults      int
	verify      bool // found only if bodies are hashed
	emitted     int  // out of sections
}

func faultyFiles() []faultyFile {
	digest := strings.Repeat("d", 32)
	section := func(parts ...any) []byte { return cartest.AppendSection(nil, join(parts...), []byte("data")) }
	id := goodBlocks[1].CID.Bytes()
	twice := join(cartest.AppendBlock(nil, goodBlocks[1]), cartest.AppendBlock(nil, goodBlocks[1]))
	lie := func(b cartest.Block) []byte {
		return cartest.AppendSection(nil, b.CID.Bytes(), append([]byte("x"), b.Data[1:]...))
	}
	blake3 := func(n int) []byte {
		mh, _ := multihash.Sum([]byte("data"), multihash.BLAKE3, n)
		return cid.NewCidV1(cid.Raw, mh).Bytes()
	}
	const bad = shard.BadCID
	return []faultyFile{
		{class: "B17", name: "version 0", sections: section("\x00\x55\x12\x20", digest), kind: bad, faults: 1},
		{class: "B17", name: "version 2", sections: section("\x02\x55\x12\x20", digest), kind: bad, faults: 1},
		{class: "B17", name: "a codec that is no varint", sections: section("\x01", strings.Repeat("\xff", 12), "\x12\x20", digest), kind: bad, faults: 1},
		{class: "B17", name: "a hash code in a long form", sections: section("\x01\x55\x92\x00\x20", digest), kind: bad, faults: 1},
		{class: "B17", name: "a hundred of them", sections: bytes.Repeat([]byte("\x03\x07\x07\x07"), 100), kind: bad, faults: 100},
		{class: "B18", name: "129 bytes", sections: section("\x01\x55\x00\x81\x01", strings.Repeat("i", 129)), kind: bad, faults: 1},
		{class: "B18", name: "20 kB", sections: section("\x01\x55\x00\xa0\x9c\x01", strings.Repeat("i", 20_000)), kind: bad, faults: 1},
		{class: "B18", name: "128 bytes, which may be", sections: cartest.AppendBlock(nil, cartest.Identity(make([]byte, 128))), emitted: 1},
		{class: "B18", name: "0 bytes, which may be", sections: cartest.AppendBlock(nil, cartest.Identity(nil)), emitted: 1},
		{class: "B19", name: "SHA2-256 of 31 bytes", sections: section("\x01\x55\x12\x1f", digest), kind: bad, faults: 1},
		{class: "B19", name: "SHA2-256 of 0 bytes", sections: section("\x01\x55\x12\x00"), kind: bad, faults: 1},
		{class: "B19", name: "SHA2-512 of 32 bytes", sections: section("\x01\x55\x13\x20", digest), kind: bad, faults: 1},
		{class: "B19", name: "BLAKE3 of one byte", sections: section(blake3(1)), kind: bad, faults: 1},
		{class: "B19", name: "BLAKE3 of 64 bytes, which may be", sections: section(blake3(64)), emitted: 1},
		{class: "B19", name: "BLAKE2b of one byte", sections: cartest.AppendBlock(nil, cartest.Sum(cid.Raw, multihash.BLAKE2B_MIN, []byte("data"))), kind: bad, faults: 1},
		{class: "B19", name: "BLAKE2b of 19 bytes", sections: cartest.AppendBlock(nil, cartest.Sum(cid.Raw, multihash.BLAKE2B_MIN+18, []byte("data"))), kind: bad, faults: 1},
		{class: "B19", name: "BLAKE2b of 20 bytes, which may be", sections: cartest.AppendBlock(nil, cartest.Sum(cid.Raw, multihash.BLAKE2B_MIN+19, []byte("data"))), emitted: 1},
		{class: "B20", name: "a checksum", sections: cartest.AppendBlock(nil, cartest.Sum(cid.Raw, multihash.MURMUR3X64_64, []byte("data"))), kind: bad, faults: 1},
		{class: "B20", name: "no such function", sections: section("\x01\x55\xff\xff\x03\x20", digest), kind: bad, faults: 1},
		{class: "B20", name: "a named one that nobody has", sections: section("\x01\x55\x92\x20\x20", digest), kind: bad, faults: 1},
		{class: "B21", name: "other bytes", sections: lie(goodBlocks[1]), kind: shard.BadHash, faults: 1, verify: true},
		{class: "B21", name: "fewer bytes", sections: cartest.AppendSection(nil, id, []byte("data")), kind: shard.BadHash, faults: 1, verify: true},
		{class: "B21", name: "no bytes", sections: cartest.AppendSection(nil, id, nil), kind: shard.BadHash, faults: 1, verify: true},
		{class: "B21", name: "of an identity CID", sections: lie(cartest.Identity([]byte("same length"))), kind: shard.BadHash, faults: 1, verify: true},
		{class: "B21", name: "many of an identity CID", sections: cartest.AppendSection(nil, cartest.Identity([]byte("short")).CID.Bytes(), make([]byte, 3<<20)), kind: shard.BadHash, faults: 1, verify: true},
		{class: "B21", name: "of a large block", sections: lie(cartest.RandomBlock(5, 0, 3<<20)), kind: shard.BadHash, faults: 1, verify: true},
		{class: "B21", name: "of BLAKE2b", sections: lie(cartest.Sum(cid.DagCBOR, multihash.BLAKE2B_MIN+31, make([]byte, 99))), kind: shard.BadHash, faults: 1, verify: true},
		// The header of a CAR that was appended has a length like a section, so
		// the framing holds; what is in it is no CID.
		{class: "B25", name: "a CARv1 after a CARv1", sections: goodV1, kind: bad, faults: 1, emitted: 3},
		{class: "B22", name: "equal bytes", sections: twice, emitted: 2},
		{class: "B22", name: "other bytes", sections: join(twice, lie(goodBlocks[1])), kind: shard.BadHash, faults: 1, emitted: 2, verify: true},
	}
}
