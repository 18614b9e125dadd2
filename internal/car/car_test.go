package car

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/multiformats/go-varint"
	"pgregory.net/rapid"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

func TestSectionsLeadToTheirData(t *testing.T) {
	blocks := append(cartest.Random(1, 5, 1000), cartest.V0([]byte("old")), cartest.Identity([]byte("id")),
		cartest.Sum(cid.DagCBOR, multihash.BLAKE2B_MIN+31, []byte("filecoin")), cartest.Sum(cid.Raw, multihash.SHA2_512, nil),
		cartest.RandomBlock(1, 5, 2<<20), cartest.Raw(nil), cartest.RandomBlock(1, 6, 1<<20), cartest.RandomBlock(1, 7, 300<<10))
	roots := []cid.Cid{blocks[2].CID, blocks[5].CID}
	v1 := cartest.V1(roots, blocks)
	v2 := cartest.V2(v1, cartest.Container{DataPadding: 1000, IndexPadding: 3, Index: []byte{0x81, 0x08, 0, 0, 0, 0}, Characteristics: [16]byte{0x80}})
	for _, verify := range []bool{false, true} {
		for version, file := range map[int][]byte{1: v1, 2: v2} {
			for _, how := range readings(file, Options{Verify: verify}) {
				got := collect(how.r, how.opt)
				if got.err != nil || len(got.sections) != len(blocks) {
					t.Fatalf("v%d, %s: %d sections, %v", version, how.name, len(got.sections), got.err)
				}
				checkSections(t, got, file, blocks)
				r := got.res
				if r.Version != version || !slices.Equal(r.Roots, roots) || r.RootCount != 2 || r.Identity != 1 {
					t.Errorf("v%d, %s: %+v", version, how.name, r.Header)
				}
				if r.PayloadSize != int64(len(v1)) || r.End != int64(len(v1)) || r.Padding != 0 || r.Unread != 0 {
					t.Errorf("v%d, %s: payload %d, end %d, padding %d, unread %d", version, how.name, r.PayloadSize, r.End, r.Padding, r.Unread)
				}
			}
		}
	}
}

func checkSections(t *testing.T, got collected, file []byte, blocks []cartest.Block) {
	t.Helper()
	for i, s := range got.sections {
		want := blocks[i]
		at := got.res.DataOffset + s.Offset + int64(s.Head)
		if !bytes.Equal(s.CID, want.CID.Bytes()) || !bytes.Equal(file[at:at+s.Size], want.Data) {
			t.Errorf("section %d is %x of %d bytes, want %v", i, s.CID, s.Size, want.CID)
		}
		mh, err := multihash.Decode(want.CID.Hash())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(s.Multihash(), want.CID.Hash()) || !bytes.Equal(s.Digest(), mh.Digest) || s.Code != mh.Code || s.Identity() != (mh.Code == 0) {
			t.Errorf("section %d: multihash %x, digest %x, code %x", i, s.Multihash(), s.Digest(), s.Code)
		}
		head, err := ParseSection(s.Offset, file[got.res.DataOffset+s.Offset:][:s.Head], 0)
		if err != nil || !bytes.Equal(head.CID, s.CID) || head.Head != s.Head || head.Size != s.Size || head.Offset != s.Offset || head.Code != s.Code {
			t.Errorf("section %d: ParseSection gives %+v, %v", i, head, err)
		}
	}
}

func TestReadHeader(t *testing.T) {
	manyBlocks := cartest.Random(1, 300, 8)
	var roots []cid.Cid
	for _, b := range manyBlocks {
		roots = append(roots, b.CID)
	}
	v1 := cartest.V1(roots, manyBlocks[:1])
	v2 := cartest.V2(v1, cartest.Container{DataPadding: 7, Index: []byte{1}, Characteristics: [16]byte{0x80}})
	for _, c := range []struct {
		name string
		file []byte
		opt  Options
		keep int
		want Header
	}{
		{"v1", v1, Options{Size: int64(len(v1))}, 256, Header{Version: 1, DataSize: int64(len(v1))}},
		{"v1 of unknown size", v1, Options{KeepRoots: Unlimited}, 300, Header{Version: 1, DataSize: -1}},
		{"v2", v2, Options{KeepRoots: 1}, 1, Header{
			Version: 2, DataOffset: 58, DataSize: int64(len(v1)), IndexOffset: int64(58 + len(v1)), FullyIndexed: true,
		}},
	} {
		for _, r := range []io.Reader{bytes.NewReader(c.file), struct{ io.Reader }{bytes.NewReader(c.file)}} {
			got, err := ReadHeader(context.Background(), r, c.opt)
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			if !slices.Equal(got.Roots, roots[:c.keep]) || got.RootCount != 300 {
				t.Errorf("%s: %d roots kept of %d", c.name, len(got.Roots), got.RootCount)
			}
			if want := int64(len(cartest.AppendHeader(nil, roots))); got.FirstSection != want {
				t.Errorf("%s: first section at %d, want %d", c.name, got.FirstSection, want)
			}
			got.Roots, got.RootCount, got.FirstSection = nil, 0, 0
			if got.Version != c.want.Version || got.DataOffset != c.want.DataOffset || got.DataSize != c.want.DataSize ||
				got.IndexOffset != c.want.IndexOffset || got.FullyIndexed != c.want.FullyIndexed {
				t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
			}
		}
	}
	if _, err := ReadHeader(context.Background(), strings.NewReader("<html>"), Options{}); !errors.Is(err, shard.ErrCAR) {
		t.Errorf("HTML: %v", err)
	}
}

