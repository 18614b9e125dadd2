// Package hosts keeps what is known of the servers that sources lie on, so that
// what is wrong with a server is one fact and not one for each of its CARs.
//
//	keeper := hosts.New(hosts.Config{Bandwidth: 10 << 20})
//	registry["https"] = keeper.Opener(registry["https"])
//
// A [Keeper] wraps openers. A host that could not be reached several times in a
// row counts as down: for a while every call gives [mount.ErrUnreachable] at
// once, then one call is let through to see whether it is back. A host that says
// it has too much to do is left alone for as long as it wants, and calls wait
// for that if it is not long. All streams together keep to one bandwidth.
//
// Sources on this machine are passed through as they are, and where a URL names
// no server nothing is remembered.
package hosts
