package httpmount_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/servertest"
)

// A store reads a CAR once to index it, and after a restart one block by one
// request for it, beside that which asks how the source is.
func TestStoreOverNginx(t *testing.T) {
	const blocks, size = 2000, 1000
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.car"), cartest.RandomV1(1, blocks, size), 0o600); err != nil {
		t.Fatal(err)
	}
	server := servertest.StartNginx(t, dir)
	web := client(t, nil)
	cfg := &dagstore.Config{Mounts: registry(web)}
	ctx := t.Context()
	home := filepath.Join(dir, "store")
	store, err := dagstore.Open(ctx, home, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { store.Close() }()
	if err := store.Register(ctx, "a", open(t, web, server.URL+"/a.car"), nil); err != nil {
		t.Fatal(err)
	}
	indexing := server.Requests(t, 1)
	whole := 0
	for _, r := range indexing {
		if r.Method == http.MethodGet && r.Status == http.StatusOK {
			whole++
		}
	}
	if whole != 1 {
		t.Errorf("the CAR was read %d times: %+v", whole, indexing)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if store, err = dagstore.Open(ctx, home, cfg); err != nil {
		t.Fatal(err)
	}
	want := cartest.RandomBlock(1, blocks/2, size)
	before := len(server.Requests(t, 1))
	block, err := store.Blockstore(nil).Get(ctx, want.CID)
	if err != nil || len(block.RawData()) != size {
		t.Fatalf("%v, %v", block, err)
	}
	reading := server.Requests(t, before+2)[before:]
	t.Logf("to index: %+v; for a block: %+v", indexing, reading)
	if len(reading) != 2 || reading[0].Method != http.MethodHead || reading[1].Status != http.StatusPartialContent || reading[1].Bytes > size+100 {
		t.Errorf("one block took %+v", reading)
	}
}
