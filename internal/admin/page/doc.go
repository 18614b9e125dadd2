// Package page is the page that the admin API shows in a browser: HTML, CSS
// and ES modules, embedded into the program as they were written.
//
//	server, err := admin.New(store, &admin.Config{Page: page.New(), ...})
//
// The page is one document; what it shows stands behind "#" in its address, and
// it gets everything by the admin API, as any other client does. Nothing of it
// is made for one reader, so it may be served to anyone: who is not signed in
// reads how to do that.
//
// # Safety
//
// The page is served under a policy that lets nothing run or be loaded that is
// not part of it, and lets no other page show it in a frame. Text that comes
// from outside, such as keys, URLs and names in folders, gets into the document
// as text alone: there is one place that makes elements (js/dom.js), and it
// knows no markup; browsers that know trusted types hold it to that.
//
// # The diagram
//
// The life of a shard is drawn from the table in internal/lifecycle, when the
// handler is made. So a change of the table is a change of the diagram, and a test
// says so if an arrow of it has no room.
package page
