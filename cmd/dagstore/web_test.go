package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/servertest"
)

// TestWeb: CARs behind a real HTTP server are added, by URL and by a list that
// lies there, and read where they lie.
func TestWeb(t *testing.T) {
	dir := t.TempDir()
	writeCAR(t, dir, "one.car", "the first")
	writeCAR(t, dir, "two.car", "the second")
	server := servertest.StartNginx(t, dir)
	list := server.URL + "/two.car\n" + `{"key":"again","mount":"` + server.URL + `/one.car","labels":{"a":"b"}}` + "\n"
	if err := os.WriteFile(filepath.Join(dir, "list.ndjson"), []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	r := newReading(t)
	run := func(args ...string) string {
		t.Helper()
		code, out, errs := r.run(args...)
		if code != 0 {
			t.Fatalf("%q: %d, %s", args, code, errs)
		}
		return out
	}
	out := run("add", "-j", "1", server.URL+"/one.car", server.URL+"/list.ndjson")
	for _, line := range []string{"ready      one ", "ready      two ", "ready      again "} {
		if !strings.Contains(out, line) {
			t.Errorf("%q is not said in:\n%s", line, out)
		}
	}
	before := len(server.Requests(t, 1))
	cid := cartest.Raw([]byte("the second")).CID.String()
	if got := run("block", "get", cid); got != "the second" {
		t.Errorf("the block is %q", got)
	}
	// One request says whether it is still the CAR that was indexed, one brings the block.
	head := len(carOf("the second")) - len("the second")
	for _, q := range server.Requests(t, before+2)[before:] {
		if q.Method != http.MethodHead && (q.Status != 206 || q.Bytes >= int64(head+len("the second"))) {
			t.Errorf("to read a block: %+v", q)
		}
	}
	if n := len(server.Requests(t, before+2)) - before; n != 2 {
		t.Errorf("it took %d requests, want 2", n)
	}
	var found struct{ Shard string }
	if err := json.Unmarshal([]byte(run("find", "--json", cid)), &found); err != nil || found.Shard != "two" {
		t.Errorf("found %+v, %v", found, err)
	}
}

// TestWebCopies: a CAR behind a server is kept here as the command line says,
// and given back.
func TestWebCopies(t *testing.T) {
	dir := t.TempDir()
	writeCAR(t, dir, "one.car", "the first")
	server := servertest.StartNginx(t, dir)
	r := newReading(t)
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := r.run(args...)
		if code != want {
			t.Fatalf("%q: %d, %s", args, code, errs)
		}
		return out + errs
	}
	type object struct {
		Serve    string
		Local    int64
		Pinned   bool
		LastCopy bool `json:"last_copy"`
	}
	is := func(want object) {
		t.Helper()
		var got object
		if err := json.Unmarshal([]byte(run(exitOK, "ls", "--json", "one")), &got); err != nil || got != want {
			t.Errorf("it is %+v, %v; want %+v", got, err, want)
		}
	}
	cid := cartest.Raw([]byte("the first")).CID.String()
	size := int64(len(carOf("the first")))
	run(exitOK, "add", "--serve", "copy", server.URL+"/one.car")
	is(object{Serve: "copy", Local: size})
	before := len(server.Requests(t, 1))
	if got := run(exitOK, "block", "get", cid); got != "the first" {
		t.Errorf("the block is %q", got)
	}
	if n := len(server.Requests(t, before)) - before; n != 0 {
		t.Errorf("a block of a copy took %d requests", n)
	}
	run(exitOK, "pin", "one")
	is(object{Serve: "copy", Local: size, Pinned: true})
	run(exitOK, "unpin", "one")
	run(exitOK, "evict", "one")
	is(object{Serve: "copy"})
	run(exitOK, "evict", "one")
	run(exitOK, "block", "get", cid) // which makes it anew
	is(object{Serve: "copy", Local: size})

	// Its source has answered a moment ago, so this is not taken for the last copy.
	if err := os.Remove(filepath.Join(dir, "one.car")); err != nil {
		t.Fatal(err)
	}
	run(exitOK, "block", "get", cid)
	run(exitOK, "evict", "--last-copy", "one")
	is(object{Serve: "copy"})
	run(exitFailed, "block", "get", cid)

	// No copies, and sizes that are none.
	run(exitUsage, "ls", "--quota", "much")
	run(exitUsage, "add", "--serve", "somehow", server.URL+"/one.car")
	run(exitOK, "ls", "--quota", "0")
	run(exitOK, "rm", "one")
	writeCAR(t, dir, "one.car", "the first")
	run(exitOK, "add", "--serve", "inplace", server.URL+"/one.car")
	is(object{Serve: "inplace"})

	// What was read once is read here.
	run(exitOK, "rm", "one")
	run(exitOK, "add", "--serve", "sparse", server.URL+"/one.car")
	run(exitOK, "block", "get", cid)
	before = len(server.Requests(t, 1))
	if got := run(exitOK, "block", "get", cid); got != "the first" {
		t.Errorf("the block is %q", got)
	}
	for _, q := range server.Requests(t, before+1)[before:] {
		if q.Method != http.MethodHead {
			t.Errorf("what is kept was asked for again: %+v", q)
		}
	}
}
