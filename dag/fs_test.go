package dag_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"
	"time"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"
	"go.uber.org/goleak"

	"github.com/dagstore/dagstore/dag"
	"github.com/dagstore/dagstore/internal/car/dagtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// raw is a raw leaf as a node that a folder can hold.
func raw(m *dagtest.Memory, data string) ipld.Node {
	c := m.Block(cid.Raw, multihash.SHA2_256, []byte(data))
	b, err := merkledag.NewRawNodeWPrefix([]byte(data), c.Prefix())
	if err != nil {
		panic(err)
	}
	return b
}

// inlined is a leaf within its CID, which is in no store.
func inlined(data string) ipld.Node {
	n, err := merkledag.NewRawNodeWPrefix([]byte(data), cid.V1Builder{Codec: cid.Raw, MhType: multihash.IDENTITY})
	if err != nil {
		panic(err)
	}
	return n
}

// tree is a DAG of everything that UnixFS has, and what is in its files.
func tree(m *dagtest.Memory) (root cid.Cid, files map[string]string) {
	files = map[string]string{
		"empty":            "",
		"short":            "a few bytes",
		"long":             dagtest.Text(100_000),
		"raw":              "a raw leaf",
		"inline":           "within the CID",
		"photos/a.txt":     dagtest.Text(1024),
		"photos/b.txt":     dagtest.Text(1025),
		"photos/deep/c":    dagtest.Text(4097),
		"photos/deep/name": "ünïcödé",
	}
	many := map[string]ipld.Node{}
	for i := range 700 {
		name, text := fmt.Sprintf("file %d.txt", i), fmt.Sprintf("content %d", i)
		files["many/"+name] = text
		many[name] = raw(m, text)
	}
	deep := m.Folder(true, map[string]ipld.Node{"c": m.File(files["photos/deep/c"]), "name": m.File(files["photos/deep/name"])})
	photos := m.Folder(false, map[string]ipld.Node{
		"a.txt": m.File(files["photos/a.txt"]), "b.txt": m.File(files["photos/b.txt"]), "deep": deep,
	})
	top := m.Folder(false, map[string]ipld.Node{
		"empty": m.File(""), "short": m.File(files["short"]), "long": m.File(files["long"]), "raw": raw(m, files["raw"]),
		"inline": inlined(files["inline"]), "photos": photos, "many": m.Folder(true, many),
		"link": m.Symlink("photos/a.txt"), "to a folder": m.Symlink("photos/deep/../deep"), "nothing": m.Folder(false, nil),
	})
	files["link"] = files["photos/a.txt"]
	return top.Cid(), files
}

// TestFS is the suite of the standard library.
func TestFS(t *testing.T) {
	m := dagtest.New(t)
	root, files := tree(m)
	for name, src := range map[string]dag.Source{"blockstore": m, "no more than a source": least{m}} {
		t.Run(name, func(t *testing.T) {
			f := dag.NewFS(t.Context(), src, root)
			names := []string{"nothing", "photos/deep", "to a folder"}
			for name := range files {
				names = append(names, name)
			}
			if err := fstest.TestFS(f, names...); err != nil {
				t.Error(err)
			}
			for name, want := range files {
				got, err := fs.ReadFile(f, name)
				if err != nil || string(got) != want {
					t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(want), err)
				}
			}
		})
	}
	sub, err := fs.Sub(dag.NewFS(t.Context(), m, root), "photos")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(sub, "a.txt", "deep/c"); err != nil {
		t.Error(err)
	}
}

// least has not one method more than a source needs.
type least struct{ dag.Source }

func open(t *testing.T, f *dag.FS, name string) *dag.File {
	t.Helper()
	got, err := f.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	file, ok := got.(*dag.File)
	if !ok {
		t.Fatalf("%s is %T", name, got)
	}
	return file
}

