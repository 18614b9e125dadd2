package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	carv2 "github.com/ipld/go-car/v2"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/car/dagtest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/httpmount"
	"github.com/dagstore/dagstore/shard"
)

// openStore opens a store that is closed with the test.
func openStore(t *testing.T) *dagstore.Store { return openStoreWith(t, nil) }

func openStoreWith(t *testing.T, cfg *dagstore.Config) *dagstore.Store {
	t.Helper()
	store, err := dagstore.Open(t.Context(), filepath.Join(t.TempDir(), "store"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	return store
}

// serveStore starts a server over store, closed before the store is.
func serveStore(t *testing.T, store *dagstore.Store, cfg *Config) *httptest.Server {
	t.Helper()
	handler, err := New(store, cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// addFile registers the CAR in path under its name.
func addFile(t *testing.T, store *dagstore.Store, path string) error {
	t.Helper()
	m, err := filemount.New(path)
	if err != nil {
		t.Fatal(err)
	}
	return store.Register(t.Context(), shard.Key(filepath.Base(path)), m, &dagstore.RegisterOptions{Discard: true})
}

// addBlocks writes blocks to a CAR and registers it. It returns its path.
func addBlocks(t *testing.T, store *dagstore.Store, root cid.Cid, blocks []cartest.Block) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "made.car")
	if err := os.WriteFile(path, cartest.V1([]cid.Cid{root}, blocks), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := addFile(t, store, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// all returns the blocks of m.
func all(m *dagtest.Memory) []cartest.Block {
	var blocks []cartest.Block
	for _, b := range m.All() {
		blocks = append(blocks, cartest.Block{CID: b.Cid(), Data: b.RawData()})
	}
	return blocks
}

// TestRealCARs asks for every block of every good CAR, raw, and holds it
// against what go-car reads in the file. Where the real CARs are not at hand
// it makes some of its own, and says so.
func TestRealCARs(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join("..", "..", "shared", "cars", "*.car"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Log("no CARs in ../shared/cars: made ones are read instead")
		for i := range 3 {
			path := filepath.Join(t.TempDir(), fmt.Sprintf("made-%d.car", i))
			if err := os.WriteFile(path, cartest.RandomV1(uint64(i), 200, 300), 0o666); err != nil {
				t.Fatal(err)
			}
			paths = append(paths, path)
		}
	}
	store := openStore(t)
	var good []string
	for _, path := range paths {
		err := addFile(t, store, path)
		if err == nil {
			good = append(good, path)
		} else if !errors.Is(err, shard.ErrCAR) {
			t.Errorf("%s: %v", path, err)
		}
	}
	server := serveStore(t, store, &Config{Trustless: true})
	asked := 0
	for _, path := range good {
		for _, b := range blocksOf(t, path) {
			a := get(t, server, http.StatusOK, "/ipfs/"+b.CID.String()+"?format=raw")
			if !bytes.Equal(a.body, b.Data) {
				t.Fatalf("%s: %s: %d bytes that differ from the %d of the CAR", path, b.CID, len(a.body), len(b.Data))
			}
			asked++
		}
	}
	if len(good) < 3 || asked < 100 {
		t.Errorf("only %d blocks of %d CARs were asked for", asked, len(good))
	}
	t.Logf("%d blocks of %d CARs", asked, len(good))
}

// blocksOf returns what go-car reads in the CAR at path.
func blocksOf(t *testing.T, path string) []cartest.Block {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	reader, err := carv2.NewBlockReader(f, carv2.ZeroLengthSectionAsEOF(true))
	if err != nil {
		t.Fatalf("%s: go-car: %v", path, err)
	}
	var blocks []cartest.Block
	for {
		b, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return blocks
		}
		if err != nil {
			t.Fatalf("%s: go-car: %v", path, err)
		}
		blocks = append(blocks, cartest.Block{CID: b.Cid(), Data: b.RawData()})
	}
}

// TestStore serves a folder out of a CAR: as a file, a listing, a CAR.
func TestStore(t *testing.T) {
	m := dagtest.New(t)
	data := pattern(50_000)
	root := m.Folder(false, map[string]ipld.Node{
		"file": m.File(string(data)),
		"many": m.Folder(true, map[string]ipld.Node{"a": m.File("a"), "b": m.File("b")}),
	})
	store := openStore(t)
	addBlocks(t, store, root.Cid(), all(m))
	server := serveStore(t, store, nil)
	path := "/ipfs/" + root.Cid().String()

	if a := get(t, server, http.StatusOK, path+"/file"); !bytes.Equal(a.body, data) {
		t.Error("file: wrong bytes")
	}
	if a := get(t, server, http.StatusPartialContent, path+"/file", "Range", "bytes=40000-40999"); !bytes.Equal(a.body, data[40000:41000]) {
		t.Error("range: wrong bytes")
	}
	if a := get(t, server, http.StatusOK, path+"/many/b"); string(a.body) != "b" {
		t.Errorf("file in a sharded folder: %q", a.body)
	}
	if a := get(t, server, http.StatusOK, path+"/"); !strings.Contains(string(a.body), "file") || !strings.Contains(string(a.body), "many") {
		t.Error("listing lacks an entry")
	}
	roots, blocks := readCAR(t, get(t, server, http.StatusOK, path+"?format=car").body)
	if len(blocks) != len(m.All()) || !roots[0].Equals(root.Cid()) {
		t.Errorf("CAR: roots %v, %d blocks, want %d", roots, len(blocks), len(m.All()))
	}
	home := string(get(t, server, http.StatusOK, "/").body)
	if !strings.Contains(home, "made.car") || !strings.Contains(home, root.Cid().String()) {
		t.Error("the home page does not list the shard")
	}
	get(t, server, http.StatusNotFound, "/ipfs/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy?format=raw")
	for _, data := range []string{"", "data in the CID itself"} {
		inline := cartest.Identity([]byte(data)).CID.String()
		if a := get(t, server, http.StatusOK, "/ipfs/"+inline+"?format=raw"); string(a.body) != data {
			t.Errorf("identity: got %q, want %q", a.body, data)
		}
		get(t, server, http.StatusOK, "/ipfs/"+inline+"?format=car")
	}
	if a := ask(t, server, http.MethodPost, path); a.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", a.status)
	}

	if err := store.Destroy(t.Context(), "made.car", nil); err != nil {
		t.Fatal(err)
	}
	get(t, server, http.StatusNotFound, path+"?format=raw")
	get(t, server, http.StatusNotFound, path+"?format=car")
}

// TestDamagedStore flips a bit of a block on the disk. It may not be served,
// also where Unchecked is asked for; its neighbours may.
func TestDamagedStore(t *testing.T) {
	m := dagtest.New(t)
	data := pattern(600_000)
	file := m.File(string(data))
	root := m.Folder(false, map[string]ipld.Node{"file": file, "other": m.File("other")})
	store := openStore(t)
	path := addBlocks(t, store, root.Cid(), all(m))
	server := serveStore(t, store, &Config{Shards: &dagstore.BlockstoreOptions{Unchecked: true}})

	leaf := data[500*1024 : 501*1024]
	c, err := cid.V1Builder{Codec: cid.Raw, MhType: 0x12}.Sum(leaf)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	car, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(car, leaf)
	if at < 0 {
		t.Fatal("the leaf is not in the CAR")
	}
	// In place and with the old time, as a disk does it.
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{leaf[0] ^ 1}, int64(at)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, stat.ModTime(), stat.ModTime()); err != nil {
		t.Fatal(err)
	}

	a := get(t, server, http.StatusNotFound, "/ipfs/"+c.String()+"?format=raw")
	if a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("damaged block: Cache-Control %q", a.header.Get("Cache-Control"))
	}
	if text := string(a.body); strings.Contains(text, "made.car") {
		t.Errorf("the answer names the shard: %q", text)
	}
	for _, suffix := range []string{"/file", "?format=car", "?format=tar"} {
		if a := ask(t, server, http.MethodGet, "/ipfs/"+root.Cid().String()+suffix); a.err == nil {
			t.Errorf("%s: status %d and a body of %d bytes that ends well", suffix, a.status, len(a.body))
		}
	}
	if a := get(t, server, http.StatusOK, "/ipfs/"+root.Cid().String()+"/other"); string(a.body) != "other" {
		t.Errorf("neighbour: %q", a.body)
	}
	if a := get(t, server, http.StatusPartialContent, "/ipfs/"+root.Cid().String()+"/file", "Range", "bytes=0-99"); !bytes.Equal(a.body, data[:100]) {
		t.Error("range before the damage: wrong bytes")
	}
}

func TestClosedStore(t *testing.T) {
	m := dagtest.New(t)
	c := m.Block(cid.Raw, 0x12, []byte("x"))
	store, err := dagstore.Open(t.Context(), filepath.Join(t.TempDir(), "store"), nil)
	if err != nil {
		t.Fatal(err)
	}
	addBlocks(t, store, c, all(m))
	server := serveStore(t, store, nil)
	get(t, server, http.StatusOK, "/ipfs/"+c.String()+"?format=raw")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"?format=raw", "?format=car", ""} {
		get(t, server, http.StatusServiceUnavailable, "/ipfs/"+c.String()+suffix)
	}
	get(t, server, http.StatusOK, "/")
}

