package watch

import (
	"context"
	"errors"

	"github.com/dagstore/dagstore/shard"
)

// miss finds out what a whole look has not found, and tells of what the store
// has of it. The first time, all that the store has from here is compared. The
// store is gone through only if something is missing, since names are known
// to nobody else.
func (p *place) miss(ctx context.Context) error {
	missing := p.unseen()
	p.mu.Lock()
	first := !p.compared
	p.mu.Unlock()
	if first || len(missing) > 0 {
		for info, err := range p.watcher.cfg.Store.Shards(ctx, nil) {
			if _, one := errors.AsType[*shard.Error](err); one {
				continue // a record that cannot be read is the store's own trouble
			} else if err != nil {
				return err
			}
			p.compare(&info, missing, first)
		}
	}
	p.mu.Lock()
	p.compared = true
	for id := range missing { // the store has them no more
		if e := p.table.entries[id]; e.state != taking {
			p.table.remove(id)
			delete(p.failures, id)
		}
	}
	p.mu.Unlock()
	p.forget(ctx)
	return nil
}

// unseen returns those that the store should have and the look has not found.
// What it has not, and was not found, is forgotten.
func (p *place) unseen() map[uint64]bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	missing := make(map[uint64]bool)
	for id, e := range p.table.entries {
		switch {
		case e.look == p.look, e.has(gone):
		case e.state == taking:
			e.look = p.look
			p.table.set(id, e)
		case e.has(stored):
			missing[id] = true
		default:
			p.table.remove(id)
			delete(p.failures, id)
		}
	}
	return missing
}

// compare judges one shard of the store, and takes it out of missing.
func (p *place) compare(info *shard.Info, missing map[uint64]bool, first bool) {
	id := p.table.id(string(info.Key))
	owned := p.Source.Owns(info.URL)
	switch {
	case missing[id] && p.Kind != List && !owned:
		return // it was mounted elsewhere: it is not ours any more
	case missing[id]:
		delete(missing, id)
	case !first || !owned || p.holds(id):
		return
	}
	if p.folder != nil && !p.folder.gone(info.URL) {
		p.found(id)
		return
	}
	p.vanish(id, &Found{Key: info.Key, Name: info.URL})
}

func (p *place) holds(id uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.table.entries[id]
	return ok
}

// found notes that one is there although the look has not come to it.
func (p *place) found(id uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e, ok := p.table.entries[id]; ok {
		e.look = p.look
		p.table.set(id, e)
	}
}

// vanish notes that a CAR is not there any more, and tells of it.
func (p *place) vanish(id uint64, f *Found) {
	p.mu.Lock()
	e := p.table.entries[id]
	e.look = p.look
	e.state = done
	e.flags = e.flags&^changed | stored | gone
	p.table.set(id, e)
	p.note(p.vanished, id, f, nil)
	delete(p.failures, id)
	p.mu.Unlock()
	p.tell(Event{What: Vanished, Key: f.Key, Name: f.Name})
}

// lose is what the file system has told of: a file is not there any more.
func (p *place) lose(f *Found) {
	p.mu.Lock()
	id := p.table.id(string(f.Key))
	e, ok := p.table.entries[id]
	stays := ok && e.has(stored) && !e.has(gone) && e.state != taking
	if ok && !e.has(stored) && e.state != taking {
		p.table.remove(id)
		delete(p.failures, id)
	}
	p.mu.Unlock()
	if stays {
		p.vanish(id, f)
	}
}

// forget forgets those that had vanished and that the store does not have any
// more either, or has from elsewhere.
func (p *place) forget(ctx context.Context) {
	p.mu.Lock()
	cases := make(map[uint64]Case, len(p.vanished))
	for id, c := range p.vanished {
		cases[id] = c
	}
	p.mu.Unlock()
	for id, c := range cases {
		info, err := p.watcher.cfg.Store.Info(ctx, c.Key)
		if errors.Is(err, shard.ErrUnknown) || err == nil && p.Kind != List && !p.Source.Owns(info.URL) {
			p.mu.Lock()
			if p.table.entries[id].has(gone) {
				p.table.remove(id)
			}
			delete(p.vanished, id)
			p.mu.Unlock()
		}
	}
}
