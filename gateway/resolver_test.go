package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ipld "github.com/ipfs/go-ipld-format"
	"github.com/miekg/dns"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// A nameServer is a DNS server on this machine, by UDP and TCP.
type nameServer struct {
	addr    string
	asked   atomic.Int64
	mu      sync.Mutex
	records map[string][]dns.RR // by name
	fails   int                 // a code with which it answers instead
	silent  bool
}

func startDNS(t *testing.T) *nameServer {
	t.Helper()
	s := &nameServer{records: make(map[string][]dns.RR)}
	packets, streams := listenTwice(t)
	s.addr = packets.LocalAddr().String()
	for _, server := range []*dns.Server{{PacketConn: packets}, {Listener: streams}} {
		server.Handler = dns.HandlerFunc(s.serve)
		ended := make(chan error, 1)
		up := make(chan struct{})
		server.NotifyStartedFunc = func() { close(up) }
		go func() { ended <- server.ActivateAndServe() }()
		<-up
		t.Cleanup(func() {
			if err := errors.Join(server.Shutdown(), <-ended); err != nil {
				t.Error(err)
			}
		})
	}
	return s
}

// listenTwice listens by UDP and TCP on one port, which may be free by one of them alone.
func listenTwice(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	var config net.ListenConfig
	var errs error
	for range 100 {
		packets, err := config.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		streams, err := config.Listen(t.Context(), "tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, streams
		}
		errs = errors.Join(errs, err, packets.Close())
	}
	t.Fatal(errs)
	return nil, nil
}

// set gives a name records, in the form of zone files.
func (s *nameServer) set(t *testing.T, records ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := make(map[string]bool)
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		name := rr.Header().Name
		if !fresh[name] {
			fresh[name], s.records[name] = true, nil
		}
		s.records[name] = append(s.records[name], rr)
	}
}

func (s *nameServer) serve(w dns.ResponseWriter, q *dns.Msg) {
	s.asked.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.silent {
		return
	}
	a := new(dns.Msg).SetReply(q)
	name := strings.ToLower(q.Question[0].Name)
	for range 8 {
		next := ""
		for _, rr := range s.records[name] {
			a.Answer = append(a.Answer, rr)
			if alias, ok := rr.(*dns.CNAME); ok {
				next = alias.Target
			}
		}
		if name = next; name == "" {
			break
		}
	}
	switch {
	case s.fails != 0:
		a.Rcode, a.Answer = s.fails, nil
	case len(a.Answer) == 0:
		a.Rcode = dns.RcodeNameError
	}
	if _, ok := w.RemoteAddr().(*net.UDPAddr); ok {
		a.Truncate(dns.MinMsgSize)
	}
	_ = w.WriteMsg(a)
}

