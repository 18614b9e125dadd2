package admin

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

// TestTokenGoes: a token that is removed lets nobody in from then on, nor do the
// sessions that it has let in, and what it listens to ends.
func TestTokenGoes(t *testing.T) {
	r := newRig(t, nil)
	path := filepath.Join(r.dir, "tokens")
	is := func(what string, want int, a ask) {
		t.Helper()
		if response, text := r.do(r.tcp, a); response.StatusCode != want {
			t.Errorf("%s: %d, want %d: %s", what, response.StatusCode, want, text)
		}
	}
	token := ask{method: "GET", path: "/stats", token: r.tokens["reader"]}
	is("a token", http.StatusOK, token)
	session := ask{method: "GET", path: "/stats", header: map[string]string{"Cookie": r.sessionOf(r.tokens["reader"])}}
	is("its session", http.StatusOK, session)
	other := ask{method: "GET", path: "/stats", header: map[string]string{"Cookie": r.sessionOf(r.tokens["owner"])}}
	_, code := r.do(r.tcp, ask{method: "POST", path: "/links", token: r.tokens["reader"]})

	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.tcp.URL+prefix+"events", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+r.tokens["reader"])
	stream, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer stream.Body.Close()
		for buf := make([]byte, 1<<10); err == nil; {
			_, err = stream.Body.Read(buf)
		}
	}()

	if err := RemoveToken(path, "reader"); err != nil {
		t.Fatal(err)
	}
	is("a token that was removed", http.StatusUnauthorized, token)
	is("its session", http.StatusUnauthorized, session)
	is("the session of another", http.StatusOK, other)
	is("the token of another", http.StatusOK, ask{method: "GET", path: "/stats", token: r.tokens["owner"]})
	cookie := r.exchange(code)
	is("a session of a link of before", http.StatusUnauthorized, ask{method: "GET", path: "/stats", header: map[string]string{"Cookie": cookie}})
	r.hub.Tell(wire.Event{Kind: wire.EventTrouble, Error: "news"})
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Error("what it listens to goes on")
	}
	// One of the same name is another one.
	again, err := AddToken(path, "reader", []Scope{Read})
	if err != nil {
		t.Fatal(err)
	}
	is("the token that was removed", http.StatusUnauthorized, token)
	is("a new one", http.StatusOK, ask{method: "GET", path: "/stats", token: again})
	// Nobody gets in by a file that cannot be used, until it can be.
	if runtime.GOOS == "windows" {
		return
	}
	for mode, want := range map[os.FileMode]int{0o644: http.StatusUnauthorized, 0o600: http.StatusOK} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		is(fmt.Sprintf("with mode %#o", mode), want, ask{method: "GET", path: "/stats", token: again})
	}
	if !strings.Contains(r.log.String(), "no token is good") {
		t.Error("nobody was told that the file cannot be used")
	}
}

// exchange exchanges the link that an answer has, and returns the cookie as a
// browser shows it.
func (r *rig) exchange(answer string) string {
	r.t.Helper()
	_, code, ok := strings.Cut(answer, "#code=")
	if code, _, _ = strings.Cut(code, `"`); !ok {
		r.t.Fatalf("no link: %s", answer)
	}
	response, text := r.do(r.tcp, ask{method: "POST", path: "/session", body: fmt.Sprintf(`{"code":%q}`, code)})
	if response.StatusCode != http.StatusCreated {
		r.t.Fatalf("%d: %s", response.StatusCode, text)
	}
	cookie := response.Cookies()[0]
	return cookie.Name + "=" + cookie.Value
}

// sessionOf is the cookie of a session that a token has let in.
func (r *rig) sessionOf(token string) string {
	r.t.Helper()
	_, text := r.do(r.tcp, ask{method: "POST", path: "/links", token: token})
	return r.exchange(text)
}

