package mount

import (
	"fmt"
	"strings"
)

// An Opener makes the Mount that a URL names. It does no I/O, so that a
// million shards can be known without one connection. What the kind needs
// besides the URL (clients, credentials, allowed roots) it closes over. An
// opener that wraps another adds a scheme: "zstd+https". A URL that is not
// canonical is either refused with [ErrURL] or taken, and then the Mount
// spells it canonically.
type Opener func(url string) (Mount, error)

// A Registry says which schemes are known. It is a plain value that the
// program writes out, not a global that packages fill:
//
//	var cars memmount.Set
//	reg := mount.Registry{
//		"file": filemount.Open,
//		"mem":  cars.Open,
//	}
//
// Schemes are in lower case. A store copies it when it opens.
type Registry map[string]Opener

// Open makes the Mount that url names; the fragment "bytes=FIRST-LAST" makes
// it a [Section], whatever the kind. It does no I/O. It wraps [ErrScheme] or
// [ErrURL], or returns what the opener has against the URL. Its own errors
// never repeat the URL, which may hold a credential that does not belong there.
func (r Registry) Open(url string) (Mount, error) {
	scheme, rest, ok := cutScheme(url)
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with a scheme, such as \"file:\"", ErrURL)
	}
	open := r[scheme]
	if open == nil {
		return nil, fmt.Errorf("%w: %q", ErrScheme, scheme)
	}
	rest, fragment, cut := strings.Cut(rest, "#")
	var offset, length int64
	if cut {
		var err error
		if offset, length, err = parseFragment(fragment); err != nil {
			return nil, err
		}
	}
	m, err := open(scheme + ":" + rest)
	switch {
	case err != nil:
		return nil, err
	case m == nil:
		return nil, fmt.Errorf("%w: the opener of %q made nothing of it", ErrURL, scheme)
	case cut:
		return Section(m, offset, length), nil
	}
	return m, nil
}

// cutScheme splits url after its scheme (RFC 3986, section 3.1), which it
// returns in lower case.
func cutScheme(url string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(url, ":")
	if !ok || scheme == "" {
		return "", "", false
	}
	scheme = strings.ToLower(scheme)
	for i := range len(scheme) {
		c := scheme[i]
		switch {
		case 'a' <= c && c <= 'z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		default:
			return "", "", false
		}
	}
	return scheme, rest, true
}
