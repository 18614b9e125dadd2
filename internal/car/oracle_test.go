package car

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	gocar "github.com/ipld/go-car/v2"
	"github.com/multiformats/go-multihash"
	"pgregory.net/rapid"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// TestGoCARAgrees compares a scan with go-car, section by section.
func TestGoCARAgrees(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(realCARs, "*.car"))
	if err != nil {
		t.Fatal(err)
	}
	if len(names) == 0 {
		t.Log("no real CARs here: generated ones only")
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := compare(data); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, f := range cartest.Bads() {
		if len(f.Data) > 1<<20 {
			continue
		}
		if err := compare(f.Data); err != nil {
			t.Errorf("%s, %s: %v", f.Class, f.Name, err)
		}
	}
}

// TestGoCARAgreesOnGeneratedCARs does so for random CARs, whole and damaged.
func TestGoCARAgreesOnGeneratedCARs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := generate(t)
		for range rapid.IntRange(0, 3).Draw(t, "damages") {
			at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
			data[at] ^= rapid.ByteRange(1, 255).Draw(t, "flip")
		}
		if rapid.Bool().Draw(t, "cut") {
			data = data[:rapid.IntRange(0, len(data)).Draw(t, "to")]
		}
		if err := compare(data); err != nil {
			t.Fatal(err)
		}
	})
}

// generate returns a random good CAR.
func generate(t *rapid.T) []byte {
	block := rapid.Custom(func(t *rapid.T) cartest.Block {
		data := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data")
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			return cartest.V0(data)
		case 1:
			return cartest.Identity(data[:min(len(data), maxDigest)])
		default:
			codec := rapid.SampledFrom([]uint64{cid.Raw, cid.DagProtobuf, cid.DagCBOR, cid.DagJSON}).Draw(t, "codec")
			hash := rapid.SampledFrom([]uint64{multihash.SHA2_256, multihash.SHA2_512, multihash.BLAKE3, multihash.BLAKE2B_MIN + 31}).Draw(t, "hash")
			return cartest.Sum(codec, hash, data)
		}
	})
	blocks := rapid.SliceOfN(block, 0, 12).Draw(t, "blocks")
	var roots []cid.Cid
	for _, b := range rapid.SliceOfN(block, 0, 3).Draw(t, "roots") {
		roots = append(roots, b.CID)
	}
	out := cartest.V1(roots, blocks)
	out = append(out, make([]byte, rapid.IntRange(0, 40).Draw(t, "padding"))...)
	if rapid.Bool().Draw(t, "container") {
		c := cartest.Container{DataPadding: rapid.IntRange(0, 20).Draw(t, "data padding")}
		if rapid.Bool().Draw(t, "index") {
			c.Index = []byte{0x81, 0x08, 0, 0, 0, 0}
			c.IndexPadding = rapid.IntRange(0, 20).Draw(t, "index padding")
		}
		out = cartest.V2(out, c)
	}
	return out
}

// compare reads data in every way, which must all come to the same, and with
// go-car, which must agree wherever both take the CAR.
func compare(data []byte) error {
	const most = 1 << 20 // go-car allocates what is claimed
	var first collected
	for _, verify := range []bool{false, true} {
		var last collected
		for i, how := range readings(data, Options{Verify: verify, Limits: Limits{Header: most, Section: most}}) {
			got := collect(how.r, how.opt)
			if err := sane(got, data); err != nil {
				return fmt.Errorf("%s: %w", how.name, err)
			}
			if i > 0 && !same(got, last) {
				return fmt.Errorf("%s: %d sections, %v; before: %d sections, %v",
					how.name, len(got.sections), got.err, len(last.sections), last.err)
			}
			last = got
		}
		if !verify {
			first = last
		} else if (last.err == nil) != (first.err == nil) {
			return fmt.Errorf("with hashing: %v, without: %v", last.err, first.err)
		}
	}
	return agrees(first, data, most)
}

// sane checks what holds for any file.
func sane(got collected, data []byte) error {
	if got.err != nil {
		f, ok := errors.AsType[*shard.Fault](got.err)
		if !ok || f.Offset < 0 || f.Offset > int64(len(data)) || !errors.Is(f, shard.ErrCAR) {
			return fmt.Errorf("error %w", got.err)
		}
		return nil
	}
	end := int64(0)
	for _, s := range got.sections {
		next := s.Offset + int64(s.Head) + s.Size
		if s.Offset < end || next <= s.Offset || got.res.DataOffset+next > int64(len(data)) || s.Head > MaxHead {
			return fmt.Errorf("section at %d with head %d and size %d, the last one ended at %d", s.Offset, s.Head, s.Size, end)
		}
		end = next
	}
	if got.res.Sections != int64(len(got.sections))+got.res.Faults || got.res.End < end {
		return fmt.Errorf("%d sections, %d of them faulty, %d emitted, end %d", got.res.Sections, got.res.Faults, len(got.sections), got.res.End)
	}
	return nil
}

// same says whether two readings of the same bytes found the same. Without
// its size a CAR may be refused later and for another reason, and that the
// index of a container would lie behind the end of the file is not noticed.
func same(a, b collected) bool {
	if (a.err == nil) != (b.err == nil) {
		f, ok := errors.AsType[*shard.Fault](cmp.Or(a.err, b.err))
		return ok && f.Kind == shard.BadContainer && f.Offset == fieldIndex
	}
	if a.err != nil {
		return true
	}
	return a.res.Faults == b.res.Faults && a.res.End == b.res.End && a.res.Padding == b.res.Padding &&
		slices.EqualFunc(a.sections, b.sections, func(x, y Section) bool {
			return x.Offset == y.Offset && x.Head == y.Head && x.Size == y.Size && bytes.Equal(x.CID, y.CID)
		})
}

// agrees compares with go-car. A CAR that we take without fault must be one
// for go-car, too, with the same roots and sections.
func agrees(got collected, data []byte, most uint64) error {
	if got.err != nil || got.res.Faults > 0 {
		return nil //nolint:nilerr // where we find fault, go-car may think what it likes
	}
	r, err := gocar.NewBlockReader(bytes.NewReader(data), gocar.ZeroLengthSectionAsEOF(true), gocar.WithTrustedCAR(true),
		gocar.MaxAllowedHeaderSize(most), gocar.MaxAllowedSectionSize(most))
	if err != nil {
		return fmt.Errorf("go-car refuses it: %w", err)
	}
	if r.Version != uint64(got.res.Version) || !slices.Equal(r.Roots, got.res.Roots) {
		return fmt.Errorf("version %d, roots %v, go-car has %d, %v", got.res.Version, got.res.Roots, r.Version, r.Roots)
	}
	for i := 0; ; i++ {
		block, err := r.SkipNext()
		if err == io.EOF {
			if i != len(got.sections) {
				return fmt.Errorf("%d sections, go-car has %d", len(got.sections), i)
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("go-car: section %d: %w", i, err)
		}
		if i >= len(got.sections) {
			return fmt.Errorf("%d sections, go-car has more", i)
		}
		s := got.sections[i]
		if !bytes.Equal(block.Cid.Bytes(), s.CID) || block.Offset != uint64(s.Offset) || block.Size != uint64(s.Size) {
			return fmt.Errorf("section %d is %x at %d of %d bytes, go-car has %v at %d of %d",
				i, s.CID, s.Offset, s.Size, block.Cid, block.Offset, block.Size)
		}
	}
}