// TestTokensAtOnce: of tokens that are made and removed at once none is lost, and
// none comes back.
func TestTokensAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	const n = 16
	for i := range n {
		if _, err := AddToken(path, fmt.Sprint("old", i), []Scope{Read}); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if _, err := AddToken(path, fmt.Sprint("new", i), []Scope{Read}); err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			if err := RemoveToken(path, fmt.Sprint("old", i)); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	tokens, err := LoadTokens(path)
	if err != nil || len(tokens.All()) != n {
		t.Errorf("%d tokens, %v", len(tokens.All()), err)
	}
	for _, token := range tokens.All() {
		if !strings.HasPrefix(token.Name, "new") {
			t.Errorf("%s is there again", token.Name)
		}
	}
}

// TestTokensOfOneSecond: a change is seen that leaves time and size of the file as
// they were.
func TestTokensOfOneSecond(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens")
	secret, err := AddToken(path, "a", []Scope{Read})
	if err != nil {
		t.Fatal(err)
	}
	// It stays as young as it was made, however long this test takes.
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	tokens, err := LoadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := tokens.find(secret); !ok {
		t.Error("it is not known")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(text) - 2; i > len(text)-10; i-- { // of the hash
		text[i] = '0'
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Time{}, info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if _, ok := tokens.find(secret); ok {
		t.Error("it is still good")
	}
}

// TestOneTokenTakesLittle: who may look cannot keep out the others, by requests that
// last or by links.
func TestOneTokenTakesLittle(t *testing.T) {
	r := newRig(t, nil)
	browser := ask{method: "GET", path: "/stats", header: map[string]string{"Cookie": r.sessionOf(r.tokens["owner"])}}
	_, link := r.do(r.tcp, ask{method: "POST", path: "/links", token: r.tokens["owner"]})
	for range mostSessions + 10 {
		r.sessionOf(r.tokens["reader"])
		r.do(r.tcp, ask{method: "POST", path: "/links", token: r.tokens["reader"]})
	}
	if response, text := r.do(r.tcp, browser); response.StatusCode != http.StatusOK {
		t.Errorf("the session of another was pushed out: %s", text)
	}
	r.exchange(link)

	for range mostOfOne {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.tcp.URL+prefix+"events", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+r.tokens["reader"])
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil || response.StatusCode != http.StatusOK {
			t.Fatalf("%+v, %v", response, err)
		}
		t.Cleanup(func() { _ = response.Body.Close() })
	}
	for name, want := range map[string]int{"reader": http.StatusTooManyRequests, "owner": http.StatusOK} {
		if response, text := r.do(r.tcp, ask{method: "GET", path: "/stats", token: r.tokens[name]}); response.StatusCode != want {
			t.Errorf("%s: %d, %s", name, response.StatusCode, text)
		}
	}
	r.want(http.StatusOK, "GET", "/stats", nil, nil)
}

// TestRooms: there is room for so many of one, and so many of all, and it is given
// back.
func TestRooms(t *testing.T) {
	var m rooms
	var leave []func()
	fill := func(c *caller) (n int) {
		for ; ; n++ {
			out, err := m.enter(c)
			if err != nil {
				return n
			}
			leave = append(leave, out)
		}
	}
	if n := fill(&caller{who: "socket", local: true}); n != mostRequests {
		t.Errorf("%d over the socket", n)
	}
	all := 0
	for i := range 10 {
		who := fmt.Sprint("token ", i)
		n := fill(&caller{who: who})
		if more := fill(&caller{who: "session", by: who}); all < mostRequests-2*mostOfOne && more != mostOfOne {
			t.Errorf("%d of the sessions of one", more)
		} else {
			all += n + more
		}
	}
	if all != mostRequests {
		t.Errorf("%d in all", all)
	}
	for _, out := range leave {
		out()
	}
	if len(m.of) != 0 || m.tcp != 0 {
		t.Errorf("left over: %v, %d", m.of, m.tcp)
	}
}
