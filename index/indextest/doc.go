// Package indextest holds the laws of [index.Index] and [index.Inverted],
// checked against a plain map.
//
// It does not import package testing, so that it can be used outside of tests
// too: to check an index that lies on a disk, for one. A test of an
// implementation is a few lines:
//
//	if err := indextest.TestIndex(ix, want); err != nil {
//		t.Error(err)
//	}
//
// Every error names the law that was broken; all of them are joined.
package indextest
