package carindex_test

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	gocar "github.com/ipld/go-car/v2"
	goindex "github.com/ipld/go-car/v2/index"
	"github.com/multiformats/go-multicodec"
	"github.com/multiformats/go-multihash"
	"go.uber.org/goleak"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/index/carindex"
	"github.com/dagstore/dagstore/index/indextest"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/car/cartest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made are records as indextest makes them, of which go-car can read all back.
func made(seed uint64, n int) (recs []index.Record) {
	for r := range indextest.Records(seed, n) {
		if r.Multihash[0] != multihash.IDENTITY {
			recs = append(recs, r)
		}
	}
	return recs
}

// ours makes an index file of recs.
func ours(t testing.TB, recs []index.Record, opts *index.WriteOptions) (*index.File, []byte) {
	t.Helper()
	var buf bytes.Buffer
	err := index.Write(t.Context(), &buf, func(yield func(index.Record, error) bool) {
		for _, r := range recs {
			if !yield(r, nil) {
				return
			}
		}
	}, opts)
	if err != nil {
		t.Fatal(err)
	}
	f, err := index.NewFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return f, buf.Bytes()
}

// theirs makes an index of go-car's of recs.
func theirs(t testing.TB, recs []index.Record, codec multicodec.Code) goindex.Index {
	t.Helper()
	ix, err := goindex.New(codec)
	if err != nil {
		t.Fatal(err)
	}
	var load []goindex.Record
	for _, r := range recs {
		load = append(load, goindex.Record{Cid: cid.NewCidV1(cid.Raw, r.Multihash), Offset: uint64(r.Offset)})
	}
	if err := ix.Load(load); err != nil {
		t.Fatal(err)
	}
	return ix
}

// An entry is what both sides know of a block.
type entry struct {
	mh     string
	offset uint64
}

func entries(t testing.TB, ix goindex.IterableIndex) (all []entry) {
	t.Helper()
	if err := ix.ForEach(func(mh multihash.Multihash, offset uint64) error {
		all = append(all, entry{string(mh), offset})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b entry) int { return cmp.Or(cmp.Compare(a.mh, b.mh), cmp.Compare(a.offset, b.offset)) })
	return all
}

func offsets(ix goindex.Index, c cid.Cid) (all []uint64, err error) {
	err = ix.GetAll(c, func(offset uint64) bool {
		all = append(all, offset)
		return true
	})
	slices.Sort(all)
	return all, err
}

// agree holds a view of ours against an index of go-car's own, by all their
// methods, and the ways from one to the other.
func agree(t *testing.T, f *index.File, their goindex.IterableIndex, recs []index.Record) {
	t.Helper()
	v := carindex.View(f)
	if a, b := entries(t, v), entries(t, their); !slices.Equal(a, b) {
		t.Errorf("%d entries of ours, %d of go-car's, and not the same", len(a), len(b))
	}
	for i, r := range recs {
		if i%7 != 0 {
			continue
		}
		c := cid.NewCidV1(cid.DagCBOR, r.Multihash) // the codec does not matter
		a, errA := offsets(v, c)
		b, errB := offsets(their, c)
		if !slices.Equal(a, b) || errA != nil || errB != nil {
			t.Fatalf("%v: %v, %v; go-car %v, %v", c, a, errA, b, errB)
		}
	}
	if _, err := offsets(v, cid.NewCidV1(cid.Raw, append([]byte{0x12, 32}, make([]byte, 32)...))); !errors.Is(err, goindex.ErrNotFound) {
		t.Errorf("what is not there: %v", err)
	}
	// Theirs, written and read: by go-car what we have written, by us what it has.
	var buf bytes.Buffer
	n, err := goindex.WriteTo(v, &buf)
	if err != nil || n != uint64(buf.Len()) {
		t.Fatalf("%d of %d bytes, %v", n, buf.Len(), err)
	}
	back, err := goindex.ReadFrom(bytes.NewReader(buf.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := entries(t, back.(goindex.IterableIndex)), entries(t, their); !slices.Equal(a, b) {
		t.Error("go-car reads something else than was written")
	}
	var bare bytes.Buffer
	if err := index.WriteBare(&bare, f); err != nil || !bytes.Equal(bare.Bytes(), buf.Bytes()) {
		t.Errorf("WriteBare and Marshal differ: %v", err)
	}
	again, err := readBack(t, carindex.Records(their))
	if err != nil {
		t.Fatal(err)
	}
	if err := indextest.TestIndex(again, unsized(recs)); err != nil {
		t.Error(err)
	}
}

// readBack makes an index of what an iterator yields.
func readBack(t *testing.T, recs func(func(index.Record, error) bool)) (*index.File, error) {
	var buf bytes.Buffer
	if err := index.Write(t.Context(), &buf, recs, nil); err != nil {
		return nil, err
	}
	return index.NewFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
}

func unsized(recs []index.Record) (out []index.Record) {
	for _, r := range recs {
		out = append(out, index.Record{Multihash: r.Multihash, Position: index.Position{Offset: r.Offset, Size: -1}})
	}
	return out
}

func TestGenerated(t *testing.T) {
	for _, n := range []int{0, 1, 65, 3000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			recs := made(uint64(n), n)
			f, _ := ours(t, recs, nil)
			their := theirs(t, recs, multicodec.CarMultihashIndexSorted).(goindex.IterableIndex)
			agree(t, f, their, recs)
			bare, _ := ours(t, recs, &index.WriteOptions{Bare: true})
			agree(t, bare, their, recs)
		})
	}
}

