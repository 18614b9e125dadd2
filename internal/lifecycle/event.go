package lifecycle

import "strings"

// An Event is something that happened to a shard.
type Event uint8

const (
	// Calls.
	Register      Event = iota // index it now
	RegisterLazy               // index it on first use
	Acquire                    // somebody wants to hold it
	AcquireRetry               // the same, and a failed shard is due for another try
	Recover                    // try again after a failure
	Destroy                    // give it up; nobody holds it
	DestroyRefuse              // give it up unless somebody holds it, and somebody does
	DestroyWait                // give it up when the last holder lets go
	DestroyForce               // give it up under its holders
	Remount                    // change where it lies, after a check
	Replace                    // give it a new revision, indexed beside the old
	Busy                       // Remount or Replace, while work is under way
	Evict                      // give back the local copy
	Amend                      // change what the record says, and nothing about the state

	// Holders and callers who leave.
	Release           // a holder lets go, others remain
	ReleaseLast       // the last holder lets go
	CancelParked      // a caller who waits for the index leaves
	CancelOpening     // a caller who waits for the opening leaves, other holds remain
	CancelOpeningLast // the same, and no hold remains

	// Work.
	Indexed        // fetched and indexed
	Failed         // an attempt at that failed
	FailedBad      // it failed because the CAR is bad, and such shards are to be discarded
	Remounted      // the other place holds the same CAR
	RemountFailed  // it does not, or cannot be read
	Replaced       // the new revision is indexed
	ReplaceFailed  // it could not be
	Lost           // on opening: index or copy missing, or the source is another; nobody else holds it
	LostHeld       // the same, while others hold what they opened before
	Confirmed      // the source of an opening calls itself another version, and is the same
	Opened         // the opening succeeded
	OpenFailed     // it failed for those who waited for it, other holds remain
	OpenFailedLast // the same, and no hold remains
	Stale          // work that nobody waits for any more has ended

	// The store.
	CommitFailed       // a batch was refused by the disk
	LoadedRegistered   // the record was read: registered
	LoadedAvailable    // … indexed
	LoadedErrored      // … failed
	LoadedInitializing // … with the intent to index
	LoadedRecovering   // … with the intent to index again
	LoadedDestroying   // … with the intent to destroy
	numEvents
)

// Effects are what must be done, in bit order.
type Effects uint64

const (
	Cut           Effects = 1 << iota // end the work under way; what it still makes is stale
	Sever                             // end all holds: their reads fail from now on
	Note                              // remember the failure
	Install                           // take over what the work found: index, roots, sizes
	Rebind                            // take over where the CAR lies now
	Revise                            // change in the record what the event brings along
	Discard                           // throw away what the work made
	DropIndex                         // the index is dead: vanish from answers, unlink once nobody reads it
	DropCopy                          // the same for the local copy
	Persist                           // write the record, durably, before any reply below
	Forget                            // delete the record, durably, before any reply below
	Start                             // fetch and index; ends in Indexed or Failed
	StartBeside                       // check or index another source while this one serves
	Watch                             // this caller waits for the end of the indexing
	Park                              // this caller waits for the index, to acquire
	ParkOpeners                       // those who waited for the opening wait for the index
	Open                              // give this caller a hold; opens the shard if it is not open
	Join                              // this caller waits until the shard is gone
	Await                             // this caller waits for the work beside
	Reply                             // answer this caller
	Reject                            // refuse this caller; nothing else changes
	Deliver                           // give each who waited for the opening an accessor
	FailOpeners                       // answer them with the error
	Unpark                            // send each parked caller again, as an Acquire
	FailParked                        // answer them with the error
	ReplyWatchers                     // answer those who wait for the indexing
	FailWatchers                      // answer them with the error
	ReplyBeside                       // answer who waits for the work beside
	FailBeside                        // answer that caller with the error
	ReplyGone                         // answer those who wait until the shard is gone
	FailGone                          // answer them with the error
	Idle                              // keep what was opened for the next caller
	Reload                            // forget what memory believes: the catalogue tells
	Never                             // cannot happen: a fault of the engine
)

var eventNames = [numEvents]string{
	"Register", "RegisterLazy", "Acquire", "AcquireRetry", "Recover", "Destroy", "DestroyRefuse",
	"DestroyWait", "DestroyForce", "Remount", "Replace", "Busy", "Evict", "Amend",
	"Release", "ReleaseLast", "CancelParked", "CancelOpening", "CancelOpeningLast",
	"Indexed", "Failed", "FailedBad", "Remounted", "RemountFailed", "Replaced", "ReplaceFailed",
	"Lost", "LostHeld", "Confirmed", "Opened", "OpenFailed", "OpenFailedLast", "Stale",
	"CommitFailed", "LoadedRegistered", "LoadedAvailable", "LoadedErrored",
	"LoadedInitializing", "LoadedRecovering", "LoadedDestroying",
}

var effectNames = [...]string{
	"Cut", "Sever", "Note", "Install", "Rebind", "Revise", "Discard", "DropIndex", "DropCopy", "Persist",
	"Forget", "Start", "StartBeside", "Watch", "Park", "ParkOpeners", "Open", "Join", "Await",
	"Reply", "Reject", "Deliver", "FailOpeners", "Unpark", "FailParked", "ReplyWatchers",
	"FailWatchers", "ReplyBeside", "FailBeside", "ReplyGone", "FailGone", "Idle", "Reload", "Never",
}

// String returns the name of the event.
func (e Event) String() string { return eventNames[e] }

// String returns the names of the effects in the order of performing.
func (f Effects) String() string {
	var on []string
	for i, name := range effectNames {
		if f&(1<<i) != 0 {
			on = append(on, name)
		}
	}
	return strings.Join(on, "+")
}

// Has reports whether all of want are in f.
func (f Effects) Has(want Effects) bool { return f&want == want }
