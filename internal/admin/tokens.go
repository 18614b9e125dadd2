package admin

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/dagstore/dagstore/internal/vfs"
)

// A Token is what a program shows to be let in. Of the secret there is only a
// hash.
type Token struct {
	Name   string
	Scopes []Scope
	hash   [sha256.Size]byte
}

// tokenPrefix begins every secret, so that one that was lost somewhere can be
// recognized.
const tokenPrefix = "dags_"

// mostTokens is how many lines a file may have.
const mostTokens = 1000

// readFile reads the tokens of a file. That there is none means that there are no
// tokens. One that is not ours, or that others may read or write, is refused.
func readFile(path string) (list []Token, info fs.FileInfo, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	} else if err != nil {
		return nil, nil, err
	}
	defer f.Close() // it was only read
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	if err := onlyOurs(path, info); err != nil {
		return nil, info, err
	}
	if list, err = readTokens(f); err != nil {
		return nil, info, fmt.Errorf("%s: %w", path, err)
	}
	return list, info, nil
}

func readTokens(r io.Reader) (list []Token, err error) {
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
		if len(list) == mostTokens {
			return nil, fmt.Errorf("line %d: there are more than %d tokens", n, mostTokens)
		}
		list = append(list, token)
	}
	return list, lines.Err()
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
	err = changeFile(path, func(list []Token) ([]Token, error) {
		if slices.ContainsFunc(list, func(other Token) bool { return other.Name == name }) {
			return nil, fmt.Errorf("there is a token called %q already", name)
		}
		secret = tokenPrefix + newSecret()
		return append(list, Token{Name: name, Scopes: scopes, hash: sha256.Sum256([]byte(secret))}), nil
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// RemoveToken removes a token from the file at path.
func RemoveToken(path, name string) error {
	return changeFile(path, func(list []Token) ([]Token, error) {
		left := slices.DeleteFunc(slices.Clone(list), func(token Token) bool { return token.Name == name })
		if len(left) == len(list) {
			return nil, fmt.Errorf("there is no token called %q", name)
		}
		return left, nil
	})
}

// lockLimit is how long somebody else may be changing the file, which takes no
// time.
const lockLimit = 30 * time.Second

// changeFile changes the file at path, one at a time: what is read there is what
// is changed.
func changeFile(path string, change func([]Token) ([]Token, error)) (err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	list, _, err := readFile(path)
	if err != nil {
		return err
	}
	if list, err = change(list); err != nil {
		return err
	}
	return save(path, list)
}

// lockFile waits until nobody else has locked the file at path, which is made and
// stays.
func lockFile(path string) (io.Closer, error) {
	for end := time.Now().Add(lockLimit); ; time.Sleep(10 * time.Millisecond) {
		lock, err := vfs.LockFile(vfs.Default, path)
		if err == nil || !errors.Is(err, vfs.ErrLocked) || time.Now().After(end) {
			return lock, err
		}
	}
}

// save writes the file anew, beside the old one, and puts it in its place.
func save(path string, list []Token) (err error) {
	dir := filepath.Dir(path)
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
	for _, token := range list {
		fmt.Fprintf(w, "%s %s %x\n", token.Name, strings.Join(scopeNames(token.Scopes), ","), token.hash)
	}
	if err := errors.Join(w.Flush(), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
