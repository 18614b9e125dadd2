package layers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

// placed is [Files] in a place for segments, as the engine has them.
type placed struct{ segment.Place }

func (p placed) name(n uint32) segment.Name { return segment.Name{Kind: segment.Layer, N: n} }

func (p placed) Create(ctx context.Context, n uint32) (Sink, error) {
	return p.Place.Create(ctx, p.name(n))
}

func (p placed) Open(ctx context.Context, n uint32) (File, error) {
	return p.Place.Open(ctx, p.name(n))
}

func (p placed) Remove(ctx context.Context, n uint32) error { return p.Place.Remove(ctx, p.name(n)) }

// A ledger is what a catalogue has on disk, and what everybody was told.
type ledger struct {
	list    map[uint32]Layer
	pending map[index.ID]bool
	dead    map[index.ID]bool
	gone    map[index.ID]bool // dead, or forgotten since
	next    uint32
	content map[index.ID][]int
}

func (l *ledger) clone() *ledger {
	return &ledger{
		maps.Clone(l.list), maps.Clone(l.pending), maps.Clone(l.dead), maps.Clone(l.gone), l.next,
		maps.Clone(l.content),
	}
}

// A powerCut keeps what a machine would find that lost its power, before each
// operation on the disk and after each commit.
type powerCut struct {
	mu     sync.Mutex
	disk   *vfstest.Disk
	now    *ledger
	images []cutImage
}

type cutImage struct {
	disk   *vfstest.Disk
	ledger *ledger
	what   string
}

func (p *powerCut) cut(what string) {
	for _, percent := range []int{0, 50, 100} {
		p.images = append(p.images, cutImage{
			p.disk.Crash(percent, uint64(len(p.images))), p.now.clone(),
			fmt.Sprintf("%s, %d%% of what was not synced kept", what, percent),
		})
	}
}

func (p *powerCut) number(context.Context) (uint32, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now.next++
	return p.now.next, nil
}

func (p *powerCut) commit(_ context.Context, c Change) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut(fmt.Sprintf("before commit %d", p.now.next))
	p.now.apply(c)
	p.cut(fmt.Sprintf("after commit %d", p.now.next))
	return nil
}

func (l *ledger) apply(c Change) {
	for _, a := range c.Add {
		l.list[a.N] = a
	}
	for _, n := range c.Remove {
		delete(l.list, n)
	}
	for _, id := range c.Settled {
		delete(l.pending, id)
	}
	for _, id := range c.Purged {
		delete(l.dead, id)
	}
}

func (p *powerCut) config(files Files) Config {
	return Config{
		Key: [16]byte{1, 2, 3}, Files: files, Next: p.number, Commit: p.commit,
		MemEntries: 400, MemShards: 8, partKeys: 1000, runKeys: 300,
	}
}

// history fills, flushes, merges and destroys.
func (p *powerCut) history(ctx context.Context, inv *Inverted) error {
	for i := range 14 {
		id := index.ID(i + 1)
		content := span(10*i, 10*i+40)
		if i%6 == 5 {
			content = span(0, 700)
		}
		p.mu.Lock()
		p.now.pending[id], p.now.content[id] = true, content
		p.mu.Unlock()
		err := inv.Add(ctx, id, blocks(content))
		if i%4 == 3 {
			p.mu.Lock()
			p.now.dead[id-2], p.now.gone[id-2] = true, true
			p.mu.Unlock()
			err = errors.Join(err, inv.Drop(id-2))
		}
		err = errors.Join(err, inv.Flush(ctx))
		_, mergeErr := inv.Merge(ctx)
		if err := errors.Join(err, mergeErr); err != nil {
			return err
		}
	}
	return nil
}

// check opens the image as the engine does, and looks for everything.
func (im *cutImage) check(ctx context.Context) (err error) {
	place, err := segment.NewFolder(im.disk, "/store")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, place.Close(ctx)) }()
	p := &powerCut{disk: im.disk, now: im.ledger}
	inv, err := Open(ctx, p.config(placed{place}), slices.Collect(maps.Values(im.ledger.list)), slices.Collect(maps.Keys(im.ledger.dead)))
	if err != nil {
		return fmt.Errorf("it does not open: %w", err)
	}
	defer func() { err = errors.Join(err, inv.Close(ctx)) }()
	for _, settled := range []bool{true, false} {
		if !settled {
			for id := range maps.Clone(im.ledger.pending) {
				if err := inv.Add(ctx, id, blocks(im.ledger.content[id])); err != nil {
					return fmt.Errorf("adding %d again: %w", id, err)
				}
			}
		}
		for n := 0; n < 200; n += 7 {
			got, err := inv.Find(nil, block(n), 0)
			if err != nil {
				return err
			}
			for id, content := range im.ledger.content {
				alive := !im.ledger.gone[id] && slices.Contains(content, n)
				has := slices.Contains(got, id)
				if has && !alive || alive && !has && !(settled && im.ledger.pending[id]) {
					return fmt.Errorf("block %d is found in %v: %d is wrong there, or missing; pending are added: %v", n, got, id, !settled)
				}
			}
		}
	}
	return nil
}

// The power is cut before every operation of flushes and merges and on both
// sides of every commit: the index always opens, nothing settled is lost, what is
// pending can be added again, and what is dead stays that.
func TestImages(t *testing.T) {
	p := &powerCut{disk: vfstest.NewDisk(), now: &ledger{
		list: map[uint32]Layer{}, pending: map[index.ID]bool{}, dead: map[index.ID]bool{}, gone: map[index.ID]bool{},
		content: map[index.ID][]int{},
	}}
	faults := vfstest.Wrap(p.disk)
	place, err := segment.NewFolder(faults, "/store")
	must(t, err)
	inv, err := Open(t.Context(), p.config(placed{place}), nil, nil)
	must(t, err)
	faults.Arm(vfstest.Op.Changes, func(n int, op vfstest.Op) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.cut(fmt.Sprintf("before operation %d (%v)", n, op))
		return nil
	})
	must(t, p.history(t.Context(), inv))
	must(t, inv.Close(t.Context()))
	faults.Disarm()
	must(t, place.Close(t.Context()))
	for i := range p.images {
		if err := p.images[i].check(t.Context()); err != nil {
			t.Fatalf("%s: %v", p.images[i].what, err)
		}
	}
	longtest.Figure(t, "%d images of flushes and merges: every one opens, nothing settled is lost", len(p.images))
	if len(p.images) < 300 {
		t.Errorf("only %d images", len(p.images))
	}
}
