package layers

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/dagstore/dagstore/index"
)

// What a layer holds that proved damaged can be added again, and then the
// layer goes; until then it answers with what can be read.
func TestSpoiledLayerIsMadeAnew(t *testing.T) {
	d := newDisk()
	var told []uint32
	cfg := d.config()
	cfg.Spoiled = func(n uint32) { told = append(told, n) }
	inv := mustOpen(t, d, cfg)
	must(t, d.register(inv, 1, span(0, 5)))
	must(t, d.register(inv, 2, span(3, 8)))
	must(t, inv.Flush(t.Context()))
	must(t, d.register(inv, 3, span(0, 2)))
	must(t, d.destroy(inv, 2))
	const bad = 1
	d.files[bad][0] ^= 1
	for range 2 { // told of once
		if _, err := inv.Find(nil, block(4), 0); !errors.Is(err, index.ErrDamaged) {
			t.Fatalf("Find: %v", err)
		}
	}
	inv.Spoil(bad)
	if got := inv.Spoiled(); !slices.Equal(got, []uint32{bad}) || !slices.Equal(told, got) {
		t.Errorf("spoiled: %v, told: %v", got, told)
	}
	if ids := inv.Content(bad).ToArray(); !slices.Equal(ids, []uint32{1}) {
		t.Errorf("content: %v", ids)
	}
	if inv.Settled(1) || !inv.Holds(1) {
		t.Error("what a damaged layer holds counts as durable, or as not there")
	}
	must(t, d.register(inv, 1, span(0, 5)))
	must(t, inv.Abandon(t.Context(), bad))
	mustFind(t, inv, 4, 1)
	mustFind(t, inv, 1, 3, 1)
	if len(inv.Spoiled()) > 0 || inv.Uses(bad) || d.files[bad] != nil {
		t.Errorf("it is in use still: %v", inv.Spoiled())
	}
	must(t, inv.Abandon(t.Context(), bad))
	must(t, inv.Flush(t.Context()))
	if !inv.Settled(1) {
		t.Error("it is not durable again")
	}
}

// Verify finds damage anywhere in a layer, on pages that were read before too.
func TestVerify(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	for id := range index.ID(3) {
		must(t, d.register(inv, id, span(0, 350)))
	}
	must(t, inv.Flush(t.Context()))
	const n = 1
	want := d.list[n]
	must(t, inv.Verify(t.Context(), want))
	mustFind(t, inv, 3, 2, 1, 0)
	for at := 0; at < len(d.files[n]); at += 97 {
		d.files[n][at] ^= 1
		var e *Error
		if err := inv.Verify(t.Context(), want); !errors.As(err, &e) || e.Layer != n {
			t.Errorf("byte %d: %v", at, err)
		}
		d.files[n][at] ^= 1
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := inv.Verify(ctx, want); !errors.Is(err, context.Canceled) {
		t.Errorf("under a context that has ended: %v", err)
	}
	want.Entries++
	if err := inv.Verify(t.Context(), want); !errors.Is(err, index.ErrDamaged) {
		t.Errorf("another layer than is listed: %v", err)
	}
	if len(inv.Spoiled()) > 0 {
		t.Error("Verify changed something")
	}
}

func TestHas(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	content := map[index.ID][]int{}
	for id := index.ID(1); id <= 12; id++ {
		content[id] = append(span(int(id)*10, int(id)*10+15), 999)
		must(t, d.register(inv, id, content[id]))
		if id == 4 || id == 8 {
			must(t, inv.Flush(t.Context()))
		}
	}
	must(t, d.destroy(inv, 7))
	for id := index.ID(0); id <= 13; id++ {
		for _, n := range append(span(0, 150), 999) {
			want := id != 7 && slices.Contains(content[id], n)
			if is, err := inv.Has(id, block(n)); is != want || err != nil {
				t.Fatalf("%d has block %d: %v, %v", id, n, is, err)
			}
		}
	}
	if ids := slices.Collect(inv.IDs()); !slices.Equal(ids, []index.ID{1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12}) {
		t.Errorf("ids: %v", ids)
	}
	if !inv.Dead(7) || inv.Dead(8) {
		t.Error("7 is dead, and 8 is not")
	}
}

// What is added again is found once, and is merged into one.
func TestAddAgainWhatSeemsToBeThere(t *testing.T) {
	d := newDisk()
	inv := mustOpen(t, d, d.config())
	must(t, d.register(inv, 1, span(0, 5)))
	must(t, inv.Flush(t.Context()))
	must(t, inv.Add(t.Context(), 1, blocks(span(0, 9)))) // is known, and not read
	mustFind(t, inv, 7)
	must(t, inv.AddAgain(t.Context(), 1, blocks(span(0, 9))))
	mustFind(t, inv, 7, 1)
	mustFind(t, inv, 3, 1)
	must(t, inv.Flush(t.Context()))
	mustFind(t, inv, 7, 1)
	mustFind(t, inv, 3, 1)
	must(t, d.destroy(inv, 1))
	must(t, inv.AddAgain(t.Context(), 1, blocks(span(0, 9))))
	mustFind(t, inv, 7)
}

// The dead that somebody wants to be remembered are.
func TestKeep(t *testing.T) {
	d := newDisk()
	cfg := d.config()
	kept := true
	cfg.Keep = func(id index.ID) bool { return kept && id == 1 }
	inv := mustOpen(t, d, cfg)
	for id := index.ID(1); id <= 2; id++ {
		must(t, d.register(inv, id, span(0, 5)))
		must(t, d.destroy(inv, id))
	}
	must(t, inv.Flush(t.Context()))
	if !d.dead[1] || d.dead[2] || !inv.Dead(1) {
		t.Errorf("dead: %v", d.dead)
	}
	kept = false
	must(t, inv.Purge(t.Context()))
	if len(d.dead) > 0 {
		t.Errorf("dead: %v", d.dead)
	}
}
