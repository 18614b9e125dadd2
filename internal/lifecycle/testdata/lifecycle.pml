// The life of one shard as a model for spin. The numbers and the table below
// are printed from the package lifecycle; all else is testdata/frame.pml. It
// says how the machine counts, and what the engine, the disk and the callers
// may do and when. Each of the latter is a process of its own: under weak
// fairness work that is under way ends some time, and whoever holds lets go.
//
// One caller is watched by name ("me"); the others are numbers.
//
// With SOUND defined the disk takes everything at once and nothing crashes:
// that is small enough to be checked in seconds. Without it the disk runs
// behind what the engine believes, refuses a batch, and the process dies.

#define registered 1
#define initializing 2
#define available 3
#define serving 4
#define recovering 5
#define draining 6
#define destroying 7
#define errored 8
#define gone 9

#define Register 0
#define RegisterLazy 1
#define Acquire 2
#define AcquireRetry 3
#define Recover 4
#define Destroy 5
#define DestroyRefuse 6
#define DestroyWait 7
#define DestroyForce 8
#define Remount 9
#define Replace 10
#define Busy 11
#define Evict 12
#define Amend 13
#define Release 14
#define ReleaseLast 15
#define CancelParked 16
#define CancelOpening 17
#define CancelOpeningLast 18
#define Indexed 19
#define Failed 20
#define FailedBad 21
#define Remounted 22
#define RemountFailed 23
#define Replaced 24
#define ReplaceFailed 25
#define Lost 26
#define LostHeld 27
#define Confirmed 28
#define Opened 29
#define OpenFailed 30
#define OpenFailedLast 31
#define Stale 32
#define CommitFailed 33
#define LoadedRegistered 34
#define LoadedAvailable 35
#define LoadedErrored 36
#define LoadedInitializing 37
#define LoadedRecovering 38
#define LoadedDestroying 39

// Effects: the first ones are bits of lo, the others of hi.
#define Cut 1
#define Sever 2
#define Note 4
#define Install 8
#define Rebind 16
#define Revise 32
#define Discard 64
#define DropIndex 128
#define DropCopy 256
#define Persist 512
#define Forget 1024
#define Start 2048
#define StartBeside 4096
#define Watch 8192
#define Park 16384
#define ParkOpeners 32768
#define Open 65536
#define Join 131072
#define Await 1
#define Reply 2
#define Reject 4
#define Deliver 8
#define FailOpeners 16
#define Unpark 32
#define FailParked 64
#define ReplyWatchers 128
#define FailWatchers 256
#define ReplyBeside 512
#define FailBeside 1024
#define ReplyGone 2048
#define FailGone 4096
#define Idle 8192
#define Reload 16384
#define Never 32768

// Bounds that keep the model small.
#define MOST_HOLDERS 2
#define MOST_PARKED  2
#define MOST_LOST    1

// What is under way for the shard, besides openings.
#define no_work 0
#define index   1
#define beside  2

// Where the watched caller is.
#define idle     0
#define parked_  1
#define opening_ 2
#define watching 3
#define joined   4
#define awaiting 5
#define again    6 // unparked, to be asked again

// The machine.
byte s = gone, work, holders, opening, parked;

// What the engine knows beside it.
bool known;       // the record is in memory, or there is none
bool flight;      // an opening is under way
bool stale;       // work was cut off and has not ended
byte retries;     // callers who were unparked, and are to be asked again
bool indexed;     // there is an index
bool fresh;       // that index is not on the disk yet

// The record: the event that loading it would be; 0 means that there is none.
byte believed, disk;
bool dirty;       // a batch with it is under way
bool broken;      // a commit has failed
bool crashed;
byte losses;

byte me = idle;

chan event = [0] of { byte, bool };
byte e, next, was;
bool mine;        // the watched caller sent it
int lo, hi;       // its effects

inline answer_me() {
	assert(me != idle); // nobody is answered twice
	me = idle
}

// As Machine.Guard.
inline guard() {
	if
	:: e == Release && holders == 1 -> e = ReleaseLast
	:: e == CancelOpening && holders == 1 -> e = CancelOpeningLast
	:: e == OpenFailed && holders == opening -> e = OpenFailedLast
	:: e == Lost && holders > opening -> e = LostHeld
	:: (e == DestroyRefuse || e == DestroyWait || e == DestroyForce) && holders == 0 -> e = Destroy
	:: (e == Remount || e == Replace) && work != no_work -> e = Busy
	:: else
	fi
}

// As Machine.count.
inline count() {
	if
	:: e == Release || e == ReleaseLast -> assert(holders > opening); holders--
	:: e == CancelOpening || e == CancelOpeningLast -> assert(opening > 0); holders--; opening--
	:: e == CancelParked -> assert(parked > 0); parked--
	:: e == Indexed || e == Failed || e == FailedBad || e == Remounted || e == RemountFailed || e == Replaced || e == ReplaceFailed -> work = no_work
	:: else
	fi;
	if
	:: (lo & Cut) && work != no_work && (next != destroying || work != index) -> work = no_work; stale = true
	:: else
	fi;
	if
	:: lo & Start -> assert(work == no_work); work = index
	:: lo & StartBeside -> assert(work == no_work); work = beside
	:: else
	fi;
	if
	:: lo & Sever -> holders = 0; opening = 0
	:: hi & Deliver -> opening = 0
	:: hi & FailOpeners -> holders = holders - opening; opening = 0
	:: lo & ParkOpeners -> holders = holders - opening; parked = parked + opening; opening = 0
	:: lo & Open -> holders++; opening++
	:: else
	fi;
	if
	:: hi & Unpark -> retries = retries + parked - (me == parked_); parked = 0
	:: hi & FailParked -> parked = 0
	:: lo & Park -> parked++
	:: else
	fi
}

