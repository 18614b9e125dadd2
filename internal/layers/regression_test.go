package layers

import (
	"errors"
	"slices"
	"testing"

	"github.com/dagstore/dagstore/index"
)

// A layer that is torn, empty or cut short counts neither as there nor as
// empty: opening says which one, and the ids in question.
func TestR05TornLayer(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	inv, err := Open(t.Context(), cfg, nil, nil)
	must(t, err)
	must(t, d.register(inv, 3, span(0, 300)))
	must(t, d.register(inv, 5, span(200, 400)))
	must(t, inv.Close(t.Context()))
	want := d.list[1]
	good := slices.Clone(d.files[1])
	for name, b := range map[string][]byte{
		"empty": {}, "cut": good[:len(good)/2], "without its end": good[:len(good)-1],
		"zeros": make([]byte, len(good)), "zeros at its end": append(good[:len(good)-pageSize:len(good)-pageSize], make([]byte, pageSize)...),
	} {
		d.files[1] = b
		inv, err := Open(t.Context(), cfg, []Layer{want}, nil)
		var e *Error
		if !errors.Is(err, index.ErrDamaged) || !errors.As(err, &e) || e.Layer != 1 || e.Op != OpOpen {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			must(t, inv.Close(t.Context()))
		}
	}
	if want.First != 3 || want.Last != 5 {
		t.Errorf("the list says ids %d to %d", want.First, want.Last)
	}
}

// A failure to write a layer is the error of Flush, and what it was to hold is
// found and pending still.
func TestR06LayerIsNotWritten(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	must(t, d.register(inv, 1, span(0, 300)))
	d.failAt = d.ops + 3 // the number, the file, the first write
	if err := inv.Flush(t.Context()); !errors.Is(err, errIO) {
		t.Fatalf("Flush: %v", err)
	}
	if !d.pending[1] || inv.Settled(1) || len(d.list) != 0 {
		t.Errorf("pending %v, settled %v, %d layers", d.pending[1], inv.Settled(1), len(d.list))
	}
	mustFind(t, inv, 7, 1)
	must(t, inv.Flush(t.Context()))
	if d.pending[1] || !inv.Settled(1) {
		t.Error("not settled by the next flush")
	}
}

// A block that every shard has makes neither adding the next shard nor finding
// the newest longer: what is looked at is the same at a hundred and at a
// hundred times as many.
func TestR21SharedBlock(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	cfg.MemShards, cfg.MemEntries = 512, 4096
	inv := mustOpen(t, d, cfg)
	var steps []int
	for id := range index.ID(10_000) {
		must(t, d.register(inv, id, []int{1}))
		if inv.Due() {
			must(t, inv.Flush(t.Context()))
			for inv.MergeDue() {
				if _, err := inv.Merge(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if id == 99 || id == 9_999 {
			n, err := inv.candidates(block(1), func(got index.ID) bool { return got != id })
			must(t, err)
			steps = append(steps, n)
		}
	}
	if steps[1] > steps[0] {
		t.Errorf("%d postings are looked at behind 10,000 shards, %d behind 100", steps[1], steps[0])
	}
}
