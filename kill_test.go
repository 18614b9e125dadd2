package dagstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// The environment of a child, see [child].
const (
	childDir  = "DAGSTORE_TEST_CHILD"
	childSeed = "DAGSTORE_TEST_CHILD_SEED"
)

const (
	childCARs    = 30 // files that the shards of a child lie in
	childWorkers = 4  // each with keys of its own
	childKeys    = 6  // for each worker
	childBlocks  = 40
)

func childCAR(dir string, i int) string { return filepath.Join(dir, fmt.Sprint(i, ".car")) }

// child is what the test binary does when it is started by [TestKill]: it opens
// the store in a folder and changes it until it is killed. It writes a line
// before each change and a line after it.
func child(dir string) error {
	ctx := context.Background()
	s, err := Open(ctx, filepath.Join(dir, "store"), childConfig())
	if err != nil {
		return err
	}
	var seed uint64
	if _, err := fmt.Sscan(os.Getenv(childSeed), &seed); err != nil {
		return err
	}
	fmt.Println("ready")
	failed := make(chan error)
	for w := range childWorkers {
		go func() { failed <- works(ctx, s, dir, w, seed) }()
	}
	return <-failed
}

// childConfig has room for copies of some of the shards of a child.
func childConfig() *Config { return &Config{Copies: Copies{Quota: 10 * 8192}} }

// accounted waits until the figures of copies are those of the disk, and no
// copies are left but those that records name.
func accounted(ctx context.Context, s *Store, dir string) error {
	for {
		sum, files := copyBytes(vfs.Default, dir)
		st := s.Stats()
		if st.CopyBytes == sum && st.Copies == files && sum <= st.Quota {
			return nil
		}
		if err := pause(ctx); err != nil {
			return fmt.Errorf("%d copies have %d bytes on disk; the figures are %d and %d of %d", files, sum, st.Copies, st.CopyBytes, st.Quota)
		}
	}
}

// works changes the keys of one worker, for ever.
func works(ctx context.Context, s *Store, dir string, w int, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, uint64(w)))
	for {
		key := shard.Key(fmt.Sprint(w, "/", rng.IntN(childKeys)))
		n := rng.IntN(childCARs)
		m, err := filemount.New(childCAR(dir, n))
		if err != nil {
			return err
		}
		opts := &RegisterOptions{Labels: map[string]string{"car": fmt.Sprint(n)}, Lazy: rng.IntN(3) == 0}
		if rng.IntN(2) == 0 {
			opts.Serve = shard.Copy
		}
		what := []string{"register", "register", "replace", "destroy", "acquire"}[rng.IntN(5)]
		if rng.IntN(10) == 0 {
			if err := s.Evict(ctx, key, nil); err != nil && !errors.Is(err, shard.ErrUnknown) && !errors.Is(err, shard.ErrHeld) {
				return fmt.Errorf("%s evict: %w", key, err)
			}
		}
		fmt.Printf("try %s %s %d\n", key, what, n) // one write: lines of several workers do not mix
		switch what {
		case "register":
			err = s.Register(ctx, key, m, opts)
		case "replace":
			err = s.Replace(ctx, key, m, opts)
		case "destroy":
			err = s.Destroy(ctx, key, nil)
		case "acquire":
			var a *Accessor
			if a, err = s.Acquire(ctx, key, nil); err == nil {
				n = carOf(a.hold.Record().Labels)
				_, err = a.Blockstore().Get(ctx, cartest.RandomBlock(uint64(n), 0, 100).CID)
				a.Close()
			}
		}
		switch {
		case err == nil:
			fmt.Printf("did %s %s %d\n", key, what, n)
		case errors.Is(err, shard.ErrUnknown), errors.Is(err, shard.ErrExists), errors.Is(err, shard.ErrKeyUsed), errors.Is(err, shard.ErrHeld):
			fmt.Printf("not %s %s %d\n", key, what, n)
		default:
			return fmt.Errorf("%s %s: %w", what, key, err)
		}
	}
}

// carOf tells from the labels of a shard in which CAR it lies; -1 if they do not.
func carOf(labels map[string]string) int {
	n := -1
	_, _ = fmt.Sscan(labels["car"], &n) // -1 stays
	return n
}

// absent is the CAR of a shard that is not there.
const absent = -1

// promises are, for each key, the CARs in which it may lie.
type promises map[shard.Key][]int

func (p promises) of(key shard.Key) []int {
	if have, ok := p[key]; ok {
		return have
	}
	return []int{absent}
}

