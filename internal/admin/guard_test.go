package admin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/car/cartest"
)

// theBlock is in every store of this test.
var theBlock = cartest.Raw([]byte("the block"))

// requests has for each route with a body, or a path with a name in it, a
// request that does what the route is for. A route that is missing here fails
// the test, so none can be forgotten.
func requests(r *rig) map[string]ask {
	car := func(name string) string { return r.car(name, "the block") }
	text := func(v any) string {
		data, err := json.Marshal(v)
		if err != nil {
			r.t.Fatal(err)
		}
		return string(data)
	}
	add := text(wire.NewJob{Kind: wire.JobAdd, Add: &wire.AddJob{Sources: []string{car("job.car")}}})
	block := theBlock.CID.String()
	return map[string]ask{
		"GET problems/{name}":                             {path: "/problems/internal"},
		"POST session":                                    {body: text(wire.Login{Code: r.link()})},
		"POST backup":                                     {body: text(wire.NewBackup{Dir: filepath.Join(r.dir, "backup")})},
		"GET shards/{key}":                                {path: "/shards/k"},
		"PUT shards/{key}":                                {path: "/shards/new", body: text(wire.Registration{Mount: car("new.car")})},
		"DELETE shards/{key}":                             {path: "/shards/k"},
		"POST shards/{key}/index":                         {path: "/shards/lazy/index"},
		"POST shards/{key}/recover":                       {path: "/shards/k/recover"},
		"POST shards/{key}/pin":                           {path: "/shards/k/pin"},
		"POST shards/{key}/unpin":                         {path: "/shards/pinned/unpin"},
		"POST shards/{key}/evict":                         {path: "/shards/k/evict", body: text(wire.Eviction{})},
		"POST shards/{key}/remount":                       {path: "/shards/k/remount", body: text(wire.Move{Mount: car("moved.car")})},
		"POST shards/{key}/replace":                       {path: "/shards/k/replace", body: text(wire.Registration{Mount: car("next.car")})},
		"POST shards/{key}/piece":                         {path: "/shards/k/piece"},
		"GET pieces/{cid}":                                {path: "/pieces/" + block},
		"GET shards/{key}/file/index":                     {path: "/shards/k/file/index"},
		"GET shards/{key}/file/car":                       {path: "/shards/k/file/car"},
		"GET shards/{key}/manifests":                      {path: "/shards/k/manifests"},
		"GET shards/{key}/manifests/{name}":               {path: "/shards/k/manifests/m"},
		"PUT shards/{key}/manifests/{name}":               {path: "/shards/k/manifests/n", body: block + "\n", kind: "text/plain"},
		"GET shards/{key}/manifests/{name}/members/{cid}": {path: "/shards/k/manifests/m/members/" + block},
		"DELETE shards/{key}/manifests/{name}":            {path: "/shards/k/manifests/m"},
		"GET blocks/{cid}":                                {path: "/blocks/" + block},
		"GET blocks/{cid}/raw":                            {path: "/blocks/" + block + "/raw"},
		"GET blocks/{cid}/size":                           {path: "/blocks/" + block + "/size"},
		"GET blocks/{cid}/locations":                      {path: "/blocks/" + block + "/locations"},
		"POST jobs":                                       {body: add},
		"GET jobs/{id}":                                   {path: "/jobs/1"},
		"GET jobs/{id}/results":                           {path: "/jobs/1/results"},
		"POST jobs/{id}/list":                             {path: "/jobs/1/list", body: `{"mount":"` + car("listed.car") + `"}` + "\n", kind: mimeLines},
		"POST jobs/{id}/cancel":                           {path: "/jobs/1/cancel"},
		"POST import":                                     {body: `{"mount":"` + car("imported.car") + `"}` + "\n", kind: mimeLines},
	}
}

// link makes a one-time link as "dagstore ui" does, and returns its code.
func (r *rig) link() string {
	var link wire.OneTimeLink
	r.want(http.StatusCreated, "POST", "/links", nil, &link)
	_, code, ok := strings.Cut(link.URL, "#code=")
	if !ok {
		r.t.Fatalf("%s has no code", link.URL)
	}
	return code
}

