package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/archtest"
	"github.com/dagstore/dagstore/internal/car/dagtest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// secret stands in every error of the store here, and may never get out.
const secret = "secret-shard"

func storeError(err error) error {
	return &shard.Error{Key: secret, Op: shard.OpRead, Err: err}
}

// sentinels is every sentinel of the library with the status it gives. 500 is
// for those that a read can never meet.
func sentinels() map[string]map[string]struct {
	err    error
	status int
} {
	type row = struct {
		err    error
		status int
	}
	return map[string]map[string]row{
		"../shard": {
			"ErrKey": {shard.ErrKey, 500}, "ErrUnknown": {shard.ErrUnknown, 404}, "ErrExists": {shard.ErrExists, 500},
			"ErrKeyUsed": {shard.ErrKeyUsed, 500}, "ErrHeld": {shard.ErrHeld, 503}, "ErrBusy": {shard.ErrBusy, 503},
			"ErrDestroying": {shard.ErrDestroying, 404}, "ErrFailed": {shard.ErrFailed, 503}, "ErrRemote": {shard.ErrRemote, 404},
			"ErrSource": {shard.ErrSource, 503}, "ErrStalled": {shard.ErrStalled, 504}, "ErrChanged": {shard.ErrChanged, 503},
			"ErrDenied": {shard.ErrDenied, 503}, "ErrQuota": {shard.ErrQuota, 503}, "ErrCAR": {shard.ErrCAR, 404},
			"ErrBlock": {shard.ErrBlock, 404}, "ErrIndex": {shard.ErrIndex, 503}, "ErrDestroyed": {shard.ErrDestroyed, 404},
			"ErrLastCopy": {shard.ErrLastCopy, 500},
		},
		"..": {
			"ErrClosed": {dagstore.ErrClosed, 503}, "ErrNoStore": {dagstore.ErrNoStore, 500}, "ErrInUse": {dagstore.ErrInUse, 500},
			"ErrVersion": {dagstore.ErrVersion, 500}, "ErrReadOnly": {dagstore.ErrReadOnly, 500}, "ErrNoSpace": {dagstore.ErrNoSpace, 503},
			"ErrNoManifest": {dagstore.ErrNoManifest, 500}, "ErrNotMember": {dagstore.ErrNotMember, 500}, "ErrManifestName": {dagstore.ErrManifestName, 500},
		},
		"../mount": {
			"ErrScheme": {mount.ErrScheme, 503}, "ErrURL": {mount.ErrURL, 503}, "ErrNoRanges": {mount.ErrNoRanges, 503},
			"ErrNotLocal": {mount.ErrNotLocal, 503}, "ErrChanged": {mount.ErrChanged, 503}, "ErrDenied": {mount.ErrDenied, 503},
			"ErrRange": {mount.ErrRange, 503}, "ErrNoSiblings": {mount.ErrNoSiblings, 503},
			"ErrBusy": {mount.ErrBusy, 503}, "ErrStalled": {mount.ErrStalled, 504}, "ErrUnreachable": {mount.ErrUnreachable, 503}, "ErrAnswer": {mount.ErrAnswer, 503},
			"ErrNotReady": {mount.ErrNotReady, 503},
		},
		"../index": {
			"ErrDamaged": {index.ErrDamaged, 503}, "ErrVersion": {index.ErrVersion, 503},
			"ErrRecord": {index.ErrRecord, 500}, "ErrSpent": {index.ErrSpent, 500},
		},
	}
}

