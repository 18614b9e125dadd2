package httpmount

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/dagstore/dagstore/internal/netguard"
	"github.com/dagstore/dagstore/mount"
)

// mostURL is the length of the longest URL that is taken; servers take less.
const mostURL = 8 << 10

// A place is a URL in its parts, each of them canonical.
type place struct {
	scheme string // "http" or "https"
	host   string // with its port, if that is not the scheme's own
	path   string // begins with a slash
	query  string // without its "?"; "" is none
}

// origin is what a server is known by. The places of one origin are trusted
// alike.
func (p place) origin() string { return p.scheme + "://" + p.host }

// String spells the place.
func (p place) String() string {
	if p.query == "" {
		return p.origin() + p.path
	}
	return p.origin() + p.path + "?" + p.query
}

// bare spells the place for people, without the query.
func (p place) bare() string {
	if p.query == "" {
		return p.String()
	}
	return p.origin() + p.path + "?…"
}

// parse takes a URL apart. Its errors do not repeat it: it may hold a
// credential that does not belong there.
func parse(url string) (place, error) {
	refused := func(why string) (place, error) { return place{}, fmt.Errorf("%w: %s", mount.ErrURL, why) }
	scheme, rest, _ := strings.Cut(url, ":")
	scheme = strings.ToLower(scheme)
	rest, slashes := strings.CutPrefix(rest, "//")
	switch {
	case scheme != "http" && scheme != "https", !slashes:
		return refused(`it does not begin with "http://" or "https://"`)
	case len(url) > mostURL:
		return refused(fmt.Sprintf("it has %d bytes, the most is %d", len(url), mostURL))
	case strings.ContainsFunc(rest, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return refused("it holds a control character; one in a path is escaped")
	case strings.Contains(rest, "#"):
		return refused(`a "#" in a path is written %23`)
	}
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority, rest := rest[:end], rest[end:]
	if strings.Contains(authority, "@") {
		return refused("it holds a user, and maybe a password: " + insteadOfSecrets)
	}
	host, err := parseHost(authority)
	if err != nil {
		return place{}, err
	}
	path, query, _ := strings.Cut(rest, "?")
	if path, err = normal(path, "/"); err != nil {
		return place{}, err
	}
	if name := secretParameter(query); name != "" {
		return refused(fmt.Sprintf("its query carries a credential (%s), which ends, and would be kept and shown: %s", name, insteadOfSecrets))
	}
	if query, err = normal(query, "/?"); err != nil {
		return place{}, err
	}
	return place{scheme: scheme, host: withoutDefault(scheme, host), path: withoutDots(path), query: query}, nil
}

// withoutDefault leaves out the port that a scheme has by itself.
func withoutDefault(scheme, host string) string {
	if scheme == "https" {
		return strings.TrimSuffix(host, ":443")
	}
	return strings.TrimSuffix(host, ":80")
}

// parseHost spells a host with its port, if it has one, canonically.
func parseHost(authority string) (string, error) {
	name, port := authority, ""
	// What comes after the last colon is the port, unless that is in brackets.
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		name, port = authority[:i], authority[i+1:]
		if port != "" {
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil || n == 0 {
				return "", fmt.Errorf("%w: its port is none", mount.ErrURL)
			}
			port = ":" + strconv.FormatUint(n, 10)
		}
	}
	name, err := parseName(strings.ToLower(name))
	return name + port, err
}

// parseName spells a host without a port.
func parseName(name string) (string, error) {
	refused := func(why string) (string, error) { return "", fmt.Errorf("%w: %s", mount.ErrURL, why) }
	if inner, ok := strings.CutPrefix(name, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(inner)
		switch {
		case !closed || err != nil || !addr.Is6():
			return refused("what its host has in brackets is no IPv6 address")
		case addr.Zone() != "":
			return refused("the zone of an address has a meaning on one machine only")
		case addr.Is4In6():
			return addr.Unmap().String(), nil
		}
		return "[" + addr.String() + "]", nil
	}
	name = strings.TrimSuffix(name, ".")
	if strings.ContainsFunc(name, func(r rune) bool { return r > 0x7e }) {
		return refused("a host is written in ASCII: an international name in the form that begins with xn--")
	}
	if addr, numeric := netguard.Numeric(name); numeric {
		if addr.String() != name || !addr.Is4() {
			return refused("its host is a number and not written as an address is: 127.0.0.1, [2001:db8::1]")
		}
		return name, nil
	}
	if name == "" || len(name) > 253 {
		return refused("it has no host")
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return refused("no host is called so")
		}
	}
	return name, nil
}

const upperHex = "0123456789ABCDEF"

// normal spells a path or a query: escapes in upper case, none where none is
// needed, and one where one is. Beside pchar of RFC 3986, what is in also
// stands for itself. An escape of something that stands for itself but has a
// meaning, as a slash does, is another thing than that, and stays.
func normal(s, also string) (string, error) {
	plain := func(c byte) bool { return pchar(c) || strings.IndexByte(also, c) >= 0 }
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '%' {
			if plain(c) {
				b = append(b, c)
			} else {
				b = append(b, '%', upperHex[c>>4], upperHex[c&15])
			}
			continue
		}
		if i+2 >= len(s) {
			return "", fmt.Errorf("%w: it ends within an escape", mount.ErrURL)
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", fmt.Errorf("%w: a %% that begins no escape is written %%25", mount.ErrURL)
		}
		if c = byte(n); unreserved(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
		i += 2
	}
	return string(b), nil
}

// unreserved is what never needs an escape.
func unreserved(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		return true
	}
	return false
}

func pchar(c byte) bool { return unreserved(c) || c != 0 && strings.IndexByte("!$&'()*+,;=:@", c) >= 0 }

// withoutDots removes the segments "." and ".." of a path, as RFC 3986 says in
// section 5.2.4. The path gets a slash to begin with.
func withoutDots(path string) string {
	if path == "" {
		return "/"
	}
	segments := strings.Split(path[1:], "/")
	kept := segments[:0]
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case "..":
			kept = kept[:max(len(kept)-1, 0)]
			fallthrough
		case ".":
			if last {
				kept = append(kept, "")
			}
		default:
			kept = append(kept, s)
		}
	}
	return "/" + strings.Join(kept, "/")
}
