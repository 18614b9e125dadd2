package mounttest

import (
	"testing"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
)

func siblingWith(sibling func(good mount.Mount, suffix string) (mount.Mount, error)) func(mount.RangeOpener, *bent) {
	return func(good mount.RangeOpener, b *bent) {
		b.sibling = func(suffix string) (mount.Mount, error) { return sibling(good, suffix) }
	}
}

func brokenSiblings() []brokenCase {
	return []brokenCase{
		{"sibling", "is the source itself", siblingWith(func(good mount.Mount, _ string) (mount.Mount, error) { return good, nil })},
		{"sibling", "is nothing", siblingWith(func(mount.Mount, string) (mount.Mount, error) { return nil, nil })},
		{"sibling", "fails", siblingWith(func(mount.Mount, string) (mount.Mount, error) { return nil, errOwn })},
		{"sibling", "has no URL that the registry knows", siblingWith(func(good mount.Mount, suffix string) (mount.Mount, error) {
			return mount.OpenSibling(good, suffix) // the registry makes the source of it
		})},
		{"sibling", "panics", siblingWith(func(mount.Mount, string) (mount.Mount, error) { panic(errOwn) })},
	}
}

// What is there although nothing should be is not absent.
func TestSiblingThatIsThere(t *testing.T) {
	var cars memmount.Set
	reg := mount.Registry{"mem": cars.Open}
	m := cars.Put("car", car)
	if err := Test(t.Context(), reg, m, car); err != nil {
		t.Fatal(err)
	}
	cars.Put("car"+absentSibling, nil)
	s := &suite{reg: reg, m: m, want: car}
	if err := s.sibling(t.Context()); err == nil {
		t.Error("Stat of what is absent may succeed")
	}
	if err := noSibling(m); err == nil {
		t.Error("a mount that has siblings passes for a section")
	}
}
