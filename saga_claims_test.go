package dagstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/shard"
)

// sagaSets is how many manifests a shard may have in a saga.
const sagaSets = 2

var setNames = [sagaSets]string{"first", "second"}

// A set is the members of a manifest, sorted; nil if there is none.
type set []string

func sameSets(a, b [sagaSets]set) bool {
	for i := range a {
		if (a[i] == nil) != (b[i] == nil) || !slices.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// putSet puts a manifest, for the CAR that the shard is believed to have.
func (w *saga) putSet(ctx context.Context, s step) error {
	content, _ := w.put(s, w.known[s.Key].car)
	members := func(yield func(multihash.Multihash, error) bool) {
		for _, mh := range content {
			if !yield(multihash.Multihash(mh), nil) {
				return
			}
		}
	}
	m, err := w.store.PutManifest(ctx, keyOf(s.Key), Manifest{Name: setNames[s.set()], Version: s.Seed}, members, &ManifestOptions{Loose: s.loose()})
	if err == nil && (m.Count != int64(len(content)) || m.Version != s.Seed) {
		return fmt.Errorf("put as %+v", m)
	}
	return err
}

// setsOf reads the manifests of a shard.
func (w *saga) setsOf(key int, in *shard.Info) (sets [sagaSets]set, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), sagaPatience)
	defer cancel()
	for m, err := range w.store.Manifests(ctx, keyOf(key)) {
		if in == nil && errors.Is(err, shard.ErrUnknown) {
			return sets, nil
		}
		if err != nil {
			return sets, fmt.Errorf("manifests of %v: %w", keyOf(key), err)
		}
		i := slices.Index(setNames[:], m.Name)
		if i < 0 {
			return sets, fmt.Errorf("manifest %q of %v", m.Name, keyOf(key))
		}
		sets[i] = set{}
		for mh, err := range w.store.Members(ctx, keyOf(key), m.Name) {
			if err != nil {
				return sets, fmt.Errorf("members of %q of %v: %w", m.Name, keyOf(key), err)
			}
			sets[i] = append(sets[i], string(mh))
		}
		slices.Sort(sets[i])
		if int64(len(sets[i])) != m.Count {
			return sets, fmt.Errorf("%q of %v has %d members and says %d", m.Name, keyOf(key), len(sets[i]), m.Count)
		}
	}
	return sets, nil
}

// confirmed brings all sources up and waits until no index is believed that was
// only adopted. From then on nothing that such an index has hidden is missed.
func (w *saga) confirmed() error {
	if err := w.settle(); err != nil {
		return err
	}
	for i := range w.down {
		w.down[i].Store(false)
		w.shy[i].Store(false)
	}
	if err := w.reopen(w.disk); err != nil {
		return err
	}
	if err := w.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), sagaPatience)
	defer cancel()
	for key, k := range w.known {
		for k.state == shard.Available && k.policy == Adopt {
			in, err := w.store.Info(ctx, keyOf(key))
			if err != nil {
				return fmt.Errorf("the index of %v is not confirmed: %w; %+v", keyOf(key), err, w.store.engine.Stats().Copies)
			}
			if !in.Claimed {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	return w.check()
}

// settle waits until no work is under way, before it finds another world.
func (w *saga) settle() error {
	for key := range w.known {
		if err := w.looks(key, []known{w.known[key]}); err != nil {
			return err
		}
	}
	return nil
}