// TestDNSLink looks up what a real server says.
func TestDNSLink(t *testing.T) {
	server := startDNS(t)
	const to = "/ipfs/bafkqaaa/a b"
	server.set(t,
		`_dnslink.a.example. 300 IN TXT "dnslink=`+to+`"`, `_dnslink.a.example. 300 IN TXT "v=spf1 -all"`, `_dnslink.a.example. 300 IN TXT "dnslink=/swarm/x"`,
		`_dnslink.split.example. 7200 IN TXT "dnslink=/ipns/" "b.example"`,
		`_dnslink.alias.example. 60 IN CNAME _dnslink.a.example.`,
		`_dnslink.never.example. 0 IN TXT "dnslink=`+to+`"`,
		`_dnslink.old.example. 4294967295 IN TXT "dnslink=`+to+`"`,
		`_dnslink.two.example. 60 IN TXT "dnslink=/ipfs/bafkqaaa"`, `_dnslink.two.example. 60 IN TXT "dnslink=/ipfs/bafkqaab"`,
		`_dnslink.same.example. 60 IN TXT "dnslink=/ipfs/bafkqaaa"`, `_dnslink.same.example. 60 IN TXT " dnslink=/ipfs/bafkqaaa "`,
		`_dnslink.other.example. 60 IN TXT "dnslink=https://a.example"`,
		`_dnslink.address.example. 60 IN A 192.0.2.1`,
		`_dnslink.xn--bcher-kva.example. 60 IN TXT "dnslink=`+to+`"`,
	)
	long := make([]string, 20) // an answer that does not fit into a packet
	for i := range long {
		long[i] = fmt.Sprintf(`_dnslink.long.example. 120 IN TXT "%s%d"`, strings.Repeat("x", 200), i)
	}
	server.set(t, append(long, `_dnslink.long.example. 90 IN TXT "dnslink=`+to+`"`)...)
	names, err := NewNames(Resolving{DNSLink: true, DNSServer: server.addr})
	if err != nil {
		t.Fatal(err)
	}
	if names.Record != nil {
		t.Error("keys are resolved, too")
	}
	for _, row := range []struct {
		domain, path string
		ttl          time.Duration
	}{
		{"a.example", to, 5 * time.Minute}, {"A.Example.", to, 5 * time.Minute}, {"split.example", "/ipns/b.example", time.Hour}, {"alias.example", to, time.Minute},
		{"never.example", to, 0}, {"old.example", to, 0}, {"long.example", to, 90 * time.Second}, {"same.example", "/ipfs/bafkqaaa", time.Minute},
		{"b\u00fccher.example", to, time.Minute}, {"B\u00dcCHER.example", to, time.Minute},
		{"two.example", "", 0}, {"other.example", "", 0}, {"address.example", "", 0}, {"none.example", "", 0},
		{"example", "", 0}, {"127.0.0.1", "", 0}, {"::1", "", 0}, {"", "", 0}, {"a..example", "", 0}, {strings.Repeat("a", 64) + ".example", "", 0},
		{strings.Repeat("a.", 130) + "example", "", 0},
	} {
		path, ttl, err := names.DNSLink(t.Context(), row.domain)
		if row.path == "" {
			if !errors.Is(err, ErrNoName) {
				t.Errorf("%q: %q, %v", row.domain, path, err)
			}
			continue
		}
		if err != nil || path != row.path || ttl > row.ttl || ttl < row.ttl-50*time.Second {
			t.Errorf("%q: %q for %v, %v; want %q for %v", row.domain, path, ttl, err, row.path, row.ttl)
		}
	}
	// All of it is known now.
	before := server.asked.Load()
	for _, domain := range []string{"a.example", "A.EXAMPLE", "none.example", "xn--bcher-kva.example"} {
		_, _, _ = names.DNSLink(t.Context(), domain)
	}
	if n := server.asked.Load() - before; n > 0 {
		t.Errorf("the server was asked %d times for what is known", n)
	}
	// What fails is asked again.
	server.mu.Lock()
	server.fails = dns.RcodeServerFailure
	server.mu.Unlock()
	server.set(t, `_dnslink.later.example. 60 IN TXT "dnslink=`+to+`"`)
	if _, _, err := names.DNSLink(t.Context(), "later.example"); err == nil || errors.Is(err, ErrNoName) {
		t.Errorf("a server that fails: %v", err)
	}
	server.mu.Lock()
	server.fails = 0
	server.mu.Unlock()
	if path, _, err := names.DNSLink(t.Context(), "later.example"); err != nil || path != to {
		t.Errorf("one that does not any more: %q, %v", path, err)
	}
}

