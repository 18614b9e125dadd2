package wire

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/shard"
)

// A Shard is one shard in a few words: a line of --json.
type Shard struct {
	Key         string     `json:"key"`
	Status      string     `json:"status"` // ready, lazy, indexing, failed or removing
	State       string     `json:"state"`  // of the shard's lifecycle, in lower case
	Sections    int64      `json:"sections"`
	Multihashes int64      `json:"multihashes"` // different ones, identity included
	Bytes       int64      `json:"bytes"`       // of the source
	Roots       []string   `json:"roots"`
	Mount       string     `json:"mount"`
	Verified    string     `json:"verified"`         // none, sampled or full
	Serve       string     `json:"serve,omitempty"`  // of a CAR elsewhere: inplace, sparse or copy
	Local       int64      `json:"local,omitempty"`  // bytes of the copy that is kept here
	Pinned      bool       `json:"pinned,omitempty"` // that makes no room for others
	LastCopy    bool       `json:"last_copy,omitempty"`
	Claimed     bool       `json:"claimed,omitempty"`       // the index came with the CAR and is not confirmed
	Piece       string     `json:"piece,omitempty"`         // piece CID
	PieceAt     *time.Time `json:"piece_checked,omitempty"` // when all its bytes were last found to be that piece; else it is a claim
	Faults      int64      `json:"faults,omitempty"`        // bad blocks, which are not served
	Error       string     `json:"error,omitempty"`

	// Of "add --dry-run" alone.
	Plan     string `json:"plan,omitempty"`     // new, unchanged, changed, colliding or failed
	Read     int64  `json:"read,omitempty"`     // bytes that would be read, as far as known
	Requests int64  `json:"requests,omitempty"` // about how many, of servers
}

// ShardOf is a shard in a few words.
func ShardOf(info shard.Info) Shard {
	o := Shard{
		Key:         string(info.Key),
		Status:      StatusOf(info.State),
		State:       info.State.String(),
		Sections:    info.Sections,
		Multihashes: info.Multihashes,
		Bytes:       info.Bytes,
		Roots:       make([]string, len(info.Roots)),
		Mount:       info.URL,
		Verified:    verifiedName(info.Verified),
		Local:       info.Local.Bytes,
		Pinned:      info.Local.Pinned,
		LastCopy:    info.Local.LastCopy,
		Claimed:     info.Claimed,
		Faults:      info.Faults,
	}
	if info.URL != "" && !strings.HasPrefix(info.URL, "file:") {
		o.Serve = ModeName(info.Local.Mode)
	}
	for i, root := range info.Roots {
		o.Roots[i] = root.String()
	}
	if info.Piece.Defined() {
		o.Piece = info.Piece.String()
	}
	o.PieceAt = timeOf(info.PieceChecked)
	if info.Failure != nil && info.Failure.Err != nil {
		o.Error = info.Failure.Err.Error()
	}
	return o
}

// A Detail is all that is known of a shard.
type Detail struct {
	Shard

	Labels     map[string]string `json:"labels,omitempty"`
	Chosen     string            `json:"chosen"`  // how the CAR is to be read: auto, inplace, sparse or copy
	Mode       string            `json:"mode"`    // the same, with what has come of auto in its place
	Version    int               `json:"version"` // of the CAR: 1 or 2; 0: it has not been indexed yet
	RootCount  int               `json:"root_count"`
	Source     string            `json:"source,omitempty"` // version of the source, as its mount calls it
	Payload    *Extent           `json:"payload,omitempty"`
	Trailing   bool              `json:"trailing,omitempty"`
	VerifiedAt *time.Time        `json:"verified_at,omitempty"`
	Complete   bool              `json:"complete,omitempty"` // the copy is all of the CAR
	Holders    int               `json:"holders"`
	Waiting    int               `json:"waiting"`
	Progress   *Progress         `json:"progress,omitempty"`
	Failure    *Failure          `json:"failure,omitempty"`
	Faulty     []Fault           `json:"faulty,omitempty"` // the first 16
	Registered time.Time         `json:"registered"`
	Changed    time.Time         `json:"changed"`

	// Lies is what proved wrong in the index that came with the CAR, which was
	// therefore read. In answers to a registration and a replacement alone.
	Lies []Fault `json:"lies,omitempty"`

	// What was told of it lately, the oldest first. In answers about one shard alone.
	Events []Event `json:"events,omitempty"`
}

