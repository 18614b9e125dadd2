package layers

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/mmap"
)

// expectingFolder notes what is asked to be read ahead.
type expectingFolder struct {
	*folder
	asked []extent
}

type extent struct{ off, n int64 }

func (f *expectingFolder) Open(_ context.Context, n uint32) (File, error) {
	m, err := mmap.Open(f.path(n))
	return expectingFile{m, f}, err
}

type expectingFile struct {
	*mmap.Mapping
	folder *expectingFolder
}

func (f expectingFile) Prefetch(off, n int64) {
	f.folder.asked = append(f.folder.asked, extent{off, n})
}

// With nothing cached, a look-up asks for the fan-out and the filter of one
// partition in one piece, and for nothing else; once their pages were seen it
// asks for nothing.
func TestColdLookupReadsAhead(t *testing.T) {
	f := &expectingFolder{folder: &folder{dir: t.TempDir()}}
	inv, err := Open(t.Context(), Config{
		Files: f, Next: f.number, Commit: func(context.Context, Change) error { return nil },
	}, nil, nil)
	must(t, err)
	defer func() { must(t, inv.Close(context.Background())) }()
	const n = 100_000
	must(t, inv.Add(t.Context(), 7, made(0, n)))
	must(t, inv.Flush(t.Context()))
	l := inv.view.Load().layers[0]
	if l.mem == nil || len(l.parts) < 3 {
		t.Fatalf("mapped: %v, %d partitions", l.mem != nil, len(l.parts))
	}
	f.asked = nil
	find := func() {
		t.Helper()
		if ids, err := inv.Find(nil, block(5), 0); err != nil || len(ids) != 1 || ids[0] != index.ID(7) {
			t.Fatal(ids, err)
		}
	}
	find()
	p := l.part(inv.keyOf(block(5)))
	want := extent{int64(p.fanPage) * pageSize, int64(p.endPage-p.fanPage) * pageSize}
	if len(f.asked) != 1 || f.asked[0] != want || want.n > 64<<10 {
		t.Errorf("asked for %+v, want %+v", f.asked, want)
	}
	find()
	if len(f.asked) != 1 {
		t.Errorf("asked again: %+v", f.asked)
	}
}

// After Warm the filters and the fan-outs of all partitions were asked for, and
// no look-up asks again. What is more than the bound is left to look-ups.
func TestWarm(t *testing.T) {
	f := &expectingFolder{folder: &folder{dir: t.TempDir()}}
	inv, err := Open(t.Context(), Config{
		Files: f, Next: f.number, Commit: func(context.Context, Change) error { return nil },
	}, nil, nil)
	must(t, err)
	const n = 100_000
	for id := range index.ID(2) {
		must(t, inv.Add(t.Context(), id, made(int(id)*n, n)))
		must(t, inv.Flush(t.Context()))
	}
	l := inv.view.Load().layers[0]
	if l.mem == nil {
		t.Skip("this platform has no mappings")
	}
	f.asked = nil
	p := &l.parts[0]
	if left, err := l.warm(t.Context(), int64(p.endPage-p.fanPage)*pageSize); err != nil || left >= 0 || len(f.asked) != 1 || l.warmed.Load() {
		t.Errorf("with room for one partition: asked for %+v, %d left, %v", f.asked, left, err)
	}
	f.asked = nil
	must(t, inv.Warm(t.Context()))
	var want []extent
	for _, l := range inv.view.Load().layers {
		for _, p := range l.parts {
			want = append(want, extent{int64(p.fanPage) * pageSize, int64(p.endPage-p.fanPage) * pageSize})
		}
	}
	if len(f.asked) != len(want) {
		t.Fatalf("asked for %d pieces, want %d", len(f.asked), len(want))
	}
	for _, w := range want {
		if !slices.Contains(f.asked, w) {
			t.Errorf("did not ask for %+v", w)
		}
	}
	for i := range 1000 {
		if ids, err := inv.Find(nil, block(i), 0); err != nil || len(ids) != 1 {
			t.Fatal(ids, err)
		}
	}
	if len(f.asked) != len(want) {
		t.Errorf("look-ups asked again: %+v", f.asked[len(want):])
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := inv.Warm(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Warm with a context that has ended: %v", err)
	}
	must(t, inv.Close(t.Context()))
	if err := inv.Warm(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Warm after Close: %v", err)
	}
}
