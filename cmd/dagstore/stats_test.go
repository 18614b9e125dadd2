package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// TestStatsTable is how figures are shown, with units.
func TestStatsTable(t *testing.T) {
	var s dagstore.Stats
	s.Shards[shard.Available], s.Shards[shard.Serving], s.Shards[shard.Registered], s.Shards[shard.Errored] = 1_200_000, 34, 500, 1
	s.IndexBytes, s.Quota, s.CopyBytes, s.Copies, s.LastCopyBytes = 60_000_000_000, 100<<30, 30<<30, 12, 1<<30
	s.Blocks, s.CARBytes = 1_000_000_000, 200<<40
	s.Handles, s.Queued, s.Working, s.Reads, s.Hits, s.Misses, s.Faults = 1024, 3, 2, 123_456_789, 120_000_000, 3_456_789, 1
	o := statsObject{
		Stats:      wire.StatsOf(s, s0),
		IndexFiles: 59_000_000_000, InvertedIx: 14_000_000_000, Catalogue: 2_000_000_000, Free: 75_000_000_000,
	}
	o.foresee(1_000_000)
	var out bytes.Buffer
	if err := o.table(&out); err != nil {
		t.Fatal(err)
	}
	const want = `shards              1,200,535  ready 1,200,034, lazy 500, failed 1
blocks          1,000,000,000  833.0 a shard
CARs                200.0 TiB  219902.3 B a block
indices              55.9 GiB  60.0 B a block; 54.9 GiB in files, the rest in the catalogue
inverted index       13.0 GiB  14.0 B a block
catalogue             1.9 GiB  1665.9 B a shard
copies               30.0 GiB  of 100.0 GiB; 12 complete, 1.0 GiB of them may be the last
free                 69.8 GiB
open                    1,024  shards; 3 queued, 2 being read or opened
read              123,456,789  blocks since the store was opened; 120,000,000 hits, 3,456,789 misses, 1 fault

1,000,000 more blocks would take 71.5 MiB, at 75.0 B each; there is room for about 1 G
`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
	o = statsObject{Stats: wire.StatsOf(dagstore.Stats{}, s0), Free: -1, InvertedIx: -1}
	o.foresee(10)
	out.Reset()
	if err := o.table(&out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), "\n10 more blocks would take 600 B, at 60.0 B each as is usual (this store has too few to tell)\n") {
		t.Error(out.String())
	}
}

// s0 is some moment.
var s0 = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// TestStats: the figures of a store are those of what was added.
func TestStats(t *testing.T) {
	repo, dir := filepath.Join(t.TempDir(), "store"), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.car"), carOf("a", "b"), 0o600); err != nil {
		t.Fatal(err)
	}
	writeCAR(t, dir, "b.car", "c")
	if code, _, errs := command(t, "--repo", repo, "add", dir); code != exitOK {
		t.Fatal(errs)
	}
	code, out, errs := command(t, "--repo", repo, "stats", "--json", "--more", "2k")
	var o statsObject
	if err := json.Unmarshal([]byte(out), &o); code != exitOK || err != nil {
		t.Fatalf("%d, %s, %v", code, errs, err)
	}
	if o.Total != 2 || o.Status["ready"] != 2 || o.Blocks != 3 || o.Bytes != 135+97 || o.Counting {
		t.Errorf("%+v", o)
	}
	if o.Catalogue <= 0 || o.InvertedIx <= 0 || o.Free <= 0 || o.Forecast != (forecast{60, false, 2000, 120_000, o.Free / 60}) {
		t.Errorf("%+v", o)
	}
	for text, want := range map[string]int64{"1000": 1000, "500k": 500_000, "10M": 10_000_000, " 1G": 1_000_000_000, "2.5k": 2500} {
		if n, err := parseCount(text); n != want || err != nil {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	for _, bad := range []string{"", "many", "-1", "1x", "1e30", "NaN"} {
		if code, _, _ := command(t, "--repo", repo, "stats", "--more", bad); code != exitUsage {
			t.Errorf("--more %q: %d", bad, code)
		}
	}
}
