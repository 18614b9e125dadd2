package metrics

// A Kind is how a metric behaves.
type Kind string

// The kinds, as Prometheus calls them.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// A Metric is one entry of the list.
type Metric struct {
	Name    string
	Help    string
	Kind    Kind
	Labels  []Label
	Buckets []float64 // of a histogram
}

// A Label is a dimension of a metric, with all that it can say.
type Label struct {
	Name   string
	Values []string
}

// The names of the metrics.
const (
	Shards        = "dagstore_shards"
	Counting      = "dagstore_shards_counting"
	IndexBytes    = "dagstore_index_bytes"
	Calls         = "dagstore_calls_total"
	CallsWaiting  = "dagstore_calls_waiting"
	CallsWriting  = "dagstore_calls_writing"
	Acquire       = "dagstore_acquire_seconds"
	Open          = "dagstore_open_seconds"
	Index         = "dagstore_index_seconds"
	IndexedBytes  = "dagstore_indexed_bytes_total"
	Waiting       = "dagstore_work_waiting"
	Working       = "dagstore_work_running"
	Commit        = "dagstore_commit_seconds"
	CommitRecords = "dagstore_commit_records"
	ReadOnly      = "dagstore_read_only"
	FreeBytes     = "dagstore_free_bytes"
	Hosts         = "dagstore_hosts"
	Copies        = "dagstore_copies"
	CopiesQuota   = "dagstore_copies_quota_bytes"
	CopiesBytes   = "dagstore_copies_bytes"
	CopiesPinned  = "dagstore_copies_pinned_bytes"
	CopiesLast    = "dagstore_copies_last_bytes"
	CopiesWaiting = "dagstore_copies_waiting"
	CopiesMade    = "dagstore_copies_made_total"
	CopiesFetched = "dagstore_copies_fetched_bytes_total"
	CopiesEvicted = "dagstore_copies_evicted_total"
	Blocks        = "dagstore_blocks_read_total"
	Hits          = "dagstore_handle_hits_total"
	Misses        = "dagstore_handle_misses_total"
	ReadBytes     = "dagstore_source_read_bytes_total"
	Faults        = "dagstore_faults_total"
	Handles       = "dagstore_handles"
	Layers        = "dagstore_layers"
	LayerBytes    = "dagstore_layer_bytes"
	Merges        = "dagstore_layer_merges_total"
	EventsDropped = "dagstore_events_dropped_total"
)

// The outcomes of calls and of work.
const (
	OK      = "ok"
	Refused = "refused" // as things are: no such shard, held, busy, read-only, closed
	Failed  = "failed"  // the source, its bytes or the disk
	Left    = "left"    // the caller has gone before
)

// States are what the label "state" says.
var States = []string{
	"registered", "initializing", "available", "serving", "recovering", "draining", "destroying", "errored",
}

// Ops are what the label "op" says. A call of another kind is not counted.
var Ops = []string{"register", "acquire", "recover", "destroy", "pin", "unpin", "evict", "remount", "replace"}

// Pools are what the label "pool" says, in the order of the engine's pools.
var Pools = []string{"disk", "remote", "slow", "open"}

// FaultKinds are what the label "kind" says, in the order of their numbers.
var FaultKinds = []string{
	"bad_header", "bad_section", "bad_end", "bad_container", "not_a_car", "wrong_hash", "bad_cid", "bad_index_entry",
}

var (
	quick = []float64{1e-6, 1e-5, 1e-4, 1e-3, .01, .1, 1, 10, 60} // from an open shard to one that is fetched first
	disk  = []float64{1e-4, 1e-3, .003, .01, .03, .1, .3, 1, 10}
	long  = []float64{.001, .01, .1, 1, 10, 60, 600, 3600}
	sizes = []float64{1, 4, 16, 64, 256, 1024, 4096}
)

var ended = []Label{{"outcome", []string{OK, Failed}}}

