package main

import (
	"bytes"
	"errors"
	"io/fs"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

func TestObjectOf(t *testing.T) {
	root := cid.MustParse("bafkqaaa")
	tests := []struct {
		info shard.Info
		want string
	}{
		{
			shard.Info{Key: "a<b", State: shard.Available, URL: "file:///a", Roots: []cid.Cid{root}, Bytes: 9, Sections: 3, Multihashes: 2, Verified: shard.Full},
			`{"key":"a<b","status":"ready","state":"available","sections":3,"multihashes":2,"bytes":9,"roots":["bafkqaaa"],"mount":"file:///a","verified":"full"}`,
		},
		{
			shard.Info{Key: "k", State: shard.Errored, Failure: &shard.Failure{Err: &shard.Error{Key: "k", Op: shard.OpIndex, Err: shard.ErrCAR}}},
			`{"key":"k","status":"failed","state":"errored","sections":0,"multihashes":0,"bytes":0,"roots":[],"mount":"","verified":"none","error":"index shard \"k\": bad CAR"}`,
		},
	}
	for _, test := range tests {
		var out bytes.Buffer
		if err := printJSON(&out, wire.ShardOf(test.info)); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != test.want+"\n" {
			t.Errorf("got  %swant %s", got, test.want)
		}
	}
}

func TestObjectOfFailedItem(t *testing.T) {
	o := outcome{item: item{key: "k"}, plan: planFailed, size: 7, err: errors.New("bad")}
	got := objectOfOutcome(o, false)
	if got.Key != "k" || got.Status != "failed" || got.State != "gone" || got.Bytes != 7 || got.Error != "bad" || got.Plan != "" {
		t.Errorf("%+v", got)
	}
}

// TestSummaryOfFailure: an error may hold a name that a stranger gave a file.
// It neither steers the terminal nor ends the line.
func TestSummaryOfFailure(t *testing.T) {
	odd := &fs.PathError{Op: "open", Path: "/srv/\x1b[31m\n.car", Err: fs.ErrPermission}
	info := shard.Info{Key: "k", State: shard.Errored, Failure: &shard.Failure{Err: &shard.Error{Key: "k", Op: shard.OpIndex, Err: odd}}}
	var out bytes.Buffer
	if err := (&app{}).printShard(&out, info); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Contains(got, "\x1b") || strings.Count(got, "\n") != 1 || !strings.Contains(got, "permission denied") {
		t.Errorf("%q", got)
	}
}

func TestLocationOf(t *testing.T) {
	at := shard.Location{Shard: "k", Offset: 100, Size: 5, Head: 38}
	if got, want := locationOf(at, 51), (wire.Location{Shard: "k", Offset: 100, Size: 5, FileOffset: 151, DataOffset: 189}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	at.Head = 0
	if got := locationOf(at, 51).DataOffset; got != -1 {
		t.Errorf("data offset %d where the index has none, want -1", got)
	}
}

func TestShowBytes(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB",
		5 << 30: "5.0 GiB", 1 << 40: "1.0 TiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := showBytes(n); got != want {
			t.Errorf("showBytes(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestBlockCID(t *testing.T) {
	const v0, v1 = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n", "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
	for _, s := range []string{v0, v1, "/ipfs/" + v1, "ipfs://" + v1, "ipfs://" + v1 + "/", "/ipfs/" + v0} {
		c, err := blockCID(s)
		if err != nil || cid.NewCidV1(c.Type(), c.Hash()).String() != v1 {
			t.Errorf("%s: %v, %v", s, c, err)
		}
	}
	for _, s := range []string{"", "x", "/ipfs/" + v1 + "/a", v1 + "/a", "/ipns/" + v1} {
		if c, err := blockCID(s); exitCode(err) != exitUsage {
			t.Errorf("%q: %v, %v, want a usage error", s, c, err)
		}
	}
}

func TestVersionOf(t *testing.T) {
	if v := versionOf(nil); v.Version != "(unknown)" || v.Go == "" {
		t.Errorf("%+v", v)
	}
	v := versionOf(&debug.BuildInfo{
		Main: debug.Module{Version: "v0.1.0"},
		Settings: []debug.BuildSetting{
			{Key: "vcs.modified", Value: "true"},
			{Key: "vcs.revision", Value: "0123456789abcdef"},
		},
	})
	if v.Version != "v0.1.0" || v.Commit != "0123456789ab+" {
		t.Errorf("%+v", v)
	}
}
