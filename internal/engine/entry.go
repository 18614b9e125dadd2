package engine

import (
	"time"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/shard"
)

// An entry is what the loop knows of one shard. It is in memory while the
// shard is held, in work or waited for, and for a while after that.
type entry struct {
	key     shard.Key
	machine lifecycle.Machine
	record  *catalog.Record // as the loop believes; nil while Gone; never changed, only replaced
	disk    uint64          // revision on disk once the batches taken so far are
	taken   *catalog.Record // as the batch has it that was taken last
	durable *catalog.Record // as it is on disk; nil if it is not
	changed uint64          // number of the batch of the last change
	dirty   bool            // in the batch that gathers
	epoch   uint32          // of the holds; a hold of another epoch has ended
	told    shard.State     // that the watcher knows of
	seen    shard.State     // that it will know of when the batches are on disk

	loading bool         // the record is being read
	losses  []completion // met while it was
	waiting [places]callList
	urgent  int // how many of those who wait are in the foreground

	mends  int       // how often an opening had the index made anew since one succeeded
	mended time.Time // when it did so last

	former []index.ID // of earlier revisions that may still be held

	heldCopy uint32 // the copy that the keeper knows to be held

	opening  *opening
	indexing *indexing
	deferred bool   // the intent is on disk, and the work is not in memory
	due      bool   // its turn in the queue of intents has come: not to be deferred again, but for space
	queued   uint64 // its place there

	older, newer *entry // list of idle entries
}

// id is the number of the shard's index; 0 if it has none.
func (en *entry) id() index.ID {
	if en.record == nil {
		return 0
	}
	return en.record.Index.ID
}

// add puts c at the end of a list.
func (en *entry) add(c *Call, p place) {
	c.entry, c.place = en, p
	en.waiting[p].add(c)
	if !c.background {
		en.urgent++
	}
}

// next takes the first call out of a list; nil if there is none.
func (en *entry) next(p place) *Call {
	c := en.waiting[p].first
	if c != nil {
		en.drop(c)
	}
	return c
}

// drop removes c from the list in which it waits.
func (en *entry) drop(c *Call) {
	en.waiting[c.place].remove(c)
	if !c.background {
		en.urgent--
	}
	c.entry, c.place = nil, nowhere
}

// busy reports whether the entry must stay in memory.
func (en *entry) busy() bool {
	return en.machine.Holders > 0 || en.dirty || en.loading || en.opening != nil ||
		en.indexing != nil || en.called()
}

// called reports whether somebody waits.
func (en *entry) called() bool {
	for i := range en.waiting {
		if en.waiting[i].first != nil {
			return true
		}
	}
	return false
}

// A callList is a list of calls, linked through them: to leave costs the same
// for the last of a million as for the first.
type callList struct{ first, last *Call }

func (l *callList) add(c *Call) {
	c.before = l.last
	if l.last != nil {
		l.last.after = c
	} else {
		l.first = c
	}
	l.last = c
}

func (l *callList) remove(c *Call) {
	if c.before != nil {
		c.before.after = c.after
	} else {
		l.first = c.after
	}
	if c.after != nil {
		c.after.before = c.before
	} else {
		l.last = c.before
	}
	c.before, c.after = nil, nil
}

// An idleList holds the entries that may be forgotten, least recently used first.
type idleList struct {
	oldest, newest *entry
	n              int
}

func (l *idleList) has(en *entry) bool { return en.older != nil || en.newer != nil || l.oldest == en }

// touch makes en the newest.
func (l *idleList) touch(en *entry) {
	if l.newest == en {
		return
	}
	l.remove(en)
	en.older = l.newest
	if l.newest != nil {
		l.newest.newer = en
	} else {
		l.oldest = en
	}
	l.newest = en
	l.n++
}

// remove takes en out, if it is in.
func (l *idleList) remove(en *entry) {
	if !l.has(en) {
		return
	}
	if en.older != nil {
		en.older.newer = en.newer
	} else {
		l.oldest = en.newer
	}
	if en.newer != nil {
		en.newer.older = en.older
	} else {
		l.newest = en.older
	}
	en.older, en.newer = nil, nil
	l.n--
}
