package gateway

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car/dagtest"
	"github.com/dagstore/dagstore/shard"
)

func TestHome(t *testing.T) {
	root := cid.MustParse("bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
	shards := func(context.Context) iter.Seq2[shard.Info, error] {
		return func(yield func(shard.Info, error) bool) {
			for i := range 1000 {
				key := shard.Key(fmt.Sprintf("<i>key-%d", i))
				if !yield(shard.Info{Key: key, State: shard.Available, Roots: []cid.Cid{root}, RootCount: 3}, nil) {
					return
				}
			}
		}
	}
	handler, err := newHandler(dagtest.New(t), nil, shards, Config{})
	if err != nil {
		t.Fatal(err)
	}
	const peer, here = "127.0.0.1:4000", "127.0.0.1:8447"
	for _, c := range []struct {
		name                string
		remote, local, host string
		header              string
		listed              bool
	}{
		{"loopback", peer, here, "127.0.0.1:8447", "", true},
		{"localhost", peer, here, "localhost:8447", "", true},
		{"subdomain of localhost", peer, here, "a.localhost", "", true},
		{"loopback of IPv6", "[::1]:4000", "[::1]:8447", "[::1]:8447", "", true},
		{"another name that leads here", peer, here, "evil.example:8447", "", false},
		{"a name that only begins so", peer, here, "localhost.evil.example", "", false},
		{"an address of the network", peer, here, "192.168.0.7:8447", "", false},
		{"another machine", "192.168.0.9:4000", "192.168.0.7:8447", "127.0.0.1:8447", "", false},
		{"through a proxy", peer, here, "127.0.0.1:8447", "X-Forwarded-For: 203.0.113.5", false},
		{"typed into a browser", peer, here, "127.0.0.1:8447", "Sec-Fetch-Site: none", true},
		{"by a page out of a CAR", peer, here, "127.0.0.1:8447", "Sec-Fetch-Site: same-origin", false},
		{"by a page of another site", peer, here, "127.0.0.1:8447", "Sec-Fetch-Site: cross-site", false},
		{"no host", peer, here, "", "", false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		addr, err := net.ResolveTCPAddr("tcp", c.local)
		if err != nil {
			t.Fatal(err)
		}
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(addr)))
		r.RemoteAddr, r.Host = c.remote, c.host
		if name, value, ok := strings.Cut(c.header, ": "); ok {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		body := w.Body.String()
		if w.Code != http.StatusOK || !strings.Contains(body, "dagstore gateway") {
			t.Errorf("%s: status %d", c.name, w.Code)
		}
		if listed := strings.Contains(body, "key-0"); listed != c.listed || listed != strings.Contains(body, root.String()) {
			t.Errorf("%s: shards shown: %v, want %v", c.name, listed, c.listed)
		}
		if strings.Contains(body, "<i>key") {
			t.Errorf("%s: a key is not escaped", c.name)
		}
		if strings.Contains(body, "key-100<") || c.listed && !strings.Contains(body, "dagstore ls") {
			t.Errorf("%s: the list is not cut at %d", c.name, homeShards)
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: other sites may read it: %v", c.name, w.Header())
		}
	}
}

func TestHomeOfBrokenStore(t *testing.T) {
	shards := func(context.Context) iter.Seq2[shard.Info, error] {
		return func(yield func(shard.Info, error) bool) { yield(shard.Info{}, errors.New(secret)) }
	}
	handler, err := newHandler(dagtest.New(t), nil, shards, Config{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	defer server.Close()
	body := string(get(t, server, http.StatusOK, "/").body)
	if !strings.Contains(body, "could not be read") || strings.Contains(body, secret) {
		t.Errorf("body: %s", body)
	}
}
