package admin

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// A Token is what a program shows to be let in. Of the secret there is only a
// hash.
type Token struct {
	Name   string
	Scopes []Scope
	hash   [sha256.Size]byte
}

// Tokens are those of a file, which holds one a line: its name, its scopes with
// commas between them, and the SHA-256 of the secret in hexadecimal. A line that
// begins with "#" is a comment. The zero value, and nil, know none.
type Tokens struct{ list []Token }

// tokenPrefix begins every secret, so that one that was lost somewhere can be
// recognized.
const tokenPrefix = "dags_"

// mostTokens is how many lines a file may have.
const mostTokens = 1000

// find is the token of a secret. How long it takes does not depend on how much
// of the secret is right, or on which token it is of.
func (t *Tokens) find(secret string) (Token, bool) {
	var found Token
	ok := false
	if t == nil {
		return found, false
	}
	sum := sha256.Sum256([]byte(secret))
	for i := range t.list {
		if subtle.ConstantTimeCompare(sum[:], t.list[i].hash[:]) == 1 {
			found, ok = t.list[i], true
		}
	}
	return found, ok
}

// All are the tokens, without their secrets.
func (t *Tokens) All() []Token { return slices.Clone(t.list) }

// LoadTokens reads the file at path. That there is none means that there are no
// tokens. One that others may write, or read, is refused.
func LoadTokens(path string) (*Tokens, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return new(Tokens), nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := onlyOurs(path, info); err != nil {
		return nil, err
	}
	t, err := readTokens(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func readTokens(r io.Reader) (*Tokens, error) {
	t := new(Tokens)
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || strings.HasPrefix(text, "#") {
			continue
		}
		token, err := parseToken(text)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if len(t.list) == mostTokens {
			return nil, fmt.Errorf("line %d: there are more than %d tokens", n, mostTokens)
		}
		t.list = append(t.list, token)
	}
	return t, lines.Err()
}

// parseToken reads one line. Its errors never repeat it.
func parseToken(line string) (Token, error) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return Token{}, errors.New("it is not a name, scopes and a hash")
	}
	token := Token{Name: fields[0]}
	var err error
	if token.Scopes, err = ParseScopes(fields[1]); err != nil {
		return Token{}, err
	}
	sum, err := hex.DecodeString(fields[2])
	if err != nil || len(sum) != len(token.hash) {
		return Token{}, errors.New("the last word is not the SHA-256 of a secret")
	}
	copy(token.hash[:], sum)
	return token, nil
}

// ParseScopes reads scopes with commas between them.
func ParseScopes(text string) (scopes []Scope, err error) {
	for name := range strings.SplitSeq(text, ",") {
		scope := Scope(name)
		if !slices.Contains(Scopes(), scope) {
			return nil, fmt.Errorf("no scope is called %q; there are %v", name, Scopes())
		}
		if !slices.Contains(scopes, scope) {
			scopes = append(scopes, scope)
		}
	}
	return scopes, nil
}

// AddToken adds a token to the file at path, which is made if need be, and
// returns its secret, which stands nowhere else. A name that is there already
// is an error.
func AddToken(path, name string, scopes []Scope) (secret string, err error) {
	if name == "" || len(name) > 100 || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '#' }) {
		return "", fmt.Errorf("a token cannot be called %q: it takes a word", name)
	}
	t, err := LoadTokens(path)
	if err != nil {
		return "", err
	}
	if slices.ContainsFunc(t.list, func(other Token) bool { return other.Name == name }) {
		return "", fmt.Errorf("there is a token called %q already", name)
	}
	secret = tokenPrefix + newSecret()
	t.list = append(t.list, Token{Name: name, Scopes: scopes, hash: sha256.Sum256([]byte(secret))})
	return secret, t.save(path)
}

// RemoveToken removes a token from the file at path.
func RemoveToken(path, name string) error {
	t, err := LoadTokens(path)
	if err != nil {
		return err
	}
	n := len(t.list)
	t.list = slices.DeleteFunc(t.list, func(token Token) bool { return token.Name == name })
	if len(t.list) == n {
		return fmt.Errorf("there is no token called %q", name)
	}
	return t.save(path)
}

// save writes the file anew, beside the old one, and puts it in its place.
func (t *Tokens) save(path string) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".tokens-*") // of mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "# Tokens of dagstore's admin API: name, scopes, SHA-256 of the secret.")
	for _, token := range t.list {
		fmt.Fprintf(w, "%s %s %x\n", token.Name, strings.Join(scopeNames(token.Scopes), ","), token.hash)
	}
	if err := errors.Join(w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