// What is written, as Engine.writings has it.
inline write() {
	if
	:: e >= LoadedRegistered && e <= LoadedDestroying -> believed = e
	:: else
	fi;
	if
	:: broken && (lo & Forget) -> hi = hi | Reload
	:: !broken && (lo & Forget) -> believed = 0; dirty = true
	:: !broken && (lo & Persist) && !(lo & (Revise | DropCopy)) ->
		dirty = true;
		if
		:: next == registered -> believed = LoadedRegistered
		:: next == initializing -> believed = LoadedInitializing
		:: next == available || next == serving -> believed = LoadedAvailable
		:: next == recovering -> believed = LoadedRecovering
		:: next == draining || next == errored -> believed = LoadedErrored
		:: next == destroying -> believed = LoadedDestroying
		fi
	:: else
	fi
}

// What becomes of the callers and of the work, as the engine performs it.
inline perform() {
	if
	:: e == Opened || e == OpenFailed || e == OpenFailedLast || e == Lost || e == LostHeld -> flight = false
	:: e == LoadedAvailable || e == LoadedRecovering -> indexed = true
	:: else
	fi;
	if
	:: (lo & (Forget | ParkOpeners)) || (hi & (FailOpeners | Reload)) -> flight = false
	:: else
	fi;
	if :: lo & Open -> flight = true :: else fi;
	if :: lo & Install -> indexed = true; fresh = true :: else fi;
	if :: (lo & DropIndex) || (hi & Reload) -> indexed = false; fresh = false :: else fi;

	// The call that came is answered, refused, or waits.
	if
	:: (lo & Watch) && mine -> me = watching
	:: (lo & Park) && mine -> me = parked_
	:: (lo & Open) && mine -> me = opening_
	:: (lo & Join) && mine -> me = joined
	:: (hi & Await) && mine -> me = awaiting
	:: (hi & (Reply | Reject)) && mine -> me = again; answer_me()
	:: else -> assert(!mine || (lo & (Park | Open))) // nobody's call is forgotten
	fi;

	// So are those who wait.
	if :: (lo & ParkOpeners) && me == opening_ -> me = parked_ :: else fi;
	if :: (hi & (Deliver | FailOpeners)) && me == opening_ -> answer_me() :: else fi;
	if :: (hi & Unpark) && me == parked_ -> me = again :: else fi;
	if :: (hi & FailParked) && me == parked_ -> answer_me() :: else fi;
	if
	:: (hi & (ReplyWatchers | FailWatchers)) && me == watching -> answer_me()
	:: else
	fi;
	if
	:: (hi & (ReplyBeside | FailBeside)) && me == awaiting -> answer_me()
	:: else
	fi;
	if
	:: (hi & (ReplyGone | FailGone)) && me == joined -> answer_me()
	:: else
	fi
}

// The laws that hold after every event.
inline laws() {
	// Nothing is dropped under a holder.
	assert(!(lo & (DropIndex | DropCopy)) || holders == 0);
	// A refusal changes nothing.
	assert(!(hi & Reject) || (next == was && lo == 0 && hi == Reject));
	// Only a completed index leads out of an error.
	assert(!(was == errored || was == recovering || was == draining) || !(next == available || next == serving) || e == Indexed || e == Replaced);
	// A record is deleted exactly when the shard is gone.
	assert(broken || (hi & Reload) || (s == gone) == (believed == 0));
	assert(opening <= holders);
	assert(s != serving || holders > 0);
	assert(s != draining || holders > 0);
	assert(holders == 0 || s == serving || s == draining || s == destroying);
	assert(s != destroying || holders > 0 || work == index);
	assert(parked == 0 || work == index);
	assert(!(s == initializing || s == recovering) || work == index);
	assert(!(s == available || s == serving) || indexed);
	assert(opening == 0 || flight);
	assert(s != gone || (work == no_work && parked == 0 && holders == 0));
	// Nobody waits for what is not under way.
	assert(!(me == watching) || work == index);
	assert(!(me == joined) || s == destroying);
	assert(!(me == awaiting) || work == beside);
	assert(me != parked_ || parked > 0);
	assert(me != opening_ || opening > 0)
}

// A new machine, of which nothing is known: the record is read again.
inline forget() {
	s = gone; work = no_work; holders = 0; opening = 0; parked = 0;
	flight = false; indexed = false; fresh = false; dirty = false;
	known = false; believed = disk;
	printf("new\n")
}

// After a commit that failed, as Engine.commitFailed.
inline refused() {
	if
	:: dirty && holders > 0 && fresh -> // what they wait to open was refused
		if :: me == opening_ -> answer_me() :: else fi;
		forget()
	:: dirty && holders > 0 && !fresh ->
		believed = disk;
		dirty = false;
		if
		:: disk == LoadedAvailable -> s = serving
		:: else -> s = draining
		fi;
		printf("refused %d\n", disk == LoadedAvailable)
	:: else -> dirty = false
	fi
}

