package extract

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
)

const (
	v0 = "QmPLPpnptHc1DMhJAWNYMTqBTqqRQNy5WsY7F9pZgsBfMT"
	v1 = "bafybeic7wwiyffvkr7xknfpzp7wch53owkr6dxv45cspxn7hfqccdel4fe"
)

func TestParsePath(t *testing.T) {
	for _, c := range []struct {
		in, root string
		names    []string
	}{
		{v0, v0, nil},
		{v1, v1, nil},
		{strings.ToUpper(v1[:1]) + strings.ToUpper(v1[1:]), v1, nil}, // base32upper
		{"/ipfs/" + v0, v0, nil},
		{"/ipfs/" + v1 + "/", v1, nil},
		{"ipfs://" + v1, v1, nil},
		{"IPFS://" + v1 + "/a", v1, []string{"a"}},
		{"ipfs://" + v0 + "/a%20b/%C3%BC%25", v0, []string{"a b", "ü%"}},
		{v1 + "/a%20b", v1, []string{"a%20b"}}, // no URI: a name is what it is
		{v1 + "/a b//c/", v1, []string{"a b", "c"}},
		{v1 + "/what?/#1", v1, []string{"what?", "#1"}},
		{"bafkqaaa", "bafkqaaa", nil},
	} {
		p, err := ParsePath(c.in)
		if err != nil {
			t.Errorf("%q: %v", c.in, err)
			continue
		}
		if !p.Root.Equals(cid.MustParse(c.root)) || !slices.Equal(p.Names, c.names) {
			t.Errorf("%q: %v %q", c.in, p.Root, p.Names)
		}
	}
}

// TestParsePathInAnyBase takes every base of the multibase table, among them
// those with a slash in their alphabet.
func TestParsePathInAnyBase(t *testing.T) {
	slashes := 0
	// Different digests, so that slashes come in all places.
	for i := range 64 {
		c, err := cid.V1Builder{Codec: cid.DagProtobuf, MhType: 0x13}.Sum([]byte{byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		for name, base := range multibase.Encodings {
			if base == multibase.Identity {
				continue // raw bytes: nothing that can be typed
			}
			s, err := c.StringOfBase(base)
			if err != nil {
				t.Fatal(err)
			}
			slashes += strings.Count(s, "/")
			for _, in := range []string{s, s + "/a/b", "/ipfs/" + s + "/a/b"} {
				p, err := ParsePath(in)
				if err != nil {
					t.Errorf("%s: %q: %v", name, in, err)
				} else if want := strings.Count(in, "/a/b") * 2; !p.Root.Equals(c) || len(p.Names) != want {
					t.Errorf("%s: %q: %v %q", name, in, p.Root, p.Names)
				}
			}
		}
	}
	if slashes == 0 {
		t.Error("no CID had a slash in it")
	}
}

func TestParsePathRefuses(t *testing.T) {
	for _, in := range []string{
		"", "/", "/ipfs/", "ipfs://", "nonsense", "/ipfs/nonsense/a", "/ipns/example.org", "ipns://example.org", "/ipld/" + v1,
		v1 + "/..", v1 + "/a/./b", "ipfs://" + v1 + "/a%2Fb", "ipfs://" + v1 + "/%", "ipfs://" + v1 + "?x", "ipfs://" + v1 + "/a#b",
		v0[:40], v1 + "x", " " + v1, "http://localhost/ipfs/" + v1, strings.Repeat("/", 1<<20),
	} {
		if p, err := ParsePath(in); !errors.Is(err, ErrPath) {
			t.Errorf("%.60q: %v, %v", in, p, err)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	f.Add(v0)
	f.Add("ipfs://" + v1 + "/a%20b")
	f.Add("/ipfs/" + v1 + "/a/b")
	f.Add("mAXASIK/" + v1)
	f.Fuzz(func(t *testing.T, in string) {
		p, err := ParsePath(in)
		if err != nil {
			if !errors.Is(err, ErrPath) {
				t.Fatalf("%q: %v", in, err)
			}
			return
		}
		again, err := ParsePath(p.String())
		if err != nil || !again.Root.Equals(p.Root) || !slices.Equal(again.Names, p.Names) {
			t.Fatalf("%q is %v %q, but %q is %v %q, %v", in, p.Root, p.Names, p.String(), again.Root, again.Names, err)
		}
	})
}