// List returns all metrics, in the order in which the page has them. The
// caller must not change it.
func List() []Metric {
	return []Metric{
		{Name: Shards, Kind: Gauge, Help: "Shards by state.", Labels: []Label{{"state", States}}},
		{Name: Counting, Kind: Gauge, Help: "1 after a start until all shards are counted; dagstore_shards and dagstore_index_bytes are too small meanwhile."},
		{Name: IndexBytes, Kind: Gauge, Help: "Bytes of the indices of all shards."},
		{Name: Calls, Kind: Counter, Help: "Calls that were answered: ok; refused as things are; failed; left by their caller.", Labels: []Label{{"op", Ops}, {"outcome", []string{OK, Refused, Failed, Left}}}},
		{Name: CallsWaiting, Kind: Gauge, Help: "Calls that wait to be looked at."},
		{Name: CallsWriting, Kind: Gauge, Help: "Calls that write and are not answered yet, 4096 at most."},
		{Name: Acquire, Kind: Histogram, Help: "Seconds from an acquire to its answer, opening and indexing included.", Buckets: quick},
		{Name: Open, Kind: Histogram, Help: "Seconds to open an indexed shard.", Labels: ended, Buckets: quick},
		{Name: Index, Kind: Histogram, Help: "Seconds to read and index a shard.", Labels: ended, Buckets: long},
		{Name: IndexedBytes, Kind: Counter, Help: "Bytes of CARs that were gone through to index them, what was jumped over included."},
		{Name: Waiting, Kind: Gauge, Help: "Work in memory that waits for its turn: indexing by where the source lies, and opening.", Labels: []Label{{"pool", Pools}}},
		{Name: Working, Kind: Gauge, Help: "Work under way.", Labels: []Label{{"pool", Pools}}},
		{Name: Commit, Kind: Histogram, Help: "Seconds to commit a batch.", Labels: ended, Buckets: disk},
		{Name: CommitRecords, Kind: Histogram, Help: "Records in a batch.", Buckets: sizes},
		{Name: ReadOnly, Kind: Gauge, Help: "1 once a commit has failed, until the store is opened again."},
		{Name: FreeBytes, Kind: Gauge, Help: "Bytes free in the file system of the store; -1 if that cannot be asked."},
		{Name: Hosts, Kind: Gauge, Help: "Servers that sources lie on and that were reached for, by whether they can be.", Labels: []Label{{"state", []string{"up", "down"}}}},
		{Name: Copies, Kind: Gauge, Help: "Copies of CARs that are complete."},
		{Name: CopiesQuota, Kind: Gauge, Help: "Bytes that copies may have; 0: there are none."},
		{Name: CopiesBytes, Kind: Gauge, Help: "Bytes of these that are spoken for: by copies, by those being made, and by those about to be removed."},
		{Name: CopiesPinned, Kind: Gauge, Help: "Bytes of copies that are pinned."},
		{Name: CopiesLast, Kind: Gauge, Help: "Bytes of copies, not pinned, that make no room because their source does not answer or has something else."},
		{Name: CopiesWaiting, Kind: Gauge, Help: "Who wait for space for a copy."},
		{Name: CopiesMade, Kind: Counter, Help: "Copies that were begun and are complete, or have failed.", Labels: ended},
		{Name: CopiesFetched, Kind: Counter, Help: "Bytes that were written to copies, failed ones included."},
		{Name: CopiesEvicted, Kind: Counter, Help: "Copies that have made room for others."},
		{Name: Blocks, Kind: Counter, Help: "Blocks that were read and found good."},
		{Name: Hits, Kind: Counter, Help: "Shards that were open when a block was looked for in them."},
		{Name: Misses, Kind: Counter, Help: "Shards that had to be opened for that."},
		{Name: ReadBytes, Kind: Counter, Help: "Bytes that were read from the sources of open shards."},
		{Name: Faults, Kind: Counter, Help: "Pieces of damage that were met.", Labels: []Label{{"kind", FaultKinds}}},
		{Name: Handles, Kind: Gauge, Help: "Open shards: held by somebody, or idle.", Labels: []Label{{"use", []string{"held", "idle"}}}},
		{Name: Layers, Kind: Gauge, Help: "Layers of the inverted index."},
		{Name: LayerBytes, Kind: Gauge, Help: "Bytes of these layers."},
		{Name: Merges, Kind: Counter, Help: "Merges of layers."},
		{Name: EventsDropped, Kind: Counter, Help: "Events that were dropped because a callback was slow."},
	}
}
