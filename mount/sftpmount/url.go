package sftpmount

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/dagstore/dagstore/mount"
)

const (
	prefix = "sftp://"
	usual  = 22 // the port
)

// place is what a URL names.
type place struct {
	host string // a name in lower case, or an address
	port uint16
	path string // absolute
}

// address is where to dial.
func (p place) address() string { return net.JoinHostPort(p.host, strconv.Itoa(int(p.port))) }

// name is the host as it stands in URLs.
func (p place) name() string {
	name := p.host
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if p.port != usual {
		name += ":" + strconv.Itoa(int(p.port))
	}
	return name
}

// url spells p canonically.
func (p place) url() string { return prefix + p.name() + mount.EscapePath(p.path) }

// parseURL is the inverse of url. It takes other spellings too. Its errors do
// not repeat the URL, which may hold a credential that does not belong there.
func parseURL(url string) (p place, err error) {
	rest, ok := strings.CutPrefix(url, prefix)
	if !ok {
		return p, fmt.Errorf("%w: it does not begin with %q", mount.ErrURL, prefix)
	}
	authority, rest, ok := strings.Cut(rest, "/")
	switch {
	case strings.Contains(authority, "@"):
		return p, fmt.Errorf("%w: user and password do not belong in it, but in the configuration: [credentials.NAME] hosts=HOST user=USER, and key=PATH, or file=PATH or env=NAME for a password", mount.ErrURL)
	case strings.ContainsAny(authority, "?#%\\"), strings.ContainsAny(rest, "?#"):
		return p, fmt.Errorf("%w: it has no query and no fragment; in a path they are written %%3F and %%23", mount.ErrURL)
	case !ok:
		return p, fmt.Errorf("%w: it has no path", mount.ErrURL)
	}
	if p.host, p.port, err = parseAuthority(authority); err != nil {
		return p, err
	}
	if p.path, err = mount.UnescapePath("/" + rest); err != nil {
		return p, err
	}
	if p.path == "/" || path.Clean(p.path) != p.path || strings.Contains(p.path, "\x00") {
		return p, fmt.Errorf("%w: its path has an empty part, \".\", \"..\" or a zero byte, or leads to no file", mount.ErrURL)
	}
	return p, nil
}

func parseAuthority(s string) (host string, port uint16, err error) {
	host, port = s, usual
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		n, err := strconv.ParseUint(s[i+1:], 10, 16)
		if err != nil || n == 0 {
			return "", 0, fmt.Errorf("%w: its port is no number from 1 to 65535", mount.ErrURL)
		}
		host, port = s[:i], uint16(n)
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !strings.HasSuffix(inner, "]") || !addr.Is6() || addr.Zone() != "" {
			return "", 0, fmt.Errorf("%w: what is in brackets is no IPv6 address", mount.ErrURL)
		}
		return addr.String(), port, nil
	}
	host = strings.ToLower(host)
	if host == "" || strings.Trim(host, "abcdefghijklmnopqrstuvwxyz0123456789-._") != "" {
		return "", 0, fmt.Errorf("%w: it names no host", mount.ErrURL)
	}
	return host, port, nil
}
