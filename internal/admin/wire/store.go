package wire

import (
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/shard"
)

// Version is that of the API. A client of another one is told so.
const Version = 1

// A Store says who holds a store and how it is reached.
type Store struct {
	API     int       `json:"api"` // [Version]
	Program string    `json:"program"`
	Folder  string    `json:"folder"`  // absolute
	Command string    `json:"command"` // of the process that holds it, such as "dagstore serve"
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	Gateway string    `json:"gateway,omitempty"` // its URL, if it listens
	Admin   string    `json:"admin,omitempty"`   // the URL of this API over TCP, if it listens
	PeerID  string    `json:"peer_id"`           // by which the store stands where providers are listed
	Scopes  []string  `json:"scopes"`            // of who asks
	Who     string    `json:"who"`               // likewise
}

// Stats is a moment of the store in figures.
type Stats struct {
	At            time.Time        `json:"at"`
	Shards        map[string]int64 `json:"shards"` // by state
	Status        map[string]int64 `json:"status"` // by status
	Total         int64            `json:"total"`
	IndexBytes    int64            `json:"index_bytes"`
	Blocks        int64            `json:"blocks"`   // sections of all CARs, as far as these have been read
	Bytes         int64            `json:"bytes"`    // of all CARs, likewise
	Counting      bool             `json:"counting"` // the counts of shards are still too small
	Quota         int64            `json:"quota"`
	CopyBytes     int64            `json:"copy_bytes"`
	LastCopyBytes int64            `json:"last_copy_bytes"`
	Copies        int              `json:"copies"`
	Handles       int              `json:"handles"`
	Queued        int              `json:"queued"`
	Working       int              `json:"working"`
	Reads         int64            `json:"reads"` // since the start, as what follows
	Hits          int64            `json:"hits"`
	Misses        int64            `json:"misses"`
	Faults        int64            `json:"faults"`
	EventsDropped int64            `json:"events_dropped"`
	Requests      int64            `json:"requests"` // of this API
}

// StatsOf is a moment of the store in figures.
func StatsOf(s dagstore.Stats, at time.Time) Stats {
	out := Stats{
		At: at, Shards: make(map[string]int64), Status: make(map[string]int64),
		IndexBytes: s.IndexBytes, Blocks: s.Blocks, Bytes: s.CARBytes, Counting: s.Counting,
		Quota: s.Quota, CopyBytes: s.CopyBytes, LastCopyBytes: s.LastCopyBytes, Copies: s.Copies,
		Handles: s.Handles, Queued: s.Queued, Working: s.Working,
		Reads: s.Reads, Hits: s.Hits, Misses: s.Misses, Faults: s.Faults, EventsDropped: s.EventsDropped,
	}
	for state := shard.Registered; state < shard.Gone; state++ {
		n := s.Shards[state]
		out.Shards[state.String()] = n
		out.Status[StatusOf(state)] += n
		out.Total += n
	}
	return out
}

// Stats is the inverse of [StatsOf].
func (s *Stats) Stats() dagstore.Stats {
	out := dagstore.Stats{
		IndexBytes: s.IndexBytes, Blocks: s.Blocks, CARBytes: s.Bytes, Counting: s.Counting,
		Quota: s.Quota, CopyBytes: s.CopyBytes, LastCopyBytes: s.LastCopyBytes, Copies: s.Copies,
		Handles: s.Handles, Queued: s.Queued, Working: s.Working,
		Reads: s.Reads, Hits: s.Hits, Misses: s.Misses, Faults: s.Faults, EventsDropped: s.EventsDropped,
	}
	for name, n := range s.Shards {
		if state, err := shard.ParseState(name); err == nil {
			out.Shards[state] = n
		}
	}
	return out
}

// A Host is how a server is that sources lie on.
type Host struct {
	Host   string     `json:"host"` // scheme and authority
	Down   bool       `json:"down"`
	Since  *time.Time `json:"since,omitempty"`
	Until  *time.Time `json:"until,omitempty"` // until when it is left alone
	Error  string     `json:"error,omitempty"`
	Calls  int64      `json:"calls"`
	Failed int64      `json:"failed"`
}

// HostOf is how a server is.
func HostOf(h dagstore.HostHealth) Host {
	out := Host{Host: h.Host, Down: h.Down, Since: timeOf(h.Since), Until: timeOf(h.Until), Calls: h.Calls, Failed: h.Failed}
	if h.Err != nil {
		out.Error = h.Err.Error()
	}
	return out
}

// Hosts is an answer.
type Hosts struct {
	Hosts []Host `json:"hosts"`
}

// A Page is a part of a listing.
type Page struct {
	Shards []Detail `json:"shards"`
	// Damaged are shards whose record cannot be read, which are in no other list.
	Damaged []Damaged `json:"damaged,omitempty"`
	// Next is the "after" of the next page; "" on the last one. A page may have
	// fewer shards than were asked for and still not be the last: no request
	// looks at more than a bounded number of shards.
	Next string `json:"next,omitempty"`
	// Looked is how many shards were looked at for it.
	Looked int `json:"looked"`
}

// Damaged is a shard whose record cannot be read.
type Damaged struct {
	Key     string  `json:"key"`
	Problem Problem `json:"problem"`
}

// A Discrepancy is one thing that does not agree with another.
type Discrepancy struct {
	Kind   string `json:"kind"`
	Key    string `json:"key,omitempty"`
	What   string `json:"what"`
	Mended bool   `json:"mended"`
	Error  string `json:"error,omitempty"` // instead of the rest: what could not be looked at
}

// GC is what a garbage collection did.
type GC struct {
	Files     int64    `json:"files"` // removed
	Bytes     int64    `json:"bytes"`
	Left      int64    `json:"left"`      // files that go later
	Forgotten int64    `json:"forgotten"` // indices of which nothing is left
	Foreign   []string `json:"foreign"`   // paths in the store's folder that are not the store's
}

// GCOf is what a garbage collection did.
func GCOf(r dagstore.GCReport) GC {
	return GC{r.Files, r.Bytes, r.Left, r.Forgotten, append([]string{}, r.Foreign...)}
}

// Report is the inverse of [GCOf].
func (g *GC) Report() dagstore.GCReport {
	return dagstore.GCReport{Files: g.Files, Bytes: g.Bytes, Left: g.Left, Forgotten: g.Forgotten, Foreign: g.Foreign}
}

// A NewBackup says where a backup goes.
type NewBackup struct {
	Dir    string `json:"dir"` // absolute
	Copies bool   `json:"copies,omitempty"`
}

// A Backup is what is in a backup.
type Backup struct {
	Dir         string `json:"dir"`
	Linked      int64  `json:"linked"` // files that share their bytes with the store's
	LinkedBytes int64  `json:"linked_bytes"`
	Copied      int64  `json:"copied"`
	CopiedBytes int64  `json:"copied_bytes"`
}
