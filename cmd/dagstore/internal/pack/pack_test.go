package pack_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	carv2 "github.com/ipld/go-car/v2"
	carblockstore "github.com/ipld/go-car/v2/blockstore"
	"golang.org/x/crypto/chacha20"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/pack"
)

// write puts a file into a folder that is made if need be.
func write(t *testing.T, data []byte, path ...string) string {
	t.Helper()
	name := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// packed packs paths into a file, and holds what is in it against its CIDs and
// against what was said of it.
func packed(t *testing.T, opts pack.Options, paths ...string) (pack.Made, []byte) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "made.car")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	made, err := pack.Write(t.Context(), out, paths, opts)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if made.Bytes != int64(len(data)) {
		t.Errorf("it says %d bytes, the file has %d", made.Bytes, len(data))
	}
	holds(t, made, data)
	return made, data
}

// holds reads a CAR with go-car: every block is what its CID says, there once,
// and reached from the root, and none is missing.
func holds(t *testing.T, made pack.Made, data []byte) {
	t.Helper()
	r, err := carv2.NewBlockReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Roots) != 1 || r.Roots[0] != made.Root {
		t.Errorf("roots are %v, want %v", r.Roots, made.Root)
	}
	links := map[cid.Cid][]cid.Cid{}
	for {
		b, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := links[b.Cid()]; twice {
			t.Errorf("%s is there twice", b.Cid())
		}
		links[b.Cid()] = nil
		if b.Cid().Type() != cid.DagProtobuf {
			continue
		}
		node, err := merkledag.DecodeProtobuf(b.RawData())
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range node.Links() {
			links[b.Cid()] = append(links[b.Cid()], l.Cid)
			if _, before := links[l.Cid]; !before {
				t.Errorf("%s comes after what links to it", l.Cid)
			}
		}
	}
	if int64(len(links)) != made.Blocks {
		t.Errorf("%d blocks, it says %d", len(links), made.Blocks)
	}
	reached := cid.NewSet()
	for queue := []cid.Cid{made.Root}; len(queue) > 0; {
		c := queue[0]
		queue = queue[1:]
		if reached.Visit(c) {
			queue = append(queue, links[c]...)
		}
	}
	if reached.Len() != len(links) {
		t.Errorf("%d blocks, of which the root leads to %d", len(links), reached.Len())
	}
}

// stream is the bytes from which Kubo's tests of profiles make their files and
// names: a ChaCha20 key stream under the SHA-256 of a seed.
type stream struct{ *chacha20.Cipher }

func seeded(t *testing.T, seed string) stream {
	t.Helper()
	key := sha256.Sum256([]byte(seed))
	c, err := chacha20.NewUnauthenticatedCipher(key[:], make([]byte, chacha20.NonceSize))
	if err != nil {
		t.Fatal(err)
	}
	return stream{c}
}

func (s stream) next(n int) []byte {
	b := make([]byte, n)
	s.XORKeyStream(b, b)
	return b
}

// manyFiles is a folder of n files of one byte, whose names are of a length and the
// last one of another, made as Kubo's tests make them.
func manyFiles(t *testing.T, seed string, n, length, last int) string {
	t.Helper()
	const letters = "abcdefghijklmnopqrstuvwxyz01234567890-_"
	dir := filepath.Join(t.TempDir(), "many")
	names := seeded(t, seed)
	for i := range n {
		if i == n-1 {
			length = last
		}
		name := names.next(length)
		for j, b := range name {
			name[j] = letters[int(b)%len(letters)]
		}
		write(t, []byte("x"), dir, string(name))
	}
	return dir
}

