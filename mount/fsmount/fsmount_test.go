package fsmount_test

import (
	"archive/zip"
	"bytes"
	"embed"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/fsmount"
	"github.com/dagstore/dagstore/mount/mounttest"
)

//go:embed doc.go
var embedded embed.FS

// data is what lies in the files: it compresses well, and not to nothing.
var data = bytes.Repeat([]byte("a block and another "), 300)

// archive is a zip archive of one file, which method packs.
func archive(t *testing.T, name string, method uint16, modified time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: method, Modified: modified})
	if err == nil {
		_, err = f.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipOf(t *testing.T, b []byte) *zip.Reader {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// folder is an os.DirFS in which data lies under name.
func folder(t *testing.T, name string) fs.FS {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
	return os.DirFS(dir)
}

// only hides what a file offers besides fs.File, but what keep says.
type only struct {
	fs.FS
	keep func(fs.File) fs.File
}

func (o only) Open(name string) (fs.File, error) {
	f, err := o.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return o.keep(f), nil
}

func seeking(f fs.File) fs.File {
	return struct {
		fs.File
		io.Seeker
	}{f, f.(io.Seeker)}
}

func TestLaws(t *testing.T) {
	doc, err := embedded.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for name, c := range map[string]struct {
		system fsmount.System
		path   string
		want   []byte
		ranges bool
	}{
		"embedded": {fsmount.System{FS: embedded, InPlace: true}, "doc.go", doc, true},
		"folder":   {fsmount.System{FS: folder(t, "a #?%é.car"), InPlace: true}, "a #?%é.car", data, true},
		"not said": {fsmount.System{FS: folder(t, "x.car")}, "x.car", data, true},
		"seeking":  {fsmount.System{FS: only{folder(t, "x.car"), seeking}}, "x.car", data, true},
		"stored":   {fsmount.System{FS: zipOf(t, archive(t, "d/x.car", zip.Store, now))}, "d/x.car", data, false},
		"deflated": {fsmount.System{FS: zipOf(t, archive(t, "x.car", zip.Deflate, now))}, "x.car", data, false},
		"map":      {fsmount.System{FS: fstest.MapFS{"x": {Data: data}}}, "x", data, true},
		"empty":    {fsmount.System{FS: fstest.MapFS{"x": {ModTime: now}}}, "x", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			const system = "my #?%\xff: files"
			systems := fsmount.Systems{system: c.system}
			m, err := systems.Mount(system, c.path)
			if err != nil {
				t.Fatal(err)
			}
			if err := mounttest.Test(t.Context(), mount.Registry{"fs": systems.Open}, m, c.want); err != nil {
				t.Error(err)
			}
			st, err := m.Stat(t.Context())
			if err != nil || st.Ranges != c.ranges || st.Size != int64(len(c.want)) {
				t.Errorf("%+v, %v", st, err)
			}
			if _, local := m.(mount.FileOpener); local != c.system.InPlace {
				t.Errorf("is a FileOpener: %v", local)
			}
		})
	}
}

func TestURL(t *testing.T) {
	systems := fsmount.Systems{}
	for url, want := range map[string]string{
		"fs:a/x.car":     "fs:a/x.car",
		"fs:%61/x%2ecar": "fs:a/x.car",
		"fs:a/b/c d.car": "fs:a/b/c%20d.car",
		"fs:%e4:/x":      "fs:%E4:/x",
	} {
		m, err := systems.Open(url)
		if err != nil {
			t.Errorf("%q: %v", url, err)
		} else if got := m.URL(); got != want {
			t.Errorf("%q is spelt %q, not %q", url, got, want)
		}
	}
	for _, url := range []string{
		"", "fs:", "fs:a", "fs:a/", "fs:/x", "fs:a/.", "fs:a/../b", "fs:a/./b", "fs:a//b", "fs:a/b/", "fs:a/%ff", "fs:a/%2F", "fs:a%2Fb/x",
		"fs:a/x?y", "fs:a/x#y", "file:a/x", "fs:a/%", "fs://ann:secret@host/x", "fs:a/x?token=secret", "fs:a/secret/%zz",
	} {
		if m, err := systems.Open(url); !errors.Is(err, mount.ErrURL) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q gives %v, %v", url, m, err)
		}
	}
	for _, name := range []string{"", "a/b"} {
		if _, err := systems.Mount(name, "x"); !errors.Is(err, mount.ErrURL) {
			t.Errorf("name %q gives %v", name, err)
		}
	}
}

