// Package denylist says what a gateway may not serve, by lists in the compact
// denylist format of IPIP-383 (files called *.deny).
//
// A [List] is what one file says, a [Set] several of them in their order: of
// all rules that match, the last one counts, and one of a later file goes
// before one of an earlier. A rule that begins with "!" allows. Neither
// changes once it is made, and both may be used by many goroutines.
//
//	/ipfs/CID          the multihash of CID, wherever it is met
//	/ipfs/CID/PATH     this path, no other
//	/ipfs/CID/PATH*    all paths that begin so; /ipfs/CID/* includes CID itself
//	/ipns/NAME         a key or a domain, with paths as above
//	//HASH             a multihash, in base58btc, of what must not be named, or
//	                   in hexadecimal the older form, SHA2-256 of "CID/PATH"
//
// A [Follower] keeps a Set in step with its files, and fails closed: what
// cannot be read is an error at the start, and later leaves the rules as they
// are.
//
// # Memory
//
// A rule takes some 14 bytes, however long it is: of what it names only a hash
// of 64 bits is kept, keyed by a secret of the process, so that nobody can
// look for what collides with it. Among ten million rules the chance that a
// CID is taken for one of them by mistake is 1 in 10^12.
package denylist
