package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/catalog"
)

// goalExport is how long "dagstore export" may take, in seconds.
const goalExport = 60

// export1m has the command write the list of a store of many shards: one that
// another process serves and adds to meanwhile, and one that nobody has open. It
// compares the first with the catalogue alone that reads all records.
func export1m(ctx context.Context, e *env) (r result, err error) {
	binary := filepath.Join(e.dir, "dagstore.exe")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/dagstore/dagstore/cmd/dagstore")
	if out, err := build.CombinedOutput(); err != nil {
		return r, fmt.Errorf("building the command: %w\n%s", err, out)
	}
	x := &exporting{binary: binary, dir: e.fresh(), list: filepath.Join(e.dir, "export.ndjson")}
	if err := fill(ctx, x.dir, e.scale.start, catalog.NoIntent); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(x.dir)) }()
	quiet, limit, err := pairs(ctx, min(3, e.scale.rounds),
		func() (float64, error) { return x.export(ctx) },
		func() (float64, error) { return readRecords(ctx, x.dir, e.scale.start) })
	if err != nil {
		return r, err
	}
	busy, added, err := x.underLoad(ctx)
	if err != nil {
		return r, err
	}
	r = compared(busy, limit, "s")
	r.goal, r.held = fmt.Sprintf("≤ %d s", goalExport), busy <= goalExport
	r.note = fmt.Sprintf("N = %d, %.0f MB, by another process than the one that serves the store and records %.0f CARs a second meanwhile; %.1f s with the store to itself",
		e.scale.start, float64(x.size)/1e6, added/busy, quiet)
	return r, nil
}

// exporting is a store that is exported by the command.
type exporting struct {
	binary, dir, list string
	size              int64 // of the list
}

// export returns the seconds that the command takes, its start included.
func (x *exporting) export(ctx context.Context) (seconds float64, err error) {
	began := time.Now()
	out, err := exec.CommandContext(ctx, x.binary, "--repo", x.dir, "export", "-o", x.list).CombinedOutput()
	seconds = time.Since(began).Seconds()
	if err != nil {
		return 0, fmt.Errorf("export: %w\n%s", err, out)
	}
	info, err := os.Stat(x.list)
	if err == nil {
		x.size = info.Size()
	}
	return seconds, errors.Join(err, os.Remove(x.list))
}

// underLoad is export while the store is served and a third process has CARs
// recorded in it, of which it returns the number.
func (x *exporting) underLoad(parent context.Context) (seconds, added float64, err error) {
	ctx, stop := context.WithCancel(parent)
	defer stop()
	serve := exec.CommandContext(ctx, x.binary, "--repo", x.dir, "serve", "--listen", "127.0.0.1:0", "--admin", "none")
	serve.Cancel = func() error { return serve.Process.Signal(os.Interrupt) }
	said, err := serve.StderrPipe()
	if err != nil {
		return 0, 0, err
	}
	if err := serve.Start(); err != nil {
		return 0, 0, err
	}
	lines := bufio.NewScanner(said)
	for lines.Scan() && !strings.Contains(lines.Text(), "serving http") {
	}
	go func() {
		for lines.Scan() { // so that it is never held up by what it says
		}
	}()
	var line atomic.Int64
	add := exec.CommandContext(ctx, x.binary, "--repo", x.dir, "add", "--lazy", "--from", "-")
	add.Stdin = readerFunc(func(p []byte) (int, error) {
		return copy(p, fmt.Appendf(nil, "{\"key\":\"load/%d\",\"mount\":\"file://%s\"}\n", line.Add(1), filepath.ToSlash(x.binary))), ctx.Err()
	})
	adding := make(chan error, 1)
	go func() { adding <- add.Run() }()
	for line.Load() < 100 && ctx.Err() == nil { // it has begun
		select {
		case err := <-adding:
			return 0, 0, fmt.Errorf("add: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	before := line.Load()
	seconds, err = x.export(ctx)
	added = float64(line.Load() - before)
	stop()
	if cut := <-adding; err == nil && cut == nil {
		err = errors.New("add: it came to an end before it was cut off")
	}
	if waited := serve.Wait(); err == nil && !errors.Is(waited, context.Canceled) { // that it was told to end
		err = fmt.Errorf("serve: %w", waited)
	}
	return seconds, added, err
}

// A readerFunc is a reader.
type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// readRecords is the seconds in which the catalogue alone reads all records.
func readRecords(ctx context.Context, dir string, n int) (seconds float64, err error) {
	began := time.Now()
	c, err := catalog.Open(ctx, catalog.Config{Dir: filepath.Join(dir, catalogFolder)})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	read := 0
	for _, err := range c.Records(ctx, catalog.Filter{}) {
		if err != nil {
			return 0, err
		}
		read++
	}
	if read != n {
		return 0, fmt.Errorf("%d records instead of %d", read, n)
	}
	return time.Since(began).Seconds(), nil
}

// backup1m makes backups of a store of many shards that is in use, and compares
// that with copying the folder of a store that is not, as "cp -r" would, each file
// synced.
func backup1m(ctx context.Context, e *env) (r result, err error) {
	dir := e.fresh()
	if err := fill(ctx, dir, e.scale.start, catalog.NoIntent); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	aside := e.fresh()
	var report dagstore.BackupReport
	backup := func() (seconds float64, err error) {
		s, err := dagstore.Open(ctx, dir, &dagstore.Config{NoCreate: true})
		if err != nil {
			return 0, err
		}
		began := time.Now()
		report, err = s.Backup(ctx, aside, nil)
		seconds = time.Since(began).Seconds()
		return seconds, errors.Join(err, s.Close(), os.RemoveAll(aside))
	}
	copied := func() (seconds float64, err error) {
		began := time.Now()
		err = copySynced(aside, dir)
		seconds = time.Since(began).Seconds()
		return seconds, errors.Join(err, os.RemoveAll(aside))
	}
	figure, limit, err := pairs(ctx, min(3, e.scale.rounds), backup, copied)
	if err != nil {
		return r, err
	}
	r = compared(figure, limit, "s")
	r.goal, r.held = "reported", true
	r.note = fmt.Sprintf("N = %d lazy shards; %d files linked besides the catalogue", e.scale.start, report.Linked)
	return r, nil
}

// copySynced copies a folder and syncs each file.
func copySynced(to, from string) error {
	return filepath.WalkDir(from, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		src, err := os.Open(path)
		if err != nil {
			return err
		}
		dst, err := os.Create(filepath.Join(to, rel))
		if err != nil {
			return errors.Join(err, src.Close())
		}
		_, err = io.Copy(dst, src)
		return errors.Join(err, dst.Sync(), dst.Close(), src.Close())
	})
}
