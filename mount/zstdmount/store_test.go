package zstdmount_test

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount/zstdmount"
	"github.com/dagstore/dagstore/shard"
)

// A store indexes compressed CARs of every kind, and reads blocks out of one that
// has a seek table, also after a restart.
func TestInAStore(t *testing.T) {
	r := newRig(zstdmount.Config{})
	dir := t.TempDir()
	open := func() *dagstore.Store {
		t.Helper()
		store, err := dagstore.Open(t.Context(), dir, &dagstore.Config{Mounts: r.reg})
		if err != nil {
			t.Fatal(err)
		}
		return store
	}
	store := open()
	for seed, name := range []string{"table", "sized", "unsized"} {
		car := cartest.RandomV1(uint64(seed), 200, 500)
		r.cars.Put(name, map[string][]byte{
			"table": frames(t, car, 5000, true), "sized": frame(t, car, true, zstd.WithSingleSegment(true)), "unsized": frame(t, car, false),
		}[name])
		m, err := r.reg.Open("zstd+mem:" + name)
		if err == nil {
			err = store.Register(t.Context(), shard.Key(name), m, nil)
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for range 2 {
		for _, b := range cartest.Random(0, 200, 500) {
			got, err := store.Blockstore(nil).Get(t.Context(), b.CID)
			if err != nil || !bytes.Equal(got.RawData(), b.Data) {
				t.Fatal(err)
			}
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		store = open()
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}
