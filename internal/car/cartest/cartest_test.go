package cartest

import (
	"bytes"
	"io"
	"testing"

	"github.com/ipfs/go-cid"
	car "github.com/ipld/go-car/v2"
)

func TestGoCARReadsWhatWeWrite(t *testing.T) {
	blocks := append(Random(7, 20, 300), V0([]byte("old")), Identity([]byte("hi")), Sum(cid.DagCBOR, 0x1e, []byte("blake3")))
	v1 := V1([]cid.Cid{blocks[0].CID, blocks[3].CID}, blocks)
	for name, file := range map[string][]byte{
		"v1": v1, "v2": V2(v1, Container{}),
		"v2 padded": V2(v1, Container{DataPadding: 100, IndexPadding: 9, Index: []byte{0x81, 0x08, 0, 0, 0, 0}}),
	} {
		r, err := car.NewBlockReader(bytes.NewReader(file))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(r.Roots) != 2 || !r.Roots[1].Equals(blocks[3].CID) {
			t.Errorf("%s: roots %v", name, r.Roots)
		}
		for i, want := range blocks {
			got, err := r.Next() // hashes what it reads
			if err != nil {
				t.Fatalf("%s: block %d: %v", name, i, err)
			}
			if !got.Cid().Equals(want.CID) || !bytes.Equal(got.RawData(), want.Data) {
				t.Errorf("%s: block %d is %v, want %v", name, i, got.Cid(), want.CID)
			}
		}
		if _, err := r.Next(); err != io.EOF {
			t.Errorf("%s: ends with %v, want io.EOF", name, err)
		}
	}
}

func TestStreamEqualsBytes(t *testing.T) {
	for _, n := range []int{0, 1, 50} {
		var b bytes.Buffer
		total, err := WriteRandom(&b, 3, n, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if want := RandomV1(3, n, 1000); !bytes.Equal(b.Bytes(), want) || total != int64(len(want)) {
			t.Errorf("%d blocks: stream of %d bytes (said %d) is not the %d bytes of RandomV1", n, b.Len(), total, len(want))
		}
	}
	if bytes.Equal(RandomV1(3, 2, 10), RandomV1(4, 2, 10)) {
		t.Error("two seeds give the same CAR")
	}
}