// The table.
inline table() {
	if
	:: s == registered ->
		if
		:: e == Register -> next = registered; lo = 0; hi = Reject
		:: e == RegisterLazy -> next = registered; lo = 0; hi = Reject
		:: e == Acquire -> next = initializing; lo = Cut | Start | Park; hi = FailBeside
		:: e == AcquireRetry -> next = initializing; lo = Cut | Start | Park; hi = FailBeside
		:: e == Recover -> next = registered; lo = 0; hi = Reply
		:: e == Destroy -> next = gone; lo = Cut | DropIndex | DropCopy | Forget; hi = Reply | FailBeside
		:: e == DestroyRefuse -> next = registered; lo = 0; hi = Never
		:: e == DestroyWait -> next = registered; lo = 0; hi = Never
		:: e == DestroyForce -> next = registered; lo = 0; hi = Never
		:: e == Remount -> next = registered; lo = StartBeside; hi = Await
		:: e == Replace -> next = registered; lo = StartBeside; hi = Await
		:: e == Busy -> next = registered; lo = 0; hi = Reject
		:: e == Evict -> next = registered; lo = DropCopy | Persist; hi = Reply
		:: e == Amend -> next = registered; lo = Revise | Persist; hi = Reply
		:: e == Release -> next = registered; lo = 0; hi = Never
		:: e == ReleaseLast -> next = registered; lo = 0; hi = Never
		:: e == CancelParked -> next = registered; lo = 0; hi = Never
		:: e == CancelOpening -> next = registered; lo = 0; hi = Never
		:: e == CancelOpeningLast -> next = registered; lo = 0; hi = Never
		:: e == Indexed -> next = registered; lo = 0; hi = Never
		:: e == Failed -> next = registered; lo = 0; hi = Never
		:: e == FailedBad -> next = registered; lo = 0; hi = Never
		:: e == Remounted -> next = registered; lo = Rebind | Persist; hi = ReplyBeside
		:: e == RemountFailed -> next = registered; lo = 0; hi = FailBeside
		:: e == Replaced -> next = available; lo = Install | Rebind | Persist; hi = ReplyBeside
		:: e == ReplaceFailed -> next = registered; lo = 0; hi = FailBeside
		:: e == Lost -> next = registered; lo = 0; hi = Never
		:: e == LostHeld -> next = registered; lo = 0; hi = Never
		:: e == Confirmed -> next = registered; lo = 0; hi = Never
		:: e == Opened -> next = registered; lo = 0; hi = Never
		:: e == OpenFailed -> next = registered; lo = 0; hi = Never
		:: e == OpenFailedLast -> next = registered; lo = 0; hi = Never
		:: e == Stale -> next = registered; lo = Discard; hi = 0
		:: e == CommitFailed -> next = gone; lo = Cut; hi = FailParked | FailWatchers | FailBeside | FailGone | Reload
		:: e == LoadedRegistered -> next = registered; lo = 0; hi = Never
		:: e == LoadedAvailable -> next = registered; lo = 0; hi = Never
		:: e == LoadedErrored -> next = registered; lo = 0; hi = Never
		:: e == LoadedInitializing -> next = registered; lo = 0; hi = Never
		:: e == LoadedRecovering -> next = registered; lo = 0; hi = Never
		:: e == LoadedDestroying -> next = registered; lo = 0; hi = Never
		fi
	:: s == initializing ->
		if
		:: e == Register -> next = initializing; lo = 0; hi = Reject
		:: e == RegisterLazy -> next = initializing; lo = 0; hi = Reject
		:: e == Acquire -> next = initializing; lo = Park; hi = 0
		:: e == AcquireRetry -> next = initializing; lo = Park; hi = 0
		:: e == Recover -> next = initializing; lo = Watch; hi = 0
		:: e == Destroy -> next = destroying; lo = Cut | Persist | Join; hi = FailParked | FailWatchers
		:: e == DestroyRefuse -> next = initializing; lo = 0; hi = Never
		:: e == DestroyWait -> next = initializing; lo = 0; hi = Never
		:: e == DestroyForce -> next = initializing; lo = 0; hi = Never
		:: e == Remount -> next = initializing; lo = 0; hi = Never
		:: e == Replace -> next = initializing; lo = 0; hi = Never
		:: e == Busy -> next = initializing; lo = 0; hi = Reject
		:: e == Evict -> next = initializing; lo = 0; hi = Reject
		:: e == Amend -> next = initializing; lo = Revise | Persist; hi = Reply
		:: e == Release -> next = initializing; lo = 0; hi = Never
		:: e == ReleaseLast -> next = initializing; lo = 0; hi = Never
		:: e == CancelParked -> next = initializing; lo = 0; hi = 0
		:: e == CancelOpening -> next = initializing; lo = 0; hi = Never
		:: e == CancelOpeningLast -> next = initializing; lo = 0; hi = Never
		:: e == Indexed -> next = available; lo = Install | Persist; hi = Unpark | ReplyWatchers
		:: e == Failed -> next = errored; lo = Note | Persist; hi = FailParked | FailWatchers
		:: e == FailedBad -> next = gone; lo = DropIndex | DropCopy | Forget; hi = FailParked | FailWatchers
		:: e == Remounted -> next = initializing; lo = 0; hi = Never
		:: e == RemountFailed -> next = initializing; lo = 0; hi = Never
		:: e == Replaced -> next = initializing; lo = 0; hi = Never
		:: e == ReplaceFailed -> next = initializing; lo = 0; hi = Never
		:: e == Lost -> next = initializing; lo = 0; hi = Never
		:: e == LostHeld -> next = initializing; lo = 0; hi = Never
		:: e == Confirmed -> next = initializing; lo = 0; hi = Never
		:: e == Opened -> next = initializing; lo = 0; hi = Never
		:: e == OpenFailed -> next = initializing; lo = 0; hi = Never
		:: e == OpenFailedLast -> next = initializing; lo = 0; hi = Never
		:: e == Stale -> next = initializing; lo = Discard; hi = 0
		:: e == CommitFailed -> next = gone; lo = Cut; hi = FailParked | FailWatchers | FailBeside | FailGone | Reload
		:: e == LoadedRegistered -> next = initializing; lo = 0; hi = Never
		:: e == LoadedAvailable -> next = initializing; lo = 0; hi = Never
		:: e == LoadedErrored -> next = initializing; lo = 0; hi = Never
		:: e == LoadedInitializing -> next = initializing; lo = 0; hi = Never
		:: e == LoadedRecovering -> next = initializing; lo = 0; hi = Never
		:: e == LoadedDestroying -> next = initializing; lo = 0; hi = Never
		fi
	:: s == available ->
		if
		:: e == Register -> next = available; lo = 0; hi = Reject
		:: e == RegisterLazy -> next = available; lo = 0; hi = Reject
		:: e == Acquire -> next = serving; lo = Open; hi = 0
		:: e == AcquireRetry -> next = serving; lo = Open; hi = 0
		:: e == Recover -> next = available; lo = 0; hi = Reply
		:: e == Destroy -> next = gone; lo = Cut | DropIndex | DropCopy | Forget; hi = Reply | FailBeside
		:: e == DestroyRefuse -> next = available; lo = 0; hi = Never
		:: e == DestroyWait -> next = available; lo = 0; hi = Never
		:: e == DestroyForce -> next = available; lo = 0; hi = Never
		:: e == Remount -> next = available; lo = StartBeside; hi = Await
		:: e == Replace -> next = available; lo = StartBeside; hi = Await
		:: e == Busy -> next = available; lo = 0; hi = Reject
		:: e == Evict -> next = available; lo = DropCopy | Persist; hi = Reply
		:: e == Amend -> next = available; lo = Revise | Persist; hi = Reply
		:: e == Release -> next = available; lo = 0; hi = Never
		:: e == ReleaseLast -> next = available; lo = 0; hi = Never
		:: e == CancelParked -> next = available; lo = 0; hi = Never
		:: e == CancelOpening -> next = available; lo = 0; hi = Never
		:: e == CancelOpeningLast -> next = available; lo = 0; hi = Never
		:: e == Indexed -> next = available; lo = 0; hi = Never
		:: e == Failed -> next = available; lo = 0; hi = Never
		:: e == FailedBad -> next = available; lo = 0; hi = Never
		:: e == Remounted -> next = available; lo = Rebind | Persist; hi = ReplyBeside
		:: e == RemountFailed -> next = available; lo = 0; hi = FailBeside
		:: e == Replaced -> next = available; lo = Install | Rebind | Persist; hi = ReplyBeside
		:: e == ReplaceFailed -> next = available; lo = 0; hi = FailBeside
		:: e == Lost -> next = recovering; lo = Cut | Note | Persist | Start; hi = FailBeside
		:: e == LostHeld -> next = available; lo = 0; hi = Never
		:: e == Confirmed -> next = available; lo = Revise | Persist; hi = 0
		:: e == Opened -> next = available; lo = 0; hi = Idle
		:: e == OpenFailed -> next = available; lo = 0; hi = Never
		:: e == OpenFailedLast -> next = available; lo = 0; hi = 0
		:: e == Stale -> next = available; lo = Discard; hi = 0
		:: e == CommitFailed -> next = gone; lo = Cut; hi = FailParked | FailWatchers | FailBeside | FailGone | Reload
		:: e == LoadedRegistered -> next = available; lo = 0; hi = Never
		:: e == LoadedAvailable -> next = available; lo = 0; hi = Never
		:: e == LoadedErrored -> next = available; lo = 0; hi = Never
		:: e == LoadedInitializing -> next = available; lo = 0; hi = Never
		:: e == LoadedRecovering -> next = available; lo = 0; hi = Never
		:: e == LoadedDestroying -> next = available; lo = 0; hi = Never
		fi
	:: s == serving ->
		if
		:: e == Register -> next = serving; lo = 0; hi = Reject
		:: e == RegisterLazy -> next = serving; lo = 0; hi = Reject
		:: e == Acquire -> next = serving; lo = Open; hi = 0
		:: e == AcquireRetry -> next = serving; lo = Open; hi = 0
		:: e == Recover -> next = serving; lo = 0; hi = Reply
		:: e == Destroy -> next = serving; lo = 0; hi = Never
		:: e == DestroyRefuse -> next = serving; lo = 0; hi = Reject
		:: e == DestroyWait -> next = destroying; lo = Cut | Persist | Join; hi = FailBeside
		:: e == DestroyForce -> next = gone; lo = Cut | Sever | DropIndex | DropCopy | Forget; hi = Reply | FailOpeners | FailBeside
		:: e == Remount -> next = serving; lo = StartBeside; hi = Await
		:: e == Replace -> next = serving; lo = StartBeside; hi = Await
		:: e == Busy -> next = serving; lo = 0; hi = Reject
		:: e == Evict -> next = serving; lo = 0; hi = Reject
		:: e == Amend -> next = serving; lo = Revise | Persist; hi = Reply
		:: e == Release -> next = serving; lo = 0; hi = 0
		:: e == ReleaseLast -> next = available; lo = 0; hi = 0
		:: e == CancelParked -> next = serving; lo = 0; hi = Never
		:: e == CancelOpening -> next = serving; lo = 0; hi = 0
		:: e == CancelOpeningLast -> next = available; lo = 0; hi = 0
		:: e == Indexed -> next = serving; lo = 0; hi = Never
		:: e == Failed -> next = serving; lo = 0; hi = Never
		:: e == FailedBad -> next = serving; lo = 0; hi = Never
		:: e == Remounted -> next = serving; lo = Rebind | Persist; hi = ReplyBeside
		:: e == RemountFailed -> next = serving; lo = 0; hi = FailBeside
		:: e == Replaced -> next = serving; lo = Install | Rebind | Persist; hi = ReplyBeside
		:: e == ReplaceFailed -> next = serving; lo = 0; hi = FailBeside
		:: e == Lost -> next = recovering; lo = Cut | Note | Persist | Start | ParkOpeners; hi = FailBeside
		:: e == LostHeld -> next = draining; lo = Cut | Note | Persist; hi = FailOpeners | FailBeside
		:: e == Confirmed -> next = serving; lo = Revise | Persist; hi = 0
		:: e == Opened -> next = serving; lo = 0; hi = Deliver
		:: e == OpenFailed -> next = serving; lo = 0; hi = FailOpeners
		:: e == OpenFailedLast -> next = available; lo = 0; hi = FailOpeners
		:: e == Stale -> next = serving; lo = Discard; hi = 0
		:: e == CommitFailed -> next = serving; lo = Cut; hi = FailParked | FailWatchers | FailBeside | FailGone
		:: e == LoadedRegistered -> next = serving; lo = 0; hi = Never
		:: e == LoadedAvailable -> next = serving; lo = 0; hi = Never
		:: e == LoadedErrored -> next = serving; lo = 0; hi = Never
		:: e == LoadedInitializing -> next = serving; lo = 0; hi = Never
		:: e == LoadedRecovering -> next = serving; lo = 0; hi = Never
		:: e == LoadedDestroying -> next = serving; lo = 0; hi = Never
		fi
	:: s == recovering ->
		if
		:: e == Register -> next = recovering; lo = 0; hi = Reject
		:: e == RegisterLazy -> next = recovering; lo = 0; hi = Reject
		:: e == Acquire -> next = recovering; lo = Park; hi = 0
		:: e == AcquireRetry -> next = recovering; lo = Park; hi = 0
		:: e == Recover -> next = recovering; lo = Watch; hi = 0
		:: e == Destroy -> next = destroying; lo = Cut | Persist | Join; hi = FailParked | FailWatchers
		:: e == DestroyRefuse -> next = recovering; lo = 0; hi = Never
		:: e == DestroyWait -> next = recovering; lo = 0; hi = Never
		:: e == DestroyForce -> next = recovering; lo = 0; hi = Never
		:: e == Remount -> next = recovering; lo = 0; hi = Never
		:: e == Replace -> next = recovering; lo = 0; hi = Never
		:: e == Busy -> next = recovering; lo = 0; hi = Reject
		:: e == Evict -> next = recovering; lo = 0; hi = Reject
		:: e == Amend -> next = recovering; lo = Revise | Persist; hi = Reply
		:: e == Release -> next = recovering; lo = 0; hi = Never
		:: e == ReleaseLast -> next = recovering; lo = 0; hi = Never
		:: e == CancelParked -> next = recovering; lo = 0; hi = 0
		:: e == CancelOpening -> next = recovering; lo = 0; hi = Never
		:: e == CancelOpeningLast -> next = recovering; lo = 0; hi = Never
		:: e == Indexed -> next = available; lo = Install | Persist; hi = Unpark | ReplyWatchers
		:: e == Failed -> next = errored; lo = Note | Persist; hi = FailParked | FailWatchers
		:: e == FailedBad -> next = errored; lo = Note | Persist; hi = FailParked | FailWatchers
		:: e == Remounted -> next = recovering; lo = 0; hi = Never
		:: e == RemountFailed -> next = recovering; lo = 0; hi = Never
		:: e == Replaced -> next = recovering; lo = 0; hi = Never
		:: e == ReplaceFailed -> next = recovering; lo = 0; hi = Never
		:: e == Lost -> next = recovering; lo = 0; hi = Never
		:: e == LostHeld -> next = recovering; lo = 0; hi = Never
		:: e == Confirmed -> next = recovering; lo = 0; hi = Never
		:: e == Opened -> next = recovering; lo = 0; hi = Never
		:: e == OpenFailed -> next = recovering; lo = 0; hi = Never
		:: e == OpenFailedLast -> next = recovering; lo = 0; hi = Never
		:: e == Stale -> next = recovering; lo = Discard; hi = 0
		:: e == CommitFailed -> next = gone; lo = Cut; hi = FailParked | FailWatchers | FailBeside | FailGone | Reload
		:: e == LoadedRegistered -> next = recovering; lo = 0; hi = Never
		:: e == LoadedAvailable -> next = recovering; lo = 0; hi = Never
		:: e == LoadedErrored -> next = recovering; lo = 0; hi = Never
		:: e == LoadedInitializing -> next = recovering; lo = 0; hi = Never
		:: e == LoadedRecovering -> next = recovering; lo = 0; hi = Never
		:: e == LoadedDestroying -> next = recovering; lo = 0; hi = Never
		fi
	:: s == draining ->
		if
		:: e == Register -> next = draining; lo = 0; hi = Reject
		:: e == RegisterLazy -> next = draining; lo = 0; hi = Reject
		:: e == Acquire -> next = draining; lo = 0; hi = Reject
		:: e == AcquireRetry -> next = draining; lo = 0; hi = Reject
		:: e == Recover -> next = draining; lo = 0; hi = Reject
		:: e == Destroy -> next = draining; lo = 0; hi = Never
		:: e == DestroyRefuse -> next = draining; lo = 0; hi = Reject
		:: e == DestroyWait -> next = destroying; lo = Cut | Persist | Join; hi = FailBeside
		:: e == DestroyForce -> next = gone; lo = Cut | Sever | DropIndex | DropCopy | Forget; hi = Reply | FailBeside
		:: e == Remount -> next = draining; lo = StartBeside; hi = Await
		:: e == Replace -> next = draining; lo = StartBeside; hi = Await
		:: e == Busy -> next = draining; lo = 0; hi = Reject
		:: e == Evict -> next = draining; lo = 0; hi = Reject
		:: e == Amend -> next = draining; lo = Revise | Persist; hi = Reply
		:: e == Release -> next = draining; lo = 0; hi = 0
		:: e == ReleaseLast -> next = errored; lo = 0; hi = 0
		:: e == CancelParked -> next = draining; lo = 0; hi = Never
		:: e == CancelOpening -> next = draining; lo = 0; hi = Never
		:: e == CancelOpeningLast -> next = draining; lo = 0; hi = Never
		:: e == Indexed -> next = draining; lo = 0; hi = Never
		:: e == Failed -> next = draining; lo = 0; hi = Never
		:: e == FailedBad -> next = draining; lo = 0; hi = Never
		:: e == Remounted -> next = draining; lo = Rebind | Persist; hi = ReplyBeside
		:: e == RemountFailed -> next = draining; lo = 0; hi = FailBeside
		:: e == Replaced -> next = serving; lo = Install | Rebind | Persist; hi = ReplyBeside
		:: e == ReplaceFailed -> next = draining; lo = 0; hi = FailBeside
		:: e == Lost -> next = draining; lo = 0; hi = Never
		:: e == LostHeld -> next = draining; lo = 0; hi = Never
		:: e == Confirmed -> next = draining; lo = 0; hi = Never
		:: e == Opened -> next = draining; lo = 0; hi = Never
		:: e == OpenFailed -> next = draining; lo = 0; hi = Never
		:: e == OpenFailedLast -> next = draining; lo = 0; hi = Never
		:: e == Stale -> next = draining; lo = Discard; hi = 0
		:: e == CommitFailed -> next = draining; lo = Cut; hi = FailParked | FailWatchers | FailBeside | FailGone
		:: e == LoadedRegistered -> next = draining; lo = 0; hi = Never
		:: e == LoadedAvailable -> next = draining; lo = 0; hi = Never
		:: e == LoadedErrored -> next = draining; lo = 0; hi = Never
		:: e == LoadedInitializing -> next = draining; lo = 0; hi = Never
		:: e == LoadedRecovering -> next = draining; lo = 0; hi = Never
		:: e == LoadedDestroying -> next = draining; lo = 0; hi = Never
		fi
	:: s == destroying ->
		if
		:: e == Register -> next = destroying; lo = 0; hi = Reject
		:: e == RegisterLazy -> next = destroying; lo = 0; hi = Reject
		:: e == Acquire -> next = destroying; lo = 0; hi = Reject
		:: e == AcquireRetry -> next = destroying; lo = 0; hi = Reject
		:: e == Recover -> next = destroying; lo = 0; hi = Reject
		:: e == Destroy -> next = destroying; lo = Join; hi = 0
		:: e == DestroyRefuse -> next = destroying; lo = 0; hi = Reject
		:: e == DestroyWait -> next = destroying; lo = Join; hi = 0
		:: e == DestroyForce -> next = gone; lo = Sever | DropIndex | DropCopy | Forget; hi = Reply | FailOpeners | ReplyGone
		:: e == Remount -> next = destroying; lo = 0; hi = Reject
		:: e == Replace -> next = destroying; lo = 0; hi = Reject
		:: e == Busy -> next = destroying; lo = 0; hi = Reject
		:: e == Evict -> next = destroying; lo = 0; hi = Reject
		:: e == Amend -> next = destroying; lo = 0; hi = Reject
		:: e == Release -> next = destroying; lo = 0; hi = 0
		:: e == ReleaseLast -> next = gone; lo = DropIndex | DropCopy | Forget; hi = ReplyGone
		:: e == CancelParked -> next = destroying; lo = 0; hi = Never
		:: e == CancelOpening -> next = destroying; lo = 0; hi = 0
		:: e == CancelOpeningLast -> next = gone; lo = DropIndex | DropCopy | Forget; hi = ReplyGone
		:: e == Indexed -> next = gone; lo = Discard | DropIndex | DropCopy | Forget; hi = ReplyGone
		:: e == Failed -> next = gone; lo = Discard | DropIndex | DropCopy | Forget; hi = ReplyGone
		:: e == FailedBad -> next = gone; lo = Discard | DropIndex | DropCopy | Forget; hi = ReplyGone
		:: e == Remounted -> next = destroying; lo = 0; hi = Never
		:: e == RemountFailed -> next = destroying; lo = 0; hi = Never
		:: e == Replaced -> next = destroying; lo = 0; hi = Never
		:: e == ReplaceFailed -> next = destroying; lo = 0; hi = Never
		:: e == Lost -> next = gone; lo = DropIndex | DropCopy | Forget; hi = FailOpeners | ReplyGone
		:: e == LostHeld -> next = destroying; lo = 0; hi = FailOpeners
		:: e == Confirmed -> next = destroying; lo = 0; hi = 0
		:: e == Opened -> next = destroying; lo = 0; hi = Deliver
		:: e == OpenFailed -> next = destroying; lo = 0; hi = FailOpeners
		:: e == OpenFailedLast -> next = gone; lo = DropIndex | DropCopy | Forget; hi = FailOpeners | ReplyGone
		:: e == Stale -> next = destroying; lo = Discard; hi = 0
		:: e == CommitFailed -> next = destroying; lo = Cut; hi = FailParked | FailWatchers | FailBeside | FailGone
		:: e == LoadedRegistered -> next = destroying; lo = 0; hi = Never
		:: e == LoadedAvailable -> next = destroying; lo = 0; hi = Never
		:: e == LoadedErrored -> next = destroying; lo = 0; hi = Never
		:: e == LoadedInitializing -> next = destroying; lo = 0; hi = Never
		:: e == LoadedRecovering -> next = destroying; lo = 0; hi = Never
		:: e == LoadedDestroying -> next = destroying; lo = 0; hi = Never
		fi
	:: s == errored ->
		if
		:: e == Register -> next = errored; lo = 0; hi = Reject
		:: e == RegisterLazy -> next = errored; lo = 0; hi = Reject
		:: e == Acquire -> next = errored; lo = 0; hi = Reject
		:: e == AcquireRetry -> next = recovering; lo = Cut | Start | Park; hi = FailBeside
		:: e == Recover -> next = recovering; lo = Cut | Persist | Start | Watch; hi = FailBeside
		:: e == Destroy -> next = gone; lo = Cut | DropIndex | DropCopy | Forget; hi = Reply | FailBeside
		:: e == DestroyRefuse -> next = errored; lo = 0; hi = Never
		:: e == DestroyWait -> next = errored; lo = 0; hi = Never
		:: e == DestroyForce -> next = errored; lo = 0; hi = Never
		:: e == Remount -> next = errored; lo = StartBeside; hi = Await
		:: e == Replace -> next = errored; lo = StartBeside; hi = Await
		:: e == Busy -> next = errored; lo = 0; hi = Reject
		:: e == Evict -> next = errored; lo = DropCopy | Persist; hi = Reply
		:: e == Amend -> next = errored; lo = Revise | Persist; hi = Reply
		:: e == Release -> next = errored; lo = 0; hi = Never
		:: e == ReleaseLast -> next = errored; lo = 0; hi = Never
		:: e == CancelParked -> next = errored; lo = 0; hi = Never
		:: e == CancelOpening -> next = errored; lo = 0; hi = Never
		:: e == CancelOpeningLast -> next = errored; lo = 0; hi = Never
		:: e == Indexed -> next = errored; lo = 0; hi = Never
		:: e == Failed -> next = errored; lo = 0; hi = Never
		:: e == FailedBad -> next = errored; lo = 0; hi = Never
		:: e == Remounted -> next = errored; lo = Rebind | Persist; hi = ReplyBeside
		:: e == RemountFailed -> next = errored; lo = 0; hi = FailBeside
		:: e == Replaced -> next = available; lo = Install | Rebind | Persist; hi = ReplyBeside
		:: e == ReplaceFailed -> next = errored; lo = 0; hi = FailBeside
		:: e == Lost -> next = errored; lo = 0; hi = Never
		:: e == LostHeld -> next = errored; lo = 0; hi = Never
		:: e == Confirmed -> next = errored; lo = 0; hi = Never
		:: e == Opened -> next = errored; lo = 0; hi = Never
		:: e == OpenFailed -> next = errored; lo = 0; hi = Never
		:: e == OpenFailedLast -> next = errored; lo = 0; hi = Never
		:: e == Stale -> next = errored; lo = Discard; hi = 0
		:: e == CommitFailed -> next = gone; lo = Cut; hi = FailParked | FailWatchers | FailBeside | FailGone | Reload
		:: e == LoadedRegistered -> next = errored; lo = 0; hi = Never
		:: e == LoadedAvailable -> next = errored; lo = 0; hi = Never
		:: e == LoadedErrored -> next = errored; lo = 0; hi = Never
		:: e == LoadedInitializing -> next = errored; lo = 0; hi = Never
		:: e == LoadedRecovering -> next = errored; lo = 0; hi = Never
		:: e == LoadedDestroying -> next = errored; lo = 0; hi = Never
		fi
	:: s == gone ->
		if
		:: e == Register -> next = initializing; lo = Persist | Start | Watch; hi = 0
		:: e == RegisterLazy -> next = registered; lo = Persist; hi = Reply
		:: e == Acquire -> next = gone; lo = 0; hi = Reject
		:: e == AcquireRetry -> next = gone; lo = 0; hi = Reject
		:: e == Recover -> next = gone; lo = 0; hi = Reject
		:: e == Destroy -> next = gone; lo = 0; hi = Reject
		:: e == DestroyRefuse -> next = gone; lo = 0; hi = Never
		:: e == DestroyWait -> next = gone; lo = 0; hi = Never
		:: e == DestroyForce -> next = gone; lo = 0; hi = Never
		:: e == Remount -> next = gone; lo = 0; hi = Reject
		:: e == Replace -> next = gone; lo = 0; hi = Reject
		:: e == Busy -> next = gone; lo = 0; hi = Never
		:: e == Evict -> next = gone; lo = 0; hi = Reject
		:: e == Amend -> next = gone; lo = 0; hi = Reject
		:: e == Release -> next = gone; lo = 0; hi = Never
		:: e == ReleaseLast -> next = gone; lo = 0; hi = Never
		:: e == CancelParked -> next = gone; lo = 0; hi = Never
		:: e == CancelOpening -> next = gone; lo = 0; hi = Never
		:: e == CancelOpeningLast -> next = gone; lo = 0; hi = Never
		:: e == Indexed -> next = gone; lo = 0; hi = Never
		:: e == Failed -> next = gone; lo = 0; hi = Never
		:: e == FailedBad -> next = gone; lo = 0; hi = Never
		:: e == Remounted -> next = gone; lo = 0; hi = Never
		:: e == RemountFailed -> next = gone; lo = 0; hi = Never
		:: e == Replaced -> next = gone; lo = 0; hi = Never
		:: e == ReplaceFailed -> next = gone; lo = 0; hi = Never
		:: e == Lost -> next = gone; lo = 0; hi = Never
		:: e == LostHeld -> next = gone; lo = 0; hi = Never
		:: e == Confirmed -> next = gone; lo = 0; hi = Never
		:: e == Opened -> next = gone; lo = 0; hi = Never
		:: e == OpenFailed -> next = gone; lo = 0; hi = Never
		:: e == OpenFailedLast -> next = gone; lo = 0; hi = Never
		:: e == Stale -> next = gone; lo = Discard; hi = 0
		:: e == CommitFailed -> next = gone; lo = Cut; hi = FailParked | FailWatchers | FailBeside | FailGone | Reload
		:: e == LoadedRegistered -> next = registered; lo = 0; hi = 0
		:: e == LoadedAvailable -> next = available; lo = 0; hi = 0
		:: e == LoadedErrored -> next = errored; lo = 0; hi = 0
		:: e == LoadedInitializing -> next = initializing; lo = Start; hi = 0
		:: e == LoadedRecovering -> next = recovering; lo = Start; hi = 0
		:: e == LoadedDestroying -> next = gone; lo = DropIndex | DropCopy | Forget; hi = 0
		fi
	fi
}

