package wire

import (
	"encoding/json"
	"time"
)

// The kinds of jobs.
const (
	JobAdd     = "add"
	JobVerify  = "verify"
	JobGC      = "gc"
	JobRecover = "recover"
)

// The states of jobs.
const (
	JobRunning   = "running"
	JobDone      = "done"
	JobFailed    = "failed"
	JobCancelled = "cancelled"
)

// A Job is work that a user started. It goes on when the user has left.
type Job struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	What  string `json:"what"` // for people
	State string `json:"state"`
	Who   string `json:"who"`

	Started time.Time  `json:"started"`
	Ended   *time.Time `json:"ended,omitempty"`

	Items      int64 `json:"items"` // that are known of; more may be found
	Done       int64 `json:"done"`  // unchanged ones included
	Failed     int64 `json:"failed"`
	Bytes      int64 `json:"bytes"`       // read
	BytesTotal int64 `json:"bytes_total"` // to be read, as far as known
	// ETA is when it ends if it goes on as it did; nil while nobody knows.
	ETA *time.Time `json:"eta,omitempty"`

	Results int64           `json:"results"`           // lines that there are by now
	Cut     bool            `json:"cut,omitempty"`     // there are more than are kept: the later ones are not
	Problem *Problem        `json:"problem,omitempty"` // why it failed
	Summary json.RawMessage `json:"summary,omitempty"` // what is left to say, by kind: [Tally], [GC]
}

// Jobs is an answer, the newest first.
type Jobs struct {
	Jobs []Job `json:"jobs"`
}

// A NewJob asks for a job. The field of its kind is set, or none for "gc".
type NewJob struct {
	Kind    string      `json:"kind"`
	Add     *AddJob     `json:"add,omitempty"`
	Verify  *SelectJob  `json:"verify,omitempty"`
	Recover *RecoverJob `json:"recover,omitempty"`
}

// An AddJob says what is to be added.
type AddJob struct {
	// Sources are paths on the machine of the store, which are absolute, and
	// URLs: of CARs, of prefixes that end with a slash, of lists.
	Sources []string `json:"sources,omitempty"`
	// From is the path or the URL of a list; "-" is what is sent to
	// POST /api/v1/jobs/{id}/list.
	From      string   `json:"from,omitempty"`
	Include   []string `json:"include,omitempty"` // globs; default *.car
	Prefix    string   `json:"prefix,omitempty"`  // before every key that is made
	Key       string   `json:"key,omitempty"`     // of a single CAR
	Lazy      bool     `json:"lazy,omitempty"`
	Verify    bool     `json:"verify,omitempty"`
	Serve     string   `json:"serve,omitempty"` // auto, inplace, sparse or copy
	Index     string   `json:"index,omitempty"` // auto, scan, hop, check, sample or adopt
	IndexFile string   `json:"index_file,omitempty"`
	Indices   string   `json:"indices,omitempty"` // a folder with those of the CARs that a list names
	Jobs      int      `json:"jobs,omitempty"`    // CARs that are read at once; 0: the default
	FailFast  bool     `json:"fail_fast,omitempty"`
	DryRun    bool     `json:"dry_run,omitempty"`
}

// A SelectJob says which shards are meant: all whose key begins with Prefix, or
// those of Keys.
type SelectJob struct {
	Prefix string   `json:"prefix,omitempty"`
	Keys   []string `json:"keys,omitempty"`
	Jobs   int      `json:"jobs,omitempty"` // at once; 0: the default
}

// A RecoverJob says which failed shards are tried again.
type RecoverJob struct {
	Prefix string `json:"prefix,omitempty"`
	Match  string `json:"match,omitempty"` // a glob; without a slash it is held against the last part of the key
	Host   string `json:"host,omitempty"`
	Jobs   int    `json:"jobs,omitempty"`
}

// A Result is a line of the results of a job: how one item went.
type Result struct {
	Seq     int64    `json:"seq"`  // from 1 on
	Name    string   `json:"name"` // what the person called it
	Plan    string   `json:"plan,omitempty"`
	Key     string   `json:"key,omitempty"`
	URL     string   `json:"url,omitempty"`
	Size    int64    `json:"size"` // of the source; -1: unknown
	Read    int64    `json:"read,omitempty"`
	Asks    int64    `json:"requests,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	Shard   *Detail  `json:"shard,omitempty"` // as it is now, if there is one
	Problem *Problem `json:"problem,omitempty"`
	Lies    []Fault  `json:"lies,omitempty"`  // what proved wrong in the index that came with it
	Fault   *Fault   `json:"fault,omitempty"` // of verify: the first
	Faults  int64    `json:"faults,omitempty"`

	// Job is of the last line of who follows: the job as it ended; and of the
	// first one of who has begun it so. Such a line is about no item.
	Job *Job `json:"job,omitempty"`
}

// A Tally is the summary of a job over many items.
type Tally struct {
	Done    int  `json:"done"`
	Failed  int  `json:"failed"`
	Stopped bool `json:"stopped,omitempty"` // at the first failure
	CutOff  int  `json:"cut_off,omitempty"`
	Untried int  `json:"untried,omitempty"`
	Piped   bool `json:"piped,omitempty"`
}
