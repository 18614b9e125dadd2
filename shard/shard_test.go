package shard

import (
	"errors"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
)

func TestKeyValidate(t *testing.T) {
	for _, k := range []Key{"a", "a/../b", "line\nbreak", "\x00", Key(strings.Repeat("é", MaxKey/2))} {
		if err := k.Validate(); err != nil {
			t.Errorf("%q: %v", k, err)
		}
	}
	for _, k := range []Key{"", "\xff", "a\xc3", Key(strings.Repeat("k", MaxKey+1))} {
		if err := k.Validate(); !errors.Is(err, ErrKey) {
			t.Errorf("%.20q: %v", k, err)
		}
	}
}

func TestStateNames(t *testing.T) {
	seen := map[string]bool{}
	for s := Registered; s <= Gone; s++ {
		if seen[s.String()] || s.String() == "" {
			t.Errorf("state %d is called %q", s, s)
		}
		seen[s.String()] = true
		if got, err := ParseState(s.String()); got != s || err != nil {
			t.Errorf("%v is read as %v, %v", s, got, err)
		}
	}
	for _, name := range []string{"", "Serving", "lost"} {
		if _, err := ParseState(name); err == nil {
			t.Errorf("%q is the name of a state", name)
		}
	}
	if State(0).String() == "" || State(99).String() == "" {
		t.Error("a number that is no state has no text")
	}
}

func TestFaults(t *testing.T) {
	c := cid.MustParse("bafkqaaa")
	want := map[FaultKind]error{
		BadHeader: ErrCAR, BadSection: ErrCAR, BadEnd: ErrCAR, BadContainer: ErrCAR, NotCAR: ErrCAR,
		BadHash: ErrBlock, BadCID: ErrBlock, BadEntry: ErrIndex,
	}
	for k := BadHeader; k <= BadEntry; k++ {
		err := error(&Error{Key: "some/key", Op: OpIndex, Err: &Fault{Kind: k, Offset: 4711, CID: c, Detail: "the detail"}})
		if !errors.Is(err, want[k]) {
			t.Errorf("%v does not unwrap to %v", k, want[k])
		}
		for _, part := range []string{"some/key", "index", "4711", c.String(), "the detail", k.String()} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not say %q", err, part)
			}
		}
	}
	if FaultKind(0).String() == "" || FaultKind(99).String() == "" {
		t.Error("a number that is no kind has no text")
	}
}

func TestModeNames(t *testing.T) {
	for m, name := range map[Mode]string{Auto: "auto", InPlace: "in place", Sparse: "sparse", Copy: "copy", 4: "mode(4)"} {
		if m.String() != name || m.Known() == strings.HasPrefix(name, "mode") {
			t.Errorf("mode %d is called %q, known %v", m, m, m.Known())
		}
	}
}