// login exchanges a link for a cookie.
func (r *rig) login() string {
	body, err := json.Marshal(wire.Login{Code: r.link()})
	if err != nil {
		r.t.Fatal(err)
	}
	response, text := r.do(r.tcp, ask{method: "POST", path: "/session", body: string(body)})
	if response.StatusCode != http.StatusCreated {
		r.t.Fatalf("%d: %s", response.StatusCode, text)
	}
	return response.Header.Get("Set-Cookie")
}

// guardRig is a store with something of everything.
func guardRig(t *testing.T) *rig {
	r := newRig(t, func(c *Config) { c.Add = addLines; c.Outside = func(url string) string { return url } })
	r.register("k", "the block")
	r.register("pinned", "p")
	if err := r.store.Pin(t.Context(), "pinned"); err != nil {
		t.Fatal(err)
	}
	r.want(http.StatusCreated, "PUT", "/shards/lazy", wire.Registration{Mount: r.car("lazy.car", "l"), Lazy: true}, nil)
	if response, text := r.do(r.local, ask{method: "PUT", path: "/shards/k/manifests/m", body: theBlock.CID.String(), kind: "text/plain"}); response.StatusCode != http.StatusOK {
		t.Fatal(text)
	}
	r.want(http.StatusAccepted, "POST", "/jobs", wire.NewJob{Kind: wire.JobAdd, Add: &wire.AddJob{From: "-"}}, nil) // it waits for its list
	return r
}

// state is all that an effect would change.
func (r *rig) state() string {
	var out strings.Builder
	for info, err := range r.store.Shards(r.t.Context(), nil) {
		if err != nil {
			r.t.Fatal(err)
		}
		d := wire.DetailOf(info)
		fmt.Fprintln(&out, d.Key, d.State, d.Mount, d.Pinned, d.Labels, d.Version, d.Changed)
		for m, err := range r.store.Manifests(r.t.Context(), info.Key) {
			if err != nil {
				r.t.Fatal(err)
			}
			fmt.Fprintln(&out, m)
		}
	}
	for _, j := range r.server.jobs.list() {
		fmt.Fprintln(&out, j.ID, j.State, j.Results)
	}
	s := r.server.sessions
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(&out, len(s.links), len(s.open))
	return out.String()
}

