package main

import (
	"context"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/shard"
)

// TestReadAnew: a command that begins anew, as its holder has ended, takes all of
// what it reads or nothing, never the rest.
func TestReadAnew(t *testing.T) {
	const text = "one\ntwo\nthree\n"
	path := filepath.Join(t.TempDir(), "members")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	for name, in := range map[string]io.Reader{"a file": file, "a pipe": strings.NewReader(text)} {
		r := &anew{in: in}
		if err := r.start(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := r.start(); err != nil {
			t.Errorf("%s of which nothing was read: %v", name, err)
		}
		if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		err := r.start()
		if in == io.Reader(file) {
			if all, readErr := io.ReadAll(r); err != nil || readErr != nil || string(all) != text {
				t.Errorf("%s again: %q, %v, %v", name, all, err, readErr)
			}
		} else if err == nil {
			t.Errorf("%s was taken for what was left of it", name)
		}
	}
}

// A damagedSet is a store with a manifest whose record cannot be read, until it is
// removed.
type damagedSet struct {
	storage
	removed bool
}

func (d *damagedSet) Manifests(_ context.Context, key shard.Key) iter.Seq2[dagstore.Manifest, error] {
	return func(yield func(dagstore.Manifest, error) bool) {
		if !d.removed {
			yield(dagstore.Manifest{}, &shard.Error{Key: key, Op: shard.OpManifest, Err: shard.ErrIndex})
		}
	}
}

func (d *damagedSet) RemoveManifest(_ context.Context, key shard.Key, _ string) error {
	if d.removed {
		return &shard.Error{Key: key, Op: shard.OpManifest, Err: dagstore.ErrNoManifest}
	}
	d.removed = true
	return nil
}

// TestForgetDamaged: a manifest that is damaged is not taken for one that a holder
// has forgotten before it ended.
func TestForgetDamaged(t *testing.T) {
	a := &app{stdout: io.Discard, stderr: io.Discard}
	store := new(damagedSet)
	for _, when := range []string{"before", "after"} {
		done, err := a.forgetting(t.Context(), "a").was(store, "m")
		if !done || err != nil || !store.removed {
			t.Errorf("%s it is removed: %v, %v, removed: %v", when, done, err, store.removed)
		}
	}
}
