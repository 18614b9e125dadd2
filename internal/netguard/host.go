package netguard

import (
	"net/netip"
	"strconv"
	"strings"
)

// Host refuses what can be refused by looking at a host as it is written,
// without a port: an address in any spelling that some resolver takes, in
// brackets or not, and names that are given to this machine or its network.
// That it returns nil does not mean that the host may be dialled: only
// [Guard.Control] knows where a name leads.
func (g *Guard) Host(host string) error {
	name := strings.ToLower(strings.TrimRight(host, "."))
	if inner, ok := strings.CutPrefix(name, "["); ok {
		name = strings.TrimSuffix(inner, "]")
	}
	refused := func(why string) error { return &RefusedError{Host: strconv.Quote(host), Why: why} }
	addr, numeric := Numeric(name)
	switch {
	case name == "":
		return refused("no host")
	case numeric && !addr.IsValid():
		return refused("a number, and no address")
	case numeric:
		if why := g.why(addr); why != "" {
			return refused(why)
		}
		return nil
	}
	if why := nameWhy(name); why != "" && len(g.allow) == 0 {
		return refused(why)
	}
	return nil
}

// nameWhy says what a name in lower case is for, or nothing.
func nameWhy(name string) string {
	last := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case last == "localhost", last == "localdomain", name == "ip6-localhost", name == "ip6-loopback":
		return "a name of loopback"
	case name == "metadata.google.internal":
		return "a name of a metadata service"
	case last == "internal", last == "local", name == "home.arpa", strings.HasSuffix(name, ".home.arpa"), last == name:
		return "a name of a private network"
	}
	return ""
}

// Numeric reports whether host, without brackets, is an address and no name,
// and which one: IPv6, IPv4, or IPv4 in the spellings that the C library takes
// besides (one to four numbers, decimal, octal or hexadecimal, the last of
// which fills the rest). A host whose last label is a number is never a name;
// where it is no address either, addr is invalid.
func Numeric(host string) (addr netip.Addr, ok bool) {
	host = strings.TrimSuffix(host, ".")
	if strings.IndexByte(host, ':') >= 0 {
		addr, _ = netip.ParseAddr(host)
		return addr, true
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if _, number := parseNumber(last); !number && strings.Trim(last, "0123456789") != "" || last == "" {
		return netip.Addr{}, false
	}
	return parseIPv4(host), true
}

// parseIPv4 parses an IPv4 address as inet_aton does. It returns an invalid
// address for what is none.
func parseIPv4(s string) netip.Addr {
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}
	}
	var sum uint64
	for i, part := range parts {
		n, ok := parseNumber(part)
		rest := 8 * (4 - i) // bits that are not filled yet
		most := uint64(255)
		if i == len(parts)-1 {
			most = 1<<rest - 1
			rest = 8
		}
		if !ok || n > most {
			return netip.Addr{}
		}
		sum |= n << (rest - 8)
	}
	return netip.AddrFrom4([4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
}

// parseNumber parses one part of an IPv4 address: 0x and hexadecimal digits, 0
// and octal ones, or decimal ones. "0x" alone is zero for some.
func parseNumber(s string) (uint64, bool) {
	base := 10
	switch {
	case len(s) >= 2 && s[0] == '0' && s[1]|0x20 == 'x':
		s, base = s[2:], 16
		if s == "" {
			return 0, true
		}
	case len(s) >= 2 && s[0] == '0':
		s, base = s[1:], 8
	}
	if strings.ContainsAny(s, "+-_") {
		return 0, false
	}
	n, err := strconv.ParseUint(s, base, 64)
	return n, err == nil
}
