package mmap

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
)

func write(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func open(t *testing.T, path string) *Mapping {
	t.Helper()
	m, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func TestReadAt(t *testing.T) {
	want := pattern(3*os.Getpagesize() + 17)
	m := open(t, write(t, want))
	if m.Size() != int64(len(want)) {
		t.Fatalf("Size = %d, want %d", m.Size(), len(want))
	}
	if m.Bytes() != nil && !bytes.Equal(m.Bytes(), want) {
		t.Fatal("Bytes differ from the file")
	}
	got, err := io.ReadAll(io.NewSectionReader(m, 0, m.Size()+100))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes, error %v", len(got), err)
	}
	p := make([]byte, 10)
	if n, err := m.ReadAt(p, m.Size()-4); n != 4 || err != io.EOF {
		t.Errorf("ReadAt over the end = %d, %v, want 4, EOF", n, err)
	}
	if n, err := m.ReadAt(p, m.Size()); n != 0 || err != io.EOF {
		t.Errorf("ReadAt at the end = %d, %v, want 0, EOF", n, err)
	}
	if _, err := m.ReadAt(p, -1); err == nil {
		t.Error("ReadAt before the beginning: no error")
	}
	m.Prefetch(5, 1<<40)
	m.Prefetch(-1, 1)
	m.Prefetch(m.Size(), 1)
}

func TestEmpty(t *testing.T) {
	m := open(t, write(t, nil))
	if n, err := m.ReadAt(make([]byte, 1), 0); n != 0 || err != io.EOF {
		t.Errorf("ReadAt = %d, %v, want 0, EOF", n, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("folder: no error")
	}
}

type fd uintptr

func (f fd) Fd() uintptr { return uintptr(f) }

func TestMap(t *testing.T) {
	if _, err := Map(fd(noDescriptor), 1); !errors.Is(err, ErrUnsupported) {
		t.Errorf("no descriptor: %v", err)
	}
	want := pattern(100)
	f, err := os.Open(write(t, want))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Map(f, -1); err == nil {
		t.Error("negative size: no error")
	}
	m, err := Map(f, 100)
	if errors.Is(err, ErrUnsupported) {
		t.Skipf("this platform has no mappings: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	// The descriptor is not needed any more.
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 100)
	if _, err := m.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %x, %v", got, err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := m.ReadAt(got, 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("ReadAt after Close: %v", err)
	}
}

// TestTruncated takes the file away under the mapping, as another process may.
func TestTruncated(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows refuses to truncate a mapped file")
	}
	page := os.Getpagesize()
	path := write(t, pattern(4*page))
	m := open(t, path)
	if err := os.Truncate(path, int64(page)); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4*page)
	if _, err := m.ReadAt(p[:page], 0); err != nil {
		t.Fatalf("the page that is left: %v", err)
	}
	var fault *Fault
	n, err := m.ReadAt(p, 10)
	// A copy may begin at either end, so which missing page faults is open.
	if n != 0 || !errors.As(err, &fault) || fault.Offset < int64(page) || fault.Offset%int64(page) != 0 {
		t.Errorf("ReadAt over missing pages = %d, %v, want a fault from %d on", n, err, page)
	}
	if _, err := m.ReadAt(p[:1], int64(3*page)); !errors.As(err, &fault) || fault.Offset != int64(3*page) {
		t.Errorf("ReadAt of a missing page: %v", err)
	}
	if debug.SetPanicOnFault(false) {
		t.Error("the goroutine's setting was not put back")
	}
	if err := os.Truncate(path, int64(4*page)); err != nil {
		t.Fatal(err)
	}
	if _, err := m.ReadAt(p, 0); err != nil {
		t.Errorf("after the file has grown again: %v", err)
	}
}

func TestGuardLetsOtherPanicsThrough(t *testing.T) {
	m := open(t, write(t, pattern(10)))
	for name, f := range map[string]func(){
		"panic":       func() { panic("other") },
		"nil pointer": func() { var p *int; *p = 1 },
		"index":       func() { var b []byte; _ = b[len(name(b))] },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("Guard ended a panic that was not a fault of the mapping")
				}
				if debug.SetPanicOnFault(false) {
					t.Error("the goroutine's setting was not put back")
				}
			}()
			_ = guarded(m, f)
		})
	}
}

func name(b []byte) []byte { return b }

func guarded(m *Mapping, f func()) (err error) {
	defer m.Guard(debug.SetPanicOnFault(true), &err)
	f()
	return nil
}

func TestGuardDoesNotAllocate(t *testing.T) {
	m := open(t, write(t, pattern(100)))
	p := make([]byte, 10)
	if n := testing.AllocsPerRun(100, func() {
		if _, err := m.ReadAt(p, 3); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkReadAt(b *testing.B) {
	path := filepath.Join(b.TempDir(), "file")
	if err := os.WriteFile(path, pattern(1<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	m, err := Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	p := make([]byte, 64)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := m.ReadAt(p, int64(i*4099)&(1<<19-1)); err != nil {
			b.Fatal(err)
		}
	}
}

// Faulted ends the panic of a fault, and no other.
func TestFaulted(t *testing.T) {
	try := func(do func()) (faulted bool) {
		defer Faulted(debug.SetPanicOnFault(true), &faulted)
		do()
		return false
	}
	if try(func() {}) {
		t.Error("a fault where there is none")
	}
	path := write(t, pattern(os.Getpagesize()))
	m := open(t, path)
	var seen byte
	if m.Bytes() != nil && os.Truncate(path, 0) == nil && !try(func() { seen += m.Bytes()[0] }) {
		t.Error("a page that is gone is no fault")
	}
	defer func() {
		if recover() == nil {
			t.Error("a panic that is no fault ends")
		}
	}()
	try(func() { panic(io.EOF) })
}
