package engine

import (
	"context"
	"errors"
	"iter"
	"testing"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/shard"
)

// unreadable is a catalogue with one manifest that cannot be understood, as one
// of a later version cannot.
type unreadable struct{ catalog.Catalog }

func (unreadable) Manifests(context.Context, shard.Key) iter.Seq2[*catalog.Manifest, error] {
	return func(yield func(*catalog.Manifest, error) bool) {
		yield(nil, &catalog.DamagedManifestError{Err: errors.New("of a later version")})
	}
}

// What a manifest that cannot be understood names is not known, so no file is
// a stray while there is one: a later version may still read it.
func TestManifestOfALaterVersionKeepsItsFile(t *testing.T) {
	r := newWatchRig(t, false)
	r.add("a", 1, 10)
	members := func(yield func(multihash.Multihash, error) bool) {
		yield(cartest.Raw([]byte("a member")).CID.Hash(), nil)
	}
	if _, err := r.e.PutManifest(t.Context(), catalog.Manifest{Key: "a", Name: "m"}, members, true); err != nil {
		t.Fatal(err)
	}
	if n := r.count(segment.Manifest); n != 1 {
		t.Fatalf("%d files", n)
	}
	later := &Engine{cfg: r.e.cfg}
	later.cfg.Catalog = unreadable{r.e.cfg.Catalog}
	if err := later.strayManifestFiles(t.Context(), func(file segment.Entry) error {
		t.Errorf("%v is taken for a stray", file.Name)
		return nil
	}); err != nil {
		t.Error(err)
	}
}