// TestStatusOfEverySentinel holds every sentinel against the table, through a
// request: what a client sees is the status, and nothing of the text.
func TestStatusOfEverySentinel(t *testing.T) {
	for dir, rows := range sentinels() {
		names, err := archtest.Sentinels(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if _, ok := rows[name]; !ok {
				t.Errorf("%s of %s has no row in this test", name, dir)
			}
		}
		for name, row := range rows {
			m := dagtest.New(t)
			var log bytes.Buffer
			server := serve(t, m, false, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			c := m.Block(cid.Raw, 0x12, []byte("x"))
			m.Fail(c, storeError(row.err))
			for _, format := range []string{"?format=raw", "?format=car", ""} {
				a := get(t, server, row.status, "/ipfs/"+c.String()+format)
				if bytes.Contains(a.body, []byte(secret)) || strings.Contains(fmt.Sprint(a.header), secret) {
					t.Errorf("%s %s: the answer names the shard: %q", name, format, a.body)
				}
				if cc := a.header.Get("Cache-Control"); cc != "no-store" {
					t.Errorf("%s %s: Cache-Control %q", name, format, cc)
				}
				if retry := a.header.Get("Retry-After") != ""; retry != (row.status == 503 || row.status == 504) {
					t.Errorf("%s %s: status %d, Retry-After %q", name, format, row.status, a.header.Get("Retry-After"))
				}
			}
			if !strings.Contains(log.String(), secret) {
				t.Errorf("%s: the log does not name the shard", name)
			}
		}
	}
}

// A damagedDAG has a folder with a file one leaf of which cannot be had.
func damagedDAG(t *testing.T, m *dagtest.Memory, spoil func(*dagtest.Memory, cid.Cid)) (folder, leaf cid.Cid) {
	t.Helper()
	// The leaf is far enough behind the beginning for headers and some body
	// to have left before it is reached.
	data := pattern(600_000)
	file := m.File(string(data))
	root := m.Folder(false, map[string]ipld.Node{"file": file, "good": m.File("good")})
	c, err := cid.V1Builder{Codec: cid.Raw, MhType: 0x12}.Sum(data[500*1024 : 501*1024])
	if err != nil {
		t.Fatal(err)
	}
	if has, _ := m.Has(t.Context(), c); !has {
		t.Fatal("the leaf to be spoiled is not there")
	}
	spoil(m, c)
	return root.Cid(), c
}

func spoilers() map[string]func(*dagtest.Memory, cid.Cid) {
	return map[string]func(*dagtest.Memory, cid.Cid){
		"missing": func(m *dagtest.Memory, c cid.Cid) { _ = m.DeleteBlock(context.Background(), c) },
		"damaged": func(m *dagtest.Memory, c cid.Cid) {
			m.Fail(c, storeError(&shard.Fault{Kind: shard.BadHash, Offset: 7, CID: c}))
		},
		"unreachable": func(m *dagtest.Memory, c cid.Cid) { m.Fail(c, storeError(shard.ErrSource)) },
	}
}

// TestBrokenOff wants every answer that cannot be completed to be one that no
// client takes for a whole one.
func TestBrokenOff(t *testing.T) {
	for name, spoil := range spoilers() {
		for _, http2 := range []bool{false, true} {
			for _, suffix := range []string{
				"?format=car", "?format=car&dag-scope=all&car-dups=y", "/file?format=car&dag-scope=entity", "/file", "?format=tar",
			} {
				t.Run(fmt.Sprintf("%s/http2=%v/%s", name, http2, suffix), func(t *testing.T) {
					m := dagtest.New(t)
					server := serve(t, m, http2, Config{})
					root, _ := damagedDAG(t, m, spoil)
					a := ask(t, server, http.MethodGet, "/ipfs/"+root.String()+suffix)
					if a.err == nil {
						t.Fatalf("%s: status %d and a body of %d bytes that ends well", a.proto, a.status, len(a.body))
					}
					if http2 && a.proto != "" && a.proto != "HTTP/2.0" {
						t.Fatalf("asked by %s", a.proto)
					}
					if bytes.Contains(a.body, []byte(secret)) || bytes.Contains(a.body, []byte("Gateway Error")) {
						t.Error("the body holds the text of an error")
					}
					// What does not need the leaf is not touched by it, and the
					// server is still there.
					get(t, server, http.StatusOK, "/ipfs/"+root.String()+"/good")
					get(t, server, http.StatusPartialContent, "/ipfs/"+root.String()+"/file", "Range", "bytes=0-99")
					get(t, server, http.StatusOK, "/ipfs/"+root.String()+"?format=car&dag-scope=block")
				})
			}
		}
	}
}

// TestTarOfNoUnixFS wants an archive to be broken off also where every block is
// there, but one of them is not what its CID says.
func TestTarOfNoUnixFS(t *testing.T) {
	for name, data := range map[string][]byte{"no dag-pb": []byte("not dag-pb"), "no UnixFS": nil} {
		for _, http2 := range []bool{false, true} {
			m := dagtest.New(t)
			server := serve(t, m, http2, Config{})
			bad := m.Block(cid.DagProtobuf, 0x12, data)
			root := m.Folder(false, map[string]ipld.Node{"file": m.File(dagtest.Text(600_000)), "then": m.Odd(bad, "bad")})
			a := ask(t, server, http.MethodGet, "/ipfs/"+root.Cid().String()+"?format=tar")
			if a.err == nil && a.status == http.StatusOK {
				t.Errorf("%s, %s: an archive of %d bytes that ends well", name, a.proto, len(a.body))
			}
		}
	}
}

// TestBeginsOnlyWhole wants failures that show at the beginning to be told by
// the status.
func TestBeginsOnlyWhole(t *testing.T) {
	statuses := map[string]int{"missing": 404, "damaged": 404, "unreachable": 503}
	for name, spoil := range spoilers() {
		m := dagtest.New(t)
		server := serve(t, m, false, Config{})
		inner := m.Folder(false, map[string]ipld.Node{"x": m.File("x")})
		root := m.Folder(false, map[string]ipld.Node{"inner": inner})
		spoil(m, inner.Cid())
		for _, suffix := range []string{"/inner/x", "/inner/x?format=car", "/inner?format=car", "/inner/", "/inner?format=tar"} {
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				want := statuses[name]
				if method == http.MethodHead && suffix == "/inner?format=car" && name != "missing" {
					want = http.StatusOK // the index says that it is there, and no more is asked
				}
				a := ask(t, server, method, "/ipfs/"+root.Cid().String()+suffix)
				if a.status != want || a.err != nil {
					t.Errorf("%s: %s %s: %d, %v; want %d", name, method, suffix, a.status, a.err, want)
				}
			}
		}
	}
}

