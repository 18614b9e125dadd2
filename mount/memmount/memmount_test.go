package memmount_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/mount/mounttest"
)

func TestLaws(t *testing.T) {
	var cars memmount.Set
	reg := mount.Registry{"mem": cars.Open}
	for name, data := range map[string][]byte{
		"":                  nil,
		"one":               {1},
		"a #?%\n\xff/../é ": make([]byte, 5000),
		"photos":            []byte("thirty-one bytes, and then some"),
	} {
		if err := mounttest.Test(t.Context(), reg, cars.Put(name, data), data); err != nil {
			t.Errorf("name %q: %v", name, err)
		}
	}
}

func TestSet(t *testing.T) {
	var cars memmount.Set
	ctx := t.Context()
	m, err := cars.Open("mem:a%2db") // before it is there, and not spelt canonically
	if err != nil {
		t.Fatal(err)
	}
	if got := m.URL(); got != "mem:a-b" {
		t.Errorf("URL is %q", got)
	}
	absent(t, m)

	cars.Put("a-b", []byte("first"))
	old, err := m.Stat(ctx)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := m.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	cars.Put("a-b", []byte("second"))
	if got, err := io.ReadAll(stream); string(got) != "first" || err != nil {
		t.Errorf("a stream that was open gives %q, %v", got, err)
	}
	if _, err := mount.OpenRange(ctx, m, mount.Range{Length: 1, Version: old.Version}); !errors.Is(err, mount.ErrChanged) {
		t.Errorf("a range of what was there before gives %v", err)
	}
	cars.Put("a-b", []byte("first"))
	if back, err := m.Stat(ctx); err != nil || back.Version != old.Version {
		t.Errorf("equal bytes have version %q, then %q, %v", old.Version, back.Version, err)
	}
	cars.Delete("a-b")
	absent(t, m)
}

func absent(t *testing.T, m mount.Mount) {
	t.Helper()
	ctx := context.Background()
	_, stat := m.Stat(ctx)
	_, open := m.Open(ctx)
	_, file := mount.OpenFile(ctx, m)
	for _, err := range []error{stat, open, file} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v, not fs.ErrNotExist", err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	var cars memmount.Set
	for _, url := range []string{"file:x", "mem:a?b", "mem:a#b", "mem:a%", "mem:a%2", "mem:%zz", "mem:a%2Fb", ""} {
		if m, err := cars.Open(url); !errors.Is(err, mount.ErrURL) {
			t.Errorf("%q gives %v, %v", url, m, err)
		}
	}
}

func FuzzURL(f *testing.F) {
	f.Add("photos", "mem:a%41")
	f.Add("\xff\x00#?% /", "mem:%00%ff%2f")
	f.Fuzz(func(t *testing.T, name, url string) {
		var cars memmount.Set
		reg := mount.Registry{"mem": cars.Open}
		m := cars.Put(name, []byte(name))
		again, err := reg.Open(m.URL())
		if err != nil || again.URL() != m.URL() {
			t.Fatalf("name %q: URL %q opens as %v, %v", name, m.URL(), again, err)
		}
		if st, err := again.Stat(t.Context()); err != nil || st.Size != int64(len(name)) {
			t.Fatalf("name %q is lost: %v", name, err)
		}
		if m, err := reg.Open(url); err == nil {
			if again, err := reg.Open(m.URL()); err != nil || again.URL() != m.URL() {
				t.Fatalf("%q is spelt %q, which opens as %v, %v", url, m.URL(), again, err)
			}
		}
	})
}

// A password that does not belong into a URL does not get into a log.
func TestErrorsHoldNoCredential(t *testing.T) {
	var cars memmount.Set
	for _, url := range []string{"//ann:secret@host/x", "mem://ann:secret@host/x?y", "mem://host/x?token=secret", "mem://ann:secret@host/%zz"} {
		if _, err := cars.Open(url); !errors.Is(err, mount.ErrURL) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