// TestLoaded makes each kind of go-car's index of ours, and reads it.
func TestLoaded(t *testing.T) {
	recs := made(4, 900)
	f, _ := ours(t, recs, nil)
	for _, codec := range []multicodec.Code{multicodec.CarMultihashIndexSorted, multicodec.CarIndexSorted} {
		ix, err := carindex.Load(f, codec)
		if err != nil || ix.Codec() != codec {
			t.Fatal(codec, err)
		}
		want := theirs(t, recs, codec)
		for _, r := range recs {
			c := cid.NewCidV1(cid.Raw, r.Multihash)
			a, errA := offsets(ix, c)
			b, errB := offsets(want, c)
			if !slices.Equal(a, b) || errA != nil || errB != nil {
				t.Fatalf("%v: %v, %v; go-car %v, %v", c, a, errA, b, errB)
			}
		}
	}
	if _, err := carindex.Load(f, multicodec.Raw); err == nil {
		t.Error("a codec that is of no index")
	}
	ins, err := carindex.Insertion(f)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, f, ins, recs)
}

func TestDigests(t *testing.T) {
	recs := made(5, 700)
	d, err := carindex.Digests(theirs(t, recs, multicodec.CarIndexSorted))
	if err != nil || d.Len() != int64(len(recs)) {
		t.Fatal(d, err)
	}
	n := 0
	for e, err := range d.All() {
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(recs, func(r index.Record) bool {
			return r.Offset == e.Offset && bytes.HasSuffix(r.Multihash, e.Digest)
		}) {
			t.Fatalf("%x at %d is none of them", e.Digest, e.Offset)
		}
		n++
	}
	if n != len(recs) {
		t.Errorf("%d of %d", n, len(recs))
	}
	if _, err := carindex.Digests(theirs(t, recs, multicodec.CarMultihashIndexSorted)); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("an index of another kind: %v", err)
	}
}

func TestViewIsReadOnly(t *testing.T) {
	f, _ := ours(t, made(1, 3), nil)
	v := carindex.View(f)
	if err := v.Load(nil); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Load: %v", err)
	}
	if err := v.Unmarshal(bytes.NewReader(nil)); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Unmarshal: %v", err)
	}
	if v.Codec() != multicodec.CarMultihashIndexSorted {
		t.Errorf("codec %v", v.Codec())
	}
	stop := errors.New("stop")
	if err := v.ForEach(func(multihash.Multihash, uint64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the callee: %v", err)
	}
	n := 0
	for range carindex.Records(v) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d records before a stop", n)
	}
}

