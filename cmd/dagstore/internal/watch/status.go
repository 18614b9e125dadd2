package watch

import (
	"context"
	"errors"
	"time"

	"github.com/dagstore/dagstore/shard"
)

// A Status is how a watched place is at one moment.
type Status struct {
	Place   string        `json:"place"`
	Kind    Kind          `json:"kind"`
	Looking bool          `json:"looking"`       // right now
	Last    time.Time     `json:"last,omitzero"` // when it was looked at to its end; zero: never
	Took    time.Duration `json:"took"`          // ns
	Next    time.Time     `json:"next,omitzero"` // when it is looked at again
	Seen    int64         `json:"seen"`          // CARs that the last whole look has found

	// Now.
	Waiting  int64 `json:"waiting"`  // that must rest
	Taking   int64 `json:"taking"`   // that are being added
	Failed   int64 `json:"failed"`   // that could not be added, see Failures
	Changed  int64 `json:"changed"`  // that are another revision than the store has indexed
	Vanished int64 `json:"vanished"` // that the store has and the place has not, see Vanished

	// Since the start.
	Looks    int64 `json:"looks"`    // to the end
	Skipped  int64 `json:"skipped"`  // looks that were not needed, since nothing had changed
	Added    int64 `json:"added"`    //
	Replaced int64 `json:"replaced"` //
	Requests int64 `json:"requests"` // that looks have taken: LISTs of a prefix, HEADs and GETs of a list

	Told       Told      `json:"told,omitempty"` // of a folder
	Error      string    `json:"error,omitempty"`
	ErrorSince time.Time `json:"error_since,omitzero"`
}

// Told says how far a file system tells of changes.
type Told string

// How far it may tell.
const (
	All  Told = "all"
	Some Told = "some" // not of all: there are too many folders, or others change them, too
	None Told = "none" // changes are found by looking alone
)

// Status returns how the places are, in their order in Config.
func (w *Watcher) Status() []Status {
	all := make([]Status, len(w.places))
	for i, p := range w.places {
		all[i] = p.status()
	}
	return all
}

func (p *place) status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.now
	s.Place, s.Kind = p.Name, p.Kind
	t := p.table
	s.Waiting, s.Taking, s.Failed = t.states[resting], t.states[taking], t.states[failed]
	s.Changed, s.Vanished = t.changed, t.gone
	s.Added, s.Replaced = p.happened[Added], p.happened[Replaced]
	if p.err != nil {
		s.Error, s.ErrorSince = p.err.Error(), p.since
	}
	if p.folder != nil {
		s.Told = p.folder.told()
	}
	return s
}

// A Case is one CAR that something is wrong with.
type Case struct {
	Place string    `json:"place"`
	Key   shard.Key `json:"key"`
	Name  string    `json:"name"` // path or URL
	Since time.Time `json:"since"`
	Error string    `json:"error,omitempty"`
}

// mostCases is how many cases of a kind a place remembers by name.
const mostCases = 1000

// Vanished returns the CARs that the store has and their place has not, at most
// 1,000 of each place. Nothing is done about them: they are for somebody to
// decide about.
func (w *Watcher) Vanished() []Case {
	return w.cases(func(p *place) map[uint64]Case { return p.vanished })
}

// Failures returns the CARs that could not be added, at most 1,000 of each
// place. They are tried again when they change and, unless they are no good as
// they are, from time to time.
func (w *Watcher) Failures() []Case {
	return w.cases(func(p *place) map[uint64]Case { return p.failures })
}

func (w *Watcher) cases(of func(*place) map[uint64]Case) (all []Case) {
	for _, p := range w.places {
		p.mu.Lock()
		for _, c := range of(p) {
			all = append(all, c)
		}
		p.mu.Unlock()
	}
	return all
}

// note remembers a case by name, if there is room. The caller holds p.mu.
func (p *place) note(cases map[uint64]Case, id uint64, f *Found, err error) {
	if len(cases) >= mostCases {
		return
	}
	c := Case{Place: p.Name, Key: f.Key, Name: f.Name, Since: time.Now()}
	if err != nil {
		c.Error = err.Error()
	}
	cases[id] = c
}

// trouble notes why the place cannot be looked at; nil: it can. It is told of
// once, whatever the reason is later: errors of networks differ each time.
func (p *place) trouble(ctx context.Context, err error) {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	p.mu.Lock()
	before := p.err
	p.err = err
	if before == nil && err != nil {
		p.since = time.Now()
	}
	p.mu.Unlock()
	switch {
	case err != nil && before == nil:
		p.tell(Event{What: Trouble, Err: err})
	case err == nil && before != nil:
		p.tell(Event{What: Well})
	}
}
