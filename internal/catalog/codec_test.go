package catalog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/layers"
	"github.com/dagstore/dagstore/shard"
)

// One layer converts to the other; that this compiles is the test.
var _ = Layer(layers.Layer{})

func encode(t testing.TB, r *Record, seq uint64) []byte {
	t.Helper()
	value, err := appendRecord(nil, r, seq)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestGolden holds the format still. A change here needs a new version.
func TestGolden(t *testing.T) {
	r := &Record{
		Key: "k", Revision: 2, State: shard.Available, Intent: Recover, Pin: true,
		URL:   "file:///a",
		Index: IndexRef{ID: 7, Length: 300, CRC: 0x01020304},
		Facts: Facts{Version: 1, RootCount: 1, Bytes: 100, Payload: shard.Extent{Size: 100}, Sections: 3, Multihashes: 2},
		Failure: &shard.Failure{
			Err: &shard.Error{Key: "k", Op: shard.OpRead, Err: shard.ErrBlock}, At: time.Unix(1, 2), Attempts: 1,
		},
		Registered: time.Unix(1_700_000_000, 5).UTC(),
	}
	const want = "01030202" + "0200000000000000" + "0500000000000000" + "07000000" +
		"01" + "09" + "66696c653a2f2f2f61" +
		"02" + "06" + "80c49fd50c" + "05" +
		"06" + "06" + "d804" + "04030201" +
		"07" + "09" + "0202" + "c801" + "00" + "c801" + "0604" +
		"0e" + "16" + "0472656164" + "02" + "808002" + "0962616420626c6f636b" + "00" + "0202" +
		"5fdc15e4"
	got := encode(t, r, 5)
	if hex.EncodeToString(got) != want {
		t.Errorf("encoded as\n%x, want\n%s", got, want)
	}
}

func TestSmallRecord(t *testing.T) {
	if n := len(encode(t, lazy(1), 0)); n > 120 {
		t.Errorf("a lazy record has %d bytes, the most is 120", n)
	}
}

// TestDamage changes and cuts a record at every byte: it must be noticed.
func TestDamage(t *testing.T) {
	good := encode(t, lazy(1), 0)
	key := lazy(1).Key
	if _, err := decodeRecord(key, good); err != nil {
		t.Fatal(err)
	}
	check := func(what string, key shard.Key, value []byte) {
		t.Helper()
		_, err := decodeRecord(key, value)
		var d *DamagedError
		if !errors.Is(err, ErrDamaged) || !errors.As(err, &d) || d.Key != key {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		check(fmt.Sprintf("byte %d", i), key, bad)
		check(fmt.Sprintf("cut at %d", i), key, good[:i])
	}
	check("another key", key+"x", good)
	check("no key", "", good)
}

// reseal puts the right checksum under a changed value.
func reseal(key shard.Key, value []byte, change func([]byte) []byte) []byte {
	body := change(bytes.Clone(value[:len(value)-crcSize]))
	sum := checksum(key, body)
	return append(body, byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24))
}

// TestLaterVersion reads what a later version might write.
func TestLaterVersion(t *testing.T) {
	r := lazy(1)
	good := encode(t, r, 0)
	for what, at := range map[string]int{"version": offVersion, "flags": offFlags, "state": offState, "intent": offIntent} {
		value := reseal(r.Key, good, func(b []byte) []byte { b[at] |= 0x80; return b })
		if _, err := decodeRecord(r.Key, value); !errors.Is(err, ErrVersion) || !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	const next = string(rune(lastTag + 1))
	// A field that we do not know is kept, also by a copy that was changed.
	value := reseal(r.Key, good, func(b []byte) []byte { return append(b, lastTag+1, 2, 'h', 'i', 200, 0) })
	got, err := decodeRecord(r.Key, value)
	if err != nil {
		t.Fatal(err)
	}
	changed := *got
	changed.Revision++
	changed.Labels = map[string]string{"a": "b"}
	again, err := decodeRecord(r.Key, encode(t, &changed, 0))
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(again, &changed) || string(again.unknown) != next+"\x02hi\xc8\x00" {
		t.Errorf("unknown fields are %q", again.unknown)
	}
	// Fields out of order are damage, as two of one kind are.
	for _, tail := range []string{"\xc8\x00" + next + "\x00", next + "\x00" + next + "\x00", "\x01\x00"} {
		value := reseal(r.Key, good, func(b []byte) []byte { return append(b, tail...) })
		if _, err := decodeRecord(r.Key, value); !errors.Is(err, ErrDamaged) {
			t.Errorf("tail %q: %v", tail, err)
		}
	}
}

// TestSentinels finds every sentinel of package shard in its source and sees
// that it survives.
func TestSentinels(t *testing.T) {
	source := filepath.Join("..", "..", "shard", "errors.go")
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	declared := 0
	for _, decl := range file.Decls {
		if g, ok := decl.(*ast.GenDecl); ok && g.Tok == token.VAR {
			for _, spec := range g.Specs {
				for _, name := range spec.(*ast.ValueSpec).Names {
					if strings.HasPrefix(name.Name, "Err") {
						declared++
					}
				}
			}
		}
	}
	ours := 0
	for _, s := range sentinels {
		if !strings.HasPrefix(s.Error(), "context") {
			ours++
		}
		r := lazy(1)
		r.Failure = &shard.Failure{Err: &shard.Error{Key: r.Key, Op: shard.OpFetch, Err: fmt.Errorf("x: %w", s)}}
		for range 2 { // also what was decoded is encoded right
			got, err := decodeRecord(r.Key, encode(t, r, 0))
			if err != nil {
				t.Fatal(err)
			}
			for _, other := range sentinels {
				if errors.Is(got.Failure.Err, other) != (other == s) {
					t.Errorf("%v matches %v: %t", got.Failure.Err, other, other != s)
				}
			}
			r = got
		}
	}
	if declared != ours {
		t.Errorf("package shard declares %d sentinels, the catalogue knows %d", declared, ours)
	}
}

func TestClip(t *testing.T) {
	for in, want := range map[string]string{"": "", "abc": "abc", "abcd": "abc", "aбд": "aб", "ббб": "б", "\x80\x80\x80\x80": "\x80\x80\x80"} {
		if got := clip(in, 3); got != want {
			t.Errorf("clip(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzRecord(f *testing.F) {
	full := lazy(2)
	full.Labels = map[string]string{"a": "b"}
	full.Faulty = []shard.Fault{{Kind: shard.BadHash, Offset: 3, Detail: "x"}}
	full.Failure = &shard.Failure{Err: &shard.Error{Op: shard.OpIndex, Err: &full.Faulty[0]}, At: full.Changed}
	custom := lazy(3)
	custom.Indexer, custom.Policy, custom.Copy = "mine", PolicyHop, "/copies/a.car"
	custom.IndexURL, custom.Claim = "file:///srv/a.car.idx", ClaimSampled
	for _, r := range []*Record{lazy(1), full, custom} {
		value := encode(f, r, 1)
		f.Add([]byte(r.Key), value[:len(value)-crcSize])
	}
	f.Fuzz(func(t *testing.T, key, body []byte) {
		k := shard.Key(key)
		value := reseal(k, append(body, 0, 0, 0, 0), func(b []byte) []byte { return b })
		r, err := decodeRecord(k, value)
		if err != nil {
			if !errors.Is(err, ErrDamaged) {
				t.Fatalf("error is %v", err)
			}
			return
		}
		h, err := decodeHead(k, value)
		if err != nil || h.revision != r.Revision || h.index != r.Index.ID || h.intent != r.Intent {
			t.Fatalf("head %+v, %v of %+v", h, err, r)
		}
		again, err := appendRecord(nil, r, h.seq)
		if errors.Is(err, ErrInvalid) && len(value) > MaxRecord {
			return
		}
		if err != nil {
			t.Fatalf("cannot be written again: %v", err)
		}
		second, err := decodeRecord(k, again)
		if err != nil {
			t.Fatal(err)
		}
		third, err := appendRecord(nil, second, h.seq)
		if err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%v\n%x\n%x", err, again, third)
		}
	})
}

func FuzzValues(f *testing.F) {
	f.Add(appendLayer(nil, Layer{N: 1, Length: 2, CRC: 3, Entries: 4, Keys: 5, First: 6, Last: 7}))
	f.Add(appendMeta(nil, Meta{Created: time.Unix(1, 0)}))
	f.Add(appendCounter(nil, 5))
	f.Fuzz(func(t *testing.T, value []byte) {
		sealed := append(bytes.Clone(value), 0, 0, 0, 0)
		sealed = reseal("", sealed, func(b []byte) []byte { return b })
		for _, v := range [][]byte{value, sealed} {
			l, err := parseLayer(key32(spaceLayer, 9), v)
			if err == nil {
				if again, err := parseLayer(key32(spaceLayer, 9), appendLayer(nil, l)); err != nil || again != l {
					t.Errorf("layer %+v, then %+v, %v", l, again, err)
				}
			}
			_, err2 := parseMeta(v)
			_, err3 := parseCounter(v)
			for _, err := range []error{err, err2, err3} {
				if err != nil && !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrVersion) {
					t.Errorf("error is %v", err)
				}
			}
		}
	})
}