// TestSilentDNS wants a look-up to end.
func TestSilentDNS(t *testing.T) {
	server := startDNS(t)
	server.mu.Lock()
	server.silent = true
	server.mu.Unlock()
	names, err := NewNames(Resolving{DNSLink: true, DNSServer: server.addr, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := names.DNSLink(t.Context(), "a.example"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a server that says nothing: %v", err)
	}
	h := handlerOver(t, dagtest.New(t), Config{Names: names})
	if a := visit(t, h, "localhost", "/ipns/a.example/"); a.status != http.StatusGatewayTimeout || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Retry-After") == "" {
		t.Errorf("%d %v", a.status, a.header)
	}
}

// TestNamesServed is a gateway with a DNS server and another gateway behind it.
func TestNamesServed(t *testing.T) {
	m := dagtest.New(t)
	root := m.Folder(false, map[string]ipld.Node{"d": m.Folder(false, map[string]ipld.Node{"a": m.File("a")})}).Cid().String()
	key, private := newKey(t)
	loop, loopKey := newKey(t)
	records := map[string][]byte{
		key.String():  record(t, private, "/ipfs/"+root+"/d", time.Now().Add(time.Hour), 2*time.Minute),
		loop.String(): record(t, loopKey, "/ipns/loop.example", time.Now().Add(time.Hour), time.Hour),
	}
	other := serveHandler(t, handlerOver(t, m, Config{Trustless: true, Names: Names{Record: func(_ context.Context, key string) ([]byte, time.Duration, error) {
		if r, ok := records[key]; ok {
			return r, 0, nil
		}
		return nil, 0, ErrNoName
	}}}))
	server := startDNS(t)
	server.set(t,
		`_dnslink.site.example. 60 IN TXT "dnslink=/ipfs/`+root+`"`, `_dnslink.key.example. 600 IN TXT "dnslink=/ipns/`+key.String()+`"`,
		`_dnslink.loop.example. 60 IN TXT "dnslink=/ipns/`+loop.String()+`"`, `_dnslink.wrong.example. 60 IN TXT "dnslink=/ipfs/nonsense"`,
	)
	names, err := NewNames(Resolving{DNSLink: true, DNSServer: server.addr, IPNS: other.URL + "/", Client: other.Client()})
	if err != nil {
		t.Fatal(err)
	}
	absent, _ := newKey(t)
	h := handlerOver(t, m, Config{Names: names, DeserializedHosts: []string{"localhost", "*.example"}, Hosts: []string{"gw.example"}})
	for _, row := range []struct {
		host, path string
		status     int
		body       string
		age        int // at most
	}{
		{"localhost", "/ipns/site.example/d/a", 200, "a", 60},
		{"localhost", "/ipns/key.example/a", 200, "a", 120}, // the shorter of the two
		{"localhost", "/ipns/" + key.String() + "/a", 200, "a", 120},
		{"localhost", "/ipns/" + key.Peer().String() + "/a", 200, "a", 120},
		{"localhost", "/ipns/" + key.String() + "?format=ipns-record", 200, string(records[key.String()]), 120},
		{"site.example", "/d/a", 200, "a", 60},
		{"key.example", "/a", 200, "a", 120},
		{"key-example.ipns.gw.example", "/a", 200, "a", 120},
		{"localhost", "/ipns/loop.example/", 400, "", 0},
		{"localhost", "/ipns/wrong.example/", 404, "", 15},
		{"localhost", "/ipns/none.example/", 404, "", 15},
		{"localhost", "/ipns/" + absent.String(), 404, "", 15},
		{"none.example", "/d/a", 404, "", 15},
	} {
		a := visit(t, h, row.host, row.path)
		age := 0
		_, _ = fmt.Sscanf(a.header.Get("Cache-Control"), "public, max-age=%d", &age)
		if a.status != row.status || row.body != "" && string(a.body) != row.body || age > row.age || row.age > 15 && age == 0 {
			t.Errorf("%s%s: %d %.40q %q, want %d %.40q and at most %d s", row.host, row.path, a.status, a.body, a.header.Get("Cache-Control"), row.status, row.body, row.age)
		}
	}
}

// TestNewNames wants what is wrong to be told, and nothing resolved unless it is said.
func TestNewNames(t *testing.T) {
	if names, err := NewNames(Resolving{}); err != nil || names.DNSLink != nil || names.Record != nil {
		t.Errorf("nothing is said: %+v, %v", names, err)
	}
	for server, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:53", "192.0.2.1:5353": "192.0.2.1:5353", "2001:db8::1": "[2001:db8::1]:53", "[2001:db8::1]": "[2001:db8::1]:53", "[2001:db8::1]:5353": "[2001:db8::1]:5353",
		"dns.example": "", "192.0.2.1:0": "", "192.0.2.1:dns": "", ":53": "", "https://dns.example": "",
	} {
		if got, err := dnsServer(server); got != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v, want %q", server, got, err, want)
		}
		if _, err := NewNames(Resolving{DNSServer: server}); err == nil {
			t.Errorf("%s without DNSLink is taken", server)
		}
	}
	for url, good := range map[string]bool{
		"https://gateway.example": true, "http://127.0.0.1:8080/": true,
		"gateway.example": false, "ftp://gateway.example": false, "https://": false, "https://a@gateway.example": false, "https://gateway.example/x": false, "https://gateway.example?x": false, "https://gateway.example#x": false,
	} {
		if names, err := NewNames(Resolving{IPNS: url}); (err == nil) != good || good && names.Record == nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// TestRecordsFetched wants nothing followed but what is signed, in time, and no older
// than what was known.
func TestRecordsFetched(t *testing.T) {
	key, private := newKey(t)
	_, stranger := newKey(t)
	old := record(t, private, "/ipfs/bafkqaaa", time.Now().Add(time.Hour), time.Hour)
	var status atomic.Int64
	var body atomic.Pointer[[]byte]
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path != "/ipns/"+key.String() || r.URL.Query().Get("format") != "ipns-record" || r.Header.Get("Accept") != "application/vnd.ipfs.ipns-record" {
			t.Errorf("asked for %s", r.URL)
		}
		if status.Load() == http.StatusFound {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write(*body.Load())
	}))
	t.Cleanup(server.Close)
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	fetching := func() *records {
		names := newAnswers[[]byte]()
		names.now = func() time.Time { return time.Unix(0, now.Load()) }
		client := *server.Client()
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		return &records{base: server.URL, client: &client, timeout: 10 * time.Second, known: names}
	}
	give := func(code int, data []byte) {
		status.Store(int64(code))
		body.Store(&data)
	}
	r := fetching()
	get := func() ([]byte, time.Duration, error) {
		t.Helper()
		return r.find(t.Context(), key.String())
	}
	give(200, old)
	for range 3 {
		if raw, ttl, err := get(); err != nil || string(raw) != string(old) || ttl > time.Hour || ttl < 59*time.Minute {
			t.Fatalf("%d bytes for %v, %v", len(raw), ttl, err)
		}
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	// What it says later: the record that was good is so until it ends.
	later := func() { now.Add(int64(2 * longest)) }
	for name, give := range map[string]func(){
		"fails": func() { give(500, nil) }, "redirects": func() { give(302, nil) }, "says nonsense": func() { give(200, []byte("nonsense")) },
		"forges": func() { give(200, record(t, stranger, "/ipfs/bafkqaab", time.Now().Add(time.Hour), time.Hour)) },
		"is old": func() { give(200, record(t, private, "/ipfs/bafkqaab", time.Now().Add(time.Minute), time.Hour)) },
		"floods": func() { give(200, make([]byte, maxRecord+1)) },
	} {
		later()
		give()
		if raw, ttl, err := get(); err != nil || string(raw) != string(old) || ttl == 0 || name != "is old" && ttl > absence {
			t.Errorf("another gateway that %s: %d bytes for %v, %v", name, len(raw), ttl, err)
		}
	}
	later()
	give(404, nil)
	if _, _, err := get(); !errors.Is(err, ErrNoName) {
		t.Errorf("no record any more: %v", err)
	}
	// Of a key that was not known before.
	for name, row := range map[string]struct {
		code int
		data []byte
		bad  error
	}{"fails": {500, nil, nil}, "gone": {410, nil, ErrNoName}, "redirects": {302, nil, nil}, "floods": {200, make([]byte, maxRecord+1), nil}} {
		r = fetching()
		give(row.code, row.data)
		if raw, _, err := get(); err == nil || row.bad != nil && !errors.Is(err, row.bad) || row.bad == nil && errors.Is(err, ErrNoName) {
			t.Errorf("%s: %d bytes, %v", name, len(raw), err)
		}
	}
}
