package mount

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

const upperHex = "0123456789ABCDEF"

// Host is the server that a URL names: its scheme and authority, such as
// "https://archive.example:8443", or the scheme alone where the URL names no
// server. What lies on one host is slow, and fails, together.
func Host(url string) string {
	scheme, rest, ok := strings.Cut(url, ":")
	if !ok {
		return ""
	}
	authority, is := strings.CutPrefix(rest, "//")
	if !is {
		return scheme
	}
	n := strings.IndexAny(authority, "/?#")
	if n < 0 {
		n = len(authority)
	}
	return url[:len(scheme)+len("://")+n]
}

// EscapePath spells path, which may be made of any bytes, as the path of a
// URL: what RFC 3986 allows in a path stands for itself, "/" included, and any
// other byte becomes "%" and two upper-case hexadecimal digits. Equal paths
// give equal strings and different paths different ones. Kinds use it to make
// their URLs.
func EscapePath(path string) string {
	n := 0
	for i := range len(path) {
		if !inPath(path[i]) {
			n++
		}
	}
	if n == 0 {
		return path
	}
	b := make([]byte, 0, len(path)+2*n)
	for i := range len(path) {
		if c := path[i]; inPath(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return string(b)
}

// inPath reports whether c stands for itself in the path of a URL: pchar of
// RFC 3986, and the slash.
func inPath(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return c != 0 && strings.IndexByte("/-._~:@!$&'()*+,;=", c) >= 0
}

// UnescapePath is the inverse of [EscapePath]. It takes other spellings too:
// lower-case digits, escapes that were not needed, bytes that needed one. An
// escape without two hexadecimal digits wraps [ErrURL], and so does an escaped
// slash, which no path can hold apart from one that separates.
func UnescapePath(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("%w: it ends within an escape", ErrURL)
		}
		hi, lo := unhex(s[i+1]), unhex(s[i+2])
		if hi < 0 || lo < 0 {
			return "", fmt.Errorf("%w: %q is no escape; a %% is written %%25", ErrURL, s[i:i+3])
		}
		c := byte(hi<<4 | lo)
		if c == '/' {
			return "", fmt.Errorf("%w: it has an escaped slash", ErrURL)
		}
		b = append(b, c)
		i += 2
	}
	return string(b), nil
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// fragment spells a section, with the last byte included as in an HTTP range.
func fragment(offset, length int64) string {
	return "#bytes=" + strconv.FormatInt(offset, 10) + "-" + strconv.FormatInt(offset+length-1, 10)
}

// parseFragment is the inverse of fragment, without its "#". It takes the
// canonical spelling only. Its errors do not repeat s: a fragment may hold a
// token of access.
func parseFragment(s string) (offset, length int64, err error) {
	rest, ok := strings.CutPrefix(s, "bytes=")
	first, last, ok2 := strings.Cut(rest, "-")
	if !ok || !ok2 {
		return 0, 0, fmt.Errorf("%w: the only fragment is \"bytes=FIRST-LAST\", and this is another", ErrURL)
	}
	from, ok := parseOffset(first)
	to, ok2 := parseOffset(last)
	if !ok || !ok2 || to < from || to == math.MaxInt64 {
		return 0, 0, fmt.Errorf("%w: its fragment is no run of bytes", ErrURL)
	}
	return from, to - from + 1, nil
}

// parseOffset takes decimal digits without a sign or a leading zero.
func parseOffset(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && strconv.FormatInt(n, 10) == s && n >= 0
}
