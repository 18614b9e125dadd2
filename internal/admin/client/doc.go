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
package client
