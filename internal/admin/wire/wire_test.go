package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/archtest"
	"github.com/dagstore/dagstore/shard"
)

// TestStatuses walks the states: each has exactly one status.
func TestStatuses(t *testing.T) {
	count := make(map[shard.State]int)
	for _, s := range statuses {
		for _, state := range s.states {
			count[state]++
			if got := StatusOf(state); got != s.name {
				t.Errorf("status of %v is %q, want %q", state, got, s.name)
			}
		}
		if states, err := StatesOf(s.name); err != nil || len(states) != len(s.states) {
			t.Errorf("states of %q: %v, %v", s.name, states, err)
		}
	}
	for state := shard.Registered; state <= shard.Gone; state++ {
		if count[state] != 1 {
			t.Errorf("%v is covered by %d statuses, want 1", state, count[state])
		}
	}
	if _, err := StatesOf("fine"); err == nil || !strings.Contains(err.Error(), "ready lazy indexing failed removing") {
		t.Errorf("unknown status: %v, want the list of them", err)
	}
}

// TestDetailBothWays: what a store says of a shard comes through JSON whole.
func TestDetailBothWays(t *testing.T) {
	root := cid.MustParse("bafkqaaa")
	at := time.Date(2026, 11, 30, 1, 2, 3, 4, time.UTC)
	full := shard.Info{
		Key: "a/<b>", State: shard.Errored, URL: "https://a.example/b.car", Labels: map[string]string{"owner": "me"},
		Version: 2, Roots: []cid.Cid{root}, RootCount: 3, Bytes: 9, Source: `"etag"`, Payload: shard.Extent{Offset: 51, Size: 8},
		Sections: 3, Multihashes: 2, Trailing: true, Verified: shard.Sampled, VerifiedAt: at, Claimed: true, Piece: root, PieceChecked: at,
		Holders: 2, Waiting: 1, Local: shard.Local{Chosen: shard.Sparse, Mode: shard.InPlace, Bytes: 7, Complete: true, LastCopy: true, Pinned: true},
		Progress: &shard.Progress{Op: shard.OpIndex, Done: 1, Total: -1, Started: at, Rate: 0.5},
		Failure:  &shard.Failure{Err: &shard.Error{Key: "a/<b>", Op: shard.OpFetch, Err: fmt.Errorf("x: %w", shard.ErrStalled)}, At: at, Attempts: 4},
		Faults:   2, Faulty: []shard.Fault{{Kind: shard.BadHash, Offset: 5, CID: root, Detail: "d"}, {Kind: shard.BadCID, Offset: 6}},
		Registered: at, Changed: at.Add(time.Hour),
	}
	typ := reflect.TypeFor[shard.Info]()
	for i := range typ.NumField() {
		if reflect.ValueOf(full).Field(i).IsZero() {
			t.Fatalf("the test leaves out %s", typ.Field(i).Name)
		}
	}
	for _, info := range []shard.Info{full, {Key: "k", State: shard.Registered, URL: "file:///k.car", Registered: at, Changed: at}} {
		text, err := json.Marshal(DetailOf(info))
		if err != nil {
			t.Fatal(err)
		}
		var d Detail
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		got, err := d.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Failure != nil {
			if got.Failure.Err.Error() != info.Failure.Err.Error() || !errors.Is(got.Failure.Err, shard.ErrStalled) ||
				errors.Is(got.Failure.Err, shard.ErrCAR) || got.Failure.Attempts != 4 || !got.Failure.At.Equal(at) {
				t.Errorf("the failure came as %+v", got.Failure)
			}
			info.Failure, got.Failure = nil, nil
		}
		if !reflect.DeepEqual(got, info) {
			t.Errorf("got  %+v\nwant %+v", got, info)
		}
	}
}

// TestProblemsBothWays: an error that has gone through JSON has its text and
// is what it was.
func TestProblemsBothWays(t *testing.T) {
	names := make(map[string]bool)
	for _, k := range Problems() {
		if names[k.Name] || k.Title == "" || k.Status < 400 || strings.ContainsAny(k.Name, " _/") {
			t.Errorf("%+v: bad or repeated", k)
		}
		names[k.Name] = true
		if k.err == nil {
			continue
		}
		before := &shard.Error{Key: "k", Op: shard.OpPin, Err: fmt.Errorf("doing it: %w", k.err)}
		text, err := json.Marshal(ProblemOf(before))
		if err != nil {
			t.Fatal(err)
		}
		var p Problem
		if err := json.Unmarshal(text, &p); err != nil {
			t.Fatal(err)
		}
		after := p.Err()
		if after.Error() != before.Error() || !errors.Is(after, k.err) || p.Key != "k" || p.Op != "pin" {
			t.Errorf("%s came as %v, %+v", k.Name, after, p)
		}
		if p.Name() != k.Name || p.Status != k.Status {
			t.Errorf("%v is told as %s, %d; want %s, %d", k.err, p.Name(), p.Status, k.Name, k.Status)
		}
	}
	if p := ProblemOf(errors.New("odd")); p.Name() != "internal" || p.Status != http.StatusInternalServerError {
		t.Errorf("an error that nobody knows is told as %+v", p)
	}
	if p := ProblemOf(fmt.Errorf("%w: %w", shard.ErrFailed, shard.ErrStalled)); p.Name() != "source-stalled" || len(p.Causes) != 2 {
		t.Errorf("a failed shard of a stalled source is told as %+v", p)
	}
}

// TestProblemsHaveEverySentinel reads the sources, so that a new sentinel
// without a name fails here.
func TestProblemsHaveEverySentinel(t *testing.T) {
	text, err := os.ReadFile("problem.go")
	if err != nil {
		t.Fatal(err)
	}
	for pkg, dir := range map[string]string{
		"dagstore": "../../..", "shard": "../../../shard", "mount": "../../../mount", "index": "../../../index",
	} {
		sentinels, err := archtest.Sentinels(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range sentinels {
			if !bytes.Contains(text, []byte(", "+pkg+"."+name+"},")) {
				t.Errorf("%s.%s has no name among the problems", pkg, name)
			}
		}
	}
}

func TestStatsBothWays(t *testing.T) {
	in := dagstore.Stats{
		IndexBytes: 1, Blocks: 14, CARBytes: 15, Counting: true, Quota: 2, CopyBytes: 3, LastCopyBytes: 4, Copies: 5, Handles: 6, Queued: 7, Working: 8,
		Reads: 9, Hits: 10, Misses: 11, Faults: 12, EventsDropped: 13,
	}
	for state := shard.Registered; state < shard.Gone; state++ {
		in.Shards[state] = int64(state) * 100
	}
	out := StatsOf(in, time.Now())
	if got := out.Stats(); got != in {
		t.Errorf("got %+v, want %+v", got, in)
	}
	if out.Total != 3600 || out.Status["ready"] != 700 {
		t.Errorf("%d shards, %v", out.Total, out.Status)
	}
}

func TestRegistrationBothWays(t *testing.T) {
	full := dagstore.RegisterOptions{
		Lazy: true, Verify: true, Discard: true, Pin: true, Serve: shard.Sparse, Copy: "/c", Index: dagstore.Sample, Indexer: "i",
		IndexURL: "file:///i", Piece: cid.MustParse("bafkqaaa"), Labels: map[string]string{"a": "b"},
	}
	for _, opts := range []*dagstore.RegisterOptions{nil, {}, &full} {
		r := RegistrationOf("file:///a", opts)
		got, err := r.Options()
		if err != nil || !reflect.DeepEqual(got, opts) {
			t.Errorf("%+v, %v, want %+v", got, err, opts)
		}
	}
}
