package segment_test

import (
	"errors"
	"io/fs"
	"testing"

	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

// TestHold: what is held is removed when the last who holds lets go, and can be
// given to another place until then.
func TestHold(t *testing.T) {
	disk := vfstest.NewDisk()
	from, err := segment.NewFolder(disk, "/store")
	if err != nil {
		t.Fatal(err)
	}
	to, err := segment.NewFolder(disk, "/other")
	if err != nil {
		t.Fatal(err)
	}
	names := []segment.Name{{Kind: segment.Index, N: 0x102}, {Kind: segment.Layer, N: 3}, {Kind: segment.Manifest, N: 4}}
	for _, name := range names {
		if err := write(t, from, name, name.String()); err != nil {
			t.Fatal(err)
		}
	}
	there := func(p segment.Place, name segment.Name) bool {
		t.Helper()
		r, err := p.Open(t.Context(), name)
		if errors.Is(err, fs.ErrNotExist) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		data := make([]byte, r.Size())
		if _, err := r.ReadAt(data, 0); err != nil || string(data) != name.String() {
			t.Errorf("%v reads %q, %v", name, data, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		return true
	}
	first, second := from.Hold(), from.Hold()
	for _, name := range names {
		if err := from.Remove(t.Context(), name); err != nil || !there(from, name) {
			t.Errorf("%v is gone, or %v", name, err)
		}
		if linked, size, err := from.Give(t.Context(), name, to); !linked || size != int64(len(name.String())) || err != nil {
			t.Errorf("%v, %d, %v", linked, size, err)
		}
	}
	if err := to.Settle(t.Context()); err != nil {
		t.Error(err)
	}
	first()
	first() // does nothing
	if !there(from, names[0]) {
		t.Error("gone while somebody holds")
	}
	second()
	for _, name := range names {
		if there(from, name) {
			t.Errorf("%v is still there", name)
		}
		if err := from.Remove(t.Context(), name); err != nil {
			t.Errorf("%v again: %v", name, err)
		}
		if _, _, err := from.Give(t.Context(), name, to); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("what is gone is given: %v", err)
		}
	}
	after, err := segment.NewFolder(disk.Crash(0, 1), "/other")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !there(after, name) {
			t.Errorf("%v was not durable", name)
		}
	}
}