// What is damaged is an error of every method.
func TestDamaged(t *testing.T) {
	_, data := ours(t, made(6, 800), nil)
	data[7000] ^= 1
	f, err := index.NewFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	v := carindex.View(f)
	var buf bytes.Buffer
	_, insErr := carindex.Insertion(f)
	_, loadErr := carindex.Load(f, multicodec.CarIndexSorted)
	_, marshalErr := v.Marshal(&buf)
	_, recordsErr := readBack(t, carindex.Records(v))
	for what, err := range map[string]error{
		"Insertion": insErr, "Load": loadErr, "Marshal": marshalErr, "Records": recordsErr, "WriteBare": index.WriteBare(&buf, f),
		"ForEach": v.ForEach(func(multihash.Multihash, uint64) error { return nil }),
	} {
		if !errors.Is(err, index.ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// An offset that no file has is refused on the way in.
func TestOffsetOfNoFile(t *testing.T) {
	ins := goindex.NewInsertionIndex()
	ins.InsertNoReplace(cid.NewCidV1(cid.Raw, made(1, 1)[0].Multihash), 1<<63)
	if _, err := readBack(t, carindex.Records(ins)); !errors.Is(err, index.ErrRecord) {
		t.Errorf("%v", err)
	}
}

// realCARs is where CARs lie that others have written.
const realCARs = "../../../shared/cars"

// TestRealCARs indexes real CARs by go-car and by us, and holds the one against
// the other, both ways.
func TestRealCARs(t *testing.T) {
	list, err := os.Open(filepath.Join(realCARs, "facts.tsv"))
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no folder of real CARs beside the project: the tests with generated ones have to do")
	}
	if err != nil {
		t.Fatal(err)
	}
	defer list.Close()
	tsv := csv.NewReader(list)
	tsv.Comma = '\t'
	rows, err := tsv.ReadAll()
	if err != nil || len(rows) < 2 {
		t.Fatalf("facts.tsv: %d rows, %v", len(rows), err)
	}
	compared := 0
	for _, row := range rows[1:] {
		data, err := os.ReadFile(filepath.Join(realCARs, row[0]))
		if err != nil {
			t.Fatal(err)
		}
		recs, err := scanned(t, data)
		if err != nil {
			continue // a bad CAR
		}
		t.Run(row[0], func(t *testing.T) { agreeOnCAR(t, data, recs) })
		compared++
	}
	if compared < 10 {
		t.Errorf("only %d CARs were compared", compared)
	}
}

// scanned returns the records of a CAR, as we index it.
func scanned(t testing.TB, data []byte) (recs []index.Record, err error) {
	t.Helper()
	_, err = car.Scan(t.Context(), bytes.NewReader(data), car.Options{Size: int64(len(data))}, func(s *car.Section) error {
		if !s.Identity() {
			p := index.Position{Offset: s.Offset, Size: s.Size, Head: s.Head}
			recs = append(recs, index.Record{Multihash: slices.Clone(s.Multihash()), Position: p})
		}
		return nil
	})
	return recs, err
}

// agreeOnCAR has go-car make the index of a CAR whose records are recs.
func agreeOnCAR(t *testing.T, data []byte, recs []index.Record) {
	t.Helper()
	their, err := gocar.GenerateIndex(bytes.NewReader(data), gocar.ZeroLengthSectionAsEOF(true))
	if err != nil {
		t.Fatalf("go-car: %v", err)
	}
	f, _ := ours(t, recs, nil)
	agree(t, f, their.(goindex.IterableIndex), recs)
}

// TestGeneratedCARs does so for CARs of every sort of block, some of them
// repeated, with and without a container around them.
func TestGeneratedCARs(t *testing.T) {
	hashes := []uint64{multihash.SHA2_256, multihash.SHA2_512, multihash.BLAKE3, multihash.BLAKE2B_MIN + 31, multihash.SHA1}
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 5))
		var blocks []cartest.Block
		for i := range rng.IntN(200) {
			data := cartest.RandomBlock(seed, i, rng.IntN(400)).Data
			switch kind := rng.IntN(8); {
			case kind == 0:
				blocks = append(blocks, cartest.V0(data))
			case kind == 1:
				blocks = append(blocks, cartest.Identity(data[:min(len(data), 100)]))
			case kind == 2 && len(blocks) > 0:
				blocks = append(blocks, blocks[rng.IntN(len(blocks))])
			default:
				blocks = append(blocks, cartest.Sum(cid.Raw, hashes[rng.IntN(len(hashes))], data))
			}
		}
		data := cartest.V1([]cid.Cid{cartest.Raw(nil).CID}, blocks)
		if seed%3 > 0 {
			data = append(data, make([]byte, seed)...)
		}
		if seed%2 == 0 {
			data = cartest.V2(data, cartest.Container{DataPadding: int(seed)})
		}
		recs, err := scanned(t, data)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) { agreeOnCAR(t, data, recs) })
	}
}
