package filemount_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/mounttest"
)

// yard is two folders that are allowed and one that is not.
type yard struct {
	one, two, out string
	open          mount.Opener
}

func newYard(t *testing.T) yard {
	t.Helper()
	dir := t.TempDir()
	y := yard{one: filepath.Join(dir, "one"), two: filepath.Join(dir, "two"), out: filepath.Join(dir, "one-out")}
	for _, d := range []string{y.one, y.two, y.out} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(d, "x.car"), []byte("in "+filepath.Base(d)))
	}
	open, err := filemount.Within(y.one, y.two)
	if err != nil {
		t.Fatal(err)
	}
	y.open = open
	return y
}

func link(t *testing.T, target, path string) string {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		if runtime.GOOS == "windows" {
			t.Skip("this user may not make links: ", err)
		}
		t.Fatal(err)
	}
	return path
}

// via opens path through y, by its URL.
func (y yard) via(t *testing.T, path string) (mount.Mount, error) {
	t.Helper()
	return mount.Registry{"file": y.open}.Open(mounted(t, path).URL())
}

func TestWithinLaws(t *testing.T) {
	y := newYard(t)
	m, err := y.via(t, filepath.Join(y.one, "x.car"))
	if err != nil {
		t.Fatal(err)
	}
	if err := mounttest.Test(t.Context(), mount.Registry{"file": y.open}, m, []byte("in one")); err != nil {
		t.Error(err)
	}
	// A fence changes nothing about a file, not even its version.
	a, err := m.Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := mounted(t, filepath.Join(y.one, "x.car")).Stat(t.Context())
	if err != nil || a.Version != b.Version {
		t.Errorf("version %q, without a fence %q, %v", a.Version, b.Version, err)
	}
}

func TestWithinRefusesPathsOutside(t *testing.T) {
	y := newYard(t)
	for _, path := range []string{
		filepath.Join(y.out, "x.car"), filepath.Join(y.out, "absent"), y.one, filepath.Dir(y.one),
	} {
		if m, err := y.via(t, path); !errors.Is(err, mount.ErrDenied) {
			t.Errorf("%q gives %v, %v", path, m, err)
		}
	}
	url := mounted(t, filepath.Join(y.one, "x.car")).URL()
	for _, up := range []string{"/../../one-out/x.car", "/%2e%2e/%2E./one-out/x.car"} {
		if m, err := y.open(url + up); !errors.Is(err, mount.ErrDenied) {
			t.Errorf("%q gives %v, %v", up, m, err)
		}
	}
	none, err := filemount.Within()
	if err != nil {
		t.Fatal(err)
	}
	if m, err := none(url); !errors.Is(err, mount.ErrDenied) {
		t.Errorf("with no folders: %v, %v", m, err)
	}
	if _, err := filemount.Within(""); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a folder without a name: %v", err)
	}
}

func TestWithinFollowsLinks(t *testing.T) {
	y := newYard(t)
	for _, c := range []struct {
		name, target string
		want         error
	}{
		{"relative", "x.car", nil},
		{"absolute", filepath.Join(y.one, "x.car"), nil},
		{"to the other folder", filepath.Join(y.two, "x.car"), nil},
		{"out, absolute", filepath.Join(y.out, "x.car"), mount.ErrDenied},
		{"out, relative", filepath.Join("..", "one-out", "x.car"), mount.ErrDenied},
		{"to nowhere", "absent", fs.ErrNotExist},
	} {
		m, err := y.via(t, link(t, c.target, filepath.Join(y.one, c.name)))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for way, err := range ways(t.Context(), m) {
			if !errors.Is(err, c.want) {
				t.Errorf("%s: %s gives %v, not %v", c.name, way, err, c.want)
			}
		}
	}
	link(t, y.out, filepath.Join(y.one, "door"))
	m, err := y.via(t, filepath.Join(y.one, "door", "x.car"))
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, m, mount.ErrDenied)
}

// The folder may be named by a link, and may come later.
func TestWithinFolderIsALink(t *testing.T) {
	y := newYard(t)
	alias := link(t, y.two, filepath.Join(filepath.Dir(y.two), "alias"))
	late := filepath.Join(filepath.Dir(y.two), "late")
	open, err := filemount.Within(alias, late)
	if err != nil {
		t.Fatal(err)
	}
	y.open = open
	if err := os.Mkdir(late, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(late, "x.car"), []byte("in late"))
	for _, path := range []string{filepath.Join(alias, "x.car"), filepath.Join(y.two, "x.car"), filepath.Join(late, "x.car")} {
		m, err := y.via(t, path)
		if err != nil {
			t.Errorf("%q: %v", path, err)
			continue
		}
		wantAll(t, m, nil)
	}
}

// What lies beside a file is behind the same fence: a link that leads out is
// refused, whatever the file itself is.
func TestWithinFencesSiblings(t *testing.T) {
	y := newYard(t)
	m, err := y.via(t, filepath.Join(y.one, "x.car"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		suffix, target string
		want           error
	}{
		{".in", "x.car", nil},
		{".out", filepath.Join(y.out, "x.car"), mount.ErrDenied},
		{".up", filepath.Join("..", "one-out", "x.car"), mount.ErrDenied},
	} {
		link(t, c.target, filepath.Join(y.one, "x.car"+c.suffix))
		beside, err := mount.OpenSibling(m, c.suffix)
		if err != nil {
			t.Fatal(err)
		}
		if want := mounted(t, filepath.Join(y.one, "x.car"+c.suffix)).URL(); beside.URL() != want {
			t.Errorf("%s: it lies at %q, not %q", c.suffix, beside.URL(), want)
		}
		wantAll(t, beside, c.want)
	}
}
