package client_test

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// gather is all that seq yields, and the error with which it ends.
func gather[T any](seq iter.Seq2[T, error]) (all []T, err error) {
	for v, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, nil
}

// TestShards: what is asked for of shards is done, and read as it is in the store.
func TestShards(t *testing.T) {
	r := newRig(t)
	ctx, c := t.Context(), r.client
	r.register("a", "one", "two")
	r.register("b/c", "two")
	for _, key := range []shard.Key{".", "..", "/", "-", "x y%2F/ä"} {
		data, _ := carOf("odd " + string(key))
		if err := c.Register(ctx, key, r.file("odd.car", data), &dagstore.RegisterOptions{Lazy: true, Labels: map[string]string{"k": "v"}}); err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		if info, err := c.Info(ctx, key); err != nil || info.Key != key || info.Labels["k"] != "v" {
			t.Errorf("%q: %+v, %v", key, info, err)
		}
	}
	far, err := gather(c.Shards(ctx, nil))
	near, nearErr := gather(r.store.Shards(ctx, nil))
	if err != nil || nearErr != nil || len(far) != 7 {
		t.Fatalf("%d shards, %v, %v", len(far), err, nearErr)
	}
	for i := range far {
		if far[i].Key != near[i].Key || far[i].State != near[i].State || far[i].URL != near[i].URL || far[i].Bytes != near[i].Bytes || !far[i].Registered.Equal(near[i].Registered) {
			t.Errorf("%+v\nis, from elsewhere,\n%+v", near[i], far[i])
		}
	}
	some, err := gather(c.Shards(ctx, &dagstore.Filter{Prefix: "b", States: []shard.State{shard.Available, shard.Serving}}))
	if err != nil || len(some) != 1 || some[0].Key != "b/c" {
		t.Errorf("%+v, %v", some, err)
	}
	data, _ := carOf("one", "two")
	if err := c.Register(ctx, "a", r.file("a.car", data), nil); !errors.Is(err, shard.ErrExists) {
		t.Errorf("the same again: %v", err)
	}
	moved := r.file("moved.car", data)
	for name, do := range map[string]func() error{
		"await": func() error { return c.Await(ctx, "..") }, "pin": func() error { return c.Pin(ctx, "a") }, "unpin": func() error { return c.Unpin(ctx, "a") },
		"recover": func() error { return c.Recover(ctx, "a", nil) }, "remount": func() error { return c.Remount(ctx, "a", moved, dagstore.CompareFull) },
		"replace": func() error { return c.Replace(ctx, "b/c", moved, nil) },
	} {
		if err := do(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if info, err := c.Info(ctx, "a"); err != nil || info.URL != moved.URL() {
		t.Errorf("remounted: %+v, %v", info, err)
	}
	if _, err := c.GC(ctx); err != nil {
		t.Error(err)
	}
	if rows, err := gather(c.Reconcile(ctx, false)); err != nil || len(rows) != 0 {
		t.Errorf("reconcile: %v, %v", rows, err)
	}
	if _, err := c.Backup(ctx, filepath.Join(r.dir, "backup"), nil); err != nil {
		t.Errorf("backup: %v", err)
	}
	if _, err := os.Stat(filepath.Join(r.dir, "backup")); err != nil {
		t.Error(err)
	}
	if err := c.Destroy(ctx, "a", &dagstore.DestroyOptions{Held: dagstore.Wait}); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{"destroy": c.Destroy(ctx, "a", nil), "pin": c.Pin(ctx, "a"), "evict": c.Evict(ctx, "a", nil)} {
		one, ok := errors.AsType[*shard.Error](err)
		if !errors.Is(err, shard.ErrUnknown) || !ok || one.Key != "a" {
			t.Errorf("%s of what is gone: %v", name, err)
		}
	}
	if at, err := c.Store(ctx); err != nil || at.PeerID != r.store.PeerID() || at.PID != os.Getpid() {
		t.Errorf("%+v, %v", at, err)
	}
	if stats, err := c.Statistics(ctx); err != nil || stats.Total != 6 {
		t.Errorf("%+v, %v", stats, err)
	}
	if hosts, err := c.Health(ctx); err != nil || hosts == nil {
		t.Errorf("%+v, %v", hosts, err)
	}
}

// TestBlocks: blocks, indices and CARs come as they are.
func TestBlocks(t *testing.T) {
	r := newRig(t)
	ctx, c := t.Context(), r.client
	long := strings.Repeat("long", 100_000)
	blocks := r.register("a", "one", long)
	data, _ := carOf("one", long)
	for _, b := range blocks {
		got, err := c.Blocks().Get(ctx, b.CID)
		if err != nil || !bytes.Equal(got.RawData(), b.Data) {
			t.Errorf("%s: %v", b.CID, err)
		}
		if n, err := c.Blocks().GetSize(ctx, b.CID); n != len(b.Data) || err != nil {
			t.Errorf("%s: %d, %v", b.CID, n, err)
		}
		if at, err := gather(c.Find(ctx, b.CID)); err != nil || len(at) != 1 || at[0].Shard != "a" || at[0].Size != int64(len(b.Data)) {
			t.Errorf("%s: %+v, %v", b.CID, at, err)
		}
	}
	none := cartest.Raw([]byte("none")).CID
	if _, err := c.Blocks().Get(ctx, none); !errors.Is(err, ipld.ErrNotFound{}) {
		t.Errorf("a block that is not: %v", err)
	}
	if has, err := c.Blocks().Has(ctx, none); has || err != nil {
		t.Errorf("%v, %v", has, err)
	}
	ix, err := c.OpenIndex(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	if records, err := gather(ix.All()); err != nil || len(records) != 2 {
		t.Errorf("%d records, %v", len(records), err)
	}
	if err := ix.Close(); err != nil {
		t.Error(err)
	}
	in, err := c.CAR(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if all, err := io.ReadAll(in); err != nil || !bytes.Equal(all, data) {
		t.Errorf("%d of %d bytes, %v", len(all), len(data), err)
	}
	for _, at := range []int64{5, 0, int64(len(data)) - 3} {
		if _, err := in.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		some := make([]byte, 3)
		if _, err := io.ReadFull(in, some); err != nil || !bytes.Equal(some, data[at:at+3]) {
			t.Errorf("at %d: %q, %v", at, some, err)
		}
	}
	if _, err := c.CAR(ctx, "none"); err == nil {
		t.Error("there is a CAR of a shard that is not")
	}
}

// TestNothingLeft: what an index is copied to is gone with the process, however that
// ends.
func TestNothingLeft(t *testing.T) {
	r := newRig(t)
	r.register("a", "one")
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ix, err := r.client.OpenIndex(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(tmp); err != nil || len(names) != 0 {
		t.Errorf("while it is open: %v, %v", names, err)
	}
	if err := ix.Close(); err != nil {
		t.Error(err)
	}
}

// TestManifests: sets of blocks are kept and read.
func TestManifests(t *testing.T) {
	r := newRig(t)
	ctx, c := t.Context(), r.client
	blocks := r.register("a", "one", "two")
	members := func(yield func(multihash.Multihash, error) bool) {
		for _, b := range blocks {
			if !yield(b.CID.Hash(), nil) {
				return
			}
		}
	}
	m, err := c.PutManifest(ctx, "a", dagstore.Manifest{Name: "m", Rule: "r", Version: 3}, members, nil)
	if err != nil || m.Count != 2 || m.Rule != "r" || m.Version != 3 {
		t.Fatalf("%+v, %v", m, err)
	}
	if all, err := gather(c.Manifests(ctx, "a")); err != nil || len(all) != 1 || all[0].Name != "m" {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err := gather(c.Members(ctx, "a", "m")); err != nil || len(all) != 2 {
		t.Errorf("%v, %v", all, err)
	}
	for text, want := range map[string]bool{"two": true, "three": false} {
		if is, err := c.HasMember(ctx, "a", "m", cartest.Raw([]byte(text)).CID.Hash()); is != want || err != nil {
			t.Errorf("%s: %v, %v", text, is, err)
		}
	}
	if _, err := c.HasMember(ctx, "a", "none", blocks[0].CID.Hash()); !errors.Is(err, dagstore.ErrNoManifest) {
		t.Errorf("a manifest that is not: %v", err)
	}
	cause := errors.New("no more of them")
	broken := func(yield func(multihash.Multihash, error) bool) {
		_ = yield(blocks[0].CID.Hash(), nil) && yield(nil, cause)
	}
	if _, err := c.PutManifest(ctx, "a", dagstore.Manifest{Name: "m"}, broken, nil); !errors.Is(err, cause) {
		t.Errorf("members that end with an error: %v", err)
	}
	other := func(yield func(multihash.Multihash, error) bool) {
		yield(cartest.Raw([]byte("x")).CID.Hash(), nil)
	}
	if _, err := c.PutManifest(ctx, "a", dagstore.Manifest{Name: "m"}, other, nil); !errors.Is(err, dagstore.ErrNotMember) {
		t.Errorf("what is no member: %v", err)
	}
	if all, err := gather(c.Members(ctx, "a", "m")); err != nil || len(all) != 2 {
		t.Errorf("after errors: %v, %v", all, err)
	}
	if err := c.RemoveManifest(ctx, "a", "m"); err != nil {
		t.Error(err)
	}
	if err := c.RemoveManifest(ctx, "a", "m"); !errors.Is(err, dagstore.ErrNoManifest) {
		t.Errorf("once more: %v", err)
	}
}

// TestJobs: a job is begun, followed, sent its list, and cancelled.
func TestJobs(t *testing.T) {
	r := newRig(t)
	ctx, c := t.Context(), r.client
	var names []string
	var last *wire.Job
	for result, err := range c.BeginAndFollow(ctx, wire.NewJob{Kind: wire.JobAdd, Add: &wire.AddJob{Sources: []string{"file:///1", "file:///2"}}}) {
		switch {
		case err != nil:
			t.Fatal(err)
		case result.Job != nil:
			last = result.Job
		default:
			names = append(names, result.Name)
		}
	}
	if last == nil || last.State != wire.JobDone || !slices.Equal(names, []string{"file:///1", "file:///2"}) {
		t.Errorf("%+v, %v", last, names)
	}
	job, err := c.Begin(ctx, wire.NewJob{Kind: wire.JobAdd, Add: &wire.AddJob{From: "-"}})
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("the disk of the list")
	if err := c.SendList(ctx, job.ID, io.MultiReader(strings.NewReader("file:///3\n"), failing{cause})); !errors.Is(err, cause) {
		t.Errorf("a list that cannot be read: %v", err)
	}
	waiting, err := c.Begin(ctx, wire.NewJob{Kind: wire.JobAdd, Add: &wire.AddJob{From: "-"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Cancel(ctx, waiting.ID); err != nil {
		t.Error(err)
	}
	results, err := gather(c.Results(ctx, waiting.ID, 0, true))
	if err != nil || len(results) != 1 || results[0].Job.State != wire.JobCancelled {
		t.Errorf("%+v, %v", results, err)
	}
	if jobs, err := c.Jobs(ctx); err != nil || len(jobs) != 3 || jobs[0].ID != waiting.ID {
		t.Errorf("%+v, %v", jobs, err)
	}
	if _, err := c.Job(ctx, "77"); !errors.Is(err, wire.ErrNoJob) {
		t.Errorf("a job that is not: %v", err)
	}
}

// A failing reader has nothing but an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
