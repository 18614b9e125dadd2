package watch

import (
	"fmt"
	"time"

	"github.com/dagstore/dagstore/shard"
)

// An Event is something that has happened to a watched place or to a CAR in it.
type Event struct {
	At    time.Time
	Place string
	What  What
	Key   shard.Key // "" if it is about the place
	Name  string    // of the CAR: path or URL
	Err   error
}

// What is what has happened.
type What uint8

// What can happen.
const (
	Added    What = iota + 1 // the shard is indexed, or registered if it is lazy
	Replaced                 // it has the new revision of its CAR
	Changed                  // the CAR is another than was indexed, and Replace is not set
	Failed                   // it could not be added or replaced
	Vanished                 // the CAR is not there any more; the shard stays
	Back                     // and now it is there again
	Trouble                  // the place cannot be looked at, or not to its end
	Well                     // now it can
	Deaf                     // the file system does not tell of changes, or not of all
	Overflow                 // it told of more than could be kept: all is looked at
)

var whats = [...]string{"", "added", "replaced", "changed", "failed", "vanished", "back", "trouble", "well", "deaf", "overflow"}

// String returns the name in lower case.
func (w What) String() string {
	if int(w) < len(whats) {
		return whats[w]
	}
	return fmt.Sprintf("event %d", w)
}

// mostLines is how many lines of the log one kind of event has between the
// ends of two looks.
const mostLines = 5

// tell tells of an event, and writes it to the log unless there are many. The
// caller does not hold p.mu.
func (p *place) tell(e Event) {
	e.At, e.Place = time.Now(), p.Name
	p.mu.Lock()
	p.happened[e.What]++
	n := p.happened[e.What] - p.logged[e.What]
	p.mu.Unlock()
	p.watcher.tell(e)
	log := p.watcher.cfg.Logger
	if e.Err != nil {
		log = log.With("err", e.Err)
	}
	switch e.What {
	case Failed, Changed, Vanished:
		if n <= mostLines {
			log.Warn("watched CAR", "what", e.What.String(), "place", p.Name, "key", string(e.Key), "name", e.Name)
		}
	case Trouble, Deaf:
		log.Warn("watched place", "what", e.What.String(), "place", p.Name)
	case Well, Overflow:
		log.Info("watched place", "what", e.What.String(), "place", p.Name)
	default:
		log.Debug("watched CAR", "what", e.What.String(), "place", p.Name, "key", string(e.Key), "name", e.Name)
	}
}

// summarize writes one line about what has happened since the last one, if
// anything has.
func (p *place) summarize() {
	p.mu.Lock()
	var args []any
	for _, w := range []What{Added, Replaced, Changed, Failed, Vanished, Back} {
		if n := p.happened[w] - p.logged[w]; n > 0 {
			args = append(args, w.String(), n)
		}
	}
	p.logged = p.happened
	p.mu.Unlock()
	if len(args) > 0 {
		p.watcher.cfg.Logger.Info("watched", append([]any{"place", p.Name}, args...)...)
	}
}