// TestNoUnauthorisedEffect tries every route in every way in which it must not
// be used, and then in the one in which it must.
func TestNoUnauthorisedEffect(t *testing.T) {
	for i := range table {
		route := &table[i]
		t.Run(route.method+" "+route.path, func(t *testing.T) {
			r := guardRig(t)
			want, known := requests(r)[route.method+" "+route.path]
			if !known && (strings.Contains(route.path, "{") || route.body.mime != "") {
				t.Fatal("this route has no request in the test: say how it is asked")
			}
			if want.method = route.method; want.path == "" {
				want.path = "/" + route.path
			}
			if route.answer.mime == mimeEvents {
				want.path += "?after=none" // it is tried below, and here refused only
			}
			owner := r.tokens["owner"]
			cookie := strings.Split(r.login(), ";")[0]
			before := r.state()
			refused := func(what string, a ask, statuses ...int) {
				t.Helper()
				response, text := r.do(r.tcp, a)
				ok := false
				for _, status := range statuses {
					ok = ok || response.StatusCode == status
				}
				if !ok {
					t.Errorf("%s: %d, want one of %v: %s", what, response.StatusCode, statuses, text)
				}
				if p := problem(t, text); a.method != http.MethodHead && p.Status != response.StatusCode {
					t.Errorf("%s: %+v", what, p)
				}
				if after := r.state(); after != before {
					t.Fatalf("%s: the state has changed:\n%swas\n%s", what, after, before)
				}
			}
			with := func(f func(*ask)) ask { a := want; f(&a); return a }

			if route.scope != Anyone {
				refused("no token", want, http.StatusUnauthorized)
				refused("an empty token", with(func(a *ask) { a.header = map[string]string{"Authorization": "Bearer "} }), http.StatusUnauthorized)
				refused("basic", with(func(a *ask) { a.header = map[string]string{"Authorization": "Basic " + owner} }), http.StatusUnauthorized)
				refused("a cookie that nobody gave", with(func(a *ask) { a.header = map[string]string{"Cookie": cookieName + "=x"} }), http.StatusUnauthorized)
			}
			refused("a wrong token", with(func(a *ask) { a.token = owner + "x" }), http.StatusUnauthorized)
			if route.scope == Write {
				refused("a read token", with(func(a *ask) { a.token = r.tokens["reader"] }), http.StatusForbidden)
			}
			for _, host := range []string{"evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "10.0.0.1"} {
				refused("for host "+host, with(func(a *ask) { a.token = owner; a.host = host }), http.StatusMisdirectedRequest)
			}
			for _, auth := range []map[string]string{{"Authorization": "Bearer " + owner}, {"Cookie": cookie}} {
				for name, value := range map[string]string{"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"} {
					header := map[string]string{name: value}
					for k, v := range auth {
						header[k] = v
					}
					refused("by another site", with(func(a *ask) { a.header = header }), http.StatusForbidden)
					header["Sec-Fetch-Site"] = "same-site" // of another port of this machine
					refused("by another port", with(func(a *ask) { a.header = header }), http.StatusForbidden)
				}
			}
			if route.method != http.MethodGet {
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					a := with(func(a *ask) { a.method = method; a.token = owner; a.body = "" })
					response, _ := r.do(r.tcp, a)
					// The path may have a GET of its own, which changes nothing.
					if ok := response.StatusCode < 300 && s(r, method, a.path); !ok && response.StatusCode != http.StatusMethodNotAllowed && response.StatusCode != http.StatusNotFound {
						t.Errorf("%s: %d", method, response.StatusCode)
					}
					if after := r.state(); after != before {
						t.Fatalf("%s has an effect:\n%swas\n%s", method, after, before)
					}
				}
			}
			if route.body.mime == mimeJSON {
				refused("as a form", with(func(a *ask) { a.token = owner; a.kind = "text/plain" }), http.StatusUnsupportedMediaType)
				refused("with too long a body", with(func(a *ask) {
					a.token, a.body = owner, `{"mount":"`+strings.Repeat("x", 2<<20)+`"}`
				}), http.StatusRequestEntityTooLarge)
				refused("with unknown fields", with(func(a *ask) { a.token, a.body = owner, `{"surprise":1}` }), http.StatusBadRequest)
			}
			if route.answer.mime == mimeEvents {
				return
			}
			// And so it is meant: this request would have had its effect.
			good := with(func(a *ask) { a.token = owner })
			if response, text := r.do(r.tcp, good); response.StatusCode != route.success() {
				t.Errorf("with a token: %d, want %d: %s", response.StatusCode, route.success(), text)
			}
			if after := r.state(); route.scope == Write && after == before && !changesNothing[route.path] {
				t.Error("with a token: nothing has changed, so the test above proves nothing")
			}
			if route.scope == Write && !strings.Contains(r.log.String(), `who="token owner"`) {
				t.Errorf("no line in the log says who did it: %s", r.log)
			}
		})
	}
}

// changesNothing are routes whose effect does not show in a store that is well.
var changesNothing = map[string]bool{
	"gc": true, "backup": true, "reconcile": true, "shards/{key}/recover": true, "shards/{key}/evict": true,
	"jobs/{id}/list": true, "jobs/{id}/cancel": true, // it shows a little later
}

