package zstdmount_test

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/zstdmount"
)

// bomb is a frame of n blocks of 128 KiB that take four bytes each.
func bomb(n int) []byte {
	b := []byte{0x28, 0xb5, 0x2f, 0xfd, 0, (17 - 10) << 3} // a window of 128 KiB
	for i := range n {
		head := uint32(128<<10)<<3 | 1<<1 // a run of one byte
		if i == n-1 {
			head |= 1
		}
		b = append(b, byte(head), byte(head>>8), byte(head>>16), 0)
	}
	return b
}

func TestBomb(t *testing.T) {
	packed := bomb(1 << 16) // 256 KiB for 8 GiB
	for name, c := range map[string]struct {
		cfg  zstdmount.Config
		most int64
	}{
		"ratio": {zstdmount.Config{}, int64(len(packed))*1024 + 5<<20},
		"size":  {zstdmount.Config{MaxSize: 10 << 20, MaxRatio: 1 << 20}, 11 << 20},
	} {
		body, err := newRig(c.cfg).put(t, packed).Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, body)
		if !errors.Is(err, zstdmount.ErrLimit) || n > c.most {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		body.Close()
	}
}

// A frame of a few bytes that wants a large window gets none.
func TestWindow(t *testing.T) {
	for name, claim := range map[string][]byte{
		"window":         {0x28, 0xb5, 0x2f, 0xfd, 0, 31 << 3, 1, 0, 0},
		"single segment": {0x28, 0xb5, 0x2f, 0xfd, 3<<6 | 1<<5, 0, 0, 0, 0, 15, 0, 0, 0, 1, 0, 0},
	} {
		var before, after runtime.MemStats
		r := newRig(zstdmount.Config{})
		m := r.put(t, claim)
		runtime.ReadMemStats(&before)
		_, err := read(t.Context(), m)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, zstdmount.ErrLimit) {
			t.Errorf("%s: %v", name, err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 4<<20 {
			t.Errorf("%s: %d bytes were allocated", name, grown)
		}
	}
	// What is allowed by name works.
	data := bytes.Repeat(sample(1<<20), 20)
	packed := frame(t, data, false, zstd.WithWindowSize(16<<20))
	if _, err := read(t.Context(), newRig(zstdmount.Config{}).put(t, packed)); !errors.Is(err, zstdmount.ErrLimit) {
		t.Errorf("a window of 16 MiB gives %v", err)
	}
	got, err := read(t.Context(), newRig(zstdmount.Config{MaxWindow: 16 << 20}).put(t, packed))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// The first frame's size is not that of all.
func TestMoreThanTheFirstFrame(t *testing.T) {
	data := sample(1000)
	packed := append(frame(t, data, true), frame(t, data, true)...)
	// One that is clearly too long for its first frame is not believed.
	long := sample(300_000)
	if got, err := read(t.Context(), newRig(zstdmount.Config{}).put(t, append(frame(t, data, true), frame(t, long, true)...))); err != nil || len(got) != len(data)+len(long) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got, err := read(t.Context(), newRig(zstdmount.Config{}).put(t, packed)); !errors.Is(err, zstdmount.ErrDamaged) || len(got) > len(data) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func FuzzStream(f *testing.F) {
	data := sample(3000)
	f.Add(frame(f, data, true), int64(1))
	f.Add(frame(f, data, false), int64(0))
	f.Add(frames(f, data, 1000, true), int64(1500))
	f.Add(bomb(3), int64(2))
	f.Fuzz(func(t *testing.T, packed []byte, at int64) {
		r := newRig(zstdmount.Config{MaxSize: 4 << 20, MaxWindow: 1 << 20})
		m := r.put(t, packed)
		st, err := m.Stat(t.Context())
		if err != nil {
			t.Fatal(err) // the source itself is well
		}
		all, whole := read(t.Context(), m)
		if whole == nil && st.Size >= 0 && st.Size != int64(len(all)) {
			t.Fatalf("%d bytes, and it says %d", len(all), st.Size)
		}
		body, err := mount.OpenRange(t.Context(), m, mount.Range{Offset: at, Length: -1})
		if err != nil {
			return
		}
		defer body.Close()
		if rest, err := io.ReadAll(body); err == nil && whole == nil && !bytes.Equal(rest, all[at:]) {
			t.Fatalf("from %d on it is another", at)
		}
	})
}
