package local

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/memmount"
)

// TestReadWhole reads a file of the system past its ReadAt, and one in memory,
// which has no other way.
func TestReadWhole(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 100)
	path := filepath.Join(t.TempDir(), "a.car")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := filemount.New(path)
	if err != nil {
		t.Fatal(err)
	}
	var set memmount.Set
	for name, m := range map[string]mount.Mount{"file": file, "memory": set.Put("car", data)} {
		t.Run(name, func(t *testing.T) {
			counted := 0
			h, err := Open(t.Context(), Spec{
				Key: "k", ID: 1, Mount: m, Source: mount.Stat{Size: int64(len(data))}, Count: func(n int) { counted += n },
				OpenIndex: func(context.Context) (IndexFile, error) { return new(fakeIndex), nil },
			})
			if err != nil {
				t.Fatal(err)
			}
			defer h.Drop()
			if h.plain.can() != (name == "file") {
				t.Errorf("plain: %v", h.plain.can())
			}
			p := make([]byte, 30)
			if !h.ReadWhole(t.Context(), p, 3) || !bytes.Equal(p, data[3:33]) || counted != 30 {
				t.Errorf("%q, %d bytes counted", p, counted)
			}
			for _, off := range []int64{-1, int64(len(data)) - 29, int64(len(data)), 1 << 62} {
				if h.ReadWhole(t.Context(), p, off) {
					t.Errorf("30 bytes from %d on", off)
				}
			}
			if name == "file" {
				if err := os.Truncate(path, 100); err != nil {
					t.Fatal(err)
				}
				if h.ReadWhole(t.Context(), p, 80) {
					t.Error("beyond the end of a file that is shorter now")
				}
			}
			h.Sever()
			if h.ReadWhole(t.Context(), p, 3) {
				t.Error("a severed handle was read")
			}
		})
	}
}
