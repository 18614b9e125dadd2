package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	exitPartial = 4               // of dagstore: some items failed, the rest is done
	otherTree   = "simple-unixfs" // a CAR of go-car's test data: a/1/A.txt and so on
	patience    = 30 * time.Second
)

// run does all of it and leaves nothing behind.
func (d *demo) run(ctx context.Context) (err error) {
	if d.dagstore, err = filepath.Abs(d.dagstore); err != nil {
		return err
	}
	if d.folder, err = os.MkdirTemp("", "dagstore-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.folder)) }()
	if err := d.packAll(ctx); err != nil {
		return quietly(ctx, err)
	}
	if err := d.addAll(ctx); err != nil {
		return quietly(ctx, err)
	}
	return quietly(ctx, d.serve(ctx))
}

// quietly is err, unless the person ended the demo.
func quietly(ctx context.Context, err error) error {
	if err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// packAll makes the CARs.
func (d *demo) packAll(ctx context.Context) (err error) {
	tree := os.DirFS(d.project)
	made := filepath.Join(d.folder, "cars")
	if err := os.Mkdir(made, 0o777); err != nil {
		return err
	}
	if d.docs, err = pack(ctx, tree, filepath.Join(made, "docs.car"), isDocument); err != nil {
		return err
	}
	if d.code, err = pack(ctx, tree, filepath.Join(made, "sources.car"), isSource); err != nil {
		return err
	}
	for _, p := range []packed{d.docs, d.code} {
		d.say("Packed %d files into %s: %d blocks, root %v", len(p.files), p.file, p.blocks, p.root)
	}
	return nil
}

// addAll makes the store.
func (d *demo) addAll(ctx context.Context) error {
	args := []string{"--repo", d.store(), "add", filepath.Join(d.folder, "cars")}
	if _, err := os.Stat(d.cars); err == nil {
		args = append(args, d.cars)
		d.say("\nAdding these and the CARs in %s. Some of those are broken, on purpose:", d.cars)
	} else {
		d.say("\nAdding these (%s, with more CARs, is not there):", d.cars)
	}
	if err := d.dagstoreRuns(ctx, d.out, args...); err != nil {
		return err
	}
	return d.lookAround(ctx)
}

// lookAround finds the CAR with a small tree in it among those that were not
// made here.
func (d *demo) lookAround(ctx context.Context) error {
	var listed bytes.Buffer
	if err := d.dagstoreRuns(ctx, &listed, "--repo", d.store(), "ls", "--json", otherTree); err != nil {
		return err
	}
	var shard struct {
		Key, Status string
		Roots       []string
	}
	if err := json.NewDecoder(&listed).Decode(&shard); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return err
	}
	if shard.Key == otherTree && shard.Status == "ready" && len(shard.Roots) == 1 {
		d.others = shard.Roots[0]
	}
	return nil
}

func (d *demo) store() string { return filepath.Join(d.folder, "store") }

// dagstoreRuns runs dagstore. That some CARs were refused is no failure.
func (d *demo) dagstoreRuns(ctx context.Context, out io.Writer, args ...string) error {
	cmd := command(ctx, d.dagstore, args...)
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == exitPartial {
		return nil
	}
	if err != nil {
		return fmt.Errorf("dagstore %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// command is a command that is asked to stop, and not killed, when ctx ends.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = patience
	return cmd
}

// serve serves the store until ctx ends, or the checks are done.
func (d *demo) serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	cmd := command(ctx, d.dagstore, "--repo", d.store(), "serve", "--metrics", "none",
		"--listen", freeAddress(ctx, d.listen), "--admin", freeAddress(ctx, d.admin))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(stderr)
	for d.url == "" && lines.Scan() {
		if _, url, ok := strings.Cut(lines.Text(), "serving "); ok {
			d.url = strings.TrimSuffix(url, "/")
		}
	}
	if d.url != "" {
		err = d.askLink(ctx)
	}
	said := make(chan struct{}) // read on, or the server would wait for its reader
	go func() {
		defer close(said)
		for lines.Scan() {
			d.say("%s", lines.Text())
		}
	}()
	if d.url != "" && err == nil {
		err = d.show(ctx)
	}
	if d.once || err != nil {
		stop()
	}
	<-said
	if exit := cmd.Wait(); exit != nil && !errors.Is(exit, context.Canceled) {
		return errors.Join(err, fmt.Errorf("the server did not stop cleanly: %w", exit))
	}
	return err
}

// askLink asks the server for a link to its page, which is good once.
func (d *demo) askLink(ctx context.Context) error {
	out, err := command(ctx, d.dagstore, "--repo", d.store(), "ui").Output()
	d.page = strings.TrimSpace(string(out))
	if err != nil {
		return fmt.Errorf("dagstore ui: %w", err)
	}
	return nil
}

// freeAddress is the address to serve at: the one wanted, or one that the
// system chooses where that is used.
func freeAddress(ctx context.Context, wanted string) string {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", wanted)
	if err != nil {
		return "127.0.0.1:0"
	}
	_ = listener.Close() // it was only a question
	return wanted
}
