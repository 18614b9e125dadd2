// Package layers is the inverted index: which shards, named by the [index.ID]
// of their indexing, hold a multihash.
//
//	inv, err := layers.Open(ctx, cfg, list, dead)
//	err = inv.Add(ctx, id, multihashes) // found from now on
//	err = inv.Candidates(mh, func(id index.ID) bool { … })
//	if inv.Due() {
//		err = inv.Flush(ctx) // and found again after a restart
//	}
//
// What is added gathers in a table in memory. A flush writes the table out as
// a layer: a sorted, immutable file of (key, id) pairs with filters in front,
// drawn in docs/format/layer.md. The key is a SipHash of the multihash, keyed
// per store, so that nobody who chooses digests can choose where they fall.
// Merges keep the number of layers small. A shard that is destroyed is marked
// dead in a bitmap that is read after the postings, and vanishes at once; its
// postings go when a merge next passes over them.
//
// Readers take one counted snapshot and wait for nobody. Writing a layer takes
// some goroutines, which end with the call that writes it; there are no others.
// The package keeps no record of its own: which layers there are, which ids
// are pending and which are dead is the catalogue's to remember, and reaches
// it as a [Change] per flush or merge, to be committed as one batch. A file is
// complete before the Change that names it and is removed only after the
// Change that forgets it. A crash in between leaves an orphan file, which is
// never read, and pending ids, which the engine adds again.
package layers