active proctype Machine() {
	do
	:: atomic {
		event?e, mine;
		d_step {
			was = s;
			printf("event %d", e);
			guard();
			table();
			assert(!(hi & Never)); // the engine sends nothing that cannot happen
			write();
			count();
			s = next;
			perform();
			printf(" %d %d %d %d %d\n", s, work, holders, opening, parked);
			laws();
			if
			:: hi & Reload -> forget()
			:: else ->
				if
				:: e == CommitFailed -> refused()
				:: else
				fi
			fi;
#ifdef SOUND
			disk = 0; dirty = false; fresh = false;
#endif
			e = 0; mine = false; next = 0; was = 0; lo = 0; hi = 0
		}
	}
	od
}

// Which calls come through: a store that is broken refuses what it would have
// to write, and what is not indexed.
#define asked(x) (!broken || ((x) == Acquire && (s == available || s == serving)))
#define room     (holders + retries < MOST_HOLDERS && parked + retries < MOST_PARKED && parked + opening < MOST_HOLDERS)

inline call(mine_) {
	if
	:: asked(Register) -> event!Register, mine_
	:: asked(RegisterLazy) -> event!RegisterLazy, mine_
	:: room && asked(Acquire) -> event!Acquire, mine_
	:: room && asked(AcquireRetry) -> event!AcquireRetry, mine_
	:: asked(Recover) -> event!Recover, mine_
	:: asked(DestroyRefuse) -> event!DestroyRefuse, mine_
	:: asked(DestroyWait) -> event!DestroyWait, mine_
	:: asked(DestroyForce) -> event!DestroyForce, mine_
	:: asked(Remount) -> event!Remount, mine_
	:: asked(Replace) -> event!Replace, mine_
	:: asked(Evict) -> event!Evict, mine_
	:: asked(Amend) -> event!Amend, mine_
	fi
}

