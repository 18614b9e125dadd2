package wire

import (
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/shard"
)

// A Registration is how a shard is to be, or what takes its place.
type Registration struct {
	Mount    string            `json:"mount"` // URL of the CAR
	Lazy     bool              `json:"lazy,omitempty"`
	Verify   bool              `json:"verify,omitempty"`
	Discard  bool              `json:"discard,omitempty"`
	Pin      bool              `json:"pin,omitempty"`
	Serve    string            `json:"serve,omitempty"`
	Copy     string            `json:"copy,omitempty"`  // path of a copy that exists
	Index    string            `json:"index,omitempty"` // policy
	IndexURL string            `json:"index_url,omitempty"`
	Indexer  string            `json:"indexer,omitempty"`
	Piece    string            `json:"piece,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	// Keep, of a replacement, leaves how the shard is kept as it is: only
	// Mount counts then.
	Keep bool `json:"keep,omitempty"`
}

// Policies are the names of index policies, by number.
var policies = []string{"auto", "scan", "hop", "check", "sample", "adopt"}

// Policies are the names of index policies.
func Policies() []string { return slices.Clone(policies) }

// ParsePolicy is the policy that a name means; "" is auto.
func ParsePolicy(name string) (dagstore.IndexPolicy, error) {
	if name == "" {
		return dagstore.AutoIndex, nil
	}
	if i := slices.Index(policies, name); i >= 0 {
		return dagstore.IndexPolicy(i), nil
	}
	return 0, fmt.Errorf("no index policy is called %q; there are %v", name, policies)
}

// PolicyName is the inverse of [ParsePolicy].
func PolicyName(p dagstore.IndexPolicy) string {
	if int(p) < len(policies) {
		return policies[p]
	}
	return ""
}

// RegistrationOf is what opts say; a nil opts keeps all as it is.
func RegistrationOf(url string, opts *dagstore.RegisterOptions) Registration {
	if opts == nil {
		return Registration{Mount: url, Keep: true}
	}
	return Registration{
		Mount: url, Lazy: opts.Lazy, Verify: opts.Verify, Discard: opts.Discard, Pin: opts.Pin,
		Serve: ModeName(opts.Serve), Copy: opts.Copy, Index: PolicyName(opts.Index), IndexURL: opts.IndexURL,
		Indexer: opts.Indexer, Piece: textOf(opts.Piece), Labels: opts.Labels,
	}
}

// Options is the inverse of [RegistrationOf].
func (r *Registration) Options() (*dagstore.RegisterOptions, error) {
	if r.Keep {
		return nil, nil //nolint:nilnil // as it was
	}
	opts := &dagstore.RegisterOptions{
		Lazy: r.Lazy, Verify: r.Verify, Discard: r.Discard, Pin: r.Pin, Copy: r.Copy,
		IndexURL: r.IndexURL, Indexer: r.Indexer, Labels: r.Labels,
	}
	var err error
	if opts.Index, err = ParsePolicy(r.Index); err != nil {
		return nil, err
	}
	if r.Serve != "" {
		if opts.Serve, err = ParseMode(r.Serve); err != nil {
			return nil, err
		}
	}
	if r.Piece != "" {
		if opts.Piece, err = cid.Decode(r.Piece); err != nil {
			return nil, fmt.Errorf(`"piece" is no CID: %w`, err)
		}
	}
	return opts, nil
}

// A Move says where a CAR lies now.
type Move struct {
	Mount string `json:"mount"`
	Check string `json:"check,omitempty"` // sample (the default), full or none
}

var comparisons = []string{"sample", "full", "none"}

// ParseComparison is the comparison that a name means; "" is sample.
func ParseComparison(name string) (dagstore.Comparison, error) {
	if name == "" {
		return dagstore.CompareSample, nil
	}
	if i := slices.Index(comparisons, name); i >= 0 {
		return dagstore.Comparison(i), nil
	}
	return 0, fmt.Errorf("no comparison is called %q; there are %v", name, comparisons)
}

// ComparisonName is the inverse of [ParseComparison].
func ComparisonName(c dagstore.Comparison) string {
	if int(c) < len(comparisons) {
		return comparisons[c]
	}
	return ""
}

// An Eviction says which copy may go.
type Eviction struct {
	LastCopy bool `json:"last_copy,omitempty"`
}

var heldPolicies = []string{"refuse", "wait", "force"}

// ParseHeld is what is done about holders; "" is refuse.
func ParseHeld(name string) (dagstore.HeldPolicy, error) {
	if name == "" {
		return dagstore.Refuse, nil
	}
	if i := slices.Index(heldPolicies, name); i >= 0 {
		return dagstore.HeldPolicy(i), nil
	}
	return 0, fmt.Errorf("%q is none of %v", name, heldPolicies)
}

// HeldName is the inverse of [ParseHeld].
func HeldName(p dagstore.HeldPolicy) string {
	if int(p) < len(heldPolicies) {
		return heldPolicies[p]
	}
	return ""
}

// A Manifest is a named set of multihashes of a shard.
type Manifest struct {
	Shard   string    `json:"shard"`
	Name    string    `json:"name"`
	Rule    string    `json:"rule,omitempty"`
	Version uint64    `json:"version"`
	Count   int64     `json:"count"`
	Bytes   int64     `json:"bytes"`
	Made    time.Time `json:"made"`
}

// ManifestOf is a manifest of a shard.
func ManifestOf(key string, m dagstore.Manifest) Manifest {
	return Manifest{key, m.Name, m.Rule, m.Version, m.Count, m.Bytes, m.Made}
}

// Manifest is the inverse of [ManifestOf].
func (m *Manifest) Manifest() dagstore.Manifest {
	return dagstore.Manifest{Name: m.Name, Rule: m.Rule, Version: m.Version, Count: m.Count, Bytes: m.Bytes, Made: m.Made}
}

// Manifests is an answer.
type Manifests struct {
	Manifests []Manifest `json:"manifests"`
	Damaged   []Problem  `json:"damaged,omitempty"`
}

// A Membership says whether a block is in a manifest.
type Membership struct {
	Member bool `json:"member"`
}

// A Location is one place where a block lies. -1: not known without reading
// the CAR.
type Location struct {
	Shard      string `json:"shard"`
	Offset     int64  `json:"offset"` // of the section in the CARv1 payload
	Size       int64  `json:"size"`   // of the block's data
	FileOffset int64  `json:"file_offset"`
	DataOffset int64  `json:"data_offset"`
}

// Locations is an answer.
type Locations struct {
	Locations []Location `json:"locations"`
	More      bool       `json:"more,omitempty"`    // there are more than were asked for
	Problem   *Problem   `json:"problem,omitempty"` // of a shard that could not be asked
}

// A Size is that of a block.
type Size struct {
	Size int `json:"size"`
}

// A Block is what a block is, for who walks DAGs.
type Block struct {
	CID       string     `json:"cid"`
	Version   int        `json:"version"`
	Codec     string     `json:"codec"`
	CodecCode uint64     `json:"codec_code"`
	Hash      string     `json:"hash"`
	Size      int        `json:"size"`
	Locations []Location `json:"locations"` // at most 32
	More      bool       `json:"more,omitempty"`

	Links     []Link  `json:"links"` // at most 4096
	LinkCount int     `json:"link_count"`
	UnixFS    *UnixFS `json:"unixfs,omitempty"`
	// Value is the block of a codec that has a form as JSON, as dag-json has it;
	// absent if it is longer than 256 KiB.
	Value any `json:"value,omitempty"`
	// Undecoded is why nothing is said of its inside.
	Undecoded string `json:"undecoded,omitempty"`
}

// A Link leads from one block to another.
type Link struct {
	CID  string `json:"cid"`
	Name string `json:"name,omitempty"` // in a folder
	Path string `json:"path,omitempty"` // in the block, of other codecs
	Size int64  `json:"size,omitempty"` // of what lies below, as the block claims it
}

// UnixFS is what a node of UnixFS is.
type UnixFS struct {
	Type string `json:"type"` // file, directory, hamt-shard, symlink, raw or metadata
	Size uint64 `json:"size"` // of the file, as the node claims it
	// Fanout, of a hamt-shard, says how long the prefixes of its names are: as many
	// hexadecimal digits as the number before it has.
	Fanout uint64 `json:"fanout,omitempty"`
}

// A OneTimeLink lets a browser in: it is good once, for a few minutes.
type OneTimeLink struct {
	URL     string    `json:"url"`
	Expires time.Time `json:"expires"`
}

// A Login exchanges the code of a one-time link for a session.
type Login struct {
	Code string `json:"code"`
}

// A Session is who asks, and what is allowed.
type Session struct {
	Who     string     `json:"who"`
	Scopes  []string   `json:"scopes"`
	Expires *time.Time `json:"expires,omitempty"` // of a session of a browser
}

// LocationOf adds where the CARv1 payload begins in its file.
func LocationOf(at shard.Location, payload int64) Location {
	o := Location{Shard: string(at.Shard), Offset: at.Offset, Size: at.Size, FileOffset: payload + at.Offset, DataOffset: -1}
	if at.Head > 0 {
		o.DataOffset = o.FileOffset + int64(at.Head)
	}
	return o
}

// Location is the inverse of [LocationOf].
func (l *Location) Location() shard.Location {
	at := shard.Location{Shard: shard.Key(l.Shard), Offset: l.Offset, Size: l.Size}
	if l.DataOffset >= 0 {
		at.Head = int(l.DataOffset - l.FileOffset)
	}
	return at
}

// A PieceCheck is what a source was found to be.
type PieceCheck struct {
	Claimed string `json:"claimed,omitempty"` // the piece CID that the shard claims
	Found   string `json:"found,omitempty"`   // that of its bytes
	Good    bool   `json:"good"`              // they are one piece, or nothing was claimed
}

// PieceCheckOf is what a source was found to be.
func PieceCheckOf(p dagstore.PieceCheck) PieceCheck {
	return PieceCheck{textOf(p.Claimed), textOf(p.Found), p.Good}
}

// Check is the inverse of [PieceCheckOf].
func (p *PieceCheck) Check() (out dagstore.PieceCheck, err error) {
	out.Good = p.Good
	if p.Claimed != "" {
		if out.Claimed, err = cid.Decode(p.Claimed); err != nil {
			return out, err
		}
	}
	if p.Found != "" {
		out.Found, err = cid.Decode(p.Found)
	}
	return out, err
}
