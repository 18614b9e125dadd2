package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// providers asks, and reads the answer.
func providers(t *testing.T, server *httptest.Server, path string, header ...string) ([]peerRecord, answer) {
	t.Helper()
	a := get(t, server, http.StatusOK, path, header...)
	var out struct{ Providers []peerRecord }
	if err := json.Unmarshal(a.body, &out); err != nil || out.Providers == nil {
		t.Fatalf("%s: %q, %v", path, a.body, err)
	}
	return out.Providers, a
}

func TestProviders(t *testing.T) {
	m := dagtest.New(t)
	c := m.Block(cid.Raw, 0x12, []byte("x"))
	store := openStore(t)
	addBlocks(t, store, c, all(m))
	server := serveStore(t, store, nil)
	path := "/routing/v1/providers/"

	found, a := providers(t, server, path+c.String())
	addr := "/ip4/127.0.0.1/tcp/" + server.URL[strings.LastIndex(server.URL, ":")+1:] + "/http"
	if len(found) != 1 || found[0].Schema != "peer" || len(found[0].Addrs) != 1 || found[0].Addrs[0] != addr ||
		len(found[0].Protocols) != 1 || found[0].Protocols[0] != "transport-ipfs-gateway-http" {
		t.Errorf("%+v, want it at %s", found, addr)
	}
	// The ID is one of libp2p, and stays.
	if name, err := ipns.NameFromString(found[0].ID); err != nil || !strings.HasPrefix(found[0].ID, "12D3KooW") || found[0].ID != store.PeerID() || name.Peer().Validate() != nil {
		t.Errorf("ID %s: %v", found[0].ID, err)
	} else if _, err := name.Peer().ExtractPublicKey(); err != nil {
		t.Errorf("ID %s: %v", found[0].ID, err)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Cache-Control": "public, max-age=300", "Vary": "Accept", "Access-Control-Allow-Origin": "*",
	} {
		if a.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, a.header.Get(name), want)
		}
	}
	// The codec does not matter.
	if found, _ := providers(t, server, path+cid.NewCidV1(cid.DagCBOR, c.Hash()).String()); len(found) != 1 {
		t.Errorf("by another codec: %+v", found)
	}
	absent := cartest.Raw([]byte("absent")).CID.String()
	if found, a := providers(t, server, path+absent); len(found) != 0 || a.header.Get("Cache-Control") != "public, max-age=15" {
		t.Errorf("absent: %+v, %v", found, a.header)
	}
	// A hash that is never served.
	weak, err := multihash.Sum([]byte("x"), multihash.SHA2_256, 10)
	if err != nil {
		t.Fatal(err)
	}
	if found, _ := providers(t, server, path+cid.NewCidV1(cid.Raw, weak).String()); len(found) != 0 {
		t.Errorf("a weak hash: %+v", found)
	}
	lines := get(t, server, http.StatusOK, path+c.String(), "Accept", "application/x-ndjson")
	var one peerRecord
	if err := json.Unmarshal(lines.body, &one); err != nil || one.Addrs[0] != addr || bytes.Count(lines.body, []byte("\n")) != 1 || lines.header.Get("Content-Type") != "application/x-ndjson" || lines.header.Get("Vary") != "Accept" {
		t.Errorf("NDJSON: %q, %v", lines.body, lines.header)
	}
	if lines := get(t, server, http.StatusOK, path+absent, "Accept", "application/json;q=0.5, application/x-ndjson"); len(lines.body) != 0 {
		t.Errorf("NDJSON of nobody: %q", lines.body)
	}
	if head := ask(t, server, http.MethodHead, path+c.String()); head.status != http.StatusOK || len(head.body) != 0 {
		t.Errorf("HEAD: %d", head.status)
	}
	if options := ask(t, server, http.MethodOptions, path+c.String()); options.status != http.StatusOK {
		t.Errorf("OPTIONS: %d", options.status)
	}
	for path, status := range map[string]int{
		path + "nonsense": http.StatusUnprocessableEntity, path: http.StatusUnprocessableEntity, path + c.String() + "/x": http.StatusNotFound,
		"/routing/v1/peers/" + store.PeerID(): http.StatusNotFound,
	} {
		get(t, server, status, path)
	}
	if bad := get(t, server, http.StatusUnprocessableEntity, path+"nonsense"); bad.header.Get("Cache-Control") != "no-store" {
		t.Errorf("a bad CID: %v", bad.header)
	}
}

