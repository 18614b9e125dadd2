// Package lifecycle is the life of one shard, written as data.
//
// A table says for every state and every event where the shard goes and what
// must be done about it; docs/lifecycle.md is printed from it. A [Machine]
// adds what the table must know to choose an event: how many hold the shard,
// how many wait, and what work is under way. [Machine.Step] is pure: it knows
// no context, channel, lock, clock, log or I/O, and it allocates nothing. It
// is package engine that performs the effects.
//
// Guards live in the names of events. The engine reports that somebody let go
// ([Release]); the machine, which counts, looks up [ReleaseLast] if nobody is
// left. So each cell of the table is one fact, and the tests walk them all.
//
// testdata has histories to read, each with what comes of every event, and a
// model for spin that is printed from the table: with the engine, the disk and
// the callers as processes beside it, spin looks at everything that can happen.
package lifecycle