func TestNew(t *testing.T) {
	if _, err := New(nil, nil); err == nil {
		t.Error("a gateway over nothing")
	}
	store := openStore(t)
	opts := &dagstore.BlockstoreOptions{Unchecked: true}
	for range 2 { // two in one process
		if _, err := New(store, &Config{Shards: opts}); err != nil {
			t.Fatal(err)
		}
	}
	if !opts.Unchecked {
		t.Error("the caller's options were changed")
	}
}

// TestRemoteStore wants a CAR on a server to be asked for what is asked of it, not
// to be asked at all with only-if-cached, and 503 when the server is gone.
func TestRemoteStore(t *testing.T) {
	m := dagtest.New(t)
	root := m.Folder(false, map[string]ipld.Node{"file": m.File(string(pattern(300_000)))}).Cid()
	other := dagtest.New(t)
	unread := other.Block(cid.Raw, 0x12, []byte("nobody has read this"))
	cars := map[string][]byte{"/a.car": cartest.V1([]cid.Cid{root}, all(m)), "/b.car": cartest.V1([]cid.Cid{unread}, all(other))}
	var requests atomic.Int64
	source := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("Etag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(cars[r.URL.Path]))
	}))
	defer source.Close()
	web, err := httpmount.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(web.CloseIdle)
	store := openStoreWith(t, &dagstore.Config{Mounts: mount.Registry{"http": web.Open}})
	for path := range cars {
		at, err := web.Open(source.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.Register(t.Context(), shard.Key(path[1:]), at, &dagstore.RegisterOptions{Discard: true}); err != nil {
			t.Fatal(err)
		}
	}
	server := serveStore(t, store, nil)
	path := "/ipfs/" + root.String()
	before := requests.Load()
	for _, suffix := range []string{"/file", "/file?format=raw", "?format=car", "?format=tar", "/"} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			if a := ask(t, server, method, path+suffix, "Cache-Control", "only-if-cached"); a.status != http.StatusPreconditionFailed {
				t.Errorf("%s %s of what is elsewhere: %d", method, suffix, a.status)
			}
		}
	}
	if n := requests.Load() - before; n > 0 {
		t.Errorf("only-if-cached has asked the source %d times", n)
	}
	if a := get(t, server, http.StatusOK, path+"/file"); !bytes.Equal(a.body, pattern(300_000)) {
		t.Error("a file of a CAR elsewhere: wrong bytes")
	}
	if _, blocks := readCAR(t, get(t, server, http.StatusOK, path+"?format=car").body); len(blocks) != len(m.All()) {
		t.Errorf("a CAR of %d blocks", len(blocks))
	}
	source.CloseClientConnections()
	source.Close()
	// Nobody has opened this shard, which cannot be done without its source.
	if a := ask(t, server, http.MethodHead, "/ipfs/"+unread.String()+"?format=raw"); a.status != http.StatusServiceUnavailable {
		t.Errorf("HEAD of what is out of reach: %d", a.status)
	}
	for _, format := range []string{"?format=raw", "?format=car", ""} {
		a := get(t, server, http.StatusServiceUnavailable, "/ipfs/"+unread.String()+format)
		if a.header.Get("Retry-After") == "" || a.header.Get("Cache-Control") != "no-store" || bytes.Contains(a.body, []byte("b.car")) {
			t.Errorf("%s out of reach: %v %q", format, a.header, a.body)
		}
	}
}
