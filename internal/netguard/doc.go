// Package netguard keeps connections that somebody else has a say in away from
// the addresses that only this machine, its network or its cloud should reach:
// where a redirect leads, where the address in the answer of an FTP server
// lies, where a source lies that came from outside.
//
// A source that the operator names may lie anywhere, so nothing here is used
// for its first host. For all others:
//
//	guard := netguard.New(cfg.Allow...)
//	dialer := &net.Dialer{ControlContext: guard.Control}
//
// What counts is the address that is dialled, after names were resolved, and
// [Guard.Control] sees no other. So a name that has a public address when it
// is looked at and a private one when it is used gains nothing. [Guard.Host]
// refuses by the name alone, which is for errors that come early, and for
// proxies, which dial by themselves.
//
// A connection that was dialled without the guard must not be used again for a
// host that needs it: kinds keep two pools of connections.
package netguard