func TestHeadersThatMayBe(t *testing.T) {
	for name, file := range map[string][]byte{
		"roots are null, as go-car writes for none": header("\xa2\x65roots\xf6\x67version\x01"),
		"no roots":      header(noHeader),
		"version first": header("\xa2\x67version\x01\x65roots\x80"),
	} {
		got := collect(bytes.NewReader(file), Options{})
		if got.err != nil || got.res.Version != 1 || got.res.RootCount != 0 || got.res.Sections != 0 {
			t.Errorf("%s: %+v, %v", name, got.res.Header, got.err)
		}
	}
}

// TestPadding is B15: a section of length zero is the end, and it is said
// what follows.
func TestPadding(t *testing.T) {
	end := int64(len(goodV1))
	for _, c := range []struct {
		name     string
		after    []byte
		padding  int64
		trailing bool
	}{
		{"one byte", make([]byte, 1), 1, false},
		{"2 MiB", make([]byte, 2<<20), 2 << 20, false},
		{"text follows", []byte("\x00\x00and so on"), 2, true},
		{"sections follow", append(make([]byte, 100_000), goodV1[len(goodHeader):]...), 100_000, true},
	} {
		payload := append(bytes.Clone(goodV1), c.after...)
		for version, file := range map[int][]byte{1: payload, 2: cartest.V2(payload, cartest.Container{})} {
			for _, how := range readings(file, Options{}) {
				got := collect(how.r, how.opt)
				r := got.res
				if got.err != nil || r.Sections != 3 || r.End != end || r.Padding != c.padding || r.Trailing != c.trailing {
					t.Errorf("v%d, %s, %s: %d sections, end %d, padding %d, trailing %v, %v", version, c.name, how.name, r.Sections, r.End, r.Padding, r.Trailing, got.err)
				}
				unread := int64(len(payload)) - end - c.padding
				if version == 1 && how.opt.Size < 0 && c.trailing {
					unread = -1
				}
				if r.Unread != unread || unread >= 0 && r.PayloadSize != int64(len(payload)) || unread < 0 && r.PayloadSize != -1 {
					t.Errorf("v%d, %s, %s: unread %d, payload %d", version, c.name, how.name, r.Unread, r.PayloadSize)
				}
			}
		}
	}
	t.Run("after a container", func(t *testing.T) {
		file := append(cartest.V2(goodV1, cartest.Container{}), 0, 0, 0)
		if err := collect(bytes.NewReader(file), Options{}).err; err != nil {
			t.Errorf("three null bytes: %v", err)
		}
		err := collect(bytes.NewReader(file), Options{Limits: Limits{NoPadding: true}}).err
		checkFault(t, "NoPadding", err, shard.BadEnd, end+51)
	})
}

func TestParseSection(t *testing.T) {
	good := cartest.AppendBlock(nil, goodBlocks[0])
	for n := range 37 {
		if _, err := ParseSection(0, good[:n], 0); !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, shard.ErrCAR) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
	}
	if _, err := ParseSection(0, good, 85); !errors.Is(err, shard.ErrCAR) {
		t.Errorf("over the limit: %v", err)
	}
	if _, err := ParseSection(0, good, Unlimited); err != nil {
		t.Errorf("without a limit: %v", err)
	}
	for name, c := range map[string]struct {
		buf  []byte
		kind shard.FaultKind
	}{
		"padding":           {[]byte{0, 0, 0}, shard.BadSection},
		"long varint":       {[]byte{0x81, 0}, shard.BadSection},
		"huge":              {cartest.AppendUvarint(nil, math.MaxInt64), shard.BadSection},
		"shorter than CID":  {[]byte("\x08\x01\x55\x12\x20abcdefghijkl"), shard.BadSection},
		"shorter than v0":   {[]byte("\x08\x12\x20abcdefghijkl"), shard.BadSection},
		"no CID":            {[]byte("\x08\x07\x55\x12\x20abcdefghijkl"), shard.BadCID},
		"unknown hash":      {[]byte("\x08\x01\x55\x7e\x04abcd"), shard.BadCID},
		"long identity CID": {cartest.AppendBlock(nil, cartest.Identity(make([]byte, 129))), shard.BadCID},
	} {
		_, err := ParseSection(77, c.buf, 0)
		checkFault(t, name, err, c.kind, 77)
	}
}

