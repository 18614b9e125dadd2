package admin

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestTokens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "tokens")
	none, err := LoadTokens(path)
	if err != nil || len(none.All()) != 0 {
		t.Fatalf("without a file: %v, %v", none, err)
	}
	one, err := AddToken(path, "one", []Scope{Read})
	if err != nil {
		t.Fatal(err)
	}
	two, err := AddToken(path, "two", []Scope{Write, Private})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one", "", "a b", "a\n", "#x", strings.Repeat("x", 101)} {
		if _, err := AddToken(path, name, []Scope{Read}); err == nil {
			t.Errorf("a token called %q was made", name)
		}
	}
	tokens, err := LoadTokens(path)
	if err != nil {
		t.Fatal(err)
	}
	if token, ok := tokens.find(two); !ok || token.Name != "two" || len(token.Scopes) != 2 {
		t.Errorf("%+v, %v", token, ok)
	}
	for _, secret := range []string{"", "dags_", one + "x", one[:len(one)-1], strings.ToLower(one)} {
		if token, ok := tokens.find(secret); ok {
			t.Errorf("%q is %+v", secret, token)
		}
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), one) || strings.Contains(string(text), strings.TrimPrefix(one, tokenPrefix)) {
		t.Errorf("the file has the secret, or: %v", err)
	}
	if err := RemoveToken(path, "one"); err != nil {
		t.Error(err)
	}
	if err := RemoveToken(path, "one"); err == nil {
		t.Error("it was removed twice")
	}
	if tokens, err = LoadTokens(path); err != nil || len(tokens.All()) != 1 {
		t.Errorf("%v, %v", tokens.All(), err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(path, 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadTokens(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("a file that others can read: %v", err)
		}
	}
}

func TestBadTokens(t *testing.T) {
	for _, line := range []string{"name read", "name read abc", "name dance " + strings.Repeat("0", 64), "name read " + strings.Repeat("0", 62), "a b c d"} {
		if _, err := readTokens(strings.NewReader("# fine\n\n" + line)); err == nil || !strings.Contains(err.Error(), "line 3") || strings.Contains(err.Error(), strings.Repeat("0", 62)) {
			t.Errorf("%q: %v", line, err)
		}
	}
}

// TestSessionsEnd: links and sessions end by themselves, and there are never
// many.
func TestSessionsEnd(t *testing.T) {
	now := time.Unix(1, 0)
	s := newSessions(func() time.Time { return now })
	code, expires, _ := s.link(caller{scopes: []Scope{Read}})
	if !expires.Equal(now.Add(linkLife)) {
		t.Errorf("a link is good until %v", expires)
	}
	now = now.Add(linkLife)
	if _, _, ok := s.exchange(code); ok {
		t.Error("a link was good for too long")
	}
	code, _, _ = s.link(caller{scopes: []Scope{Read}})
	cookie, c, ok := s.exchange(code)
	if !ok || c.may(Write) || !c.may(Read) {
		t.Errorf("%+v, %v", c, ok)
	}
	now = now.Add(sessionLife - 1)
	if _, ok := s.find(cookie); !ok {
		t.Error("a session ended too soon")
	}
	now = now.Add(1)
	if _, ok := s.find(cookie); ok {
		t.Error("a session was good for too long")
	}
	var first string
	for i := range mostSessions + 1 {
		now = now.Add(time.Millisecond)
		code, _, _ := s.link(caller{})
		if cookie, _, _ = s.exchange(code); i == 0 {
			first = cookie
		}
	}
	if _, ok := s.find(first); ok || len(s.open) > mostSessions {
		t.Errorf("%d sessions", len(s.open))
	}
	for range 2 * mostSessions {
		_, _, _ = s.link(caller{})
	}
	if len(s.links) > mostSessions {
		t.Errorf("%d links", len(s.links))
	}
}
