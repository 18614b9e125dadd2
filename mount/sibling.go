package mount

import (
	"fmt"
	"strings"
)

// A SiblingOpener lies at a place where other files may lie beside it: the
// index of a CAR beside the CAR. It is optional; callers use [OpenSibling].
type SiblingOpener interface {
	Mount

	// OpenSibling returns the Mount of what lies beside the source under its
	// name with suffix behind it: of "/srv/a.car", with ".idx", that of
	// "/srv/a.car.idx". It does no I/O, so that there is such a thing shows
	// only in the Mount's Stat; it reaches nothing that the source's own
	// opener would not reach. A source that has no such place, as one whose
	// URL is good for it alone, gives [ErrNoSiblings].
	OpenSibling(suffix string) (Mount, error)
}

// OpenSibling returns the mount of what lies beside m. Without a
// [SiblingOpener] it gives [ErrNoSiblings]; a [Section] has no siblings, since
// what it lies in is another thing than it. The suffix begins with a dot and is
// made of letters, digits, dots and hyphens, else it gives [ErrURL]: no suffix
// leads into another folder.
func OpenSibling(m Mount, suffix string) (Mount, error) {
	so, ok := m.(SiblingOpener)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrNoSiblings, m.URL())
	}
	if len(suffix) < 2 || suffix[0] != '.' || strings.Contains(suffix, "..") || strings.TrimFunc(suffix, inSuffix) != "" {
		return nil, fmt.Errorf("%w: nothing lies beside a source under the suffix %q", ErrURL, suffix)
	}
	return so.OpenSibling(suffix)
}

func inSuffix(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '.', r == '-':
		return true
	}
	return false
}
