package gateway

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	carv2 "github.com/ipld/go-car/v2"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// readCAR reads a CAR as go-car does, hashing every block.
func readCAR(t *testing.T, data []byte) (roots []cid.Cid, blocks map[cid.Cid][]byte) {
	t.Helper()
	reader, err := carv2.NewBlockReader(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("go-car: %v", err)
	}
	blocks = map[cid.Cid][]byte{}
	for {
		b, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return reader.Roots, blocks
		}
		if err != nil {
			t.Fatalf("go-car: %v", err)
		}
		blocks[b.Cid()] = b.RawData()
	}
}

func TestCAR(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{Trustless: true})
	data := pattern(20_000)
	file := m.File(string(data))
	root := m.Folder(false, map[string]ipld.Node{"file": file, "other": m.File("other")})
	path := "/ipfs/" + root.Cid().String()
	total := len(m.All())

	all := get(t, server, http.StatusOK, path+"?format=car")
	if got, want := all.header.Get("Content-Type"), "application/vnd.ipld.car; version=1; order=dfs; dups=n"; got != want {
		t.Errorf("Content-Type %q, want %q", got, want)
	}
	roots, blocks := readCAR(t, all.body)
	if len(roots) != 1 || !roots[0].Equals(root.Cid()) || len(blocks) != total {
		t.Errorf("roots %v and %d blocks, want %d", roots, len(blocks), total)
	}
	for c, data := range blocks {
		if want, err := m.Get(t.Context(), c); err != nil || !bytes.Equal(data, want.RawData()) {
			t.Errorf("block %s differs", c)
		}
	}
	_, one := readCAR(t, get(t, server, http.StatusOK, path+"?format=car&dag-scope=block").body)
	if len(one) != 1 {
		t.Errorf("dag-scope=block: %d blocks", len(one))
	}
	_, entity := readCAR(t, get(t, server, http.StatusOK, path+"/file?format=car&dag-scope=entity").body)
	if len(entity) <= len(one) || len(entity) >= total {
		t.Errorf("dag-scope=entity: %d blocks of %d", len(entity), total)
	}
	_, few := readCAR(t, get(t, server, http.StatusOK, path+"/file?format=car&entity-bytes=0:10").body)
	if len(few) >= len(entity) {
		t.Errorf("entity-bytes alone: %d blocks, the whole file has %d", len(few), len(entity))
	}
	get(t, server, http.StatusBadRequest, path+"?format=car&dag-scope=nonsense")
	get(t, server, http.StatusNotModified, path+"?format=car", "If-None-Match", all.header.Get("Etag"))
}

// TestHeadOfCAR wants the header of the answer without the walk.
func TestHeadOfCAR(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	root := m.File(dagtest.Text(100_000))
	m.Reads() // those so far
	head := ask(t, server, http.MethodHead, "/ipfs/"+root.Cid().String()+"?format=car")
	if head.status != http.StatusOK || head.header.Get("Etag") == "" {
		t.Errorf("HEAD: %d, Etag %q", head.status, head.header.Get("Etag"))
	}
	// The traversal looks a little ahead before it is stopped.
	if reads := m.Reads(); reads > 8 {
		t.Errorf("HEAD read %d blocks of %d", reads, len(m.All()))
	}
}

// TestProofOfAbsence wants the blocks by which a client can see for itself
// that a folder does not have a name.
func TestProofOfAbsence(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	root := m.Folder(false, map[string]ipld.Node{"a": m.File("a")})
	_, blocks := readCAR(t, get(t, server, http.StatusOK, "/ipfs/"+root.Cid().String()+"/b?format=car").body)
	if _, ok := blocks[root.Cid()]; !ok || len(blocks) != 1 {
		t.Errorf("proof has %d blocks", len(blocks))
	}
}
