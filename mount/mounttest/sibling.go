package mounttest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/dagstore/dagstore/mount"
)

// absentSibling is a suffix under which nothing lies.
const absentSibling = ".mounttest-absent"

// sibling checks what m says lies beside it. Nothing has to lie there.
func (s *suite) sibling(ctx context.Context) error {
	if strings.Contains(s.m.URL(), "#") {
		return noSibling(s.m)
	}
	beside, err := mount.OpenSibling(s.m, absentSibling)
	if errors.Is(err, mount.ErrNoSiblings) {
		return nil
	}
	switch {
	case err != nil:
		return err
	case beside == nil:
		return errors.New("neither a mount nor an error")
	case beside.URL() == s.m.URL():
		return errors.New("it is the source itself")
	}
	again, err := s.reg.Open(beside.URL())
	if err != nil {
		return fmt.Errorf("its URL: %w", err)
	}
	if got := again.URL(); got != beside.URL() {
		return fmt.Errorf("the mount of %q says that it is %q", beside.URL(), got)
	}
	if _, err := beside.Stat(ctx); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("Stat of what is not there gives %w, not fs.ErrNotExist", orNil(err))
	}
	for _, bad := range []string{"", ".", "idx", "./idx", "/../idx", `.\idx`, "..idx", ".i dx", ".\x00"} {
		if _, err := mount.OpenSibling(s.m, bad); !errors.Is(err, mount.ErrURL) {
			return fmt.Errorf("the suffix %q gives %w, not mount.ErrURL", bad, orNil(err))
		}
	}
	return noSibling(mount.Section(s.m, 0, 1))
}

// noSibling checks that a section has none.
func noSibling(m mount.Mount) error {
	if _, err := mount.OpenSibling(m, absentSibling); !errors.Is(err, mount.ErrNoSiblings) {
		return fmt.Errorf("a section gives %w, not mount.ErrNoSiblings", orNil(err))
	}
	return nil
}