// TestPanic wants a fault in the program to cost an answer, not the process;
// blocks are read on goroutines that no handler stands above.
func TestPanic(t *testing.T) {
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	root, leaf := damagedDAG(t, m, func(*dagtest.Memory, cid.Cid) {})
	m.OnGet = func(c cid.Cid) {
		if c.Equals(leaf) || c.Equals(root) {
			panic("a fault in the program")
		}
	}
	for _, suffix := range []string{"?format=raw", "?format=car", "/file"} {
		get(t, server, http.StatusInternalServerError, "/ipfs/"+root.String()+suffix)
	}
	m.OnGet = func(c cid.Cid) {
		if c.Equals(leaf) {
			panic("a fault in the program")
		}
	}
	for _, suffix := range []string{"?format=car", "/file", "?format=tar"} {
		if a := ask(t, server, http.MethodGet, "/ipfs/"+root.String()+suffix); a.err == nil {
			t.Errorf("%q: status %d and a body that ends well", suffix, a.status)
		}
	}
	m.OnGet = nil
	get(t, server, http.StatusOK, "/ipfs/"+root.String()+"?format=car")
}

func TestClientLeaves(t *testing.T) {
	m := dagtest.New(t)
	var log bytes.Buffer
	server := serve(t, m, false, Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	c := m.Block(cid.Raw, 0x12, []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	entered := make(chan struct{})
	m.OnGet = func(cid.Cid) { cancel(); close(entered) }
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/ipfs/"+c.String()+"?format=raw", nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := server.Client().Do(r); err == nil {
		resp.Body.Close()
	} else if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	<-entered
	server.Close() // waits for the handler
	if log.Len() != 0 {
		t.Errorf("a client that leaves is no news: %s", log.String())
	}
}
