package gateway

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	boxo "github.com/ipfs/boxo/gateway"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// TestRemoteBackends has boxo's own clients of gateways, by blocks and by CARs, read
// from this one: through each of them a gateway of boxo's must serve the same.
func TestRemoteBackends(t *testing.T) {
	m := dagtest.New(t)
	data := pattern(300_000)
	many := map[string]ipld.Node{}
	for i := range 500 {
		many[fmt.Sprintf("entry %d", i)] = m.File(fmt.Sprint("content ", i))
	}
	root := m.Folder(false, map[string]ipld.Node{
		"file.bin": m.File(string(data)), "many": m.Folder(true, many), "empty": m.File(""),
		"sub": m.Folder(false, map[string]ipld.Node{"deep": m.Folder(false, map[string]ipld.Node{"a.txt": m.File("deep")})}),
	}).Cid()
	cbor := m.Block(cid.DagCBOR, 0x12, []byte{0xa1, 0x61, 'a', 0x01})
	ours := serve(t, m, false, Config{Trustless: true})
	client := ours.Client()

	byBlocks, err := boxo.NewRemoteBlocksBackend([]string{ours.URL}, client)
	if err != nil {
		t.Fatal(err)
	}
	byCARs, err := boxo.NewRemoteCarBackend([]string{ours.URL}, client)
	if err != nil {
		t.Fatal(err)
	}
	for name, backend := range map[string]boxo.IPFSBackend{"blocks": byBlocks, "CARs": byCARs} {
		t.Run(name, func(t *testing.T) {
			theirs := boxo.NewHandler(boxo.Config{DeserializedResponses: true, NoDNSLink: true, MetricsRegistry: prometheus.NewRegistry()}, backend)
			ask := func(status int, path string, header ...string) []byte {
				t.Helper()
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/ipfs/"+path, nil)
				for i := 0; i < len(header); i += 2 {
					r.Header.Set(header[i], header[i+1])
				}
				w := httptest.NewRecorder()
				theirs.ServeHTTP(w, r)
				if w.Code != status {
					t.Errorf("%s: %d, want %d: %.300s", path, w.Code, status, w.Body)
				}
				return w.Body.Bytes()
			}
			at := root.String()
			if got := ask(200, at+"/file.bin"); !bytes.Equal(got, data) {
				t.Errorf("a file: %d bytes", len(got))
			}
			if got := ask(206, at+"/file.bin", "Range", "bytes=150000-151999"); !bytes.Equal(got, data[150_000:152_000]) {
				t.Errorf("a range: %d bytes", len(got))
			}
			if got := ask(200, at+"/sub/deep/a.txt"); string(got) != "deep" {
				t.Errorf("a nested file: %q", got)
			}
			if got := ask(200, at+"/many/entry%20123"); string(got) != "content 123" {
				t.Errorf("a file in a sharded folder: %q", got)
			}
			if got := ask(200, at+"/empty"); len(got) != 0 {
				t.Errorf("an empty file: %q", got)
			}
			if got := ask(200, at+"/many/"); !bytes.Contains(got, []byte("entry 499")) {
				t.Error("a listing lacks an entry")
			}
			if got := ask(200, cbor.String()+"?format=dag-cbor"); !bytes.Equal(got, []byte{0xa1, 0x61, 'a', 0x01}) {
				t.Errorf("dag-cbor: %x", got)
			}
			roots, blocks := readCAR(t, ask(200, at+"?format=car"))
			if len(blocks) != len(m.All())-1 || !roots[0].Equals(root) { // all but the dag-cbor
				t.Errorf("a CAR of %d blocks, want %d", len(blocks), len(m.All())-1)
			}
			ask(404, at+"/nothing")
			ask(404, at+"/sub/deep/nothing")
		})
	}
}

// TestRemoteBackendsOfDamage has them read what cannot be read, which they must
// notice.
func TestRemoteBackendsOfDamage(t *testing.T) {
	for name, spoil := range spoilers() {
		m := dagtest.New(t)
		ours := serve(t, m, false, Config{Trustless: true})
		root, _ := damagedDAG(t, m, spoil)
		byBlocks, err := boxo.NewRemoteBlocksBackend([]string{ours.URL}, ours.Client())
		if err != nil {
			t.Fatal(err)
		}
		byCARs, err := boxo.NewRemoteCarBackend([]string{ours.URL}, ours.Client())
		if err != nil {
			t.Fatal(err)
		}
		for kind, backend := range map[string]boxo.IPFSBackend{"blocks": byBlocks, "CARs": byCARs} {
			theirs := boxo.NewHandler(boxo.Config{DeserializedResponses: true, NoDNSLink: true, MetricsRegistry: prometheus.NewRegistry()}, backend)
			server := httptest.NewServer(theirs)
			if a := ask(t, server, http.MethodGet, "/ipfs/"+root.String()+"/file"); a.err == nil && a.status == http.StatusOK {
				t.Errorf("%s, by %s: %d bytes that end well", name, kind, len(a.body))
			}
			if a := ask(t, server, http.MethodGet, "/ipfs/"+root.String()+"/good"); a.status != http.StatusOK || string(a.body) != "good" {
				t.Errorf("%s, by %s: its neighbour is %d %q", name, kind, a.status, a.body)
			}
			server.Close()
		}
	}
}
