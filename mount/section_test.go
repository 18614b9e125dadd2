package mount_test

import (
	"context"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/mounttest"
)

func TestSectionComposes(t *testing.T) {
	_, m := newCar()
	outer := mount.Section(m, 5, 10)
	inner := mount.Section(outer, 2, 3)
	if got, want := inner.URL(), m.URL()+"#bytes=7-9"; got != want {
		t.Errorf("URL is %q, not %q", got, want)
	}
	whole, err := m.Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	st, err := inner.Stat(t.Context())
	if err != nil || st.Size != 3 || st.Version != whole.Version || !st.ModTime.Equal(whole.ModTime) {
		t.Errorf("Stat is %+v, %v", st, err)
	}
}

// all asks a mount by all the ways there are, and returns what they say.
func all(ctx context.Context, m mount.Mount) map[string]error {
	errs := make(map[string]error)
	_, errs["Stat"] = m.Stat(ctx)
	_, errs["Open"] = read(m.Open(ctx))
	_, errs["OpenRange"] = read(mount.OpenRange(ctx, m, mount.Range{Length: -1}))
	f, err := mount.OpenFile(ctx, m)
	if err == nil {
		err = f.Close()
	}
	errs["OpenFile"] = err
	return errs
}

func TestSectionOutOfBounds(t *testing.T) {
	reg, m := newCar()
	for name, c := range map[string]struct {
		m     mount.Mount
		never bool // no source has it
	}{
		"over the end":           {mount.Section(m, 15, 6), false},
		"after the end":          {mount.Section(m, 20, 1), false},
		"far":                    {mount.Section(m, math.MaxInt64-1, 1), false},
		"negative offset":        {mount.Section(m, -1, 5), true},
		"negative length":        {mount.Section(m, 0, -1), true},
		"no bytes":               {mount.Section(m, 3, 0), true},
		"overflow":               {mount.Section(m, 2, math.MaxInt64), true},
		"over the outer section": {mount.Section(mount.Section(m, 5, 10), 8, 3), true},
		"in a bad one":           {mount.Section(mount.Section(m, -5, 10), 0, 1), true},
	} {
		for way, err := range all(t.Context(), c.m) {
			if way == "OpenRange" && errors.Is(err, mount.ErrNoRanges) || way == "OpenFile" && errors.Is(err, mount.ErrNotLocal) {
				continue // a bad section offers nothing
			}
			if !errors.Is(err, mount.ErrRange) {
				t.Errorf("%s: %s gives %v", name, way, err)
			}
		}
		if got, err := reg.Open(c.m.URL()); c.never && !errors.Is(err, mount.ErrURL) {
			t.Errorf("%s: %q opens as %v, %v", name, c.m.URL(), got, err)
		}
	}
}

// sizeless does not know how long its source is.
type sizeless struct{ mount.Mount }

func (s sizeless) Stat(ctx context.Context) (mount.Stat, error) {
	_, err := s.Mount.Stat(ctx)
	return mount.Stat{Size: -1}, err
}

func TestSectionWithoutRanges(t *testing.T) {
	_, m := newCar()
	ctx := t.Context()
	if got, err := read(mount.Section(plain{m}, 0, 5).Open(ctx)); got != "01234" || err != nil {
		t.Errorf("from the beginning: %q, %v", got, err)
	}
	if _, err := mount.Section(plain{m}, 1, 5).Open(ctx); !errors.Is(err, mount.ErrNoRanges) {
		t.Errorf("from the middle: %v", err)
	}
	if got, err := read(mount.Section(sizeless{m}, 0, 21).Open(ctx)); got != text || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("over an end that nobody knew: %q, %v", got, err)
	}
	if st, err := mount.Section(sizeless{m}, 0, 21).Stat(ctx); st.Size != 21 || err != nil {
		t.Errorf("Stat, where nobody knows the end: %+v, %v", st, err)
	}
}

// greedy gives more than it was asked for.
type greedy struct{ mount.Mount }

func (g greedy) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	r.Length = -1
	return mount.OpenRange(ctx, g.Mount, r)
}

func TestSectionEndsWhereItEnds(t *testing.T) {
	_, m := newCar()
	if got, err := read(mount.Section(greedy{m}, 5, 5).Open(t.Context())); got != text[5:10] || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// A file that was cut after it was opened is no proper end of a section.
func TestSectionOfFileThatIsCut(t *testing.T) {
	_, m := newCar()
	cut := mounttest.Faulty(m, mounttest.Fault{At: 15, Do: mounttest.Short})
	if _, err := mount.OpenFile(t.Context(), mount.Section(cut, 5, 15)); !errors.Is(err, mount.ErrRange) {
		t.Errorf("a section over the end opens: %v", err)
	}
	f, err := mount.OpenFile(t.Context(), mount.Section(&shrinking{RangeOpener: m.(mount.RangeOpener)}, 5, 15))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := make([]byte, 20)
	if n, err := f.ReadAt(buf, 0); string(buf[:n]) != text[5:15] || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("ReadAt gives %q, %v", buf[:n], err)
	}
}

// shrinking loses its last five bytes after the first ReadAt.
type shrinking struct {
	mount.RangeOpener
	mount.File
	reads int
}

func (s *shrinking) OpenFile(ctx context.Context) (mount.File, error) {
	f, err := mount.OpenFile(ctx, s.RangeOpener)
	s.File = f
	return shrunk{s}, err
}

type shrunk struct{ s *shrinking }

func (f shrunk) ReadAt(p []byte, off int64) (int, error) {
	if f.s.reads++; f.s.reads == 1 {
		return f.s.File.ReadAt(p, off)
	}
	return io.NewSectionReader(f.s.File, 0, 15).ReadAt(p, off)
}

func (f shrunk) Close() error { return f.s.File.Close() }
