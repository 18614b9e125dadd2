package ftpmount

import (
	"fmt"
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/dagstore/dagstore/mount"
)

// security is how a connection is protected, which the scheme says.
type security uint8

const (
	plain    security = iota // ftp
	explicit                 // ftpes
	implicit                 // ftps
)

var schemes = map[string]struct {
	security security
	port     uint16
}{
	"ftp":   {plain, 21},
	"ftpes": {explicit, 21},
	"ftps":  {implicit, 990},
}

// place is what a URL names.
type place struct {
	scheme string
	host   string // a name in lower case, or an address
	port   uint16
	path   string // relative to the folder of the login, or absolute
}

// address is where to dial.
func (p place) address() string {
	return net.JoinHostPort(p.host, strconv.Itoa(int(p.port)))
}

// url spells p canonically.
func (p place) url() string {
	host := p.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if p.port != schemes[p.scheme].port {
		host += ":" + strconv.Itoa(int(p.port))
	}
	return p.scheme + "://" + host + "/" + mount.EscapePath(p.path)
}

// parseURL is the inverse of url. It takes other spellings too. Its errors do
// not repeat the URL, which may hold a credential that does not belong there.
func parseURL(url string) (p place, err error) {
	var rest string
	var ok bool
	p.scheme, rest, ok = strings.Cut(url, "://")
	if _, known := schemes[p.scheme]; !ok || !known {
		return p, fmt.Errorf("%w: it does not begin with \"ftp://\", \"ftpes://\" or \"ftps://\"", mount.ErrURL)
	}
	authority, rest, _ := strings.Cut(rest, "/")
	switch {
	case strings.Contains(authority, "@"):
		return p, fmt.Errorf("%w: user and password do not belong in it, but in the configuration: [credentials.NAME] hosts=HOST user=USER, and file=PATH or env=NAME for the password", mount.ErrURL)
	case strings.ContainsAny(authority, "?#%\\"), strings.ContainsAny(rest, "?#"):
		return p, fmt.Errorf("%w: it has no query and no fragment; in a path they are written %%3F and %%23", mount.ErrURL)
	}
	if p.host, p.port, err = parseAuthority(authority, schemes[p.scheme].port); err != nil {
		return p, err
	}
	if p.path, err = mount.UnescapePath(rest); err != nil {
		return p, err
	}
	return p, p.clean()
}

func parseAuthority(s string, usual uint16) (host string, port uint16, err error) {
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

// clean refuses paths that a command cannot carry, or that mean another one.
func (p place) clean() error {
	relative := strings.TrimPrefix(p.path, "/")
	switch {
	case strings.ContainsAny(p.path, "\x00\r\n") || strings.Contains(p.path, "\xff"):
		return fmt.Errorf("%w: its path has a byte that FTP cannot carry", mount.ErrURL)
	case relative == "" || relative == "." || path.Clean("/"+relative) != "/"+relative:
		return fmt.Errorf("%w: its path has an empty part, \".\" or \"..\", or leads to no file", mount.ErrURL)
	}
	return nil
}

// argument is the path as a command carries it: servers take what stands at the
// beginning of some for an option, a home folder, or nothing.
func (p place) argument() string {
	if strings.HasPrefix(p.path, " ") || strings.HasPrefix(p.path, "-") || strings.HasPrefix(p.path, "~") {
		return "./" + p.path
	}
	return p.path
}