// TestKubo: the CIDs are those that Kubo makes by the same profiles. They stand in
// its test/cli/cid_profiles_test.go (at c626ee94a854), which says how the input
// is made.
func TestKubo(t *testing.T) {
	file := func(data []byte) func(*testing.T) string {
		return func(t *testing.T) string { return write(t, data, t.TempDir(), "file") }
	}
	random := func(seed string, n int) func(*testing.T) string {
		return func(t *testing.T) string { return file(seeded(t, seed).next(n))(t) }
	}
	folder := func(seed string, n, length, last int) func(*testing.T) string {
		return func(t *testing.T) string { return manyFiles(t, seed, n, length, last) }
	}
	const v0dirs, v1dirs = "hamt-unixfs-v0-2015", "hamt-unixfs-v1-2025"
	for _, c := range []struct {
		name    string
		profile pack.Profile
		input   func(*testing.T) string
		want    string
	}{
		{"small", pack.V0, file([]byte("hello world")), "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"},
		{"small", pack.V1, file([]byte("hello world")), "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"},
		{"as many links as there may be", pack.V0, random("v0-seed", 174*256<<10), "QmUbBALi174SnogsUzLpYbD4xPiBSFANF4iztWCsHbMKh2"},
		{"one more", pack.V0, random("v0-seed", 175*256<<10), "QmepeWtdmS1hHXx1oZXsPUv6bMrfRRKfZcoPPU4eEfjnbf"},
		{"as many names as fit", pack.V0, folder(v0dirs, 4096, 30, 30), "QmX5GtRk3TSSEHtdrykgqm4eqMEn3n2XhfkFAis5fjyZmN"},
		{"a byte more", pack.V0, folder(v0dirs, 4033, 31, 31), "QmeMiJzmhpJAUgynAcxTQYek5PPKgdv3qEvFsdV3XpVnvP"},
		{"as many names as fit", pack.V1, folder(v1dirs, 4766, 11, 21), "bafybeic3h7rwruealwxkacabdy45jivq2crwz6bufb5ljwupn36gicplx4"},
		{"a byte more", pack.V1, folder(v1dirs, 4766, 11, 22), "bafybeiegvuterwurhdtkikfhbxcldohmxp566vpjdofhzmnhv6o4freidu"},
	} {
		t.Run(c.profile.Name+"/"+c.name, func(t *testing.T) {
			made, _ := packed(t, pack.Options{Profile: c.profile}, c.input(t))
			if made.Root.String() != c.want {
				t.Errorf("root is %s, Kubo says %s", made.Root, c.want)
			}
		})
	}
}

// TestIPFSCar: the CIDs are those of ipfs-car 3.1.0, from npm, by "ipfs-car pack
// --no-wrap"; it is of other people, in another language. It shards folders of more
// than 1,000 entries, and no others.
func TestIPFSCar(t *testing.T) {
	numbered := func(t *testing.T, n int) string {
		dir := filepath.Join(t.TempDir(), "numbered")
		for i := range n {
			write(t, fmt.Appendf(nil, "file %d\n", i), dir, fmt.Sprintf("file-%d.txt", i))
		}
		return dir
	}
	for _, c := range []struct {
		name  string
		input func(t *testing.T) string
		want  string
	}{
		{"three chunks", func(t *testing.T) string {
			return write(t, bytes.Repeat([]byte("a"), 3_000_000), t.TempDir(), "a3m")
		}, "bafybeig3tekvo6icfwhptbbtr5vlcn77vkjfsz4t2zpb7prqrhqgwrtwei"},
		{"a folder", func(t *testing.T) string {
			dir := filepath.Join(t.TempDir(), "dir")
			write(t, []byte("hello\n"), dir, "hello.txt")
			write(t, nil, dir, "empty")
			write(t, bytes.Repeat([]byte("a"), 3_000_000), dir, "sub", "a3m")
			return dir
		}, "bafybeicmra7qhsovuftzfav74qqlrsjqrxj5zpjfuxb6wu7choobmwf7ay"},
		{"a large folder", func(t *testing.T) string { return numbered(t, 7000) }, "bafybeic7veo5higg6cqvgqqaj4kg2kep55nzuh3qerrlw667beb5oidkdu"},
		{"a folder below the bound", func(t *testing.T) string { return numbered(t, 900) }, "bafybeihpa64z7pnelxtwr4tlkydu7jxehvt3cywuc5w643tocgg2gowcxm"},
	} {
		t.Run(c.name, func(t *testing.T) {
			made, _ := packed(t, pack.Options{Profile: pack.V1}, c.input(t))
			if made.Root.String() != c.want {
				t.Errorf("root is %s, ipfs-car says %s", made.Root, c.want)
			}
		})
	}
}

