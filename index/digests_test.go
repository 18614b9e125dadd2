package index_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	carindex "github.com/ipld/go-car/v2/index"
	"github.com/multiformats/go-multicodec"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/index/indextest"
)

// sorted makes an IndexSorted of recs by go-car.
func sorted(t testing.TB, recs []index.Record) []byte {
	t.Helper()
	theirs, err := carindex.New(multicodec.CarIndexSorted)
	if err != nil {
		t.Fatal(err)
	}
	var load []carindex.Record
	for _, r := range recs {
		load = append(load, carindex.Record{Cid: cid.NewCidV1(cid.Raw, r.Multihash), Offset: uint64(r.Offset)})
	}
	if err := theirs.Load(load); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if _, err := carindex.WriteTo(theirs, &buf); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func collectDigests(d *index.Digests) (all []index.Digest, err error) {
	for e, err := range d.All() {
		if err != nil {
			return all, err
		}
		e.Digest = slices.Clone(e.Digest)
		all = append(all, e)
	}
	return all, nil
}

// digestOf is the digest in a multihash.
func digestOf(mh []byte) []byte {
	_, n := binary.Uvarint(mh)
	_, m := binary.Uvarint(mh[n:])
	return mh[n+m:]
}

func byDigest(a, b index.Digest) int {
	return cmp.Or(cmp.Compare(len(a.Digest), len(b.Digest)), bytes.Compare(a.Digest, b.Digest), cmp.Compare(a.Offset, b.Offset))
}

func sameDigest(a, b index.Digest) bool { return byDigest(a, b) == 0 }

// TestDigests reads what go-car has written.
func TestDigests(t *testing.T) {
	for _, n := range []int{0, 1, 50, 4000} {
		recs := withoutIdentity(collect(indextest.Records(5, n)))
		data := sorted(t, recs)
		d, err := index.NewDigests(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(n, err)
		}
		var want []index.Digest
		for _, r := range recs {
			want = append(want, index.Digest{Digest: digestOf(r.Multihash), Offset: r.Offset})
		}
		slices.SortFunc(want, byDigest)
		got, err := collectDigests(d)
		if err != nil || !slices.EqualFunc(got, want, sameDigest) || d.Len() != int64(len(want)) {
			t.Errorf("%d records: %d of %d, %v", n, len(got), len(want), err)
		}
		for range d.All() {
			break // who stops early is not called again
		}
	}
}

func TestDigestsRefused(t *testing.T) {
	good := sorted(t, withoutIdentity(collect(indextest.Records(5, 60))))
	le := binary.LittleEndian
	for name, data := range map[string][]byte{
		"nothing":            {},
		"half a codec":       {0x80},
		"another codec":      append([]byte{0x81, 0x08}, good[2:]...),
		"no count":           good[:4],
		"cut":                good[:len(good)-1],
		"longer":             append(slices.Clone(good), 0),
		"negative count":     le.AppendUint32([]byte{0x80, 0x08}, 1<<31),
		"two billion widths": le.AppendUint32([]byte{0x80, 0x08}, 1<<31-1),
		"8 TiB":              le.AppendUint64(le.AppendUint32(le.AppendUint32([]byte{0x80, 0x08}, 1), 40), 8<<40),
		"2^62":               le.AppendUint64(le.AppendUint32(le.AppendUint32([]byte{0x80, 0x08}, 1), 40), 1<<62),
		"uneven":             append(le.AppendUint64(le.AppendUint32(le.AppendUint32([]byte{0x80, 0x08}, 1), 40), 41), make([]byte, 41)...),
		"width of 8":         append(le.AppendUint64(le.AppendUint32(le.AppendUint32([]byte{0x80, 0x08}, 1), 8), 8), make([]byte, 8)...),
	} {
		if _, err := index.NewDigests(bytes.NewReader(data), int64(len(data))); !errors.Is(err, index.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Disorder shows when it is met.
	const width = 64 + 8 // of the last records: SHA-512
	swapped := slices.Clone(good)
	a, b := swapped[len(swapped)-2*width:len(swapped)-width], swapped[len(swapped)-width:]
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
	d, err := index.NewDigests(bytes.NewReader(swapped), int64(len(swapped)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := collectDigests(d); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("records out of order: %v", err)
	}
}

func TestFormatOf(t *testing.T) {
	recs := withoutIdentity(collect(indextest.Records(5, 3)))
	bare, _ := build(t, recs, &index.WriteOptions{Bare: true})
	whole, _ := build(t, recs, nil)
	for want, all := range map[index.Format][][]byte{
		index.MultihashSorted: {bare, whole},
		index.DigestsSorted:   {sorted(t, recs)},
		index.UnknownFormat:   {{}, {0x80}, []byte("CAR")},
	} {
		for _, data := range all {
			if got, err := index.FormatOf(bytes.NewReader(data)); got != want || err != nil {
				t.Errorf("%v, %v; want %v", got, err, want)
			}
		}
		if want.String() == "" {
			t.Error("a format has no name")
		}
	}
	failure := errors.New("no")
	if _, err := index.FormatOf(deaf{failure}); !errors.Is(err, failure) {
		t.Errorf("a source that fails: %v", err)
	}
}

type deaf struct{ err error }

func (f deaf) ReadAt([]byte, int64) (int, error) { return 0, f.err }

var _ io.ReaderAt = deaf{}

// FuzzNewDigests opens arbitrary bytes: nothing panics, no error is of another
// kind, and nothing is given that is not there.
func FuzzNewDigests(f *testing.F) {
	for _, n := range []int{0, 1, 70} {
		data := sorted(f, withoutIdentity(collect(indextest.Records(5, n))))
		f.Add(data)
		f.Add(data[:len(data)-1])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := index.NewDigests(bytes.NewReader(data), int64(len(data)))
		if err == nil {
			var all []index.Digest
			if all, err = collectDigests(d); err == nil && (int64(len(all)) != d.Len() || !slices.IsSortedFunc(all, byDigest)) {
				t.Fatalf("%d of %d entries, or out of order", len(all), d.Len())
			}
		}
		if err != nil && !errors.Is(err, index.ErrDamaged) {
			t.Fatal(err)
		}
	})
}
