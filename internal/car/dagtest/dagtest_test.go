package dagtest

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/ipfs/boxo/blockstore"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

var _ blockstore.Blockstore = (*Memory)(nil)

// TestText: a test that spoils one chunk spoils no other.
func TestText(t *testing.T) {
	text, seen := Text(600_000), make(map[string]bool)
	for at := 0; at+Chunk <= len(text); at += Chunk {
		seen[text[at:at+Chunk]] = true
	}
	if len(text) != 600_000 || len(seen) != len(text)/Chunk {
		t.Errorf("%d bytes, %d chunks that differ", len(text), len(seen))
	}
}

func TestFile(t *testing.T) {
	m := New(t)
	text := Text(10_000)
	file := m.File(text)
	reader, err := uio.NewDagReader(t.Context(), file, m.dags())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if got, err := io.ReadAll(reader); err != nil || string(got) != text {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if m.Reads() == 0 || m.Reads() != 0 {
		t.Error("reads are not counted since the last time")
	}
}

func TestSpoiled(t *testing.T) {
	m := New(t)
	c := m.Block(cid.Raw, 0x12, []byte("x"))
	if b, err := m.Get(t.Context(), c); err != nil || !bytes.Equal(b.RawData(), []byte("x")) {
		t.Error(b, err)
	}
	broken := errors.New("broken")
	m.Fail(c, broken)
	if _, err := m.Get(t.Context(), c); !errors.Is(err, broken) {
		t.Error(err)
	}
	lost := m.File("y").Cid()
	m.Drop(lost)
	if _, err := m.Get(t.Context(), lost); !ipld.IsNotFound(err) {
		t.Error(err)
	}
	if all := m.All(); len(all) != 1 || !all[0].Cid().Equals(c) {
		t.Errorf("%v", all)
	}
}
