package dagstore_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/mount/filemount"
)

// A backup of a store that is in use is a store.
func ExampleStore_Backup() {
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
	monday := filepath.Join(dir, "monday")
	if _, err := store.Backup(ctx, monday, nil); err != nil {
		log.Fatal(err)
	}

	backup, err := dagstore.Open(ctx, monday, &dagstore.Config{NoCreate: true})
	if err != nil {
		log.Fatal(err)
	}
	defer backup.Close()
	block, err := backup.Blockstore(nil).Get(ctx, root)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(block.RawData()), "bytes")
	// Output: 100 bytes
}

// The format of a store's folder can be asked for without opening it.
func ExampleFormatOf() {
	ctx := context.Background()
	dir, store := exampleStore(ctx)
	defer os.RemoveAll(dir)
	defer store.Close()

	n, err := dagstore.FormatOf(filepath.Join(dir, "store"))
	fmt.Println(n == dagstore.Format, err)
	// Output: true <nil>
}
