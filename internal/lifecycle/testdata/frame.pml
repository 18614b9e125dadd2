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

@NUMBERS@

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
@TABLE@