func TestNotThere(t *testing.T) {
	systems := fsmount.Systems{"a": {FS: fstest.MapFS{"d/x\x1b[2J": {Data: data}}, InPlace: true}}
	for url, want := range map[string]error{
		"fs:a/absent":      fs.ErrNotExist,
		"fs:another/x.car": fs.ErrNotExist,
		"fs:a/d":           fsmount.ErrNotRegular,
		"fs:a/d/y%1B[2J":   fs.ErrNotExist,
	} {
		m, err := systems.Open(url)
		if err != nil {
			t.Fatal(err)
		}
		_, stat := m.Stat(t.Context())
		_, open := m.Open(t.Context())
		_, part := mount.OpenRange(t.Context(), m, mount.Range{Length: 1})
		for way, err := range map[string]error{"Stat": stat, "Open": open, "OpenRange": part} {
			if !errors.Is(err, want) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%s of %s: %v, not %v", way, url, err, want)
			}
		}
	}
}

// A system that said too much of its files costs an error and no more.
func TestNotInPlaceAfterAll(t *testing.T) {
	systems := fsmount.Systems{"zip": {FS: zipOf(t, archive(t, "x", zip.Deflate, time.Now())), InPlace: true}}
	m, err := systems.Mount("zip", "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mount.OpenFile(t.Context(), m); !errors.Is(err, mount.ErrNotLocal) {
		t.Errorf("%v", err)
	}
}

// An archive of which all times are one, as of one made to be reproduced,
// still has versions.
func TestVersion(t *testing.T) {
	version := func(f fs.FS) string {
		t.Helper()
		m, err := fsmount.Systems{"a": {FS: f}}.Mount("a", "x")
		if err != nil {
			t.Fatal(err)
		}
		st, err := m.Stat(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return st.Version
	}
	then := time.Unix(1e9, 0)
	before := version(zipOf(t, archive(t, "x", zip.Deflate, then)))
	data[0]++
	after := version(zipOf(t, archive(t, "x", zip.Deflate, then)))
	data[0]--
	if before == after || before != version(zipOf(t, archive(t, "x", zip.Deflate, then))) {
		t.Errorf("%q, then %q", before, after)
	}
	if v := version(fstest.MapFS{"x": {Data: data}}); v != "" {
		t.Errorf("a file without a time has version %q", v)
	}
}

// A damaged archive is found out when all of the file has come.
func TestChecksum(t *testing.T) {
	b := archive(t, "x", zip.Store, time.Now())
	b[bytes.Index(b, data)+7] ^= 1
	m, err := fsmount.Systems{"a": {FS: zipOf(t, b)}}.Mount("a", "x")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if len(got) != len(data) || crc32.ChecksumIEEE(got) == crc32.ChecksumIEEE(data) || !errors.Is(err, zip.ErrChecksum) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// A file that is cut while it is read is not taken for complete.
func TestTruncatedWhileRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := fsmount.Systems{"a": {FS: os.DirFS(dir), InPlace: true}}.Mount("a", "x")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	f, err := mount.OpenFile(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Truncate(path, 300); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); len(got) != 300 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the stream gives %d bytes and %v", len(got), err)
	}
	if n, err := f.ReadAt(make([]byte, 1000), 100); n != 200 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("ReadAt gives %d bytes and %v", n, err)
	}
}

func FuzzURL(f *testing.F) {
	f.Add("photos", "a/b.car", "fs:a/b%41")
	f.Add("\xff\x00#?% ", "é", "fs:%00%ff/%2f")
	f.Fuzz(func(t *testing.T, name, path, url string) {
		systems := fsmount.Systems{name: {FS: fstest.MapFS{path: {Data: []byte(path)}}}}
		reg := mount.Registry{"fs": systems.Open}
		if m, err := systems.Mount(name, path); err == nil {
			again, err := reg.Open(m.URL())
			if err != nil || again.URL() != m.URL() {
				t.Fatalf("%q: URL %q opens as %v, %v", path, m.URL(), again, err)
			}
			if st, err := again.Stat(t.Context()); err != nil || st.Size != int64(len(path)) {
				t.Fatalf("%q is lost: %v", path, err)
			}
		}
		if m, err := reg.Open(url); err == nil {
			if again, err := reg.Open(m.URL()); err != nil || again.URL() != m.URL() {
				t.Fatalf("%q is spelt %q, which opens as %v, %v", url, m.URL(), again, err)
			}
		}
	})
}
