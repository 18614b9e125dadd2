package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	carv2 "github.com/ipld/go-car/v2"
)

// readAll returns the roots and blocks that go-car reads before the first
// error, and that error unless it is the end.
func readAll(r io.Reader) ([]cid.Cid, []blocks.Block, error) {
	reader, err := carv2.NewBlockReader(r, carv2.ZeroLengthSectionAsEOF(true))
	if err != nil {
		return nil, nil, err
	}
	var all []blocks.Block
	for {
		b, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return reader.Roots, all, nil
		}
		if err != nil {
			return reader.Roots, all, err
		}
		all = append(all, b)
	}
}

// TestReadRealCARs reads blocks and DAGs of real CARs by the commands and
// holds them against what go-car reads in the files. Where the files are not
// at hand it reads one of its own, and says so.
func TestReadRealCARs(t *testing.T) {
	r := newReading(t)
	paths, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "cars", "*.car"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Log("no CARs in ../shared/cars: a made one is read instead")
		path := filepath.Join(t.TempDir(), "own.car")
		if err := os.WriteFile(path, carOf("one", "two", "three"), 0o666); err != nil {
			t.Fatal(err)
		}
		paths = []string{path}
	}
	r.run(append([]string{"add"}, paths...)...) // the bad ones are refused
	read := 0
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		roots, all, err := readAll(f)
		f.Close()
		if err != nil || len(all) == 0 {
			continue // a bad one, or nothing to read
		}
		read++
		// Opening a store takes longer than reading a block: the gateway's
		// test asks for them all.
		for _, b := range []blocks.Block{all[0], all[len(all)/2], all[len(all)-1]} {
			if got := r.must("block", "get", b.Cid().String()); got != string(b.RawData()) {
				t.Errorf("%s: block get %s: %d bytes, want %d", path, b.Cid(), len(got), len(b.RawData()))
			}
		}
		r.exportRoot(path, roots[0])
	}
	if read == 0 {
		t.Error("no CAR was read")
	}
}

// exportRoot wants the DAG of root as a CAR that go-car reads, or, since some
// of these CARs are parts of a DAG, exit code 1 or 3 and the reason.
func (r *reading) exportRoot(path string, root cid.Cid) {
	r.t.Helper()
	code, stdout, stderr := r.run("dag", "export", root.String())
	switch code {
	case exitOK:
		roots, all, err := readAll(strings.NewReader(stdout))
		if err != nil || len(roots) != 1 || !roots[0].Equals(root) || len(all) == 0 {
			r.t.Errorf("%s: dag export: go-car reads roots %v, %d blocks, %v", path, roots, len(all), err)
		}
	case exitFailed, exitNotFound:
		if !strings.Contains(stderr, "no shard") {
			r.t.Errorf("%s: dag export: %d, %s", path, code, stderr)
		}
	default:
		r.t.Errorf("%s: dag export: exit code %d: %s", path, code, stderr)
	}
}
