// Package mounttest holds the laws that every mount keeps, and mounts that
// break them on purpose. It does not import package testing.
//
// The laws, each under the name with which [Test] reports it:
//
//	url         The URL is canonical: a scheme in lower case, escaped to printable
//	            ASCII, upper-case escapes, no password, no fragment but a section's.
//	            It is the same at every call.
//	reopen      The registry makes of the URL a mount with that URL, with equal Stat
//	            and with equal bytes.
//	stat        The size is that of the source, or -1. Stat of an unchanged source does
//	            not change. Who says that ranges work offers them.
//	stream      Open gives all bytes, whatever the size of the reads, and then io.EOF
//	            at every further Read. Two streams do not disturb each other.
//	close       A stream can be closed before its end, without error.
//	range       OpenRange gives the bytes of the range and no others.
//	bounds      A range outside of the source is an error, never fewer bytes than asked.
//	version     A range of the version that Stat gives works, of any other gives
//	            mount.ErrChanged.
//	file        ReadAt gives the bytes of the source, and io.EOF at its end only.
//	section     A Section has the bytes, the size and the optional methods that it
//	            should, and the registry opens its URL.
//	sibling     What lies beside it has a URL of its own, which the registry opens.
//	            What is not there gives fs.ErrNotExist. A section has no siblings.
//	concurrent  All of this from many goroutines at once.
//	cancel      With a context that has ended, no method does anything; a stream under
//	            way ends soon, with the context's error, and is never taken for complete.
//
// A call that panics or hangs breaks the law during which it does so.
package mounttest