// Callers come and leave as they like, and reads find indices damaged. The loop
// asks those again who have waited before it looks at who is new.
#define calm (known && retries == 0 && me != again)

active proctype Callers() {
	do
	:: atomic { calm && me == idle && (asked(Amend) || (room && asked(Acquire))) -> call(true) }
	:: atomic { calm && (asked(Amend) || (room && asked(Acquire))) -> call(false) }
	:: atomic { calm && parked > (me == parked_) -> event!CancelParked, false }
	:: atomic { calm && opening > (me == opening_) -> event!CancelOpening, false }
	:: atomic { !broken && losses < MOST_LOST && known && (s == available || s == serving) -> losses++; event!Lost, false }
	od
}

// Whoever was unparked is asked again.
active proctype FollowUps() {
	do
	:: atomic {
		known && me == again ->
		if
		:: asked(Acquire) -> event!Acquire, true
		:: !asked(Acquire) -> me = idle // refused
		fi
	}
	:: atomic {
		known && retries > 0 ->
		retries--;
		if
		:: asked(Acquire) -> event!Acquire, false
		:: !asked(Acquire)
		fi
	}
	od
}

active proctype Holders() {
	do
	:: atomic { holders > opening -> event!Release, false }
	od
}

active proctype Indexing() {
	do
	:: atomic {
		work == index ->
		if
		:: event!Indexed, false
		:: event!Failed, false
		:: event!FailedBad, false
		fi
	}
	od
}

