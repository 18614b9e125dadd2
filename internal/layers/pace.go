package layers

import (
	"context"
	"slices"
	"time"
)

const (
	// paceSlice is how long a merge works before it looks around.
	paceSlice = 4 * time.Millisecond

	// longestPause bounds a pause, whatever a slice has taken.
	longestPause = 10 * paceSlice
)

// A pace has a merge leave time to those who look up and add. While there are
// any, it works only its share of the time; when nobody came since it last looked it
// goes on at once, and so it does when layers have become so many that looking up
// suffers more from them than from the merge.
//
// A merge of large layers also lets those of small ones go first, which come
// meanwhile: there is one that works, and the others wait for it.
type pace struct {
	inv   *Inverted
	group []*layer  // what it merges
	outer *pace     // the merge that waits for this one, or nil
	since time.Time // when it began to work
}

func (inv *Inverted) newPace(group []*layer, outer *pace) *pace {
	return &pace{inv: inv, group: group, outer: outer, since: inv.cfg.Now()}
}

// merges says whether l is being merged by p or by a merge that waits for it.
func (p *pace) merges(l *layer) bool {
	return slices.Contains(p.group, l) || p.outer != nil && p.outer.merges(l)
}

// step is called often. It pauses if that is due, and has what came meanwhile
// merged. When ctx has ended it returns the cause.
func (p *pace) step(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	worked := p.inv.cfg.Now().Sub(p.since)
	if worked < paceSlice {
		return nil
	}
	err := p.inv.mergeMeanwhile(ctx, p)
	if err == nil && p.inv.visited.Swap(false) && !p.inv.crowded() {
		share := p.inv.cfg.MergeShare
		if rest := time.Duration(float64(worked) * (1 - share) / share); rest > 0 {
			err = p.inv.cfg.pause(ctx, min(rest, longestPause))
		}
	}
	p.since = p.inv.cfg.Now()
	return err
}

// crowded says that there are more layers than there should be.
func (inv *Inverted) crowded() bool {
	v := inv.view.Load()
	return v != nil && len(v.layers) > maxLayers
}

// mostSlowed is how many times as long as it worked an Add waits at the most.
const mostSlowed = 8

// slowDown has an Add that has just worked for some time wait, if merges are so
// far behind that there are more layers than there should be: the longer, the more
// there are. So whoever adds faster than can be merged gets slower, and is
// never stopped; what he added is found already.
func (inv *Inverted) slowDown(ctx context.Context, worked time.Duration) {
	v := inv.view.Load()
	if v == nil || len(v.layers) <= maxLayers {
		return
	}
	over := len(v.layers) - maxLayers
	_ = inv.cfg.slow(ctx, worked*time.Duration(min(2*over, mostSlowed))) // nothing is left undone
}

// visit notes that somebody looks up or adds. It writes only once for each
// slice of a merge, so that readers do not take the cache line from each other.
func (inv *Inverted) visit() {
	if !inv.visited.Load() {
		inv.visited.Store(true)
	}
}

// pause waits for d, or until ctx ends.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
