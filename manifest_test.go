package dagstore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

// hashes are the multihashes of blocks.
func hashes(blocks []cartest.Block) iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		for _, b := range blocks {
			if !yield(b.CID.Hash(), nil) {
				return
			}
		}
	}
}

func sortedHashes(blocks []cartest.Block) (all []string) {
	for mh := range hashes(blocks) {
		all = append(all, string(mh))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (r *rig) putManifest(key shard.Key, name string, blocks []cartest.Block) {
	r.t.Helper()
	m, err := r.store.PutManifest(r.ctx(), key, Manifest{Name: name, Rule: "test", Version: 3}, hashes(blocks), nil)
	if err != nil || m.Count != int64(len(sortedHashes(blocks))) || m.Rule != "test" || m.Version != 3 || m.Made.IsZero() {
		r.t.Fatalf("put %q of %q: %+v, %v", name, key, m, err)
	}
}

func (r *rig) members(key shard.Key, name string) (all []string, err error) {
	for mh, err := range r.store.Members(r.ctx(), key, name) {
		if err != nil {
			return all, err
		}
		all = append(all, string(mh))
	}
	return all, nil
}

// hasMembers checks that a manifest has these members and no others.
func (r *rig) hasMembers(key shard.Key, name string, blocks []cartest.Block) {
	r.t.Helper()
	all, err := r.members(key, name)
	if err != nil || !slices.Equal(all, sortedHashes(blocks)) {
		r.t.Errorf("%q of %q has %d members, want %d: %v", name, key, len(all), len(sortedHashes(blocks)), err)
	}
	for _, b := range blocks {
		if is, err := r.store.HasMember(r.ctx(), key, name, b.CID.Hash()); !is || err != nil {
			r.t.Errorf("%v: %v, %v", b.CID, is, err)
		}
	}
}

func (r *rig) manifests(key shard.Key) (names []string) {
	r.t.Helper()
	for m, err := range r.store.Manifests(r.ctx(), key) {
		if err != nil {
			r.t.Errorf("manifests of %q: %v", key, err)
		}
		names = append(names, m.Name)
	}
	return names
}

// setFiles are the files of manifests.
func (r *rig) setFiles() []string { return r.filesIn("manifests", ".set") }

// A manifest is what was put, small or large, until its shard goes.
func TestManifestLife(t *testing.T) {
	for name, b := range map[string]bounds{"in files": inFiles, "in records": usual} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.bounds = b
			r.reopen()
			blocks, m := r.put("a", 1, 60)
			r.register("a", m, nil)
			r.putManifest("a", "odd", append(slices.Clone(blocks[:20]), blocks[:3]...)) // some twice
			r.putManifest("a", "none", nil)
			r.crash(0, 1)
			r.hasMembers("a", "odd", blocks[:20])
			r.hasMembers("a", "none", nil)
			if names := r.manifests("a"); !slices.Equal(names, []string{"none", "odd"}) {
				t.Errorf("manifests: %q", names)
			}
			if is, err := r.store.HasMember(r.ctx(), "a", "odd", blocks[30].CID.Hash()); is || err != nil {
				t.Errorf("%v, %v", is, err)
			}
			if n := len(r.setFiles()); (b.inline == 0) != (n == 2) || n != 0 && n != 2 {
				t.Errorf("%d files", n)
			}
			r.putManifest("a", "odd", blocks[20:])
			r.hasMembers("a", "odd", blocks[20:])
			if err := r.store.Recover(r.ctx(), "a", nil); err != nil { // keeps them
				t.Fatal(err)
			}
			if err := r.store.RemoveManifest(r.ctx(), "a", "none"); err != nil {
				t.Fatal(err)
			}
			r.crash(0, 2)
			r.agree()
			r.hasMembers("a", "odd", blocks[20:])
			if names := r.manifests("a"); !slices.Equal(names, []string{"odd"}) {
				t.Errorf("manifests: %q", names)
			}
			if err := r.store.Destroy(r.ctx(), "a", nil); err != nil {
				t.Fatal(err)
			}
			r.until("its files go", func() bool { return len(r.setFiles()) == 0 })
			r.register("a", m, nil)
			if names := r.manifests("a"); len(names) != 0 {
				t.Errorf("another shard of that key has %q", names)
			}
		})
	}
}

