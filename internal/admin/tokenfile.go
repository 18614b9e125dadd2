package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// Tokens are those of a file, which holds one a line: its name, its scopes with
// commas between them, and the SHA-256 of the secret in hexadecimal. A line that
// begins with "#" is a comment. The file is looked at for each request that shows
// a token, and read again when it has changed: a token is good, and no longer
// good, at once. A nil Tokens knows none.
type Tokens struct {
	path string

	mu    sync.Mutex
	log   *slog.Logger // nil: nobody is told
	list  []Token
	info  fs.FileInfo // of the file that list is of; nil: there was none, or it is to be read again
	wrong string      // what was told last
}

// LoadTokens are the tokens of the file at path. That there is none means that
// there are no tokens. A file that cannot be used, as one that others may read or
// write, is an error and has no tokens, until it can be used.
func LoadTokens(path string) (*Tokens, error) {
	t := &Tokens{path: path}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t, t.read()
}

// youngFile is how old a file must be for its time to tell it from a later one:
// clocks of file systems are coarse.
const youngFile = 2 * time.Second

// read reads the file.
func (t *Tokens) read() (err error) {
	t.list, t.info, err = readFile(t.path)
	if t.info != nil && time.Since(t.info.ModTime()) < youngFile {
		t.info = nil
	}
	return err
}

// current are the tokens as they are now.
func (t *Tokens) current() []Token {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if info, err := os.Stat(t.path); err == nil && t.info != nil && sameFile(info, t.info) {
		return t.list
	}
	wrong := ""
	if err := t.read(); err != nil {
		wrong = err.Error()
	}
	if wrong != t.wrong && wrong != "" && t.log != nil {
		t.log.Warn("no token is good", "error", wrong)
	}
	t.wrong = wrong
	return t.list
}

// sameFile reports whether nothing has happened to a file.
func sameFile(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}

// tell has l hear of a file that cannot be used any more.
func (t *Tokens) tell(l *slog.Logger) {
	if t != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.log = l
	}
}

// find is the token of a secret. How long it takes does not depend on how much
// of the secret is right, or on which token it is of.
func (t *Tokens) find(secret string) (Token, bool) {
	return t.findHash(sha256.Sum256([]byte(secret)))
}

// findHash is find by the hash of the secret.
func (t *Tokens) findHash(sum [sha256.Size]byte) (found Token, ok bool) {
	for _, token := range t.current() {
		if subtle.ConstantTimeCompare(sum[:], token.hash[:]) == 1 {
			found, ok = token, true
		}
	}
	return found, ok
}

// All are the tokens, without their secrets.
func (t *Tokens) All() []Token { return slices.Clone(t.current()) }
