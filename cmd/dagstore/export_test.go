package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// places says where the block of each CID lies, as "find" would.
func places(t *testing.T, store *dagstore.Store, cids []cid.Cid) (all []string) {
	t.Helper()
	for _, c := range cids {
		var here []string
		for at, err := range store.Find(t.Context(), c) {
			if err != nil {
				t.Fatalf("find %s: %v", c, err)
			}
			here = append(here, fmt.Sprint(at.Shard, " ", at.Offset, " ", at.Size))
		}
		slices.Sort(here)
		all = append(all, c.String()+": "+strings.Join(here, ", "))
	}
	return all
}

// churn registers and destroys shards under keys of its own, and reads, until
// ctx ends. It reports how many rounds it has done.
func churn(ctx context.Context, store *dagstore.Store, path string, lane int, known []cid.Cid) (rounds int, err error) {
	m, err := filemount.New(path)
	if err != nil {
		return 0, err
	}
	for ctx.Err() == nil {
		key := shard.Key(fmt.Sprintf("churn/%d/%d", lane, rounds%64))
		if err = store.Register(ctx, key, m, nil); err == nil {
			_, err = store.Blockstore(nil).Get(ctx, known[rounds*7%len(known)])
		}
		if err == nil {
			err = store.Destroy(ctx, key, &dagstore.DestroyOptions{Held: dagstore.Wait})
		}
		if err != nil {
			break
		}
		rounds++
	}
	if ctx.Err() != nil {
		err = nil
	}
	return rounds, err
}

// TestExportUnderLoad: a list is written while shards come and go and blocks
// are read. The store is wiped, and what the list names is added elsewhere, with
// the indices and without: "ls" and "find" say the same of 10,000 CIDs.
func TestExportUnderLoad(t *testing.T) {
	const shards, each = 40, 250
	dir := t.TempDir()
	var cids []cid.Cid
	for i := range shards {
		blocks := cartest.Random(uint64(i+1), each, 40)
		blocks[0] = cartest.Raw([]byte("in every CAR"))
		for _, b := range blocks {
			cids = append(cids, b.CID)
		}
		data := cartest.V1([]cid.Cid{blocks[0].CID}, blocks)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("s%02d.car", i)), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if len(cids) != 10_000 {
		t.Fatalf("%d CIDs", len(cids))
	}
	repo := filepath.Join(t.TempDir(), "store")
	command := func(repo string, args ...string) string {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append([]string{"--repo", repo}, args...), strings.NewReader(""), &out, &errs); code != exitOK {
			t.Fatalf("%q: exit code %d: %s", args, code, errs.String())
		}
		return out.String()
	}
	command(repo, "add", "--prefix", "x/", dir)
	before := command(repo, "ls")

	list, indices := filepath.Join(t.TempDir(), "list.ndjson"), filepath.Join(t.TempDir(), "indices")
	store, err := dagstore.Open(t.Context(), repo, nil)
	if err != nil {
		t.Fatal(err)
	}
	wants := places(t, store, cids)
	load, stop := context.WithCancel(t.Context())
	var lanes sync.WaitGroup
	rounds := make([]int, 4)
	for lane := range rounds {
		lanes.Go(func() {
			n, err := churn(load, store, filepath.Join(dir, "s00.car"), lane, cids)
			if rounds[lane] = n; err != nil {
				t.Errorf("load: %v", err)
			}
		})
	}
	a := &app{stdout: io.Discard, stderr: io.Discard}
	err = a.export(t.Context(), ownStore{store}, exportOptions{output: list, indices: indices, prefix: "x/"})
	stop()
	lanes.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if slices.Max(rounds) == 0 {
		t.Error("there was no load")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(repo); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"--with-indices", indices}} {
		elsewhere := filepath.Join(t.TempDir(), "elsewhere")
		command(elsewhere, slices.Concat([]string{"import", list}, more)...)
		if after := command(elsewhere, "ls"); after != before {
			t.Errorf("ls, %q:\n%s\nwant\n%s", more, after, before)
		}
		store, err := dagstore.Open(t.Context(), elsewhere, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range places(t, store, cids) {
			if got != wants[i] {
				t.Errorf("find, %q: %s, want %s", more, got, wants[i])
			}
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestExportOfAHolder: a store that another process serves gives the same list, and
// what no list can have is exit code 4 there, too.
func TestExportOfAHolder(t *testing.T) {
	repo, dir := filepath.Join(t.TempDir(), "store"), t.TempDir()
	store, err := dagstore.Open(t.Context(), repo, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, labels := range []map[string]string{nil, {"a": "b"}, {"a": "\xff"}, nil} {
		writeCAR(t, dir, fmt.Sprintf("%d.car", i), fmt.Sprint(i))
		m, err := filemount.New(filepath.Join(dir, fmt.Sprintf("%d.car", i)))
		if err == nil {
			err = store.Register(t.Context(), shard.Key(fmt.Sprint("k", i)), m, &dagstore.RegisterOptions{Labels: labels, Lazy: i == 3})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	code, alone, errs := command(t, "--repo", repo, "export")
	if code != exitPartial || !strings.Contains(errs, `k2: its label "a" is not valid UTF-8`) || strings.Count(alone, "\n") != 3 {
		t.Errorf("%d, %s%s", code, alone, errs)
	}
	holder := start(t, nil, "--repo", repo, "serve", "--listen", "127.0.0.1:0", "--admin", "none", "--metrics", "none")
	holder.stderr.match(t, `serving http`)
	code, through, errs := command(t, "--repo", repo, "export")
	if code != exitPartial || through != alone || !strings.Contains(errs, "1 shard is missing from the list") {
		t.Errorf("%d, %s%s", code, through, errs)
	}
	if code, out, errs := command(t, "--repo", repo, "export", "k1"); code != exitOK || strings.Count(out, "\n") != 1 {
		t.Errorf("%d, %s%s", code, out, errs)
	}
	if code, _, errs := command(t, "--repo", repo, "stats"); code != exitOK {
		t.Errorf("stats: %d, %s", code, errs)
	}
	if code, out, errs := command(t, "--repo", repo, "doctor"); code != exitOK || !strings.Contains(out, "4 of its 4 shards asked") {
		t.Errorf("doctor: %d, %s%s", code, out, errs)
	}
	holder.stop()
	if code := holder.ends(t); code != exitOK {
		t.Errorf("serve: %d", code)
	}
}