// Another CAR has no manifests; another place of the same CAR has them.
func TestManifestsOfAnotherCAR(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a", 1, 30)
	_, same := r.put("same", 1, 30)
	_, other := r.put("other", 2, 30)
	r.register("a", m, nil)
	r.putManifest("a", "n", blocks[:9])
	if err := r.store.Remount(r.ctx(), "a", same, CompareFull); err != nil {
		t.Fatal(err)
	}
	r.hasMembers("a", "n", blocks[:9])
	if err := r.store.Replace(r.ctx(), "a", other, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := r.members("a", "n"); !errors.Is(err, ErrNoManifest) {
		t.Errorf("after a replace: %v", err)
	}
	r.until("its file goes", func() bool { return len(r.setFiles()) == 0 })
	r.crash(0, 1)
	if names := r.manifests("a"); len(names) != 0 {
		t.Errorf("manifests: %q", names)
	}
	r.agree()
}

// A manifest that was made while the index was only adopted is there when it is
// confirmed, right or wrong: the CAR is the same.
func TestManifestsOfAClaim(t *testing.T) {
	payload, blocks := cartest.RandomV1(1, 80, 200), cartest.Random(1, 80, 200)
	for name, listed := range map[string]int{"right": 80, "wrong": 40} {
		t.Run(name, func(t *testing.T) {
			r, on, _ := adopted(t, payload, writeIndex(t, recordsOf(t, payload)[:listed], true))
			r.putManifest("a", "n", blocks[:20])
			on.Store(false)
			r.reopen()
			r.confirmed("a")
			r.hasMembers("a", "n", blocks[:20])
			r.crash(0, 1)
			r.hasMembers("a", "n", blocks[:20])
			r.agree()
		})
	}
}

// What cannot be is refused, each with its error, and changes nothing.
func TestManifestRefused(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a", 1, 30)
	strange := cartest.Random(2, 1, 50)
	r.register("a", m, nil)
	r.register("lazy", m, &RegisterOptions{Lazy: true})
	r.putManifest("a", "n", blocks[:5])
	own := errors.New("the caller's own")
	identity, err := multihash.Sum([]byte("x"), multihash.IDENTITY, -1)
	if err != nil {
		t.Fatal(err)
	}
	one := func(mh multihash.Multihash, err error) iter.Seq2[multihash.Multihash, error] {
		return func(yield func(multihash.Multihash, error) bool) {
			_ = yield(blocks[7].CID.Hash(), nil) && yield(mh, err)
		}
	}
	ended, cancel := context.WithCancel(r.ctx())
	cancel()
	for _, c := range []struct {
		ended   bool // its context has
		key     shard.Key
		name    string
		members iter.Seq2[multihash.Multihash, error]
		want    error
	}{
		{false, "a", "n", hashes(strange), ErrNotMember},
		{false, "a", "n", one(identity, nil), ErrNotMember},
		{false, "a", "n", one(multihash.Multihash("no"), nil), index.ErrRecord},
		{false, "a", "n", one(nil, own), own},
		{false, "a", "", hashes(nil), ErrManifestName},
		{false, "a", "a\nb", hashes(nil), ErrManifestName},
		{false, "a", strings.Repeat("n", 256), hashes(nil), ErrManifestName},
		{false, "b", "n", hashes(nil), shard.ErrUnknown},
		{false, "lazy", "n", hashes(nil), shard.ErrBusy},
		{true, "a", "n", hashes(nil), context.Canceled},
	} {
		ctx := r.ctx()
		if c.ended {
			ctx = ended
		}
		_, err := r.store.PutManifest(ctx, c.key, Manifest{Name: c.name}, c.members, nil)
		var about *shard.Error
		if !errors.Is(err, c.want) || !errors.As(err, &about) || about.Key != c.key || about.Op != shard.OpManifest {
			t.Errorf("%q of %q: %v, want %v", c.name, c.key, err, c.want)
		}
	}
	if _, err := r.store.PutManifest(r.ctx(), "a", Manifest{Name: "loose"}, hashes(strange), &ManifestOptions{Loose: true}); err != nil {
		t.Errorf("loose: %v", err)
	}
	r.hasMembers("a", "loose", strange)
	r.hasMembers("a", "n", blocks[:5])
	for name, err := range map[string]error{
		"remove": r.store.RemoveManifest(r.ctx(), "a", "none"),
		"has":    second(r.store.HasMember(r.ctx(), "a", "none", blocks[0].CID.Hash())),
		"read":   second(r.members("a", "none")),
	} {
		if !errors.Is(err, ErrNoManifest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := second(r.members("b", "n")); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("of a shard that is not there: %v", err)
	}
	r.agree()
	if files := r.setFiles(); len(files) != 2 {
		t.Errorf("files: %q", files)
	}
}

func second[T any](_ T, err error) error { return err }

// The shard may go, and the store be closed, while its caller is asked for members
// or reads them.
func TestManifestBesideItsCaller(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a", 1, 30)
	r.register("a", m, nil)
	r.putManifest("a", "n", blocks)
	during := func(do func() error) iter.Seq2[multihash.Multihash, error] {
		return func(yield func(multihash.Multihash, error) bool) {
			_ = yield(blocks[0].CID.Hash(), do()) && yield(blocks[1].CID.Hash(), nil)
		}
	}
	put := func(do func() error) error {
		return second(r.store.PutManifest(r.ctx(), "a", Manifest{Name: "m"}, during(do), nil))
	}
	if err := put(func() error { return r.store.Recover(r.ctx(), "a", nil) }); err != nil && !errors.Is(err, shard.ErrBusy) {
		t.Errorf("recovered meanwhile: %v", err)
	}
	_, other := r.put("other", 2, 30)
	if err := put(func() error { return r.store.Replace(r.ctx(), "a", other, nil) }); !errors.Is(err, shard.ErrBusy) {
		t.Errorf("replaced meanwhile: %v", err)
	}
	if err := r.store.Replace(r.ctx(), "a", m, nil); err != nil {
		t.Fatal(err)
	}
	r.putManifest("a", "n", blocks)
	var all []string
	for mh, err := range r.store.Members(r.ctx(), "a", "n") {
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 0 {
			if err := r.store.Destroy(r.ctx(), "a", nil); err != nil {
				t.Fatal(err)
			}
		}
		all = append(all, string(mh))
	}
	if !slices.Equal(all, sortedHashes(blocks)) {
		t.Errorf("%d members of a manifest that goes", len(all))
	}
	r.register("a", m, nil)
	if err := put(func() error { return r.store.Destroy(r.ctx(), "a", nil) }); !errors.Is(err, shard.ErrUnknown) {
		t.Errorf("destroyed meanwhile: %v", err)
	}
	r.until("no file is left", func() bool { return len(r.setFiles()) == 0 })
	r.register("a", m, nil)
	if err := put(r.store.Close); !errors.Is(err, ErrClosed) {
		t.Errorf("closed meanwhile: %v", err)
	}
	if err := second(r.members("a", "n")); !errors.Is(err, ErrClosed) {
		t.Errorf("of a store that is closed: %v", err)
	}
	r.open()
}

// Damage is an error and never another set; it is told of, and can be removed.
func TestManifestDamaged(t *testing.T) {
	r := newRig(t)
	blocks, m := r.put("a", 1, 200)
	r.register("a", m, nil)
	r.putManifest("a", "n", blocks)
	path := r.setFiles()[0]
	damaged := func(what string) {
		t.Helper()
		all, err := r.members("a", "n")
		if !errors.Is(err, shard.ErrIndex) || len(all) > 0 && !slices.Equal(all, sortedHashes(blocks)[:len(all)]) {
			t.Errorf("%s: %d members, %v", what, len(all), err)
		}
		found := 0
		for d, err := range r.store.Reconcile(r.ctx(), true) {
			if err != nil || d.Kind != DamagedManifest || d.Key != "a" || d.Mended {
				t.Errorf("%s: %+v, %v", what, d, err)
			}
			found++
		}
		if found != 1 {
			t.Errorf("%s: %d findings", what, found)
		}
	}
	r.flip(path, 300)
	damaged("a flipped bit")
	r.flip(path, 300)
	r.hasMembers("a", "n", blocks)
	if err := r.disk.Remove(path); err != nil {
		t.Fatal(err)
	}
	damaged("a lost file")
	r.putManifest("a", "n", blocks[:7])
	r.hasMembers("a", "n", blocks[:7])
	r.write("x", "manifests", "e7", "0003e7e7.set")
	found := r.discrepancies(false)
	if len(found) != 1 || found[0].Kind != StrayFile {
		t.Errorf("%+v", found)
	}
	if did := r.gc(); did.Files != 1 || len(r.setFiles()) != 1 {
		t.Errorf("%+v, %d files", did, len(r.setFiles()))
	}
	r.agree()
}

// Whatever operation fails, and whatever a crash right there leaves: a manifest
// is what it was or what it was to be, and nothing else is left in the end.
func TestManifestWhenOperationsFail(t *testing.T) {
	for n, more := 0, true; more; n++ {
		r := newRig(t)
		blocks, m := r.put("a", 1, 40)
		r.register("a", m, nil)
		r.putManifest("a", "old", blocks[:10])
		r.putManifest("a", "gone", blocks[:10])
		r.faults.FailAt(n, n%2 == 1, vfstest.Op.Changes, syscall.EIO)
		_, put := r.store.PutManifest(r.ctx(), "a", Manifest{Name: "old"}, hashes(blocks[10:]), nil)
		removed := r.store.RemoveManifest(r.ctx(), "a", "gone")
		for what, err := range map[string]error{"put": put, "remove": removed} {
			var about *shard.Error
			if err != nil && !errors.As(err, &about) {
				t.Errorf("operation %d: %s: %v is not typed", n, what, err)
			}
		}
		more = r.faults.Disarm() > n
		if !more && (put != nil || removed != nil) {
			t.Errorf("without a fault: %v, %v", put, removed)
		}
		r.crash([]int{0, 50, 100}[n%3], uint64(n))
		all, err := r.members("a", "old")
		was, is := slices.Equal(all, sortedHashes(blocks[:10])), slices.Equal(all, sortedHashes(blocks[10:]))
		if err != nil || !was && !is || put == nil && !is {
			t.Errorf("operation %d: %d members, %v; put: %v", n, len(all), err, put)
		}
		all, err = r.members("a", "gone")
		if errors.Is(err, ErrNoManifest) != (len(all) == 0) || removed == nil && err == nil {
			t.Errorf("operation %d: %d members, %v; removed: %v", n, len(all), err, removed)
		}
		r.gc()
		r.agree()
		if want := len(r.manifests("a")); len(r.setFiles()) != want {
			t.Errorf("operation %d: %d files for %d manifests", n, len(r.setFiles()), want)
		}
		r.store.Close()
		if !more && n < 5 {
			t.Errorf("%d operations", n)
		}
	}
}

// A crash in the middle of a destroy or a replace leaves no manifest of what is gone.
func TestManifestCrashes(t *testing.T) {
	for percent := 0; percent <= 100; percent += 50 {
		r := newRig(t)
		blocks, m := r.put("a", 1, 40)
		_, other := r.put("other", 2, 40)
		for i := range 6 {
			key := shard.Key(fmt.Sprint(i))
			r.register(key, m, nil)
			r.putManifest(key, "n", blocks[:10])
			if i%2 == 0 {
				if err := r.store.Destroy(r.ctx(), key, nil); err != nil {
					t.Fatal(err)
				}
			} else if err := r.store.Replace(r.ctx(), key, other, nil); err != nil {
				t.Fatal(err)
			}
			r.crash(percent, uint64(i))
			if err := second(r.members(key, "n")); !errors.Is(err, ErrNoManifest) && !errors.Is(err, shard.ErrUnknown) {
				t.Errorf("%q: %v", key, err)
			}
		}
		r.gc()
		if files := r.setFiles(); len(files) != 0 {
			t.Errorf("files: %q", files)
		}
		r.agree()
	}
}
