package carindex_test

import (
	"bytes"
	"context"
	"fmt"

	"github.com/ipfs/go-cid"
	goindex "github.com/ipld/go-car/v2/index"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/index/carindex"
)

func ExampleView() {
	mh, err := multihash.Sum([]byte("a block"), multihash.SHA2_256, -1)
	if err != nil {
		fmt.Println(err)
		return
	}
	var file bytes.Buffer
	err = index.Write(context.Background(), &file, func(yield func(index.Record, error) bool) {
		yield(index.Record{Multihash: mh, Position: index.Position{Offset: 59, Size: 7, Head: 37}}, nil)
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := index.NewFile(bytes.NewReader(file.Bytes()), int64(file.Len()))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(goindex.GetFirst(carindex.View(f), cid.NewCidV1(cid.Raw, mh)))
	// Output: 59 <nil>
}
