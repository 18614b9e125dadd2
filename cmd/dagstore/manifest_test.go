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
		if _, err := r.start(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		first, err := r.start()
		if err != nil {
			t.Fatalf("%s of which nothing was read: %v", name, err)
		}
		if _, err := io.ReadFull(first, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		again, err := r.start()
		if n, err := first.Read(make([]byte, 5)); n > 0 || err == nil {
			t.Errorf("%s is still read by who read it before: %d, %v", name, n, err)
		}
		if in == io.Reader(file) {
			if err != nil {
				t.Fatalf("%s again: %v", name, err)
			}
			if all, err := io.ReadAll(again); err != nil || string(all) != text {
				t.Errorf("%s again: %q, %v", name, all, err)
			}
		} else if err == nil {
			t.Errorf("%s was taken for what was left of it", name)
		}
	}
}

// A silentPipe says when it is read, and has nothing until it ends.
type silentPipe struct{ asked, end chan struct{} }

func (p *silentPipe) Read([]byte) (int, error) {
	close(p.asked)
	<-p.end
	return 0, io.EOF
}

// TestReadAnewSilent: that there is no way back is told although it is still waited for
// what was to be read.
func TestReadAnewSilent(t *testing.T) {
	pipe := &silentPipe{make(chan struct{}), make(chan struct{})}
	r := &anew{in: pipe}
	in, err := r.start()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.ReadAll(in)
	}()
	<-pipe.asked
	if _, err := r.start(); err == nil {
		t.Error("it was taken for what is left of it")
	}
	close(pipe.end)
	<-ended
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
