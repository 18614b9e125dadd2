package dag_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"testing"

	"github.com/ipfs/boxo/ipld/unixfs"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/dag"
	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// several is a source that has GetMany.
type several struct{ *dagtest.Memory }

func (s several) GetMany(ctx context.Context, cids []cid.Cid) iter.Seq2[blocks.Block, error] {
	return func(yield func(blocks.Block, error) bool) {
		for _, c := range cids {
			if !yield(s.Get(ctx, c)) {
				return
			}
		}
	}
}

// TestAListingReadsEachBlockOnce, also if they are more than are remembered.
func TestAListingReadsEachBlockOnce(t *testing.T) {
	m := dagtest.New(t)
	var files []*ipld.Link
	for i := range 100 {
		text := strings.Repeat(string(rune('a'+i%26)), 300_000+i)
		files = append(files, &ipld.Link{Name: fmt.Sprintf("%03d", i), Cid: node(t, m, fileData(t, text))})
	}
	f := dag.NewFS(t.Context(), several{m}, node(t, m, unixfs.FolderPBData(), files...))
	seen := map[cid.Cid]int{}
	m.OnGet = func(c cid.Cid) { seen[c]++ }
	all, err := f.ReadDir(".")
	if err != nil || len(all) != 100 {
		t.Fatalf("%d entries, %v", len(all), err)
	}
	for i, e := range all {
		in, err := e.Info()
		if err != nil || in.Size() != int64(300_000+i) || in.Name() != e.Name() || in.Sys() != files[i].Cid {
			t.Errorf("%s: %v, %v", e.Name(), in, err)
		}
	}
	for c, n := range seen {
		if n != 1 {
			t.Errorf("%v was read %d times", c, n)
		}
	}
}

// TestTheContextEndsAListing that has read all links: what it says of its last
// entries would be wrong.
func TestTheContextEndsAListing(t *testing.T) {
	m := dagtest.New(t)
	a, b := m.Folder(false, nil), m.Folder(false, map[string]ipld.Node{"x": m.File("x")})
	root := m.Folder(false, map[string]ipld.Node{"a": a, "b": b}).Cid()
	list := map[string]func(*dag.FS) error{
		"ReadDir": func(f *dag.FS) error { return second(f.ReadDir(".")) },
		"piece by piece": func(f *dag.FS) error {
			dir, err := f.Open(".")
			if err == nil {
				_, err = dir.(fs.ReadDirFile).ReadDir(10)
			}
			return err
		},
	}
	for name, list := range list {
		ctx, cancel := context.WithCancel(t.Context())
		m.OnGet = func(c cid.Cid) {
			if c.Equals(a.Cid()) {
				cancel()
			}
		}
		if err := list(dag.NewFS(ctx, m, root)); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestARootThatIsASymlink leads nowhere, and is one nevertheless.
func TestARootThatIsASymlink(t *testing.T) {
	m := dagtest.New(t)
	f := dag.NewFS(t.Context(), m, m.Symlink("photos").Cid())
	for name, err := range map[string]error{
		"Open":     second(f.Open(".")),
		"Stat":     second(f.Stat(".")),
		"ReadFile": second(f.ReadFile(".")),
		"ReadDir":  second(f.ReadDir(".")),
	} {
		if !errors.Is(err, dag.ErrSymlink) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if in, err := f.Lstat("."); err != nil || in.Mode().Type() != fs.ModeSymlink {
		t.Errorf("Lstat: %v, %v", in, err)
	}
	if to, err := f.ReadLink("."); to != "photos" || err != nil {
		t.Errorf("ReadLink: %q, %v", to, err)
	}
}
