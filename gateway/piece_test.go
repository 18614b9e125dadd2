package gateway

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/denylist"
	filpiece "github.com/dagstore/dagstore/internal/piece"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/httpmount"
	"github.com/dagstore/dagstore/shard"
)

// commP is the piece CID of bytes, in both versions.
func commP(t *testing.T, data []byte) (v1, v2 cid.Cid) {
	t.Helper()
	sum, err := filpiece.Of(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	root, _ := sum.Root()
	v2 = filpiece.V2(root, sum.Size())
	id, ok := filpiece.Parse(v2)
	if !ok {
		t.Fatal(v2)
	}
	return id.V1(), v2
}

// addPiece writes a CAR and registers it as a piece.
func addPiece(t *testing.T, store *dagstore.Store, key shard.Key, data []byte, opts dagstore.RegisterOptions) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "piece.car")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	m, err := filemount.New(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Register(t.Context(), key, m, &opts); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPiece(t *testing.T) {
	store := openStore(t)
	car := cartest.RandomV1(1, 100, 20_000)
	v1, v2 := commP(t, car)
	addPiece(t, store, "one", car, dagstore.RegisterOptions{Piece: v1})
	server := serveStore(t, store, nil)
	id, _ := filpiece.Parse(v2)
	longer := filpiece.V2(id.Root, id.Size+100) // with a hundred zeros behind it

	for name, c := range map[string]struct {
		cid  cid.Cid
		body []byte
	}{
		"v1": {v1, car}, "v2": {v2, car}, "padded": {longer, append(bytes.Clone(car), make([]byte, 100)...)},
	} {
		path, size := "/piece/"+c.cid.String(), strconv.Itoa(len(c.body))
		a := get(t, server, http.StatusOK, path)
		if !bytes.Equal(a.body, c.body) {
			t.Errorf("%s: %d bytes that differ from the %d of the piece", name, len(a.body), len(c.body))
		}
		want := map[string]string{
			"Content-Type": "application/vnd.ipld.car; version=1", "Content-Length": size, "Accept-Ranges": "bytes",
			"Cache-Control": "public, max-age=29030400, immutable", "X-Content-Type-Options": "nosniff",
			"Content-Disposition": `attachment; filename="` + c.cid.String() + `.car"`, "Access-Control-Allow-Origin": "*",
		}
		etag := a.header.Get("Etag")
		if !strings.HasPrefix(etag, `"`) || !strings.HasSuffix(etag, `"`) {
			t.Errorf("%s: ETag %s", name, etag)
		}
		head := ask(t, server, http.MethodHead, path)
		for field, value := range want {
			if a.header.Get(field) != value || head.header.Get(field) != value {
				t.Errorf("%s: %s is %q, of HEAD %q, want %q", name, field, a.header.Get(field), head.header.Get(field), value)
			}
		}
		if head.status != http.StatusOK || len(head.body) > 0 || head.header.Get("Etag") != etag {
			t.Errorf("%s: HEAD %d, ETag %s", name, head.status, head.header.Get("Etag"))
		}
		n := len(c.body)
		for spec, part := range map[string][]byte{
			"bytes=0-99": c.body[:100], "bytes=100-": c.body[100:], "bytes=-150": c.body[n-150:], "bytes=" + strconv.Itoa(n-1) + "-" + strconv.Itoa(2*n): c.body[n-1:],
		} {
			for _, condition := range [][]string{nil, {"If-Range", etag}} {
				a := get(t, server, http.StatusPartialContent, path, append([]string{"Range", spec}, condition...)...)
				if !bytes.Equal(a.body, part) || a.header.Get("Content-Length") != strconv.Itoa(len(part)) || !strings.HasSuffix(a.header.Get("Content-Range"), "/"+size) {
					t.Errorf("%s, %s: %d bytes, Content-Range %s", name, spec, len(a.body), a.header.Get("Content-Range"))
				}
			}
		}
		if a := get(t, server, http.StatusOK, path, "Range", "bytes=0-0", "If-Range", `"other"`); len(a.body) != n {
			t.Errorf("%s: another If-Range: %d bytes", name, len(a.body))
		}
		if a := get(t, server, http.StatusOK, path, "Range", "bytes=0-0,2-3"); len(a.body) != n {
			t.Errorf("%s: two ranges: %d bytes", name, len(a.body))
		}
		if a := get(t, server, http.StatusRequestedRangeNotSatisfiable, path, "Range", "bytes="+size+"-"); a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Range") != "bytes */"+size {
			t.Errorf("%s: past the end: %v", name, a.header)
		}
		if a := get(t, server, http.StatusNotModified, path, "If-None-Match", `"x", W/`+etag); len(a.body) > 0 || a.header.Get("Etag") != etag {
			t.Errorf("%s: 304: %v", name, a.header)
		}
	}
}

