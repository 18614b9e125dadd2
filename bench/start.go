package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

const (
	// goalStart is how long a start may take, in seconds.
	goalStart = 0.5

	// victimEnv names the folder of a store that a process of our own makes
	// until it is killed. Behind it stands the number of shards.
	victimEnv   = "DAGSTORE_BENCH_VICTIM"
	victimReady = "ready"

	catalogFolder = "catalog"
	fillBatch     = 5_000
)

// start1m opens a store of many shards that was closed, that was killed, and
// that has everything still to do. The row is the slowest of them.
func start1m(ctx context.Context, e *env) (r result, err error) {
	var notes []string
	for _, kind := range []struct {
		name    string
		prepare func(ctx context.Context, dir string, n int) error
	}{
		{"clean", func(ctx context.Context, dir string, n int) error { return fill(ctx, dir, n, catalog.NoIntent) }},
		{"killed", kill},
		{"intents", func(ctx context.Context, dir string, n int) error { return fill(ctx, dir, n, catalog.Initialize) }},
	} {
		dir := e.fresh()
		if err := kind.prepare(ctx, dir, e.scale.start); err != nil {
			return r, fmt.Errorf("%s: %w", kind.name, err)
		}
		figure, limit, err := pairs(ctx, e.scale.rounds,
			func() (float64, error) { return onCopy(e, dir, startStore) },
			func() (float64, error) { return onCopy(e, dir, startCatalog) })
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			return r, fmt.Errorf("%s: %w", kind.name, err)
		}
		notes = append(notes, fmt.Sprintf("%s %.0f ms (limit %.0f ms)", kind.name, figure*1e3, limit*1e3))
		if figure > r.figure {
			r = compared(figure, limit, "s")
		}
	}
	r.goal, r.held = "≤ 0.5 s each", r.figure <= goalStart
	r.note = fmt.Sprintf("N = %d; the slowest of %s", e.scale.start, strings.Join(notes, ", "))
	return r, nil
}

// onCopy has a copy of a folder started: a start changes what it finds.
func onCopy(e *env, dir string, start func(dir string) (float64, error)) (seconds float64, err error) {
	aside := e.fresh()
	defer func() { err = errors.Join(err, os.RemoveAll(aside)) }()
	if err := os.CopyFS(aside, os.DirFS(dir)); err != nil {
		return 0, err
	}
	return start(aside)
}

// startStore returns the seconds until a store has told about a shard.
func startStore(dir string) (seconds float64, err error) {
	ctx := context.Background()
	began := time.Now()
	s, err := dagstore.Open(ctx, dir, &dagstore.Config{NoCreate: true})
	if err != nil {
		return 0, err
	}
	_, err = s.Info(ctx, fillKey(0))
	seconds = time.Since(began).Seconds()
	return seconds, errors.Join(err, s.Close())
}

// startCatalog is the least of that: the catalogue alone, and one record.
func startCatalog(dir string) (seconds float64, err error) {
	ctx := context.Background()
	began := time.Now()
	c, err := catalog.Open(ctx, catalog.Config{Dir: filepath.Join(dir, catalogFolder)})
	if err != nil {
		return 0, err
	}
	_, err = c.Get(ctx, fillKey(0))
	seconds = time.Since(began).Seconds()
	return seconds, errors.Join(err, c.Close(ctx))
}

// fill makes a store of n shards in dir and closes it.
func fill(ctx context.Context, dir string, n int, intent catalog.Intent) error {
	c, err := create(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(fillCatalog(ctx, c, dir, 0, n, intent), c.Close(ctx))
}

// create makes a store and opens its catalogue, which is filled faster than
// the store would be.
func create(ctx context.Context, dir string) (catalog.Catalog, error) {
	s, err := dagstore.Open(ctx, dir, nil)
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return catalog.Open(ctx, catalog.Config{Dir: filepath.Join(dir, catalogFolder)})
}

// fillCatalog adds the shards from number i to n, as a lazy registration does.
func fillCatalog(ctx context.Context, c catalog.Catalog, dir string, i, n int, intent catalog.Intent) error {
	now := time.Now().UTC()
	for i < n {
		var b catalog.Batch
		for ; i < n && len(b.Puts) < fillBatch; i++ {
			m, err := filemount.New(filepath.Join(dir, "sources", fmt.Sprintf("%09d.car", i)))
			if err != nil {
				return err
			}
			b.Puts = append(b.Puts, catalog.Put{Record: &catalog.Record{
				Key: fillKey(i), Revision: 1, State: shard.Registered, Intent: intent,
				URL: m.URL(), Registered: now, Changed: now,
			}})
		}
		if err := c.Apply(ctx, &b); err != nil {
			return err
		}
	}
	return nil
}

func fillKey(i int) shard.Key { return shard.Key(fmt.Sprintf("folder/shard-%09d", i)) }

// kill has another process make the store, and kills it while it writes.
func kill(ctx context.Context, dir string, n int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), victimEnv+"="+strconv.Itoa(n)+" "+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	ready := err == nil && strings.TrimSpace(line) == victimReady
	killed := cmd.Process.Kill()
	_ = cmd.Wait() // it was killed: that is the error
	if !ready {
		return fmt.Errorf("the process to be killed said %q: %w", line, errors.Join(err, killed, ctx.Err()))
	}
	return killed
}

// victim is the process that kill kills. It goes on writing when it has said
// that all is there.
func victim(order string, stdout io.Writer) error {
	count, dir, _ := strings.Cut(order, " ")
	n, err := strconv.Atoi(count)
	if err != nil {
		return fmt.Errorf("%s: %w", victimEnv, err)
	}
	ctx := context.Background()
	c, err := create(ctx, dir)
	if err != nil {
		return err
	}
	if err := fillCatalog(ctx, c, dir, 0, n, catalog.NoIntent); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(stdout, victimReady); err != nil {
		return err
	}
	// Should nobody kill it, it ends by itself.
	return fillCatalog(ctx, c, dir, n, 2*n, catalog.NoIntent)
}
