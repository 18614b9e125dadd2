// Package carindex stands between the indices of this project and those of
// go-car: it shows one of ours as theirs, and reads theirs into ours.
//
//	f, err := index.OpenFile("photos.car.idx")
//	if err != nil {
//		return err
//	}
//	defer f.Close()
//	bs, err := blockstore.NewReadOnly(car, carindex.View(f)) // of go-car
//
// The file of [index.File] begins with a MultihashIndexSorted, so go-car reads
// it as it is; [View] spares loading it into memory. [Records] and [Digests]
// are the way back. Package dagstore does not link go-car; whoever imports
// this package does.
package carindex