func TestPieceOfWhat(t *testing.T) {
	store := openStore(t)
	car := cartest.RandomV1(3, 10, 300)
	v1, v2 := commP(t, car)
	lazy := cartest.RandomV1(8, 10, 300)
	lazy1, lazy2 := commP(t, lazy)
	other := cartest.Raw([]byte("a piece by another name")).CID
	addPiece(t, store, shard.Key(v2.String()), car, dagstore.RegisterOptions{})
	addPiece(t, store, "lazy", lazy, dagstore.RegisterOptions{Piece: lazy2, Lazy: true})
	addPiece(t, store, "other", cartest.RandomV1(4, 10, 300), dagstore.RegisterOptions{Piece: other})
	server := serveStore(t, store, nil)

	for _, c := range []cid.Cid{v1, v2} {
		if a := get(t, server, http.StatusOK, "/piece/"+c.String()); !bytes.Equal(a.body, car) {
			t.Errorf("%s, by its key: other bytes", c)
		}
	}
	if a := ask(t, server, http.MethodHead, "/piece/"+lazy1.String()); a.status != http.StatusOK || a.header.Get("Content-Length") != strconv.Itoa(len(lazy)) ||
		a.header.Get("Content-Type") != "application/vnd.ipld.car; version=1" {
		t.Errorf("HEAD of what was not read yet: %d, %v", a.status, a.header)
	}
	get(t, server, http.StatusOK, "/piece/"+other.String())

	// Not there, not a CID, not a piece of that length, not allowed.
	absent := get(t, server, http.StatusNotFound, "/piece/baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq", "If-None-Match", "*")
	if absent.header.Get("Cache-Control") != "public, max-age=15" {
		t.Errorf("absent: %v", absent.header)
	}
	get(t, server, http.StatusBadRequest, "/piece/nonsense")
	get(t, server, http.StatusBadRequest, "/piece/"+v1.String()+"/x")
	get(t, server, http.StatusBadRequest, "/piece/")
	id, _ := filpiece.Parse(v2)
	get(t, server, http.StatusNotFound, "/piece/"+filpiece.V2(id.Root, id.Size-1).String())
	if a := ask(t, server, http.MethodPost, "/piece/"+v1.String()); a.status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", a.status)
	}
	if a := ask(t, server, http.MethodOptions, "/piece/"+v1.String()); a.status != http.StatusOK || a.header.Get("Allow") == "" {
		t.Errorf("OPTIONS: %d, %v", a.status, a.header)
	}
	if a := get(t, server, http.StatusOK, "/piece/"+v1.String(), "Cache-Control", "only-if-cached"); !bytes.Equal(a.body, car) {
		t.Error("what is here: other bytes")
	}
}

// TestPieceVersion: the answer says of which version the CAR is.
func TestPieceVersion(t *testing.T) {
	store := openStore(t)
	car := cartest.V2(cartest.RandomV1(5, 10, 300), cartest.Container{})
	v1, _ := commP(t, car)
	addPiece(t, store, "two", car, dagstore.RegisterOptions{Piece: v1})
	server := serveStore(t, store, nil)
	if a := get(t, server, http.StatusOK, "/piece/"+v1.String()); a.header.Get("Content-Type") != "application/vnd.ipld.car; version=2" || !bytes.Equal(a.body, car) {
		t.Errorf("%v", a.header)
	}
}

