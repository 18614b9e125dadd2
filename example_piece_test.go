package dagstore_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/mount/filemount"
)

// A CAR that is a piece of Filecoin is found by its piece CID, in either form,
// once that was claimed or computed.
func ExampleStore_FindPiece() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "dagstore")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := dagstore.Open(ctx, dir+"/store", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	path, _ := makeCAR(dir, "photos.car", 5)
	car, err := filemount.New(path)
	if err != nil {
		log.Fatal(err)
	}
	if err := store.Register(ctx, "photos", car, nil); err != nil {
		log.Fatal(err)
	}
	check, err := store.CheckPiece(ctx, "photos")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(check.Claimed.Defined(), check.Good)
	for info, err := range store.FindPiece(ctx, check.Found) {
		fmt.Println(info.Key, !info.PieceChecked.IsZero(), err)
	}
	// Output:
	// false true
	// photos true <nil>
}
