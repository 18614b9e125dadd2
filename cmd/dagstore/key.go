package main

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dagstore/dagstore/shard"
)

// keyOfPath is the key of a CAR at rel, the path below the argument that it
// was found under: with slashes and without ".car".
func keyOfPath(prefix, rel string) shard.Key {
	rel = filepath.ToSlash(rel)
	if path.Base(rel) != ".car" {
		rel = strings.TrimSuffix(rel, ".car")
	}
	return shard.Key(prefix + escapeInvalid(rel))
}

// keyOfURL is the key of a CAR at a URL that came without one: the last part
// of its path, treated as a file's name. A compressed one also loses ".zst".
func keyOfURL(prefix, rawURL string) (shard.Key, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("no key can be made from this URL: %w", err)
	}
	base := path.Base(u.Path)
	switch {
	case u.Path == "", base == "/", base == ".":
		return "", errors.New("no key can be made from this URL, since its path names no file: give one by --key or in a list")
	case strings.HasSuffix(u.Path, "/"):
		return "", errors.New("what lies below this URL cannot be listed, as it can in S3: name the CARs, or a list of them (.ndjson); if it is a CAR itself, give its key by --key or in a list")
	case strings.HasPrefix(u.Scheme, zstdPrefix):
		base = strings.TrimSuffix(base, ".zst")
	}
	return keyOfPath(prefix, base), nil
}

// escapeInvalid percent-encodes the bytes of s that are no UTF-8, which a key
// cannot hold. All else stays as it is, a "%" too: two paths of which one
// holds the byte and the other its encoding get the same key, and the second
// is refused as a collision, like any other.
func escapeInvalid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteString(s[i : i+n])
		}
		i += n
	}
	return b.String()
}

// showKey is a key as people are shown it: quoted if it holds anything that
// a terminal would not print as it is, or that could be taken for a quoted key.
func showKey(k shard.Key) string { return showText(string(k)) }

// showText is [showKey] for other names, as those of files.
func showText(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return strconv.Quote(s)
		}
	}
	if s == "" || strings.HasPrefix(s, `"`) || strings.HasPrefix(s, " ") || strings.HasSuffix(s, " ") {
		return strconv.Quote(s)
	}
	return s
}
