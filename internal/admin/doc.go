// Package admin serves the admin API of a store, /api/v1: JSON over HTTP for
// all that the library can do, and events as they happen.
//
//	hub := admin.NewHub()
//	store, err := dagstore.Open(ctx, dir, &dagstore.Config{Events: hub.Events()})
//	...
//	server, err := admin.New(store, &admin.Config{Hub: hub, Mounts: mounts})
//	...
//	go http.Serve(socket, server.Local())       // a unix socket of mode 0600: whoever can open it may do all
//	go http.Serve(loopback, server.Guarded())   // TCP: a token or a session, known hosts, no other sites
//
// What there is, and who may use it, is one table (routes.go): each route has
// the scope that it needs, the bodies that it takes and gives, and how large
// one may be. The OpenAPI document is printed from that table and the types of
// package wire, and a test holds both against the file that is served.
//
// # Safety
//
// Nothing with an effect is reached by GET. A route with an effect needs the
// scope "write", and leaves one line in the log with who asked. Tokens are kept
// as hashes and compared in constant time. A browser shows a cookie, which a
// one-time link was exchanged for, by POST; requests that another site makes
// are refused whatever they show, and so are those for hosts that are not ours,
// which is what a rebound name would send. Where a source may lie that somebody
// names who lacks the scope "sources:private", is said by Config.Outside, and
// stands in the URL that the store remembers.
//
// # Slow clients
//
// Each piece of an answer and of a body has a time of its own, so a client that
// moves is waited for, and one that stands still is given up and keeps nothing.
// What one token may take is bounded, so that nobody is kept out by it. An answer
// that cannot be completed is broken off.
//
// # Work that goes on
//
// A job (add, verify, recover, gc) belongs to the server and not to the request
// that began it. Its results are lines in a file, which is gone with the job;
// who reads them late, or twice, misses none.
package admin