// TestFile reads a file of many levels in every way in which it can be read.
func TestFile(t *testing.T) {
	m := dagtest.New(t)
	root, files := tree(m)
	f := dag.NewFS(t.Context(), m, root)
	for _, name := range []string{"long", "raw", "inline", "empty", "photos/deep/c"} {
		want := files[name]
		if err := iotest.TestReader(open(t, f, name), []byte(want)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		file := open(t, f, name)
		skip := int64(len(want) / 3)
		if _, err := file.Seek(skip, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if n, err := file.WriteTo(&out); err != nil || n != int64(len(want))-skip || out.String() != want[skip:] {
			t.Errorf("%s: WriteTo gives %d bytes, %v", name, n, err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
		for what, err := range map[string]error{
			"Read":   second(file.Read(make([]byte, 1))),
			"ReadAt": second(file.ReadAt(make([]byte, 1), 0)),
			"Stat":   second(file.Stat()),
			"Seek":   second(file.Seek(0, 0)),
			"Close":  file.Close(),
		} {
			var pe *fs.PathError
			if !errors.Is(err, fs.ErrClosed) || !errors.As(err, &pe) || pe.Path != name {
				t.Errorf("%s after Close: %v", what, err)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestABlockIsReadOnce by who reads on in small pieces.
func TestABlockIsReadOnce(t *testing.T) {
	m := dagtest.New(t)
	text := dagtest.Text(64 * dagtest.Chunk)
	f := dag.NewFS(t.Context(), m, m.File(text).Cid())
	file := open(t, f, ".")
	seen := map[cid.Cid]int{}
	m.OnGet = func(c cid.Cid) { seen[c]++ }
	got, err := io.ReadAll(iotest.OneByteReader(struct{ io.Reader }{file}))
	if err != nil || string(got) != text {
		t.Fatal(err)
	}
	for c, n := range seen {
		if n > 1 {
			t.Errorf("%v was read %d times", c, n)
		}
	}
	if len(seen) < 64 {
		t.Errorf("%d blocks", len(seen))
	}
}

// node adds a dag-pb node of UnixFS data and links as they are given.
func node(t *testing.T, m *dagtest.Memory, data []byte, links ...*ipld.Link) cid.Cid {
	t.Helper()
	n := merkledag.NodeWithData(data)
	n.SetCidBuilder(cid.V1Builder{Codec: cid.DagProtobuf, MhType: multihash.SHA2_256})
	for _, l := range links {
		if err := n.AddRawLink(l.Name, l); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Put(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return n.Cid()
}

func fileData(t *testing.T, own string, sizes ...uint64) []byte {
	t.Helper()
	n := unixfs.NewFSNode(unixfs.TFile)
	n.SetData([]byte(own))
	for _, s := range sizes {
		n.AddBlockSize(s)
	}
	data, err := n.GetBytes()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestModesAndTimes are those of UnixFS 1.5, and no bit that gives rights to
// anybody.
func TestModesAndTimes(t *testing.T) {
	m := dagtest.New(t)
	when := time.Date(2024, 2, 29, 1, 2, 3, 456, time.UTC)
	set := node(t, m, unixfs.FilePBDataWithStat([]byte("x"), 1, 0o751|fs.ModeSetuid, when))
	dir := node(t, m, unixfs.FolderPBDataWithStat(0o700, when), &ipld.Link{Name: "set", Cid: set}, &ipld.Link{Name: "plain", Cid: m.File("y").Cid()})
	f := dag.NewFS(t.Context(), m, dir)
	for name, want := range map[string]struct {
		mode fs.FileMode
		time time.Time
	}{".": {0o700 | fs.ModeDir, when}, "set": {0o751, when}, "plain": {0o644, time.Time{}}} {
		in, err := fs.Stat(f, name)
		if err != nil || in.Mode() != want.mode || !in.ModTime().Equal(want.time) {
			t.Errorf("%s: %v %v, %v", name, in.Mode(), in.ModTime(), err)
		}
		if c, ok := in.Sys().(cid.Cid); !ok || name == "set" && c != set {
			t.Errorf("%s: Sys is %v", name, in.Sys())
		}
	}
	if err := fstest.TestFS(f, "set", "plain"); err != nil {
		t.Error(err)
	}
}

// TestSymlinks follows what stays inside, and nothing else.
func TestSymlinks(t *testing.T) {
	m := dagtest.New(t)
	sub := m.Folder(false, map[string]ipld.Node{
		"up": m.Symlink("../file"), "out": m.Symlink("../../file"), "abs": m.Symlink("/file"), "self": m.Symlink("self"),
		"empty": m.Symlink(""), "long": m.Symlink(strings.Repeat("./", 5000) + "x"), "gone": m.Symlink("nobody"),
		"dots": m.Symlink(".././sub//up"),
	})
	root := m.Folder(false, map[string]ipld.Node{"file": m.File("text"), "sub": sub, "to": m.Symlink("sub"), "there": m.Symlink("to/up")})
	f := dag.NewFS(t.Context(), m, root.Cid())
	for _, name := range []string{"sub/up", "to/up", "there", "sub/dots"} {
		if got, err := f.ReadFile(name); err != nil || string(got) != "text" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for name, want := range map[string]error{
		"sub/out": dag.ErrSymlink, "sub/abs": dag.ErrSymlink, "sub/self": dag.ErrSymlink, "sub/empty": dag.ErrSymlink,
		"sub/long": dag.ErrSymlink, "sub/gone": fs.ErrNotExist, "file/up": fs.ErrNotExist,
	} {
		_, err := f.Open(name)
		var pe *fs.PathError
		if !errors.Is(err, want) || !errors.As(err, &pe) || pe.Path != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if to, err := f.ReadLink("sub/out"); to != "../../file" || err != nil {
		t.Errorf("ReadLink: %q, %v", to, err)
	}
	if in, err := f.Lstat("sub/out"); err != nil || in.Mode().Type() != fs.ModeSymlink || in.Size() != 10 {
		t.Errorf("Lstat: %v, %v", in, err)
	}
	if _, err := f.ReadLink("file"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("ReadLink of a file: %v", err)
	}
}

// TestMissing: a missing block is not a missing name, and costs a listing
// nothing but what is known of it.
func TestMissing(t *testing.T) {
	m := dagtest.New(t)
	gone, leaf := m.File("gone"), m.File(dagtest.Text(5000))
	root := m.Folder(false, map[string]ipld.Node{"here": m.File("here"), "gone": m.Folder(false, map[string]ipld.Node{"x": gone}), "part": leaf})
	folder, err := dag.NewFS(t.Context(), m, root.Cid()).Stat("gone")
	if err != nil {
		t.Fatal(err)
	}
	m.Drop(folder.Sys().(cid.Cid))
	m.Drop(leaf.Links()[1].Cid)
	f := dag.NewFS(t.Context(), m, root.Cid())
	_, err = f.Open("gone")
	if !ipld.IsNotFound(err) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open: %v", err)
	}
	if _, err := f.Open("nobody"); !errors.Is(err, fs.ErrNotExist) || ipld.IsNotFound(err) {
		t.Errorf("Open of no name: %v", err)
	}
	all, err := f.ReadDir(".")
	if err != nil || len(all) != 3 || all[0].Name() != "gone" || all[0].Type() != fs.ModeIrregular || all[0].IsDir() {
		t.Fatalf("ReadDir: %v, %v", all, err)
	}
	if _, err := all[0].Info(); !ipld.IsNotFound(err) {
		t.Errorf("Info: %v", err)
	}
	if got, err := f.ReadFile("part"); !ipld.IsNotFound(err) || len(got) == 0 {
		t.Errorf("a file with a hole: %d bytes, %v", len(got), err)
	}
}

// TestOddNames: what no file can be called is left out of a listing, which says
// so, and all else is there.
func TestOddNames(t *testing.T) {
	m := dagtest.New(t)
	odd := m.Odd(m.File("x").Cid(), "good", "a/b", "..", ".", "", "bad \xff", "twice", "twice", "zz")
	f := dag.NewFS(t.Context(), m, odd.Cid())
	all, err := f.ReadDir(".")
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
	}
	if !errors.Is(err, dag.ErrName) || !slices.Equal(names, []string{"good", "twice", "zz"}) {
		t.Errorf("%q, %v", names, err)
	}
	for _, name := range names {
		if got, err := f.ReadFile(name); err != nil || string(got) != "x" {
			t.Errorf("%s: %v", name, err)
		}
	}
	dir, err := f.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range 20 {
		some, err := dir.(fs.ReadDirFile).ReadDir(2)
		n += len(some)
		if errors.Is(err, io.EOF) {
			break
		}
	}
	if n != 4 { // twice is there twice: nothing is sorted
		t.Errorf("%d entries piece by piece", n)
	}
}

// TestTheContextEndsReading, also in the middle of a file.
func TestTheContextEndsReading(t *testing.T) {
	m := dagtest.New(t)
	root, _ := tree(m)
	ctx, cancel := context.WithCancel(t.Context())
	f := dag.NewFS(ctx, m, root)
	file := open(t, f, "long")
	if _, err := file.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := file.ReadAt(make([]byte, 10), 50_000); !errors.Is(err, context.Canceled) {
		t.Errorf("ReadAt: %v", err)
	}
	if _, err := f.ReadDir("many"); !errors.Is(err, context.Canceled) {
		t.Errorf("ReadDir: %v", err)
	}
}

// TestWalk compares with what is there.
func TestWalk(t *testing.T) {
	m := dagtest.New(t)
	root, files := tree(m)
	f := dag.NewFS(t.Context(), m, root)
	n := 0
	err := fs.WalkDir(f, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Type() == fs.ModeSymlink {
			return err
		}
		in, err := d.Info()
		if want, ok := files[name]; err != nil || !ok || in.Size() != int64(len(want)) || in.Name() != path.Base(name) {
			t.Errorf("%s: %v, %v", name, in, err)
		}
		n++
		return nil
	})
	if err != nil || n != len(files)-1 {
		t.Errorf("%d files, %v", n, err)
	}
}
