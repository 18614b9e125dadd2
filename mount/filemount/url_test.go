package filemount

import (
	"errors"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/mount"
)

// Both families of paths are tested on every system.
func TestURLs(t *testing.T) {
	for _, c := range []struct {
		windows   bool
		path, url string
	}{
		{false, "/", "file:///"},
		{false, "/srv/photos.car", "file:///srv/photos.car"},
		{false, "/srv/two words#?%.car", "file:///srv/two%20words%23%3F%25.car"},
		{false, "/srv/\xff\n\\é", "file:///srv/%FF%0A%5C%C3%A9"},
		{false, "/C:/x", "file:///C:/x"},
		{true, `C:\`, "file:///C:/"},
		{true, `C:\cars\two words.car`, "file:///C:/cars/two%20words.car"},
		{true, `C:\cars\#1 100%.car`, "file:///C:/cars/%231%20100%25.car"},
		{true, `C:\x.car:stream`, "file:///C:/x.car:stream"},
		{true, `\\nas\cars\x.car`, "file://nas/cars/x.car"},
		{true, `\\nas@ssl@8443\davwwwroot\x@y.car`, "file://nas%40ssl%408443/davwwwroot/x@y.car"},
		{true, `\\?\C:\cars\x.car`, "file://%3F/C:/cars/x.car"},
		{true, `\\?\UNC\nas\cars\x.car`, "file://%3F/UNC/nas/cars/x.car"},
		{true, "C:\\\xed\xa0\x80", "file:///C:/%ED%A0%80"}, // half of a surrogate pair
	} {
		if got := formatURL(c.path, c.windows); got != c.url {
			t.Errorf("path %q is spelt %q, not %q", c.path, got, c.url)
		}
		if got, err := parseURL(c.url, c.windows); got != c.path || err != nil {
			t.Errorf("%q is path %q, %v, not %q", c.url, got, err, c.path)
		}
	}
}

func TestWindowsSpellings(t *testing.T) {
	for url, want := range map[string]string{
		"file:///c:/x.car":             `C:\x.car`,
		"file:/c:/x.car":               `C:\x.car`,
		"file://localhost/c:/x.car":    `C:\x.car`,
		"file:///C:/a%5cb":             `C:\a\b`,
		`file:///C:\a\b`:               `C:\a\b`,
		"file://NAS/cars/x.car":        `\\nas\cars\x.car`,
		"file:////nas/cars/x.car":      `\\nas\cars\x.car`,
		"file:///x.car":                "",
		"file:///C:x.car":              "",
		"file:///C:":                   "",
		"file:///1:/x.car":             "",
		"file://a%5Cb/x.car":           "",
		"file://///nas/cars":           "",
		"file:///C:/a?b":               "",
		"file:///C:/a%00b":             "",
		"C:/x.car":                     "",
		"file:C:/x.car":                "",
		"file://%3F/C:/../../Windows/": `\\?\C:\..\..\Windows\`,
	} {
		got, err := parseURL(url, true)
		switch {
		case want == "" && !errors.Is(err, mount.ErrURL):
			t.Errorf("%q is path %q, %v", url, got, err)
		case want != "" && (got != want || err != nil):
			t.Errorf("%q is path %q, %v, not %q", url, got, err, want)
		}
	}
	if a, b := formatURL(`c:\x`, true), formatURL(`C:\x`, true); a != b {
		t.Errorf("one drive, two URLs: %q, %q", a, b)
	}
	if a, b := formatURL(`\\NAS\x`, true), formatURL(`\\nas\x`, true); a != b {
		t.Errorf("one host, two URLs: %q, %q", a, b)
	}
}

func TestSplitDotDot(t *testing.T) {
	for whole, head := range map[string]string{
		"/a/b": "", "/": "", "/..a/b..": "", "/a/..": "/a/..", "/a/../b": "/a/..", "/a/../../b/...": "/a/../..", "/..": "/..",
	} {
		gotHead, gotTail := splitDotDot(whole)
		if gotHead != head || gotHead+gotTail != whole {
			t.Errorf("%q is split into %q and %q", whole, gotHead, gotTail)
		}
	}
}

// Every path survives its URL, and every URL that is taken has one spelling.
func FuzzURL(f *testing.F) {
	f.Add("/srv/two words#?%.car", "file:///srv/%78")
	f.Add("//x/../\xff\n", "file://localhost/C:/%2e%2e/x")
	f.Add(`C:\a`, "file:////nas/x#bytes=1-2")
	f.Add("a/../..", "file:///C:")
	f.Fuzz(func(t *testing.T, name, url string) {
		roundTrip(t, name)
		reg := mount.Registry{"file": Open}
		if m, err := reg.Open(url); err == nil {
			again, err := reg.Open(m.URL())
			if err != nil || again.URL() != m.URL() {
				t.Fatalf("%q is spelt %q, which opens as %v, %v", url, m.URL(), again, err)
			}
		}
		if p, err := parseURL(url, true); err == nil {
			once := formatURL(p, true)
			if again, err := parseURL(once, true); err != nil || formatURL(again, true) != once {
				t.Fatalf("Windows: %q is path %q, spelt %q, which is path %q, %v", url, p, once, again, err)
			}
		}
	})
}

// roundTrip makes absolute, clean paths of both families out of name.
func roundTrip(t *testing.T, name string) {
	t.Helper()
	if strings.IndexByte(name, 0) >= 0 {
		if _, err := New(name); err == nil {
			t.Fatalf("path %q is taken", name)
		}
		return
	}
	clean := path.Clean("/" + name)
	got, err := parseURL(formatURL(clean, false), false)
	if err != nil || got != clean {
		t.Fatalf("%q: %q, %v", clean, got, err)
	}
	drive := `C:` + strings.ReplaceAll(clean, "/", `\`)
	got, err = parseURL(formatURL(drive, true), true)
	if err != nil || got != drive {
		t.Fatalf("%q: %q, %v", drive, got, err)
	}
	if onWindows {
		return
	}
	m, err := New(clean)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Open(m.URL())
	if err != nil || again.(*file).path != filepath.Clean(clean) || again.URL() != m.URL() {
		t.Fatalf("%q: %v, %v", clean, again, err)
	}
}

// A password that does not belong into a URL does not get into a log.
func TestErrorsHoldNoCredential(t *testing.T) {
	for _, windows := range []bool{false, true} {
		for _, url := range []string{
			"//ann:secret@host/x", "file://ann:secret@nas", "file:ann:secret@nas/x", "file://nas/x?token=secret",
			"file://nas/x#secret", "file://ann:secret@nas/%zz", "file://ann:secret@nas%00/x", "file:///x/secret%00",
			"file://ann:secret@nas/x", "file://ann%3Asecret@nas/x",
		} {
			if path, err := parseURL(url, windows); !errors.Is(err, mount.ErrURL) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%q, windows %v: %q, %v", url, windows, path, err)
			}
		}
	}
}
