// Package catalogtest checks implementations of catalog.Catalog. It does not
// import testing; call [Test] from a test and report its error, which names
// every law that was broken.
package catalogtest
