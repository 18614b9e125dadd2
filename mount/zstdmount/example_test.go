package zstdmount_test

import (
	"context"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/mount/zstdmount"
)

// What lies compressed in memory is one more kind of mounts.
func ExampleWrap() {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		fmt.Println(err)
		return
	}
	var cars memmount.Set
	cars.Put("photos.car.zst", w.EncodeAll([]byte("a CAR"), nil))
	reg := mount.Registry{"mem": cars.Open, "zstd+mem": zstdmount.Wrap(cars.Open)}

	m, err := reg.Open("zstd+mem:photos.car.zst")
	if err != nil {
		fmt.Println(err)
		return
	}
	r, err := m.Open(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	fmt.Println(m.URL(), string(data), err)
	// Output: zstd+mem:photos.car.zst a CAR <nil>
}
