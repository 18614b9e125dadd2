package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/watch"
	"github.com/dagstore/dagstore/internal/admin/wire"
)

// watchedPlaces are how the places are that this process watches.
func (h *holder) watchedPlaces() []wire.Watched {
	w := h.watcher.Load()
	if w == nil {
		return nil
	}
	failed, vanished := carsOf(w.Failures()), carsOf(w.Vanished())
	var all []wire.Watched
	for _, s := range w.Status() {
		all = append(all, wire.Watched{
			Place: s.Place, Kind: string(s.Kind), Looking: s.Looking, Last: momentOf(s.Last), Next: momentOf(s.Next), Seen: s.Seen,
			Waiting: s.Waiting, Taking: s.Taking, Failed: s.Failed, Changed: s.Changed, Vanished: s.Vanished,
			Added: s.Added, Replaced: s.Replaced, Requests: s.Requests, Error: s.Error,
			FailedCARs: failed[s.Place], VanishedCARs: vanished[s.Place],
		})
	}
	return all
}

// carsOf are cases by place, in the order of their keys.
func carsOf(cases []watch.Case) map[string][]wire.WatchedCAR {
	slices.SortFunc(cases, func(a, b watch.Case) int { return cmp.Compare(a.Key, b.Key) })
	all := make(map[string][]wire.WatchedCAR)
	for _, c := range cases {
		all[c.Place] = append(all[c.Place], wire.WatchedCAR{Key: string(c.Key), Name: c.Name, Since: c.Since, Error: c.Error})
	}
	return all
}

// momentOf is nil for no time at all.
func momentOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
