// Package index says where blocks lie: [Index] within one CAR, [Inverted]
// among all of them.
//
//	f, err := index.OpenFile("blocks.idx")
//	if err != nil {
//		return err
//	}
//	defer f.Close()
//	positions, err := f.Find(nil, c.Hash(), 1)
//
// Both work on multihashes, so the codec of a CID does not matter, and both
// are local: a lookup never waits on a network and takes no context. Identity
// multihashes are in neither: such a CID carries its own data.
//
// [File] is the index of one CAR as it lies on a disk, [Builder] makes one.
// Check implementations of the interfaces with package indextest;
// docs/format/index.md draws the file.
package index