// TestIndexBehindTheEnd is B23, too, where the size of the file is known.
func TestIndexBehindTheEnd(t *testing.T) {
	size := uint64(len(goodV1))
	for _, index := range []uint64{51 + size, 52 + size, 1 << 40, math.MaxInt64} {
		file := append(cartest.AppendV2Header(nil, [16]byte{}, 51, size, index), goodV1...)
		checkFault(t, "size known", collect(bytes.NewReader(file), Options{Size: int64(len(file))}).err, shard.BadContainer, fieldIndex)
		if got := collect(bytes.NewReader(file), Options{}); got.err != nil || len(got.sections) != 3 {
			t.Errorf("size unknown: %d sections, %v", len(got.sections), got.err)
		}
	}
}

func TestUvarint(t *testing.T) {
	for _, c := range []struct {
		in string
		v  uint64
		n  int
		ok bool
	}{
		{"", 0, 0, true}, {"\x00", 0, 1, true}, {"\x7f\xff", 127, 1, true}, {"\x80", 0, 0, true},
		{"\x80\x01", 128, 2, true}, {"\x80\x00", 0, 0, false}, {"\xff\xff\x00", 0, 0, false},
		{"\xff\xff\xff\xff\xff\xff\xff\xff", 0, 0, true},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\x7f", math.MaxInt64, 9, true},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\x80", 0, 0, false},
		{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0, 0, false},
	} {
		v, n, problem := uvarint([]byte(c.in))
		if v != c.v || n != c.n || (problem == "") != c.ok {
			t.Errorf("% x: %d of %d bytes, %q", c.in, v, n, problem)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x7f, 0x80, 0x81, 0xff}), 0, 12).Draw(t, "in")
		v, n, problem := uvarint(in)
		want, wantN, err := varint.FromUvarint(in)
		if good := problem == "" && n > 0; good != (err == nil) || good && (v != want || n != wantN) {
			t.Fatalf("% x: %d of %d bytes, %q; go-varint: %d of %d, %v", in, v, n, problem, want, wantN, err)
		}
	})
}

func TestCheck(t *testing.T) {
	data := []byte("some data")
	long := bytes.Repeat([]byte("x"), 129)
	for name, b := range map[string]cartest.Block{
		"raw": cartest.Raw(data), "v0": cartest.V0(data), "identity": cartest.Identity(data), "empty": cartest.Raw(nil),
		"sha1": cartest.Sum(cid.GitRaw, multihash.SHA1, data), "sha3": cartest.Sum(cid.Raw, multihash.SHA3_384, data),
		"blake2b": cartest.Sum(cid.DagCBOR, multihash.BLAKE2B_MIN+31, data), "blake3": cartest.Sum(cid.Raw, multihash.BLAKE3, data),
	} {
		if err := Check(b.CID, 5, b.Data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		checkFault(t, name, Check(b.CID, 5, append([]byte("y"), b.Data...)), shard.BadHash, 5)
	}
	short, _ := multihash.Encode(make([]byte, 8), multihash.SHA2_256)
	unknown, _ := multihash.Encode(make([]byte, 32), 0x1012)
	checkFault(t, "undefined", Check(cid.Undef, 5, data), shard.BadCID, 5)
	checkFault(t, "short digest", Check(cid.NewCidV1(cid.Raw, short), 5, data), shard.BadCID, 5)
	checkFault(t, "unknown hash", Check(cid.NewCidV1(cid.Raw, unknown), 5, data), shard.BadCID, 5)
	checkFault(t, "long identity", Check(cartest.Identity(long).CID, 5, long), shard.BadCID, 5)
	// Whoever wants to can find other bytes with the same digest.
	for _, weak := range []uint64{multihash.MURMUR3X64_64, multihash.BLAKE2B_MIN, multihash.MD5} {
		checkFault(t, multihash.Codes[weak], Check(cartest.Sum(cid.Raw, weak, data).CID, 5, data), shard.BadCID, 5)
	}

	block := cartest.RandomBlock(1, 1, 1000)
	if n := testing.AllocsPerRun(100, func() { _ = Check(block.CID, 0, block.Data) }); n != 0 {
		t.Errorf("Check of SHA2-256 allocates %v times", n)
	}
}

func TestSectionsCostNoAllocation(t *testing.T) {
	blake := cartest.Sum(cid.DagCBOR, multihash.BLAKE2B_MIN+31, []byte("chain"))
	for _, verify := range []bool{false, true} {
		allocs := func(n int) float64 {
			blocks := cartest.Random(1, n, 100)
			for i := 0; i < n; i += 2 {
				blocks[i] = blake
			}
			file := cartest.V1(nil, blocks)
			return testing.AllocsPerRun(5, func() {
				if _, err := Scan(context.Background(), bytes.NewReader(file), Options{Verify: verify}, func(*Section) error { return nil }); err != nil {
					t.Fatal(err)
				}
			})
		}
		if few, many := allocs(10), allocs(10_000); many > few+1 {
			t.Errorf("verify %v: %v allocations for 10 sections, %v for 10,000", verify, few, many)
		}
	}
}