active proctype Besides() {
	do
	:: atomic {
		work == beside ->
		if
		:: event!Remounted, false
		:: event!RemountFailed, false
		:: event!Replaced, false
		:: event!ReplaceFailed, false
		fi
	}
	od
}

active proctype Opening() {
	do
	:: atomic {
		flight ->
		if
		:: event!Opened, false
		:: event!OpenFailed, false
		:: !broken && losses < MOST_LOST -> losses++; event!Lost, false
		fi
	}
	:: atomic { flight && !broken -> event!Confirmed, false; break }
	od;
	// A source is confirmed once; after that the opening ends.
	do
	:: atomic {
		flight ->
		if
		:: event!Opened, false
		:: event!OpenFailed, false
		:: !broken && losses < MOST_LOST -> losses++; event!Lost, false
		fi
	}
	od
}

active proctype Engine() {
	do
	:: atomic { stale -> stale = false; event!Stale, false }
	:: atomic {
		!known ->
		known = true;
		if
		:: disk == 0
		:: disk != 0 && !broken -> event!disk, false
		:: disk != 0 && disk <= LoadedErrored && broken -> event!disk, false
		:: disk == LoadedInitializing && broken -> event!LoadedRegistered, false
		// An intent is not taken up: the fact beside it counts.
		:: disk > LoadedInitializing && broken -> event!LoadedAvailable, false
		:: disk > LoadedInitializing && broken -> event!LoadedErrored, false
		fi
	}
	od
}

#ifndef SOUND
active proctype Disk() {
	do
	:: d_step { dirty && !broken -> disk = believed; dirty = false; fresh = false }
	:: atomic { known && !broken -> broken = true; event!CommitFailed, false }
	:: d_step {
		// The process ends: what it knew is gone, and so are its callers.
		!crashed -> crashed = true;
		broken = false; stale = false; retries = 0;
		me = idle;
		forget()
	}
	od
}
#endif

// Whoever waits is answered, whatever the others do.
ltl answered { [] ((me != idle) -> <> (me == idle)) }

// Every state that is on its way somewhere gets there.
ltl ends {
	([] ((s == initializing) -> <> (s != initializing))) &&
	([] ((s == recovering) -> <> (s != recovering))) &&
	([] ((s == draining) -> <> (s != draining))) &&
	([] ((s == destroying) -> <> (s != destroying)))
}
