package fsmount_test

import (
	"context"
	"fmt"
	"io"
	"testing/fstest"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/fsmount"
)

// A file system that the program has is reached under the name that it gives it.
func Example() {
	files := fstest.MapFS{"cars/photos.car": {Data: []byte("a CAR"), ModTime: time.Unix(1e9, 0)}}
	systems := fsmount.Systems{"assets": {FS: files, InPlace: true}}
	reg := mount.Registry{"fs": systems.Open}

	m, err := reg.Open("fs:assets/cars/photos.car")
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
	// Output: fs:assets/cars/photos.car a CAR <nil>
}
