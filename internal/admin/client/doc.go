// Package client speaks to the process that holds a store, over its admin API.
//
//	c := client.New(client.Unix(socket))
//	defer c.Close()
//	for info, err := range c.Shards(ctx, nil) { ... }
//
// A Client has the methods of a [dagstore.Store], with the same arguments and
// the same errors: what a sentinel is matched with there is matched here. A
// mount is passed by its URL, and opened by the process that holds the store.
// So a program need not know whether it has the store itself.
//
// What can go wrong beside that is told apart: nobody is there any more
// ([ErrGone]), somebody is who broke off an answer ([ErrBroken]), or it makes no
// sense ([ErrAnswer]). [ErrUnsure] comes with the first two where a request may have
// been carried out that is not to be made twice. Lists, results of jobs and CARs are
// not broken off by who reads them slowly: they are asked for again from where that
// was.
package client
