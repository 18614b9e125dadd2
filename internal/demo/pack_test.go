package main

import (
	"bytes"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/ipld/go-car/v2"
	carblocks "github.com/ipld/go-car/v2/blockstore"
)

// TestPack lets go-car read what was packed.
func TestPack(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789abcdef"), 1<<10)
	long[0] = 'x' // so that not all chunks are the same
	tree := fstest.MapFS{
		"README.md":          {Data: []byte("readme")},
		"docs/a.md":          {Data: long},
		"docs/deep/er/b.md":  {Data: []byte("b")},
		"docs-not.md":        {Data: []byte("a name between docs and docs/")},
		"main.go":            {Data: []byte("package main")},
		".git/config":        {Data: []byte("hidden")},
		"bin/dagstore":       {Data: []byte("built")},
		"internal/x/util.md": {Data: []byte("no document of the project")},
	}
	name := filepath.Join(t.TempDir(), "docs.car")
	got, err := pack(t.Context(), tree, name, isDocument)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.files) != 4 {
		t.Errorf("files %v, want 4", got.files)
	}
	reader, err := car.OpenReader(name)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	stats, err := reader.Inspect(true)
	if err != nil {
		t.Fatal(err)
	}
	if stats.BlockCount != uint64(got.blocks) || !stats.RootsPresent || stats.Version != 1 {
		t.Errorf("go-car counts %d blocks, version %d, roots present: %t, want %d blocks", stats.BlockCount, stats.Version, stats.RootsPresent, got.blocks)
	}
	blocks, err := carblocks.OpenReadOnly(name)
	if err != nil {
		t.Fatal(err)
	}
	defer blocks.Close()
	for _, root := range stats.Roots {
		if ok, err := blocks.Has(t.Context(), root); !ok || err != nil || root != got.root {
			t.Errorf("root %v: %t, %v, want %v", root, ok, err, got.root)
		}
	}
	if _, err := pack(t.Context(), fstest.MapFS{}, name, isDocument); err == nil {
		t.Error("a CAR of no files was packed")
	}
}
