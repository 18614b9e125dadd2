package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestProgressSum: what was not read counts neither as expected nor as done.
func TestProgressSum(t *testing.T) {
	p := &progress{work: newUnderWay(nil)}
	dir := t.TempDir()
	for range 2 {
		p.expect(100)
	}
	p.end("read", 100, true)
	p.end("unchanged", 100, false)
	p.end("missing", -1, true)
	if p.expected != 100 || p.done != 100 {
		t.Errorf("%d of %d done, want 100 of 100", p.done, p.expected)
	}
	writeCAR(t, dir, "a.car", "a")
	writeCAR(t, dir, "b.car", "b")
	s := &sources{args: []string{dir}, include: []string{"*.car"}, list: "not to be read"}
	survey(t.Context(), s.named(t.Context()), p.expect)
	if want := int64(100 + 2*len(carOf("a"))); p.expected != want {
		t.Errorf("%d bytes are expected, want %d", p.expected, want)
	}
}

func writeCAR(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), carOf(text), 0o666); err != nil {
		t.Fatal(err)
	}
}
