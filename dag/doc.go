// Package dag reads DAGs out of a blockstore: as nodes of go-ipld-prime, and as
// a file system.
//
// What lies below a root as UnixFS is an [io/fs.FS], for whatever takes one:
//
//	store, err := dagstore.Open(ctx, "store", nil)
//	if err != nil {
//		return err
//	}
//	defer store.Close()
//	files := dag.NewFS(ctx, store.Blockstore(nil), root)
//	http.Handle("/photos/", http.StripPrefix("/photos/", http.FileServerFS(files)))
//
// and any DAG, of whatever codec, is walked with a [LinkSystem]:
//
//	links := dag.LinkSystem(store.Blockstore(nil))
//	node, err := links.Load(ipld.LinkContext{Ctx: ctx}, cidlink.Link{Cid: root}, basicnode.Prototype.Any)
//
// Both trust a [Source] to give bytes that match their CID, as a
// *dagstore.Blockstore does, and hash nothing a second time. They do not trust
// what the bytes say: sizes that do not add up, folders that lie about the hash
// of a name, and nodes without end are errors, met before memory is made for a
// claim.
//
// The package starts no goroutine and keeps nothing open.
package dag
