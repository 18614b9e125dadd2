package s3mount_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/s3mount"
	"github.com/dagstore/dagstore/shard"
)

// A store over a bucket: what is listed is registered, every block is read in
// place, after a restart as well.
func TestStore(t *testing.T) {
	const cars, blocks, size = 5, 20, 300
	o := newOwner(t)
	o.Put(t, "/cars", nil)
	for i := range cars {
		o.Put(t, fmt.Sprintf("/cars/some of/%d.car", i), cartest.RandomV1(uint64(i), blocks, size))
	}
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{o.service()}})
	cfg := &dagstore.Config{Mounts: mount.Registry{"s3": c.Open}}
	dir := t.TempDir()
	store, err := dagstore.Open(t.Context(), dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for object, err := range c.List(t.Context(), "s3://cars/some%20of/", nil) {
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Register(t.Context(), shard.Key(object.Key), open(t, c, object.URL), nil); err != nil {
			t.Fatal(err)
		}
		info, err := store.Info(t.Context(), shard.Key(object.Key))
		if err != nil || info.Bytes != object.Size || info.Source != object.ETag || info.URL != object.URL {
			t.Errorf("of %+v the store knows %+v, %v", object, info, err)
		}
	}
	t.Logf("listing and indexing %d CARs: %+v", cars, c.Cost())
	readAll(t, store, cars, blocks, size)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	before := c.Cost()
	if store, err = dagstore.Open(t.Context(), dir, cfg); err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	readAll(t, store, cars, blocks, size)
	after := c.Cost()
	t.Logf("reading %d blocks after a restart: %d HEADs, %d GETs, %d bytes", cars*blocks, after.Heads-before.Heads, after.Gets-before.Gets, after.Bytes-before.Bytes)
}

func readAll(t *testing.T, store *dagstore.Store, cars, blocks, size int) {
	t.Helper()
	for i := range cars {
		for j := range blocks {
			want := cartest.RandomBlock(uint64(i), j, size)
			got, err := store.Blockstore(nil).Get(t.Context(), want.CID)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got.RawData(), want.Data) {
				t.Fatalf("block %d of CAR %d is another", j, i)
			}
		}
	}
}
