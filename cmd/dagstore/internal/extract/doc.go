// Package extract takes blocks, files, folders and whole DAGs out of a
// blockstore, for the commands that read.
//
//	path, err := extract.ParsePath("ipfs://bafy…/photos/1.jpg")
//	...
//	r := extract.New(store.Blockstore(nil))
//	c, err := r.Resolve(ctx, path)
//	...
//	err = r.Cat(ctx, c, os.Stdout)
//
// What is written to disk is written aside and renamed when it is complete:
// under the name that was asked for there is all of it or nothing. The bytes
// of a DAG come from strangers, so nothing in it can name a place outside of
// the folder that is being written.
package extract
