package car

import (
	"bytes"
	"io"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
)

// A meter counts what is read of a file.
type meter struct {
	*bytes.Reader
	n, calls int64
}

func (m *meter) ReadAt(p []byte, off int64) (int, error) {
	n, err := m.Reader.ReadAt(p, off)
	m.n += int64(n)
	m.calls++
	return n, err
}

// TestHop holds how much is read against what is there to be read: a few KiB
// for each section, whatever its body is, and no more calls than sections.
func TestHop(t *testing.T) {
	const sections = 50
	for _, size := range []int{1, 5_000, 20_000, 100_000, 1 << 20} {
		data := cartest.RandomV1(1, sections, size)
		want := collect(bytes.NewReader(data), Options{})
		m := &meter{Reader: bytes.NewReader(data)}
		got := collect(m, Options{Size: int64(len(data)), Hop: true})
		if got.err != nil || len(got.sections) != sections || got.res.PayloadSize != want.res.PayloadSize {
			t.Fatalf("bodies of %d bytes: %d sections, %v", size, len(got.sections), got.err)
		}
		for i := range got.sections {
			if got.sections[i].Offset != want.sections[i].Offset || !bytes.Equal(got.sections[i].CID, want.sections[i].CID) {
				t.Fatalf("bodies of %d bytes: section %d is %+v, not %+v", size, i, got.sections[i], want.sections[i])
			}
		}
		if most := int64(sections+3) * firstRead; m.n > most || m.calls > sections+3 {
			t.Errorf("bodies of %d bytes: %d bytes in %d calls, the most is %d", size, m.n, m.calls, most)
		}
	}
	data := cartest.RandomV1(1, sections, 20_000)
	m := &meter{Reader: bytes.NewReader(data)}
	if got := collect(m, Options{Size: int64(len(data)), Hop: true, Verify: true}); got.err != nil || m.n < int64(len(data)) {
		t.Errorf("with Verify: %d of %d bytes, %v", m.n, len(data), got.err)
	}
	if got := collect(struct{ io.Reader }{bytes.NewReader(data)}, Options{Hop: true}); got.err != nil || len(got.sections) != sections {
		t.Errorf("a stream: %d sections, %v", len(got.sections), got.err)
	}
}