// TestProvidersElsewhere: nobody else is told an address that is not for him.
func TestProvidersElsewhere(t *testing.T) {
	m := dagtest.New(t)
	c := m.Block(cid.Raw, 0x12, []byte("x"))
	path := "/routing/v1/providers/" + c.String()
	for url, want := range map[string]string{
		"https://gateway.example":     "/dns/gateway.example/tcp/443/https",
		"http://gateway.example/":     "/dns/gateway.example/tcp/80/http",
		"https://192.0.2.1:8443":      "/ip4/192.0.2.1/tcp/8443/https",
		"http://[2001:db8::1]:8080":   "/ip6/2001:db8::1/tcp/8080/http",
		"https://gateway.example:444": "/dns/gateway.example/tcp/444/https",
	} {
		server := serve(t, m, false, Config{PublicURL: url})
		if found, _ := providers(t, server, path, "X-Forwarded-For", "192.0.2.7"); len(found) != 1 || found[0].Addrs[0] != want {
			t.Errorf("%s: %+v, want %s", url, found, want)
		}
	}
	server := serve(t, m, false, Config{})
	get(t, server, http.StatusNotImplemented, path, "X-Forwarded-For", "192.0.2.7")
	get(t, server, http.StatusNotImplemented, path, "Via", "1.1 proxy")
	handler, err := newHandler(m, m, noShards, Config{})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	r.RemoteAddr = "192.0.2.7:1234"
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, r)
	if rec.Code != http.StatusNotImplemented {
		t.Errorf("from elsewhere: %d", rec.Code)
	}
	for _, url := range []string{"gateway.example", "ftp://gateway.example", "https://u@gateway.example", "https://gateway.example/x", "https://:1"} {
		if _, err := newHandler(m, m, noShards, Config{PublicURL: url}); err == nil {
			t.Errorf("%s was taken", url)
		}
	}
}

// TestProvidersFiltered: the filters of IPIP-484.
func TestProvidersFiltered(t *testing.T) {
	m := dagtest.New(t)
	c := m.Block(cid.Raw, 0x12, []byte("x"))
	server := serve(t, m, false, Config{PublicURL: "https://gateway.example"})
	for query, want := range map[string]int{
		"filter-addrs=https": 1, "filter-addrs=HTTPS,quic-v1": 1, "filter-addrs=tls": 0, "filter-addrs=webtransport": 0, "filter-addrs=unknown": 0,
		"filter-addrs=!https": 0, "filter-addrs=!quic-v1": 1, "filter-addrs=!quic-v1,!tcp": 0, "filter-addrs=https,!tcp": 0, "filter-addrs=": 1, "filter-addrs=,": 1,
		"filter-protocols=transport-ipfs-gateway-http": 1, "filter-protocols=transport-bitswap": 0, "filter-protocols=transport-bitswap,Transport-IPFS-gateway-http": 1,
		"filter-protocols=unknown": 0, "filter-protocols=!transport-ipfs-gateway-http": 0, "filter-protocols=!transport-bitswap": 1,
		"filter-addrs=https&filter-protocols=transport-bitswap": 0,
	} {
		found, a := providers(t, server, "/routing/v1/providers/"+c.String()+"?"+query)
		if len(found) != want {
			t.Errorf("%s: %+v, want %d", query, found, want)
		}
		if age := a.header.Get("Cache-Control"); want == 0 && age != absentAge || want == 1 && age != foundAge {
			t.Errorf("%s: %s", query, age)
		}
	}
	nobody := peerRecord{}
	if !passes("unknown", nobody.Protocols) || passes("!unknown", nobody.Protocols) || passes("a", nobody.Protocols) {
		t.Error("of what is not known")
	}
}

// TestProvidersDenied: what is not served is not told of.
func TestProvidersDenied(t *testing.T) {
	m := dagtest.New(t)
	c := m.Block(cid.Raw, 0x12, []byte("x"))
	server := serve(t, m, false, Config{Refuse: func(asked cid.Cid, _ string) int {
		if asked.Equals(c) {
			return http.StatusUnavailableForLegalReasons
		}
		return 0
	}})
	get(t, server, http.StatusUnavailableForLegalReasons, "/routing/v1/providers/"+c.String())
}
