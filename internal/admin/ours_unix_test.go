//go:build unix

package admin

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTokensOfOthers: a file of another user is no file of tokens.
func TestTokensOfOthers(t *testing.T) {
	for _, c := range []struct {
		owner, us int
		good      bool
	}{{1000, 1000, true}, {0, 1000, true}, {0, 0, true}, {1001, 1000, false}, {1000, 0, false}} {
		if err := ourOwner("tokens", c.owner, c.us); (err == nil) != c.good {
			t.Errorf("of %d, for %d: %v", c.owner, c.us, err)
		}
	}
	if os.Geteuid() != 0 {
		return // nobody else can give a file away
	}
	path := filepath.Join(t.TempDir(), "tokens")
	if _, err := AddToken(path, "a", []Scope{Read}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, 1234, -1); err != nil {
		t.Fatal(err)
	}
	if tokens, err := LoadTokens(path); err == nil || !strings.Contains(err.Error(), "belongs to the user with number 1234") || len(tokens.All()) != 0 {
		t.Errorf("it was read: %v", err)
	}
}
