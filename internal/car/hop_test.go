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

// TestHopFar: where each read is a request, small bodies are read and not jumped
// over, in pieces that grow, and large ones cost a request of a few KiB each.
func TestHopFar(t *testing.T) {
	for _, c := range []struct {
		size, sections, calls int
		bytes                 int64 // at most
	}{
		{100, 20_000, 12, 20_000 * 140},
		{1000, 8000, 18, 8000 * 1040},
		{40_000, 100, 12, 100 * 40_040},
		{100_000, 50, 53, 53 * firstRead},
		{1 << 20, 20, 23, 23 * firstRead},
	} {
		data := cartest.RandomV1(1, c.sections, c.size)
		want := collect(bytes.NewReader(data), Options{})
		m := &meter{Reader: bytes.NewReader(data)}
		got := collect(m, Options{Size: int64(len(data)), Hop: true, Far: true})
		if got.err != nil || len(got.sections) != c.sections || got.res.PayloadSize != want.res.PayloadSize {
			t.Fatalf("bodies of %d bytes: %d sections, %v", c.size, len(got.sections), got.err)
		}
		if m.n > c.bytes || m.calls > int64(c.calls) {
			t.Errorf("bodies of %d bytes: %d bytes in %d calls, the most is %d in %d", c.size, m.n, m.calls, c.bytes, c.calls)
		}
	}
}

// Without Hop, too, large bodies of a file are passed over, and nothing but
// large ones: where sections get small they are read as a stream again.
func TestLargeBodiesAreNotRead(t *testing.T) {
	const large, small = 20, 3000
	data := cartest.RandomV1(1, large, 1<<20)
	data = append(data, cartest.RandomV1(2, small, 1000)[59:]...)
	data = append(data, cartest.RandomV1(3, large, 256<<10)[59:]...)
	want := collect(struct{ io.Reader }{bytes.NewReader(data)}, Options{})
	if want.err != nil || len(want.sections) != 2*large+small {
		t.Fatalf("%d sections, %v", len(want.sections), want.err)
	}
	m := &meter{Reader: bytes.NewReader(data)}
	got := collect(m, Options{Size: int64(len(data))})
	if got.err != nil || len(got.sections) != len(want.sections) {
		t.Fatalf("%d sections, %v", len(got.sections), got.err)
	}
	for i := range got.sections {
		if got.sections[i].Offset != want.sections[i].Offset || !bytes.Equal(got.sections[i].CID, want.sections[i].CID) {
			t.Fatalf("section %d is %+v, not %+v", i, got.sections[i], want.sections[i])
		}
	}
	// The last read among the small ones may go as far beyond them as a buffer is long.
	if most := int64(small*1100 + bufferSize + 2*large*firstRead); m.n > most {
		t.Errorf("%d bytes of %d are read, the most is %d", m.n, len(data), most)
	}
	if most := int64(2*large + small*1100/bufferSize + 10); m.calls > most {
		t.Errorf("%d reads, the most is %d", m.calls, most)
	}
}
