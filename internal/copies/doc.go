// Package copies keeps copies of remote CARs on this machine, under one hard
// quota.
//
// A [Keeper] knows the folder in which the copies lie and how much of the quota
// is spoken for. Space is spoken for before it is written: a [Space] is asked
// for first, a [Fill] writes into it, and what was not needed is given back. So
// the files of all copies together, unfinished ones included, are never more
// than the quota, each counted in whole blocks of 4 KiB.
//
// The keeper decides which copy would go next, and removes no copy of which it
// is not told that nobody needs it: whoever has the records of the shards gives
// a copy up first ([Keeper.Leaving]), durably, and has its files removed after
// that ([Keeper.Remove]). A copy is named by a number and never by the key of
// its shard. A number is never used again, so no file is ever replaced.
//
// Nothing of the accounting is on disk: [Keeper.Restore] makes it from the
// folder and from what the records say, after any crash.
package copies
