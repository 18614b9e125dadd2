// Package watch keeps a store up to date with places where CARs come and go:
// folders, prefixes of buckets, lists.
//
//	w, err := watch.New(watch.Config{
//		Store:  store,
//		Places: []watch.Place{{Name: "/srv/cars", Kind: watch.Folder, Source: watch.NewFolder("/srv/cars", key, nil)}},
//	})
//	if err != nil {
//		return err
//	}
//	w.Run(ctx) // until ctx ends
//
// A [Source] is looked at again and again, and what a whole look finds is the
// truth. What a file system tells between two looks makes it faster and never
// decides anything alone: such news can be missing, late or too many.
//
// A file is taken up when its size and its times have been the same for
// [Config.Rest], or at once when it came by a rename. It is registered as "add"
// does it, in the background, some at a time. What has vanished is told of and
// never removed. What is remembered of a CAR are 20 bytes in a table, by a hash
// of its key; names are remembered of the few that something is wrong with.
package watch
