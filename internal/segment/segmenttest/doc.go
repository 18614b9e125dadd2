// Package segmenttest checks implementations of segment.Place. It does not
// import testing; call [Test] from a test and report its error, which names
// every law that was broken.
package segmenttest
