package wire

import (
	"time"
)

// The kinds of events.
const (
	EventTransition = "transition" // a shard went from one state to another
	EventWork       = "work"       // reading and indexing began, came further or ended
	EventEvicted    = "evicted"    // a copy has made room for others
	EventFault      = "fault"      // damage was met
	EventHost       = "host"       // a host went down or came back
	EventTrouble    = "trouble"    // in the background, about no shard
	EventJob        = "job"        // a job changed its state or came further
	EventGap        = "gap"        // events are missing here
)

// An Event is something that happened. Of the fields after Kind those are set
// that its kind has.
type Event struct {
	// ID is what Last-Event-ID has when a listener comes back. It is good for
	// as long as the process lives that gave it.
	ID   string    `json:"id"`
	At   time.Time `json:"at"`
	Kind string    `json:"kind"`

	Key      string    `json:"key,omitempty"`
	From     string    `json:"from,omitempty"` // of transitions: states, in lower case
	To       string    `json:"to,omitempty"`
	Phase    string    `json:"phase,omitempty"` // of work: began, moved or ended
	Progress *Progress `json:"progress,omitempty"`
	Bytes    int64     `json:"bytes,omitempty"` // of the copy that is gone
	Fault    *Fault    `json:"fault,omitempty"`
	Host     *Host     `json:"host,omitempty"`
	Job      *Job      `json:"job,omitempty"`
	Error    string    `json:"error,omitempty"`
	// Missed is how many events are missing at a gap; -1 if nobody knows, as
	// after a restart.
	Missed int64 `json:"missed,omitempty"`
}