// s reports whether a path has a route of its own for a method.
func s(r *rig, method, path string) bool {
	request, err := http.NewRequestWithContext(r.t.Context(), method, prefix+strings.TrimPrefix(path, "/"), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	_, pattern := r.server.mux.Handler(request)
	return pattern != prefix
}

func TestSessionOfBrowser(t *testing.T) {
	r := newRig(t, nil)
	r.register("k", "x")
	cookie := r.login()
	for _, part := range []string{"HttpOnly", "SameSite=Strict", "Max-Age=43200", "Path=/"} {
		if !strings.Contains(cookie, part) {
			t.Errorf("%s lacks %s", cookie, part)
		}
	}
	header := map[string]string{"Cookie": strings.Split(cookie, ";")[0], "Sec-Fetch-Site": "same-origin", "Origin": r.tcp.URL}
	if response, text := r.do(r.tcp, ask{method: "POST", path: "/shards/k/pin", header: header}); response.StatusCode != http.StatusOK {
		t.Errorf("%d: %s", response.StatusCode, text)
	}
	if response, _ := r.do(r.tcp, ask{method: "POST", path: "/links", header: header}); response.StatusCode != http.StatusForbidden {
		t.Errorf("a session made a link: %d", response.StatusCode)
	}
	// A code is good once.
	code := r.link()
	body := fmt.Sprintf(`{"code":%q}`, code)
	for _, want := range []int{http.StatusCreated, http.StatusUnauthorized} {
		if response, _ := r.do(r.tcp, ask{method: "POST", path: "/session", body: body}); response.StatusCode != want {
			t.Errorf("the code gave %d, want %d", response.StatusCode, want)
		}
	}
	if response, _ := r.do(r.tcp, ask{method: "DELETE", path: "/session", header: header}); response.StatusCode != http.StatusNoContent {
		t.Errorf("logging out: %d", response.StatusCode)
	}
	if response, _ := r.do(r.tcp, ask{method: "GET", path: "/stats", header: header}); response.StatusCode != http.StatusUnauthorized {
		t.Errorf("after logging out: %d", response.StatusCode)
	}
}

// TestScopeOfSources: whoever may not name private sources names them as the
// configuration spells it, and the record remembers that.
func TestScopeOfSources(t *testing.T) {
	r := newRig(t, nil)
	put := func(token, key string, reg wire.Registration) (int, string) {
		body, err := json.Marshal(reg)
		if err != nil {
			t.Fatal(err)
		}
		response, text := r.do(r.tcp, ask{method: "PUT", path: "/shards/" + key, body: string(body), token: token})
		return response.StatusCode, text
	}
	url := r.car("a.car", "x")
	if status, text := put(r.tokens["writer"], "a", wire.Registration{Mount: url}); status != http.StatusForbidden {
		t.Errorf("without the scope: %d: %s", status, text)
	}
	if status, text := put(r.tokens["owner"], "a", wire.Registration{Mount: url}); status != http.StatusCreated {
		t.Errorf("with the scope: %d: %s", status, text)
	}
	spelled := url + "#bytes=0-9"
	r.server.cfg.Outside = func(string) string { return spelled }
	if status, text := put(r.tokens["writer"], "b", wire.Registration{Mount: url, Lazy: true}); status != http.StatusCreated || !strings.Contains(text, "#bytes=0-9") {
		t.Errorf("spelled: %d: %s", status, text)
	}
	if info, err := r.store.Info(t.Context(), "b"); err != nil || info.URL != spelled {
		t.Errorf("the record has %s, %v", info.URL, err)
	}
	if status, text := put(r.tokens["writer"], "c", wire.Registration{Mount: url, Copy: "/etc/passwd"}); status != http.StatusForbidden {
		t.Errorf("a copy: %d: %s", status, text)
	}
}

// TestSecretsAreKeptNowhere: neither the log nor the file has a secret.
func TestSecretsAreKeptNowhere(t *testing.T) {
	r := newRig(t, nil)
	code := r.link()
	r.do(r.tcp, ask{method: "POST", path: "/session", body: fmt.Sprintf(`{"code":%q}`, code)})
	r.do(r.tcp, ask{method: "POST", path: "/gc", token: r.tokens["owner"]})
	log := r.log.String()
	if !strings.Contains(log, "path=/api/v1/gc") || !strings.Contains(log, "path=/api/v1/session") {
		t.Errorf("the log lacks lines: %s", log)
	}
	for _, secret := range []string{code, r.tokens["owner"]} {
		if strings.Contains(log, secret) {
			t.Errorf("the log has the secret %s", secret)
		}
	}
}

// TestNobodyTakesRoom: those who show no token cannot keep out those who do, by
// requests that they never finish.
func TestNobodyTakesRoom(t *testing.T) {
	r := newRig(t, nil)
	for range mostRequests {
		conn, err := net.Dial("tcp", r.tcp.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		// That the server goes on to ask for the body means that it is in there.
		ask := "POST /api/v1/session HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
		if _, err := io.WriteString(conn, ask); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, "100 Continue") {
			t.Fatalf("%q, %v", line, err)
		}
	}
	r.want(http.StatusOK, "GET", "/store", nil, nil)
}