// An Extent is a run of bytes.
type Extent struct {
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`
}

// Progress is how far a piece of work has come.
type Progress struct {
	Op      string    `json:"op"`
	Done    int64     `json:"done"`  // bytes
	Total   int64     `json:"total"` // -1: unknown
	Started time.Time `json:"started"`
	Rate    float64   `json:"rate"` // bytes a second
}

// A Failure is the last failure of a shard.
type Failure struct {
	Op       string    `json:"op"`
	Error    string    `json:"error"`
	Problem  string    `json:"problem"` // the name of one of [Problems]
	Causes   []string  `json:"causes,omitempty"`
	At       time.Time `json:"at"`
	Attempts int       `json:"attempts"`
}

// A Fault is damage in the bytes of a CAR.
type Fault struct {
	Kind   string `json:"kind"`
	Code   int    `json:"code"` // the kind as a number, which never changes
	Offset int64  `json:"offset"`
	CID    string `json:"cid,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// DetailOf is all that is known of a shard.
func DetailOf(info shard.Info) Detail {
	d := Detail{
		Shard:      ShardOf(info),
		Labels:     maps.Clone(info.Labels),
		Chosen:     ModeName(info.Local.Chosen),
		Mode:       ModeName(info.Local.Mode),
		Version:    info.Version,
		RootCount:  info.RootCount,
		Source:     info.Source,
		Trailing:   info.Trailing,
		VerifiedAt: timeOf(info.VerifiedAt),
		Complete:   info.Local.Complete,
		Holders:    info.Holders,
		Waiting:    info.Waiting,
		Registered: info.Registered,
		Changed:    info.Changed,
	}
	if info.Payload != (shard.Extent{}) {
		d.Payload = &Extent{info.Payload.Offset, info.Payload.Size}
	}
	if p := info.Progress; p != nil {
		d.Progress = &Progress{string(p.Op), p.Done, p.Total, p.Started, p.Rate}
	}
	if f := info.Failure; f != nil && f.Err != nil {
		name, causes := NameOf(f.Err)
		d.Failure = &Failure{string(f.Err.Op), f.Err.Err.Error(), name, causes, f.At, f.Attempts}
	}
	for _, f := range info.Faulty {
		d.Faulty = append(d.Faulty, FaultOf(f))
	}
	return d
}

// FaultOf is damage as it is told.
func FaultOf(f shard.Fault) Fault {
	return Fault{f.Kind.String(), int(f.Kind), f.Offset, textOf(f.CID), f.Detail}
}

// Fault is the inverse of [FaultOf].
func (f *Fault) Fault() shard.Fault {
	c, err := cid.Decode(f.CID)
	if err != nil {
		c = cid.Undef
	}
	return shard.Fault{Kind: shard.FaultKind(f.Code), Offset: f.Offset, CID: c, Detail: f.Detail}
}

// Info is the inverse of [DetailOf]. What it returns is as good as what the
// store said, but that errors keep their text and sentinels alone.
func (d *Detail) Info() (shard.Info, error) {
	state, err := shard.ParseState(d.State)
	if err != nil {
		return shard.Info{}, err
	}
	mode, err := ParseMode(d.Mode)
	if err != nil {
		return shard.Info{}, err
	}
	chosen, err := ParseMode(cmp.Or(d.Chosen, ModeName(shard.Auto)))
	if err != nil {
		return shard.Info{}, err
	}
	info := shard.Info{
		Key: shard.Key(d.Key), State: state, URL: d.Mount, Labels: d.Labels,
		Version: d.Version, RootCount: d.RootCount, Bytes: d.Bytes, Source: d.Source,
		Sections: d.Sections, Multihashes: d.Multihashes, Trailing: d.Trailing,
		Verified: parseVerified(d.Verified), Claimed: d.Claimed,
		Holders: d.Holders, Waiting: d.Waiting, Faults: d.Faults,
		Local:      shard.Local{Chosen: chosen, Mode: mode, Bytes: d.Local, Complete: d.Complete, LastCopy: d.LastCopy, Pinned: d.Pinned},
		Registered: d.Registered, Changed: d.Changed,
	}
	if d.VerifiedAt != nil {
		info.VerifiedAt = *d.VerifiedAt
	}
	if d.PieceAt != nil {
		info.PieceChecked = *d.PieceAt
	}
	if d.Payload != nil {
		info.Payload = shard.Extent{Offset: d.Payload.Offset, Size: d.Payload.Size}
	}
	if p := d.Progress; p != nil {
		info.Progress = &shard.Progress{Op: shard.Op(p.Op), Done: p.Done, Total: p.Total, Started: p.Started, Rate: p.Rate}
	}
	if f := d.Failure; f != nil {
		cause := &RemoteError{Name: f.Problem, Text: f.Error, Causes: f.Causes}
		info.Failure = &shard.Failure{
			Err: &shard.Error{Key: info.Key, Op: shard.Op(f.Op), Err: cause}, At: f.At, Attempts: f.Attempts,
		}
	}
	for i := range d.Faulty {
		info.Faulty = append(info.Faulty, d.Faulty[i].Fault())
	}
	return info, errors.Join(d.cids(&info))
}

// cids fills in what are CIDs.
func (d *Detail) cids(info *shard.Info) (err error) {
	for _, text := range d.Roots {
		root, err := cid.Decode(text)
		if err != nil {
			return fmt.Errorf("a root: %w", err)
		}
		info.Roots = append(info.Roots, root)
	}
	if d.Piece != "" {
		if info.Piece, err = cid.Decode(d.Piece); err != nil {
			return fmt.Errorf("the piece: %w", err)
		}
	}
	return err
}

// textOf is a CID as text; "" if it is undefined.
func textOf(c cid.Cid) string {
	if !c.Defined() {
		return ""
	}
	return c.String()
}

// timeOf is a moment, or nil if it is none.
func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// statuses says which states each status covers. Every state that a listed
// shard can have is in exactly one of them.
var statuses = [...]struct {
	name   string
	states []shard.State
}{
	{"ready", []shard.State{shard.Available, shard.Serving}},
	{"lazy", []shard.State{shard.Registered}},
	{"indexing", []shard.State{shard.Initializing, shard.Recovering}},
	{"failed", []shard.State{shard.Draining, shard.Errored}},
	{"removing", []shard.State{shard.Destroying, shard.Gone}},
}

// StatusOf is the word for scripts that covers a state.
func StatusOf(state shard.State) string {
	for _, s := range statuses {
		for _, covered := range s.states {
			if covered == state {
				return s.name
			}
		}
	}
	return state.String()
}

// StatesOf is the inverse of [StatusOf].
func StatesOf(status string) ([]shard.State, error) {
	names := make([]string, len(statuses))
	for i, s := range statuses {
		if s.name == status {
			return s.states, nil
		}
		names[i] = s.name
	}
	return nil, fmt.Errorf("no status is called %q; there are %s", status, strings.Join(names, " "))
}

// ParseMode is the inverse of [ModeName].
func ParseMode(name string) (shard.Mode, error) {
	for _, m := range []shard.Mode{shard.Auto, shard.InPlace, shard.Sparse, shard.Copy} {
		if ModeName(m) == name {
			return m, nil
		}
	}
	return 0, fmt.Errorf("no mode is called %q: it is auto, inplace, sparse or copy", name)
}

// ModeName is a mode as a flag and an object have it.
func ModeName(m shard.Mode) string { return strings.ReplaceAll(m.String(), " ", "") }

func verifiedName(v shard.Verified) string {
	switch v {
	case shard.Full:
		return "full"
	case shard.Sampled:
		return "sampled"
	case shard.Unverified:
		return "none"
	}
	return "none"
}

func parseVerified(name string) shard.Verified {
	switch name {
	case "full":
		return shard.Full
	case "sampled":
		return shard.Sampled
	}
	return shard.Unverified
}