// TestWellKnown: CIDs that everybody has met, of an empty file and an empty folder,
// and the folder of https://github.com/ipfs/specs/pull/550.
func TestWellKnown(t *testing.T) {
	empty := t.TempDir()
	file := write(t, nil, t.TempDir(), "empty")
	hello := filepath.Join(t.TempDir(), "hello")
	write(t, []byte("hello\n"), hello, "hello.txt")
	write(t, []byte("hidden"), hello, ".hidden")
	for _, c := range []struct {
		path    string
		profile pack.Profile
		want    string
	}{
		{empty, pack.V0, "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn"},
		{empty, pack.V1, "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"},
		{file, pack.V0, "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"},
		{file, pack.V1, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"},
		{hello, pack.V1, "bafybeigdcg7pksx2zk5336vrfsktjodlr4rbfz37qr3koc5xboxe5ekv24"},
	} {
		if made, _ := packed(t, pack.Options{Profile: c.profile}, c.path); made.Root.String() != c.want {
			t.Errorf("%s, %s: root is %s, want %s", c.path, c.profile.Name, made.Root, c.want)
		}
	}
}

// tree is a folder with all that a folder can have.
func tree(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tree")
	write(t, bytes.Repeat([]byte("0123456789"), 300_000), dir, "large")
	write(t, []byte("same"), dir, "a", "one")
	write(t, []byte("same"), dir, "a", "two")
	write(t, []byte("dot"), dir, ".dot", "file")
	write(t, []byte("日本"), dir, "日本", "語")
	if err := os.MkdirAll(filepath.Join(dir, "none"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"link": "a/one", "up": "../outside", "a/back": "../large", "dangling": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(dir, filepath.FromSlash(link))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestSameBytes: the same files give the same CAR, whatever it is called and whenever
// they were made, and options change what they say.
func TestSameBytes(t *testing.T) {
	for _, opts := range []pack.Options{
		{Profile: pack.V1}, {Profile: pack.V0}, {Profile: pack.V1, Index: true}, {Profile: pack.V0, Index: true, Hidden: true}, {Profile: pack.V1, Wrap: true},
	} {
		_, first := packed(t, opts, tree(t))
		_, again := packed(t, opts, tree(t))
		if !bytes.Equal(first, again) {
			t.Errorf("%+v: two CARs of the same files are not the same", opts)
		}
	}
	roots := map[string]bool{}
	for _, opts := range []pack.Options{
		{Profile: pack.V1}, {Profile: pack.V1, Hidden: true}, {Profile: pack.V1, Wrap: true}, {Profile: pack.V1, Mode: true}, {Profile: pack.V1, ModTime: true},
	} {
		made, _ := packed(t, opts, tree(t))
		roots[made.Root.String()] = true
	}
	if len(roots) != 5 {
		t.Errorf("five ways to pack a tree have %d roots", len(roots))
	}
}

// TestIndexed: go-car finds every block by the index inside.
func TestIndexed(t *testing.T) {
	made, data := packed(t, pack.Options{Profile: pack.V1, Index: true}, tree(t))
	bs, err := carblockstore.NewReadOnly(bytes.NewReader(data), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer bs.Close()
	r, err := carv2.NewReader(bytes.NewReader(data))
	if err != nil || r.Version != 2 || !r.Header.HasIndex() {
		t.Fatalf("version %v, %v", r, err)
	}
	n := 0
	payload, err := carv2.NewBlockReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	for {
		b, err := payload.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got, err := bs.Get(t.Context(), b.Cid())
		if err != nil || !bytes.Equal(got.RawData(), b.RawData()) {
			t.Errorf("%s: %v", b.Cid(), err)
		}
		n++
	}
	if int64(n) != made.Blocks || n < 8 {
		t.Errorf("%d blocks, %d said", n, made.Blocks)
	}
}

// TestSeveral: several paths lie in one folder, under their own names.
func TestSeveral(t *testing.T) {
	dir := t.TempDir()
	a, b := write(t, []byte("a"), dir, "x", "a"), write(t, []byte("b"), dir, "y", "b")
	whole := filepath.Join(dir, "whole")
	write(t, []byte("a"), whole, "a")
	write(t, []byte("b"), whole, "b")
	made, _ := packed(t, pack.Options{Profile: pack.V1}, b, a)
	want, _ := packed(t, pack.Options{Profile: pack.V1}, whole)
	if made.Root != want.Root || made.Files != 2 {
		t.Errorf("%+v, want %+v", made, want)
	}
	one, _ := packed(t, pack.Options{Profile: pack.V1, Wrap: true}, a)
	if one.Root == made.Root || one.Blocks != 2 {
		t.Errorf("%+v", one)
	}
	// A symlink that is named stands for what it leads to.
	link := filepath.Join(dir, "link")
	if err := os.Symlink(whole, link); err != nil {
		t.Fatal(err)
	}
	if made, _ := packed(t, pack.Options{Profile: pack.V1}, link); made.Root != want.Root {
		t.Errorf("by a symlink: %+v", made)
	}
}

// ending ends a context, or changes a file, when that has been read.
type ending struct {
	*os.File
	do func()
}

func (e ending) Write(p []byte) (int, error) {
	e.do()
	return e.File.Write(p)
}

// TestRefused: what cannot be packed, and what changes meanwhile.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	a, other := write(t, []byte("a"), dir, "x", "a"), write(t, []byte("b"), dir, "y", "a")
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	refused := func(want error, paths ...string) {
		t.Helper()
		if _, err := pack.Write(t.Context(), out, paths, pack.Options{Profile: pack.V1}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", paths, err, want)
		}
	}
	refused(pack.ErrName, a, other)
	refused(os.ErrNotExist, filepath.Join(dir, "nowhere"))
	if f, err := os.Open(os.DevNull); err == nil {
		f.Close()
		refused(pack.ErrKind, os.DevNull)
	}
	if os.WriteFile(filepath.Join(dir, "x", "caf\xe9"), nil, 0o600) == nil { // not on every system
		refused(pack.ErrName, filepath.Join(dir, "x"))
	}

	large := write(t, bytes.Repeat([]byte("a"), 8<<20), dir, "large")
	grow := ending{out, func() {
		f, err := os.OpenFile(large, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString("more")
		}
		if err != nil {
			t.Error(err)
		}
		f.Close()
	}}
	if _, err := pack.Write(t.Context(), grow, []string{large}, pack.Options{Profile: pack.V1}); !errors.Is(err, pack.ErrChanged) {
		t.Errorf("a file that grows: %v", err)
	}
	endless := write(t, bytes.Repeat([]byte("a"), 1<<20), dir, "endless")
	f, err := os.OpenFile(endless, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var more int64
	follow := pack.Options{Profile: pack.V1, Progress: func(n int64) {
		if more += n; more > 64<<20 {
			return
		}
		if _, err := f.Write(make([]byte, n)); err != nil {
			t.Error(err)
		}
	}}
	if _, err := pack.Write(t.Context(), out, []string{endless}, follow); !errors.Is(err, pack.ErrChanged) || more > 8<<20 {
		t.Errorf("a file that never ends: %v after %d bytes", err, more)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := pack.Write(ctx, ending{out, cancel}, []string{large}, pack.Options{Profile: pack.V1}); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	var read int64
	tell := pack.Options{Profile: pack.V0, Progress: func(n int64) { read += n }}
	if _, err := pack.Write(t.Context(), out, []string{a, filepath.Join(dir, "y")}, tell); err != nil || read != 2 {
		t.Errorf("%d bytes were told of, %v", read, err)
	}
	if !strings.Contains(pack.V0.Name, "2015") {
		t.Error(pack.V0.Name)
	}
}
