package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipns"
	"github.com/ipfs/boxo/path"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/miekg/dns"

	"github.com/dagstore/dagstore/internal/car/cartest"
)

// TestServeNames: domains and keys are resolved as the configuration says, and nobody
// is asked if it says nothing.
func TestServeNames(t *testing.T) {
	c := "/ipfs/" + cartest.Raw([]byte("a file")).CID.String()
	// A DNS server, and a gateway that has a record.
	packets, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up, ended := make(chan struct{}), make(chan error, 1)
	names := &dns.Server{PacketConn: packets, NotifyStartedFunc: func() { close(up) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		a := new(dns.Msg).SetRcode(q, dns.RcodeNameError)
		if name := q.Question[0].Name; name == "_dnslink.site.example." {
			a.Rcode = dns.RcodeSuccess
			a.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60}, Txt: []string{"dnslink=" + c}}}
		}
		_ = w.WriteMsg(a)
	})}
	go func() { ended <- names.ActivateAndServe() }()
	<-up
	t.Cleanup(func() {
		_ = names.Shutdown()
		<-ended
	})
	private, public, err := crypto.GenerateKeyPair(crypto.Ed25519, 0)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key := ipns.NameFromPeer(id).String()
	to, err := path.NewPath(c)
	if err != nil {
		t.Fatal(err)
	}
	record, err := ipns.NewRecord(private, to, 1, time.Now().Add(time.Hour), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ipns.MarshalRecord(record)
	if err != nil {
		t.Fatal(err)
	}
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ipns/"+key {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(raw)
	}))
	t.Cleanup(other.Close)

	car := carFile(t, "one.car", "a file")
	for text, status := range map[string]int{
		"": http.StatusNotImplemented,
		fmt.Sprintf("[gateway]\ndnslink = true\ndns_server = %q\nipns = %q\n", packets.LocalAddr(), other.URL): http.StatusOK,
	} {
		dir := t.TempDir()
		config := filepath.Join(dir, "config.toml")
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := start(t, nil, "--config", config, "--repo", filepath.Join(dir, "store"), "serve", "--listen", "127.0.0.1:0", "--metrics", "none", car)
		url := s.stderr.match(t, `serving (http://127\.0\.0\.1:\d+)/`)
		s.stdout.match(t, `ready +one`)
		for _, name := range []string{"site.example", key} {
			if got, body := fetch(t, url+"/ipns/"+name); got != status || status == http.StatusOK && body != "a file" {
				t.Errorf("%q: %s: %d %q, want %d", text, name, got, body, status)
			}
		}
		if got, _ := fetch(t, url+"/ipns/none.example"); status == http.StatusOK && got != http.StatusNotFound {
			t.Errorf("a domain that leads nowhere: %d", got)
		}
		s.stop()
		if code := s.ends(t); code != exitOK {
			t.Errorf("exit code %d", code)
		}
	}
}
