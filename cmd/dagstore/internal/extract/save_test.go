package extract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

func TestSaveFolder(t *testing.T) {
	m := dagtest.New(t)
	big := dagtest.Text(50_000)
	many, want := map[string]ipld.Node{}, map[string]string{
		"big": big, "empty": "", "nothing": "/", "sub": "/", "sub/ü & %20": "x", "sub/sub": "/", "sub/sub/deep": "y",
		"many": "/",
	}
	leaf := m.File("leaf")
	for i := range 700 {
		name := fmt.Sprintf("entry %d", i)
		many[name], want["many/"+name] = leaf, "leaf"
	}
	root := m.Folder(false, map[string]ipld.Node{
		"big":     m.File(big),
		"empty":   m.File(""),
		"nothing": m.Folder(false, nil),
		"many":    m.Folder(true, many),
		"sub": m.Folder(false, map[string]ipld.Node{
			"ü & %20": m.File("x"),
			"sub":     m.Folder(false, map[string]ipld.Node{"deep": m.File("y")}),
		}),
	})
	dir := t.TempDir()
	leftOut, err := New(m).Save(t.Context(), root.Cid(), filepath.Join(dir, "dst"))
	if err != nil || len(leftOut) > 0 {
		t.Fatal(leftOut, err)
	}
	if got := treeOf(t, filepath.Join(dir, "dst")); !maps.Equal(got, want) {
		t.Errorf("got %d entries, want %d", len(got), len(want))
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("beside it lies %v, %v", entries, err)
	}
}

func TestSaveFile(t *testing.T) {
	m := dagtest.New(t)
	dir := t.TempDir()
	raw := m.Block(cid.Raw, 0x12, []byte("raw"))
	data := dagtest.Text(9_999)
	for c, want := range map[cid.Cid]string{raw: "raw", m.File(data).Cid(): data} {
		dst := filepath.Join(dir, c.String())
		if _, err := New(m).Save(t.Context(), c, dst); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(dst)
		if err != nil || string(got) != want {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		// Not the mode of a temporary file.
		if info, err := os.Stat(dst); err != nil || runtime.GOOS != "windows" && info.Mode().Perm()&0o400 == 0 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
	}
}

// TestSaveFails wants nothing to be left, whatever goes wrong.
func TestSaveFails(t *testing.T) {
	errDamaged := errors.New("damaged")
	for name, c := range map[string]struct {
		spoil func(*dagtest.Memory, cid.Cid)
		want  error
	}{
		"missing": {(*dagtest.Memory).Drop, ErrMissing},
		"damaged": {func(m *dagtest.Memory, c cid.Cid) { m.Fail(c, errDamaged) }, errDamaged},
	} {
		for i := range 4 {
			m := dagtest.New(t)
			data := dagtest.Text(20_000)
			file := m.File(data)
			sub := m.Folder(true, map[string]ipld.Node{"file": file, "x": m.File("x")})
			root := m.Folder(false, map[string]ipld.Node{"a": m.File("a"), "sub": sub})
			leaf, err := cid.V1Builder{Codec: cid.Raw, MhType: 0x12}.Sum([]byte(data[15*1024 : 16*1024]))
			if err != nil {
				t.Fatal(err)
			}
			spoilt := []cid.Cid{leaf, file.Cid(), sub.Cid(), root.Cid()}[i]
			if has, _ := m.Has(t.Context(), spoilt); !has {
				t.Fatalf("block %d is not there to be spoiled", i)
			}
			c.spoil(m, spoilt)
			dir := t.TempDir()
			_, err = New(m).Save(t.Context(), root.Cid(), filepath.Join(dir, "dst"))
			if !errors.Is(err, c.want) {
				t.Errorf("%s %d: %v", name, i, err)
			} else if name == "missing" && !strings.Contains(err.Error(), spoilt.String()) {
				t.Errorf("%s %d: the error does not name %s: %v", name, i, spoilt, err)
			}
			wantEmpty(t, dir)
			err = SaveFile(filepath.Join(dir, "car"), func(w io.Writer) error { return New(m).CAR(t.Context(), root.Cid(), w) })
			if !errors.Is(err, c.want) {
				t.Errorf("%s %d: CAR: %v", name, i, err)
			}
			wantEmpty(t, dir)
		}
	}
}

func TestSaveInterrupted(t *testing.T) {
	m := dagtest.New(t)
	root := m.Folder(false, map[string]ipld.Node{"a": m.File(dagtest.Text(20_000))})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := New(m).Save(ctx, root.Cid(), filepath.Join(dir, "dst")); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	wantEmpty(t, dir)
}

func TestSaveOverwritesNothing(t *testing.T) {
	m := dagtest.New(t)
	file, dir := m.File("new"), m.Folder(false, map[string]ipld.Node{"a": m.File("new")})
	at := t.TempDir()
	for name, make := range map[string]func(string) error{
		"file":   func(p string) error { return os.WriteFile(p, []byte("old"), 0o666) },
		"folder": func(p string) error { return os.Mkdir(p, 0o777) },
		"link":   func(p string) error { return os.Symlink("nowhere", p) },
	} {
		dst := filepath.Join(at, name)
		if err := make(dst); err != nil {
			t.Fatal(err)
		}
		before := treeOf(t, at)
		for _, c := range []cid.Cid{file.Cid(), dir.Cid()} {
			if _, err := New(m).Save(t.Context(), c, dst); !errors.Is(err, ErrExists) {
				t.Errorf("over a %s: %v", name, err)
			}
		}
		if after := treeOf(t, at); !maps.Equal(before, after) {
			t.Errorf("over a %s: it was changed", name)
		}
	}
	// Something that comes there while the file is being written.
	dst := filepath.Join(at, "late")
	err := SaveFile(dst, func(io.Writer) error { return os.WriteFile(dst, []byte("old"), 0o666) })
	if data, _ := os.ReadFile(dst); !errors.Is(err, ErrExists) || string(data) != "old" {
		t.Errorf("%v, %q", err, data)
	}
	if _, err := New(m).Save(t.Context(), file.Cid(), filepath.Join(at, "no", "such", "folder")); err == nil {
		t.Error("saved in a folder that is not there")
	}
}

func TestUnsafeNames(t *testing.T) {
	m := dagtest.New(t)
	leaf := m.File("leaf")
	for _, names := range [][]string{
		{".."}, {"."}, {""}, {"a/b"}, {"/etc"}, {"../x"}, {"a\x00b"}, {"a", "a"}, {"ok", ".."},
	} {
		dir := t.TempDir()
		for _, root := range []ipld.Node{m.Odd(leaf.Cid(), names...), m.Odd(m.Odd(leaf.Cid(), names...).Cid(), "sub")} {
			if _, err := New(m).Save(t.Context(), root.Cid(), filepath.Join(dir, "dst")); !errors.Is(err, ErrName) {
				t.Errorf("%q: %v", names, err)
			}
			wantEmpty(t, dir)
		}
	}
}

func TestTooDeep(t *testing.T) {
	m := dagtest.New(t)
	node := m.File("bottom")
	for range maxDepth + 2 {
		node = m.Odd(node.Cid(), "d")
	}
	dir := t.TempDir()
	if _, err := New(m).Save(t.Context(), node.Cid(), filepath.Join(dir, "dst")); !errors.Is(err, ErrKind) {
		t.Error(err)
	}
	wantEmpty(t, dir)
}

func TestSymlinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Log("symlinks need a privilege here: they may all be left out")
	}
	m := dagtest.New(t)
	root := m.Folder(false, map[string]ipld.Node{
		"file": m.File("x"),
		"good": m.Symlink("sub/also"),
		"abs":  m.Symlink("/etc/passwd"),
		"up":   m.Symlink("../x"),
		"sub": m.Folder(true, map[string]ipld.Node{
			"also":  m.Symlink("../file"),
			"upper": m.Symlink("../../x"),
			"odd":   m.Symlink("a/../../../x"),
		}),
	})
	dst := filepath.Join(t.TempDir(), "dst")
	leftOut, err := New(m).Save(t.Context(), root.Cid(), dst)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"file": "x", "sub": "/"}
	if runtime.GOOS != "windows" {
		want["good"], want["sub/also"] = "-> sub/also", "-> ../file"
		slices.Sort(leftOut)
		if !slices.Equal(leftOut, []string{"abs", "sub/odd", "sub/upper", "up"}) {
			t.Errorf("left out: %q", leftOut)
		}
	}
	if got := treeOf(t, dst); !maps.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	dir := t.TempDir()
	if _, err := New(m).Save(t.Context(), m.Symlink("x").Cid(), filepath.Join(dir, "dst")); !errors.Is(err, ErrKind) {
		t.Errorf("a symlink alone: %v", err)
	}
	wantEmpty(t, dir)
}

