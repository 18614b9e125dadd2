package dagstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// refused checks that a call was refused with an error that says what it is
// about, that it left nothing behind, and that the store takes the next shard.
func (r *rig) refused(key shard.Key, err, want error) {
	r.t.Helper()
	var about *shard.Error
	if !errors.Is(err, want) || !errors.As(err, &about) || about.Key != key || about.Op != shard.OpRegister {
		r.t.Errorf("register %q: %.200v, not %v", key, err, want)
	}
	if _, err := r.store.Info(r.ctx(), key); !errors.Is(err, shard.ErrUnknown) {
		r.t.Errorf("info of what was refused: %v", err)
	}
	blocks, m := r.put("next.car", 99, 5)
	r.register("next", m, nil)
	r.has(blocks)
	if err := r.store.Destroy(r.ctx(), "next", nil); err != nil {
		r.t.Errorf("destroy of the next: %v", err)
	}
}

// What is too large for a record is refused alone: in a batch it would break
// the commit, and with it the store.
func TestOversizedLabelsAreRefused(t *testing.T) {
	many := map[string]string{}
	for i := range 50_000 {
		many[fmt.Sprint("label ", i)] = "value"
	}
	r := newRig(t)
	_, m := r.put("a.car", 1, 5)
	for name, labels := range map[string]map[string]string{
		"long value": {"x": strings.Repeat("y", 2<<20)},
		"long name":  {strings.Repeat("x", 2<<20): "y"},
		"many":       many,
		"one byte":   {"x": strings.Repeat("y", catalog.MaxGiven)}, // and the rest of the record
	} {
		for _, lazy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, lazy %v", name, lazy), func(t *testing.T) {
				err := r.store.Register(r.ctx(), "big", m, &RegisterOptions{Labels: labels, Lazy: lazy})
				r.refused("big", err, catalog.ErrInvalid)
			})
		}
	}
	large := map[string]string{"x": strings.Repeat("y", catalog.MaxGiven-1000)}
	r.register("large", m, &RegisterOptions{Labels: large})
	r.reopen()
	if in := r.info("large"); in.State != shard.Available || in.Labels["x"] != large["x"] {
		t.Errorf("large labels that fit: %v, %d bytes", in.State, len(in.Labels["x"]))
	}
}

// A mount that is none, or that a restart could not make again, is refused
// while its caller is there to hear of it.
func TestMountThatCannotComeBack(t *testing.T) {
	r := newRig(t)
	r.cfg.Mounts["none"] = func(string) (mount.Mount, error) { return nil, nil }
	r.cfg.Mounts["other"] = func(string) (mount.Mount, error) { return r.cars.Open("mem:a.car") }
	r.cfg.Mounts["never"] = func(string) (mount.Mount, error) { return nil, mount.ErrURL }
	r.reopen()
	_, m := r.put("a.car", 1, 5)
	r.refused("a", r.store.Register(r.ctx(), "a", nil, nil), mount.ErrURL)
	if err := r.store.RegisterShard(r.ctx(), "a", nil, nil, nil); !errors.Is(err, mount.ErrURL) {
		t.Errorf("register without waiting: %v", err)
	}
	for _, scheme := range []string{"none", "other", "never"} {
		r.refused("a", r.store.Register(r.ctx(), "a", elsewhere{m, scheme + ":a.car"}, nil), mount.ErrURL)
	}
}

// elsewhere is a mount that calls itself something else.
type elsewhere struct {
	mount.Mount
	url string
}

func (m elsewhere) URL() string { return m.url }

// A version comes from the source, which may be hostile: one that is too long
// to be remembered fails the shard, and not the batch that it would be in.
func TestVersionOfASourceIsBounded(t *testing.T) {
	const most = 4 << 10
	r := newRig(t)
	var version atomic.Value
	version.Store("")
	r.mounts(func(m mount.Mount) mount.Mount { return versioned{m.(mount.FileOpener), &version} })
	r.reopen()
	blocks, m := r.put("a.car", 1, 20)
	for _, n := range []int{most + 1, 2 << 20} {
		version.Store(strings.Repeat("v", n))
		key := shard.Key(fmt.Sprint(n))
		err := r.store.Register(r.ctx(), key, m, nil)
		var about *shard.Error
		if !errors.Is(err, shard.ErrSource) || !errors.As(err, &about) || about.Key != key {
			t.Errorf("a version of %d bytes: %.200v", n, err)
		}
		if in := r.info(key); in.State != shard.Errored || len(in.Failure.Err.Error()) > 1000 {
			t.Errorf("a version of %d bytes: %v", n, in.State)
		}
	}
	r.lacks(blocks)
	version.Store(strings.Repeat("v", most))
	r.register("longest", m, nil)
	r.has(blocks)
	r.reopen()
	r.has(blocks)
	if in := r.info(shard.Key(fmt.Sprint(most + 1))); in.State != shard.Errored {
		t.Errorf("after a restart: %v", in.State)
	}
}

// versioned is a mount that says which version it has.
type versioned struct {
	mount.FileOpener
	version *atomic.Value
}

func (m versioned) Stat(ctx context.Context) (mount.Stat, error) {
	st, err := m.FileOpener.Stat(ctx)
	st.Version = m.version.Load().(string)
	return st, err
}