// line takes in what a child says.
func (p promises) line(text string) error {
	var said, what string
	var key shard.Key
	var n int
	if _, err := fmt.Sscanf(text, "%s %s %s %d", &said, &key, &what, &n); err != nil {
		return fmt.Errorf("the child says %q: %w", text, err)
	}
	if what == "destroy" {
		n = absent
	}
	switch {
	case what == "acquire" && said == "did" && !slices.Contains(p.of(key), n):
		return fmt.Errorf("%s is served from CAR %d, may be in %v", key, n, p.of(key))
	case what == "acquire":
	case said == "try":
		p[key] = append(slices.Clone(p.of(key)), n)
	case said == "did":
		p[key] = []int{n}
	case said == "not": // refused: as it was before
		p[key] = p.of(key)[:len(p.of(key))-1]
	default:
		return fmt.Errorf("the child says %q", text)
	}
	return nil
}

// A process under load is killed at any moment, again and again: what it has
// acknowledged is there, and the next one is ready at once.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	for i := range childCARs {
		if err := os.WriteFile(childCAR(dir, i), cartest.RandomV1(uint64(i), childBlocks, 100), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	seed := longtest.Seed()
	rng := rand.New(rand.NewPCG(seed, 0))
	kills := longtest.Runs(10, 200)
	known := promises{}
	var acknowledged int
	var ready []time.Duration
	for i := range kills {
		life := time.Duration(rng.Int64N(int64(250 * time.Millisecond)))
		lines, err := killed(dir, seed+uint64(i), life, i%5 == 4)
		if err != nil {
			t.Fatalf("kill %d: %v", i, err)
		}
		for _, text := range lines {
			if err := known.line(text); err != nil {
				t.Fatalf("kill %d: %v", i, err)
			}
			if strings.HasPrefix(text, "did ") {
				acknowledged++
			}
		}
		took, err := known.hold(t.Context(), dir)
		if err != nil {
			t.Fatalf("kill %d of the run from seed %d, after %v: %v", i, seed, life, err)
		}
		ready = append(ready, took)
	}
	slices.Sort(ready)
	longtest.Figure(t, "%d kills from seed %d, %d changes acknowledged, none lost; ready in %v (median), %v (longest)",
		kills, seed, acknowledged, ready[len(ready)/2], ready[len(ready)-1])
}

// killed starts a child, kills it when it has worked for a while, or early,
// when it may still be opening the store, and returns what it said.
func killed(dir string, seed uint64, life time.Duration, early bool) (lines []string, err error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childSeed, seed))
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	kill := func() { _ = cmd.Process.Kill() } // that it is dead already, its complaint tells
	if early {
		defer time.AfterFunc(life/4, kill).Stop()
	}
	said := bufio.NewScanner(out)
	for said.Scan() {
		if said.Text() == "ready" {
			defer time.AfterFunc(life, kill).Stop()
			continue
		}
		lines = append(lines, said.Text())
	}
	_ = cmd.Wait() // it was killed
	if complaint.Len() > 0 {
		return nil, fmt.Errorf("the child: %s", &complaint)
	}
	return lines, said.Err()
}

// hold starts the store that a child has left and holds it against what was
// acknowledged. It returns how long it took until a shard was served, and
// remembers what it has found.
func (p promises) hold(ctx context.Context, dir string) (ready time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begun := time.Now()
	s, err := Open(ctx, filepath.Join(dir, "store"), childConfig())
	if err != nil {
		return 0, err
	}
	defer func() {
		if err == nil {
			err = accounted(ctx, s, filepath.Join(dir, "store", "copies"))
		}
		err = errors.Join(err, s.Close())
	}()
	ready = time.Since(begun)
	reached := false
	for key := range p {
		in, err := s.Info(ctx, key)
		n := absent
		switch {
		case errors.Is(err, shard.ErrUnknown):
		case err != nil:
			return 0, err
		default:
			n = carOf(in.Labels)
		}
		if !slices.Contains(p.of(key), n) {
			return 0, fmt.Errorf("%q lies in CAR %d, may be in %v", key, n, p.of(key))
		}
		p[key] = []int{n}
		if n == absent {
			continue
		}
		if err := served(ctx, s, key, n); err != nil {
			return 0, err
		}
		if !reached {
			reached, ready = true, time.Since(begun)
		}
	}
	return ready, nil
}

// served reads a whole shard.
func served(ctx context.Context, s *Store, key shard.Key, n int) error {
	a, err := s.Acquire(ctx, key, nil)
	if err != nil {
		return err
	}
	defer a.Close()
	for i := range childBlocks {
		if _, err := a.Blockstore().Get(ctx, cartest.RandomBlock(uint64(n), i, 100).CID); err != nil {
			return fmt.Errorf("%q, block %d of CAR %d: %w", key, i, n, err)
		}
	}
	return nil
}
