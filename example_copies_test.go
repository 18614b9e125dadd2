package dagstore_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// A CAR that lies on a slow disk, or elsewhere, is copied while it is indexed. The
// copy is read from then on, until it makes room for others or is given back.
func ExampleRegisterOptions_copy() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "dagstore")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := dagstore.Open(ctx, dir+"/store", &dagstore.Config{Copies: dagstore.Copies{Quota: 1 << 20}})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	path, _ := makeCAR(dir, "photos.car", 5)
	car, err := filemount.New(path)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Register(ctx, "photos", car, &dagstore.RegisterOptions{Serve: shard.Copy}); err != nil {
		log.Fatal(err)
	}
	info, err := store.Info(ctx, "photos")
	fmt.Println(info.Local.Mode, info.Local.Complete, info.Local.Bytes == info.Bytes, err)

	fmt.Println(store.Evict(ctx, "photos", nil))
	info, err = store.Info(ctx, "photos")
	fmt.Println(info.State, info.Local.Complete, err)
	// Output:
	// copy true true <nil>
	// <nil>
	// available false <nil>
}