// TestStaysInside makes random trees of symlinks that staysInside lets pass,
// and asks the system where they lead.
func TestStaysInside(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symlinks need a privilege here")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	written, refused, resolved := 0, 0, 0
	for range 60 {
		top, err := filepath.EvalSymlinks(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		top = filepath.Join(top, "in", "side", "top")
		folders := []string{"", "a", "a/b", "c"}
		for _, f := range folders {
			if err := os.MkdirAll(filepath.Join(top, f), 0o777); err != nil {
				t.Fatal(err)
			}
		}
		parts := []string{"..", "..", ".", "", "a", "b", "c", "l0", "l1", "l2", "l3", "l4", "l5"}
		for i := range 6 {
			folder := folders[rng.IntN(len(folders))]
			target := make([]string, 1+rng.IntN(4))
			for j := range target {
				target[j] = parts[rng.IntN(len(parts))]
			}
			depth := strings.Count(folder, "/")
			if folder != "" {
				depth++
			}
			link := strings.Join(target, "/")
			if !staysInside(link, depth) {
				refused++
				continue
			}
			if err := os.Symlink(link, filepath.Join(top, folder, fmt.Sprintf("l%d", i))); err != nil {
				t.Fatal(err)
			}
			written++
		}
		for path, kind := range treeOf(t, top) {
			if !strings.HasPrefix(kind, "-> ") {
				continue
			}
			at, err := filepath.EvalSymlinks(filepath.Join(top, path))
			if err != nil {
				continue // it leads nowhere, or round in circles
			}
			resolved++
			if at != top && !strings.HasPrefix(at, top+"/") {
				t.Fatalf("%s %s leads to %s, out of %s: %q", path, kind, at, top, treeOf(t, top))
			}
		}
	}
	if written < 50 || refused < 50 || resolved < 25 {
		t.Errorf("%d written, %d refused, %d resolved: not much of a test", written, refused, resolved)
	}
}
