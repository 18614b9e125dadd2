package dagstore_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/mount/filemount"
)

// A manifest remembers which blocks of a shard somebody cares about.
func ExampleStore_PutManifest() {
	ctx := context.Background()
	dir, store := exampleStore(ctx)
	defer os.RemoveAll(dir)
	defer store.Close()
	path, root := makeCAR(dir, "photos.car", 5)
	car, err := filemount.New(path)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Register(ctx, "photos", car, nil); err != nil {
		log.Fatal(err)
	}
	thumbnails := func(yield func(multihash.Multihash, error) bool) {
		yield(root.Hash(), nil)
	}
	put := dagstore.Manifest{Name: "thumbnails", Rule: "images of less than 200 bytes", Version: 1}
	if _, err := store.PutManifest(ctx, "photos", put, thumbnails, nil); err != nil {
		log.Fatal(err)
	}
	for m, err := range store.Manifests(ctx, "photos") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Name, m.Version, m.Count)
	}
	for mh, err := range store.Members(ctx, "photos", "thumbnails") {
		if err != nil {
			log.Fatal(err)
		}
		is, err := store.HasMember(ctx, "photos", "thumbnails", mh)
		fmt.Println(mh.B58String(), is, err)
	}
	fmt.Println(store.RemoveManifest(ctx, "photos", "thumbnails"))
	// Output:
	// thumbnails 1 1
	// QmcRgjd1cQBop3FMv36mPxmzzZcKaEbobRwv6dRwQg9C6K true <nil>
	// <nil>
}
