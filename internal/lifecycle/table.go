package lifecycle

import "github.com/dagstore/dagstore/shard"

const (
	registered   = shard.Registered
	initializing = shard.Initializing
	available    = shard.Available
	serving      = shard.Serving
	recovering   = shard.Recovering
	draining     = shard.Draining
	destroying   = shard.Destroying
	errored      = shard.Errored
	gone         = shard.Gone
)

// A cell is one fact: where a shard goes on an event, and what must be done.
type cell struct {
	next shard.State
	do   Effects
}

// stay stands in a cell for the state in which it is; 0 is a forgotten cell.
const stay shard.State = 255

var (
	reject = cell{stay, Reject}  // a refusal changes nothing
	answer = cell{stay, Reply}   // nothing to do
	quiet  = cell{stay, 0}       // nothing to do, nobody to answer
	late   = cell{stay, Discard} // work that nobody waits for
	amend  = cell{stay, Revise | Persist | Reply}
	never  = cell{stay, Never} // the engine does not send this here
)

// whenGone is what has to be done about all that a shard owned.
const whenGone = DropIndex | DropCopy | Forget

// failAll answers everybody who waits for anything but the opening.
const failAll = Cut | FailParked | FailWatchers | FailBeside | FailGone

// table is the whole truth. A shard that was never registered is Gone.
var table = [gone + 1][numEvents]cell{
	gone: {
		Register:     {initializing, Persist | Start | Watch},
		RegisterLazy: {registered, Persist | Reply},
		Acquire:      reject, AcquireRetry: reject, Recover: reject,
		Destroy: reject, DestroyRefuse: never, DestroyWait: never, DestroyForce: never,
		Remount: reject, Replace: reject, Busy: never, Evict: reject, Amend: reject,
		Release: never, ReleaseLast: never, CancelParked: never, CancelOpening: never, CancelOpeningLast: never,
		Indexed: never, Failed: never, FailedBad: never,
		Remounted: never, RemountFailed: never, Replaced: never, ReplaceFailed: never,
		Lost: never, LostHeld: never, Confirmed: never, Opened: never, OpenFailed: never, OpenFailedLast: never, Stale: late,
		CommitFailed:       {gone, failAll | Reload},
		LoadedRegistered:   {registered, 0},
		LoadedAvailable:    {available, 0},
		LoadedErrored:      {errored, 0},
		LoadedInitializing: {initializing, Start},
		LoadedRecovering:   {recovering, Start},
		LoadedDestroying:   {gone, whenGone},
	},
	registered: {
		Register: reject, RegisterLazy: reject,
		Acquire:      {initializing, Cut | Start | Park | FailBeside}, // persists nothing: a restart leaves it Registered
		AcquireRetry: {initializing, Cut | Start | Park | FailBeside},
		Recover:      answer,
		Destroy:      {gone, Cut | whenGone | Reply | FailBeside}, DestroyRefuse: never, DestroyWait: never, DestroyForce: never,
		Remount: {stay, StartBeside | Await}, Replace: {stay, StartBeside | Await}, Busy: reject,
		Evict: {stay, DropCopy | Persist | Reply}, Amend: amend,
		Release: never, ReleaseLast: never, CancelParked: never, CancelOpening: never, CancelOpeningLast: never,
		Indexed: never, Failed: never, FailedBad: never,
		Remounted: {stay, Rebind | Persist | ReplyBeside}, RemountFailed: {stay, FailBeside},
		Replaced: {available, Install | Rebind | Persist | ReplyBeside}, ReplaceFailed: {stay, FailBeside},
		Lost: never, LostHeld: never, Confirmed: never, Opened: never, OpenFailed: never, OpenFailedLast: never, Stale: late,
		CommitFailed:     {gone, failAll | Reload},
		LoadedRegistered: never, LoadedAvailable: never, LoadedErrored: never,
		LoadedInitializing: never, LoadedRecovering: never, LoadedDestroying: never,
	},
	initializing: {
		Register: reject, RegisterLazy: reject,
		Acquire: {stay, Park}, AcquireRetry: {stay, Park},
		Recover: {stay, Watch},
		Destroy: {destroying, Cut | Persist | Join | FailParked | FailWatchers}, DestroyRefuse: never, DestroyWait: never, DestroyForce: never,
		Remount: never, Replace: never, Busy: reject, Evict: reject, Amend: amend,
		Release: never, ReleaseLast: never, CancelParked: quiet, CancelOpening: never, CancelOpeningLast: never,
		Indexed:   {available, Install | Persist | Unpark | ReplyWatchers},
		Failed:    {errored, Note | Persist | FailParked | FailWatchers},
		FailedBad: {gone, whenGone | FailParked | FailWatchers},
		Remounted: never, RemountFailed: never, Replaced: never, ReplaceFailed: never,
		Lost: never, LostHeld: never, Confirmed: never, Opened: never, OpenFailed: never, OpenFailedLast: never, Stale: late,
		CommitFailed:     {gone, failAll | Reload},
		LoadedRegistered: never, LoadedAvailable: never, LoadedErrored: never,
		LoadedInitializing: never, LoadedRecovering: never, LoadedDestroying: never,
	},
	available: {
		Register: reject, RegisterLazy: reject,
		Acquire: {serving, Open}, AcquireRetry: {serving, Open},
		Recover: answer,
		Destroy: {gone, Cut | whenGone | Reply | FailBeside}, DestroyRefuse: never, DestroyWait: never, DestroyForce: never,
		Remount: {stay, StartBeside | Await}, Replace: {stay, StartBeside | Await}, Busy: reject,
		Evict: {stay, DropCopy | Persist | Reply}, Amend: amend,
		Release: never, ReleaseLast: never, CancelParked: never, CancelOpening: never, CancelOpeningLast: never,
		Indexed: never, Failed: never, FailedBad: never,
		Remounted: {stay, Rebind | Persist | ReplyBeside}, RemountFailed: {stay, FailBeside},
		Replaced: {stay, Install | Rebind | Persist | ReplyBeside}, ReplaceFailed: {stay, FailBeside},
		Lost: {recovering, Cut | Note | Persist | Start | FailBeside}, LostHeld: never, Confirmed: {stay, Revise | Persist},
		Opened: {stay, Idle}, OpenFailed: never, OpenFailedLast: quiet, Stale: late,
		CommitFailed:     {gone, failAll | Reload},
		LoadedRegistered: never, LoadedAvailable: never, LoadedErrored: never,
		LoadedInitializing: never, LoadedRecovering: never, LoadedDestroying: never,
	},
	serving: {
		Register: reject, RegisterLazy: reject,
		Acquire: {stay, Open}, AcquireRetry: {stay, Open},
		Recover: answer,
		Destroy: never, DestroyRefuse: reject,
		DestroyWait:  {destroying, Cut | Persist | Join | FailBeside},
		DestroyForce: {gone, Cut | Sever | whenGone | Reply | FailOpeners | FailBeside},
		Remount:      {stay, StartBeside | Await}, Replace: {stay, StartBeside | Await}, Busy: reject, Evict: reject, Amend: amend,
		Release: quiet, ReleaseLast: {available, 0}, CancelParked: never,
		CancelOpening: quiet, CancelOpeningLast: {available, 0},
		Indexed: never, Failed: never, FailedBad: never,
		Remounted: {stay, Rebind | Persist | ReplyBeside}, RemountFailed: {stay, FailBeside},
		Replaced: {stay, Install | Rebind | Persist | ReplyBeside}, ReplaceFailed: {stay, FailBeside},
		Lost:     {recovering, Cut | Note | Persist | Start | ParkOpeners | FailBeside},
		LostHeld: {draining, Cut | Note | Persist | FailOpeners | FailBeside}, Confirmed: {stay, Revise | Persist},
		Opened: {stay, Deliver}, OpenFailed: {stay, FailOpeners}, OpenFailedLast: {available, FailOpeners}, Stale: late,
		CommitFailed:     {stay, failAll},
		LoadedRegistered: never, LoadedAvailable: never, LoadedErrored: never,
		LoadedInitializing: never, LoadedRecovering: never, LoadedDestroying: never,
	},
	recovering: {
		Register: reject, RegisterLazy: reject,
		Acquire: {stay, Park}, AcquireRetry: {stay, Park},
		Recover: {stay, Watch},
		Destroy: {destroying, Cut | Persist | Join | FailParked | FailWatchers}, DestroyRefuse: never, DestroyWait: never, DestroyForce: never,
		Remount: never, Replace: never, Busy: reject, Evict: reject, Amend: amend,
		Release: never, ReleaseLast: never, CancelParked: quiet, CancelOpening: never, CancelOpeningLast: never,
		Indexed:   {available, Install | Persist | Unpark | ReplyWatchers},
		Failed:    {errored, Note | Persist | FailParked | FailWatchers},
		FailedBad: {errored, Note | Persist | FailParked | FailWatchers}, // it was good once: kept, to be looked at
		Remounted: never, RemountFailed: never, Replaced: never, ReplaceFailed: never,
		Lost: never, LostHeld: never, Confirmed: never, Opened: never, OpenFailed: never, OpenFailedLast: never, Stale: late,
		CommitFailed:     {gone, failAll | Reload},
		LoadedRegistered: never, LoadedAvailable: never, LoadedErrored: never,
		LoadedInitializing: never, LoadedRecovering: never, LoadedDestroying: never,
	},
	draining: {
		Register: reject, RegisterLazy: reject,
		Acquire: reject, AcquireRetry: reject, Recover: reject,
		Destroy: never, DestroyRefuse: reject,
		DestroyWait:  {destroying, Cut | Persist | Join | FailBeside},
		DestroyForce: {gone, Cut | Sever | whenGone | Reply | FailBeside},
		Remount:      {stay, StartBeside | Await}, Replace: {stay, StartBeside | Await}, Busy: reject, Evict: reject, Amend: amend,
		Release: quiet, ReleaseLast: {errored, 0}, CancelParked: never, CancelOpening: never, CancelOpeningLast: never,
		Indexed: never, Failed: never, FailedBad: never,
		Remounted: {stay, Rebind | Persist | ReplyBeside}, RemountFailed: {stay, FailBeside},
		Replaced: {serving, Install | Rebind | Persist | ReplyBeside}, ReplaceFailed: {stay, FailBeside},
		Lost: never, LostHeld: never, Confirmed: never, Opened: never, OpenFailed: never, OpenFailedLast: never, Stale: late,
		CommitFailed:     {stay, failAll},
		LoadedRegistered: never, LoadedAvailable: never, LoadedErrored: never,
		LoadedInitializing: never, LoadedRecovering: never, LoadedDestroying: never,
	},
	destroying: {
		Register: reject, RegisterLazy: reject,
		Acquire: reject, AcquireRetry: reject, Recover: reject,
		Destroy: {stay, Join}, DestroyRefuse: reject, DestroyWait: {stay, Join},
		DestroyForce: {gone, Sever | whenGone | Reply | FailOpeners | ReplyGone},
		Remount:      reject, Replace: reject, Busy: reject, Evict: reject, Amend: reject,
		Release: quiet, ReleaseLast: {gone, whenGone | ReplyGone}, CancelParked: never,
		CancelOpening: quiet, CancelOpeningLast: {gone, whenGone | ReplyGone},
		Indexed: {gone, Discard | whenGone | ReplyGone}, Failed: {gone, Discard | whenGone | ReplyGone}, FailedBad: {gone, Discard | whenGone | ReplyGone},
		Remounted: never, RemountFailed: never, Replaced: never, ReplaceFailed: never,
		Lost: {gone, whenGone | FailOpeners | ReplyGone}, LostHeld: {stay, FailOpeners}, Confirmed: quiet,
		Opened: {stay, Deliver}, OpenFailed: {stay, FailOpeners}, OpenFailedLast: {gone, whenGone | FailOpeners | ReplyGone}, Stale: late,
		CommitFailed:     {stay, failAll},
		LoadedRegistered: never, LoadedAvailable: never, LoadedErrored: never,
		LoadedInitializing: never, LoadedRecovering: never, LoadedDestroying: never,
	},
	errored: {
		Register: reject, RegisterLazy: reject,
		Acquire:      reject,
		AcquireRetry: {recovering, Cut | Start | Park | FailBeside}, // persists nothing: a restart leaves it Errored
		Recover:      {recovering, Cut | Persist | Start | Watch | FailBeside},
		Destroy:      {gone, Cut | whenGone | Reply | FailBeside}, DestroyRefuse: never, DestroyWait: never, DestroyForce: never,
		Remount: {stay, StartBeside | Await}, Replace: {stay, StartBeside | Await}, Busy: reject,
		Evict: {stay, DropCopy | Persist | Reply}, Amend: amend,
		Release: never, ReleaseLast: never, CancelParked: never, CancelOpening: never, CancelOpeningLast: never,
		Indexed: never, Failed: never, FailedBad: never,
		Remounted: {stay, Rebind | Persist | ReplyBeside}, RemountFailed: {stay, FailBeside},
		Replaced: {available, Install | Rebind | Persist | ReplyBeside}, ReplaceFailed: {stay, FailBeside},
		Lost: never, LostHeld: never, Confirmed: never, Opened: never, OpenFailed: never, OpenFailedLast: never, Stale: late,
		CommitFailed:     {gone, failAll | Reload},
		LoadedRegistered: never, LoadedAvailable: never, LoadedErrored: never,
		LoadedInitializing: never, LoadedRecovering: never, LoadedDestroying: never,
	},
}

// look returns the cell for s and e with stay resolved.
func look(s shard.State, e Event) (shard.State, Effects) {
	c := table[s][e]
	if c.next == stay {
		return s, c.do
	}
	return c.next, c.do
}