// TestPieceFromElsewhere: what cannot be read is told before an answer begins,
// and breaks it off when that has begun; another copy is tried meanwhile.
func TestPieceFromElsewhere(t *testing.T) {
	car := cartest.RandomV1(6, 400, 20_000)
	v1, _ := commP(t, car)
	var broken atomic.Int64 // reads at or behind this fail; 0: none does
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last := int64(len(car) - 1)
		if _, text, ok := strings.Cut(r.Header.Get("Range"), "-"); ok && text != "" {
			last, _ = strconv.ParseInt(text, 10, 64)
		}
		if limit := broken.Load(); limit > 0 && last >= limit && r.Method == http.MethodGet {
			http.Error(w, "gone", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Etag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(car))
	}))
	t.Cleanup(origin.Close)
	opener, err := httpmount.Opener(nil)
	if err != nil {
		t.Fatal(err)
	}
	store, err := dagstore.Open(t.Context(), filepath.Join(t.TempDir(), "store"), &dagstore.Config{
		Mounts: mount.Registry{"http": opener, "file": filemount.Open},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	m, err := opener(origin.URL + "/far.car")
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Register(t.Context(), "far", m, &dagstore.RegisterOptions{Piece: v1, Serve: shard.InPlace}); err != nil {
		t.Fatal(err)
	}
	server := serveStore(t, store, nil)
	path := "/piece/" + v1.String()
	if a := get(t, server, http.StatusOK, path); !bytes.Equal(a.body, car) {
		t.Error("other bytes")
	}
	get(t, server, http.StatusPreconditionFailed, path, "Cache-Control", "only-if-cached")

	broken.Store(1)
	a := get(t, server, http.StatusServiceUnavailable, path)
	if a.header.Get("Retry-After") == "" || a.header.Get("Cache-Control") != "no-store" || strings.Contains(string(a.body), "far") {
		t.Errorf("%v %q", a.header, a.body)
	}
	broken.Store(3 << 20)
	if a := ask(t, server, http.MethodGet, path); a.err == nil {
		t.Errorf("an answer of %d bytes of %d ends as if it were whole, status %d", len(a.body), len(car), a.status)
	} else if !bytes.Equal(a.body, car[:len(a.body)]) {
		t.Error("other bytes before the end")
	}
	addPiece(t, store, "near", car, dagstore.RegisterOptions{Piece: v1})
	broken.Store(1)
	if a := get(t, server, http.StatusOK, path); !bytes.Equal(a.body, car) {
		t.Error("the shard that is here was not asked")
	}
}

// TestPieceDenied: by either form of its CID, and by a root of its CAR; also for
// who has it already.
func TestPieceDenied(t *testing.T) {
	store := openStore(t)
	car := cartest.RandomV1(7, 10, 300)
	v1, v2 := commP(t, car)
	addPiece(t, store, "one", car, dagstore.RegisterOptions{Piece: v2})
	info, err := store.Info(t.Context(), "one")
	if err != nil || len(info.Roots) == 0 {
		t.Fatal(info, err)
	}
	for name, rule := range map[string]string{"v1": v1.String(), "v2": v2.String(), "root": info.Roots[0].String()} {
		list, _, err := denylist.Parse("test", strings.NewReader("/ipfs/"+rule+" gateway_status:451\n"))
		if err != nil {
			t.Fatal(err)
		}
		set := denylist.NewSet(list)
		server := serveStore(t, store, &Config{Refuse: func(c cid.Cid, path string) int {
			if m := set.Block(c); path == "" && m.Denies() {
				return m.Status
			}
			return 0
		}})
		for _, c := range []cid.Cid{v1, v2} {
			for _, header := range [][]string{nil, {"If-None-Match", "*"}, {"Range", "bytes=0-1"}} {
				a := get(t, server, http.StatusUnavailableForLegalReasons, "/piece/"+c.String(), header...)
				if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Etag") != "" {
					t.Errorf("%s: %v", name, a.header)
				}
			}
		}
	}
}

// TestPieceDamaged: what is damaged may be mended at any time, and is counted.
func TestPieceDamaged(t *testing.T) {
	store := openStore(t)
	v1, _ := commP(t, []byte("no CAR"))
	addPiece(t, store, "bad", []byte("no CAR"), dagstore.RegisterOptions{Piece: v1, Lazy: true})
	handler, err := New(store, nil)
	if err != nil {
		t.Fatal(err)
	}
	server := serveHandler(t, handler)
	for i := range int64(2) {
		a := get(t, server, http.StatusNotFound, "/piece/"+v1.String())
		if a.header.Get("Cache-Control") != "no-store" || strings.Contains(string(a.body), "bad") {
			t.Errorf("%v %q", a.header, a.body)
		}
		if got := handler.Stats().Damaged; got != i+1 {
			t.Errorf("%d are counted, want %d", got, i+1)
		}
	}
}

func TestPadded(t *testing.T) {
	p := &padded{of: bytes.NewReader([]byte("abc")), bytes: 3}
	got, err := io.ReadAll(io.NewSectionReader(p, 0, 6))
	if err != nil || string(got) != "abc\x00\x00\x00" {
		t.Errorf("%q, %v", got, err)
	}
	short := &padded{of: bytes.NewReader([]byte("ab")), bytes: 3}
	if _, err := short.ReadAt(make([]byte, 6), 0); err == nil {
		t.Error("bytes that are missing became zeros")
	}
}
