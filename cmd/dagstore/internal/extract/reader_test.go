package extract

import (
	"bytes"
	"errors"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

func TestResolve(t *testing.T) {
	m := dagtest.New(t)
	file := m.File(dagtest.Text(5_000))
	sub := m.Folder(true, map[string]ipld.Node{"file": file})
	// {"in": {"side": 1}, "link": sub}
	cbor := []byte{0xa2, 0x62, 'i', 'n', 0xa1, 0x64, 's', 'i', 'd', 'e', 1, 0x64, 'l', 'i', 'n', 'k', 0xd8, 42, 0x58, byte(1 + sub.Cid().ByteLen()), 0}
	object := m.Block(cid.DagCBOR, 0x12, append(cbor, sub.Cid().Bytes()...))
	root := m.Folder(false, map[string]ipld.Node{"sub": sub, "lost": m.File("lost")})
	halfway := m.Folder(false, map[string]ipld.Node{"dir": m.Folder(false, map[string]ipld.Node{"lost": m.File("lost")})})

	for _, c := range []struct {
		root  cid.Cid
		names []string
		want  cid.Cid
		err   error
	}{
		{root.Cid(), nil, root.Cid(), nil},
		{root.Cid(), []string{"sub"}, sub.Cid(), nil},
		{root.Cid(), []string{"sub", "file"}, file.Cid(), nil},
		{object, []string{"link", "file"}, file.Cid(), nil},
		{object, []string{"in", "side"}, cid.Undef, ErrKind},
		{object, []string{"nothing"}, cid.Undef, ErrNotFound},
		{root.Cid(), []string{"sub", "nothing"}, cid.Undef, ErrNotFound},
		{root.Cid(), []string{"sub", "file", "below"}, cid.Undef, ErrNotFound},
		{cid.MustParse(v1), nil, cid.Undef, ErrNotFound},
		{cid.MustParse(v1), []string{"a"}, cid.Undef, ErrNotFound},
	} {
		got, err := New(m).Resolve(t.Context(), Path{c.root, c.names})
		if !errors.Is(err, c.err) || !got.Equals(c.want) {
			t.Errorf("%v: %v, %v; want %v, %v", Path{c.root, c.names}, got, err, c.want, c.err)
		}
	}
	dir, err := New(m).Resolve(t.Context(), Path{halfway.Cid(), []string{"dir"}})
	if err != nil {
		t.Fatal(err)
	}
	m.Drop(dir)
	if _, err := New(m).Resolve(t.Context(), Path{halfway.Cid(), []string{"dir", "lost"}}); !errors.Is(err, ErrMissing) || errors.Is(err, ErrNotFound) {
		t.Errorf("a block on the way is missing: %v", err)
	}
}

func TestCat(t *testing.T) {
	m := dagtest.New(t)
	data := dagtest.Text(30_000)
	weak := m.Block(cid.Raw, 0xd5, []byte("hashed by md5"))
	for c, want := range map[cid.Cid]string{m.File(data).Cid(): data, m.File("").Cid(): "", weak: "hashed by md5"} {
		var out bytes.Buffer
		if err := New(m).Cat(t.Context(), c, &out); err != nil || out.String() != want {
			t.Errorf("got %d bytes, %v", out.Len(), err)
		}
	}
	for name, c := range map[string]cid.Cid{
		"folder":  m.Folder(false, nil).Cid(),
		"sharded": m.Folder(true, map[string]ipld.Node{"a": m.File("a")}).Cid(),
		"symlink": m.Symlink("a").Cid(),
		"cbor":    m.Block(cid.DagCBOR, 0x12, []byte{0xa0}),
		"no fs":   m.Block(cid.DagProtobuf, 0x12, nil),
	} {
		var out bytes.Buffer
		if err := New(m).Cat(t.Context(), c, &out); !errors.Is(err, ErrKind) || out.Len() > 0 {
			t.Errorf("%s: %d bytes, %v", name, out.Len(), err)
		}
	}
	full := errors.New("disk full")
	if err := New(m).Cat(t.Context(), m.File(data).Cid(), failing{full}); !errors.Is(err, full) {
		t.Errorf("a write that fails: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestBlock(t *testing.T) {
	m := dagtest.New(t)
	data := []byte{0, 1, 2}
	var out bytes.Buffer
	if err := New(m).Block(t.Context(), m.Block(cid.GitRaw, 0x11, data), &out); err != nil || !bytes.Equal(out.Bytes(), data) {
		t.Errorf("%x, %v", out.Bytes(), err)
	}
	if err := New(m).Block(t.Context(), cid.MustParse(v1), &out); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
}
