package front

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// speak sends the head of a request and some of its body, and returns what is
// answered, and whether the connection ends with that.
func speak(t *testing.T, server *httptest.Server, text string) (status int, body string, closed bool) {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("%.80q: %v", text, err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(said), answer.Close
}

// TestBodies: a client that announces a body and does not send it is not waited for
// longer than it may take, and one that sends too much is not heard to the end. A body
// that comes is taken, and the answer after it may take as long as it does.
func TestBodies(t *testing.T) {
	const short, usual = 100 * time.Millisecond, 3 * time.Second
	serve := func(patience time.Duration) *httptest.Server {
		server := httptest.NewServer(withoutBody(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(w, r.Body); err != nil {
				t.Error(err)
			}
			if r.URL.Path == "/slow" {
				fmt.Fprint(w, "begun, ")
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
					t.Error("it was taken for one that has left")
				case <-time.After(usual + usual/3):
				}
			}
			fmt.Fprint(w, "answered")
		}), patience))
		t.Cleanup(server.Close)
		return server
	}
	servers := map[time.Duration]*httptest.Server{short: serve(short), usual: serve(usual), time.Minute: serve(time.Minute)}
	head := func(method, path, more string) string {
		return method + " " + path + " HTTP/1.1\r\nHost: x\r\n" + more + "\r\n"
	}
	large := strings.Repeat("x", bodyBytes+1)
	for name, c := range map[string]struct {
		takes  time.Duration // that a body may
		text   string
		status int
		body   string
		closed bool
	}{
		"none":            {time.Minute, head("GET", "/", ""), 200, "answered", false},
		"empty":           {time.Minute, head("POST", "/", "Content-Length: 0\r\n"), 200, "answered", false},
		"small":           {usual, head("GET", "/slow", "Content-Length: 5\r\n") + "hello", 200, "begun, answered", false},
		"chunked":         {usual, head("GET", "/slow", "Transfer-Encoding: chunked\r\n") + "2\r\nhi\r\n0\r\n\r\n", 200, "begun, answered", false},
		"does not come":   {short, head("GET", "/", "Content-Length: 5\r\n"), 408, "did not come", true},
		"comes in part":   {short, head("POST", "/", "Content-Length: 5\r\n") + "hel", 408, "did not come", true},
		"chunk that ends": {short, head("PUT", "/", "Transfer-Encoding: chunked\r\n") + "5\r\nhe", 408, "did not come", true},
		"no chunk":        {time.Minute, head("PUT", "/", "Transfer-Encoding: chunked\r\n") + "nonsense\r\n", 400, "cannot be read", true},
		"too large":       {time.Minute, head("POST", "/", fmt.Sprintf("Content-Length: %d\r\n", len(large))) + large, 413, "no request has a body", true},
		"endless":         {time.Minute, head("POST", "/", "Transfer-Encoding: chunked\r\n") + fmt.Sprintf("%x\r\n%s\r\n", len(large), large), 413, "no request has a body", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, body, closed := speak(t, servers[c.takes], c.text)
			if status != c.status || !strings.Contains(body, c.body) || closed != c.closed {
				t.Errorf("%d, %q, closed %v; want %d, %q, %v", status, body, closed, c.status, c.body, c.closed)
			}
		})
	}
}

// TestBodiesAreTaken: the servers that this package makes do so, in every protocol.
func TestBodiesAreTaken(t *testing.T) {
	s := newServer(Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Proto, n, err)
	}), Logger: quiet()})
	server := httptest.NewUnstartedServer(s.Handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	for text, status := range map[string]int{"hello": 200, strings.Repeat("x", bodyBytes+1): 413} {
		answer, err := server.Client().Post(server.URL, "text/plain", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != status || status == 200 && string(said) != "HTTP/2.00 <nil>" {
			t.Errorf("%d bytes: %d, %q, %v", len(text), answer.StatusCode, said, err)
		}
	}
}
