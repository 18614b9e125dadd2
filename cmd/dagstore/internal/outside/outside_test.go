package outside

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/mount/mounttest"
)

// TestLaws: what is wrapped obeys the laws of mounts, and offers what it did.
func TestLaws(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b#?%.car")
	data := []byte("what a source holds")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	file, err := filemount.New(path)
	if err != nil {
		t.Fatal(err)
	}
	var cars memmount.Set
	cars.Put("a.car", data)
	other, err := cars.Open("mem:a.car")
	if err != nil {
		t.Fatal(err)
	}
	reg := mount.Registry{"outside+file": Wrap(filemount.Open), "outside+mem": Wrap(cars.Open)}
	for _, inner := range []mount.Mount{file, other} {
		m, err := reg.Open(URL(inner.URL()))
		if err != nil {
			t.Fatal(err)
		}
		if err := mounttest.Test(t.Context(), reg, m, data); err != nil {
			t.Error(err)
		}
		_, wantLocal := inner.(mount.FileOpener)
		_, wantRanges := inner.(mount.RangeOpener)
		_, local := m.(mount.FileOpener)
		_, ranges := m.(mount.RangeOpener)
		if local != wantLocal || ranges != wantRanges {
			t.Errorf("%s: local %v, ranges %v", m.URL(), local, ranges)
		}
		if beside, err := mount.OpenSibling(m, ".idx"); err == nil && !Is(beside.URL()) {
			t.Errorf("what lies beside it is %s", beside.URL())
		}
	}
}

func TestURL(t *testing.T) {
	for in, want := range map[string]string{
		"":                 "",
		"https://a/b.car":  "outside+https://a/b.car",
		"outside+https://": "outside+https://",
		"OUTSIDE+file:///": "OUTSIDE+file:///",
		"zstd+https://a":   "outside+zstd+https://a",
	} {
		if got := URL(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if _, err := Wrap(filemount.Open)("file:///a"); !errors.Is(err, mount.ErrURL) {
		t.Errorf("a URL of the operator: %v", err)
	}
	if _, err := Refuse("why")("outside+s3://a"); !errors.Is(err, mount.ErrDenied) {
		t.Error(err)
	}
}
