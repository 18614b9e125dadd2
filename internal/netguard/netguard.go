package netguard

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"syscall"

	"github.com/dagstore/dagstore/mount"
)

// A Guard says which addresses may be dialled: those of the public internet,
// and those of the networks that it was made with. It never changes and may be
// used by any number of goroutines. Its zero value allows public addresses.
type Guard struct{ allow []netip.Prefix }

// New makes a guard that allows the networks in allow, too.
func New(allow ...netip.Prefix) *Guard {
	g := new(Guard)
	for _, p := range allow {
		if p.IsValid() {
			g.allow = append(g.allow, netip.PrefixFrom(p.Addr().Unmap(), unmappedBits(p)).Masked())
		}
	}
	return g
}

// unmappedBits is the length of p once its address is no longer mapped.
func unmappedBits(p netip.Prefix) int {
	if p.Addr().Is4In6() {
		return max(p.Bits()-96, 0)
	}
	return p.Bits()
}

// A RefusedError says which host is not dialled and why. It unwraps to
// [mount.ErrDenied].
type RefusedError struct {
	Host string // an address, or a name as it was written
	Why  string // what the address is, such as "loopback"
}

// Error names both.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%v: %s is %s", mount.ErrDenied, e.Host, e.Why)
}

// Unwrap implements the errors package's convention.
func (e *RefusedError) Unwrap() error { return mount.ErrDenied }

// Check returns nil if addr may be dialled, and a [*RefusedError] if not.
func (g *Guard) Check(addr netip.Addr) error {
	if why := g.why(addr); why != "" {
		return &RefusedError{Host: addr.String(), Why: why}
	}
	return nil
}

// Control has the form of [net.Dialer]'s ControlContext, which is called with
// each address that is about to be dialled. It refuses sockets that are none
// of the internet.
func (g *Guard) Control(_ context.Context, network, address string, _ syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") && !strings.HasPrefix(network, "udp") {
		return &RefusedError{Host: fmt.Sprintf("%q", address), Why: "no host of the internet"}
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return &RefusedError{Host: fmt.Sprintf("%q", address), Why: "no address"}
	}
	return g.Check(at.Addr())
}

// why says what addr is, or nothing if it may be dialled.
func (g *Guard) why(addr netip.Addr) string {
	if !addr.IsValid() {
		return "no address"
	}
	if addr.Zone() != "" {
		return "of one link of this machine"
	}
	addr = addr.Unmap()
	for _, p := range g.allow {
		if p.Contains(addr) {
			return ""
		}
	}
	for _, s := range special {
		if s.prefix.Contains(addr) {
			return s.why
		}
	}
	switch {
	case addr.Is4():
		return ""
	case nat64.Contains(addr):
		return g.why(embedded(addr))
	case !global6.Contains(addr):
		return "no address of the public internet"
	}
	return ""
}

var (
	global6 = netip.MustParsePrefix("2000::/3")     // all of IPv6 that is given out
	nat64   = netip.MustParsePrefix("64:ff9b::/96") // IPv4 as IPv6-only networks see it
)

// embedded is the IPv4 address in the last four bytes of addr.
func embedded(addr netip.Addr) netip.Addr {
	b := addr.As16()
	return netip.AddrFrom4([4]byte(b[12:]))
}

// special is what is not the public internet, from the registries of special
// addresses (RFC 6890) and from what clouds have added. The first match says
// what an address is.
var special = []struct {
	prefix netip.Prefix
	why    string
}{
	// Where clouds give credentials to whoever asks.
	{netip.MustParsePrefix("169.254.169.254/32"), "a metadata service (link-local)"},
	{netip.MustParsePrefix("100.100.100.200/32"), "a metadata service (shared)"},
	{netip.MustParsePrefix("168.63.129.16/32"), "a metadata service"}, // in the public range
	{netip.MustParsePrefix("192.0.0.192/32"), "a metadata service"},
	{netip.MustParsePrefix("fd00:ec2::/32"), "a metadata service (unique-local)"},
	{netip.MustParsePrefix("fd20:ce::/32"), "a metadata service (unique-local)"},

	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared address space (CGNAT)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "reserved"},
	{netip.MustParsePrefix("192.0.2.0/24"), "for documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "a relay of 6to4"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "for benchmarks"},
	{netip.MustParsePrefix("198.51.100.0/24"), "for documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "for documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},

	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("::/96"), "IPv4 in a form that is out of use"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "private (NAT64)"},
	{netip.MustParsePrefix("100::/64"), "for discarding"},
	{netip.MustParsePrefix("2001::/32"), "a tunnel (Teredo)"},
	{netip.MustParsePrefix("2001::/23"), "reserved"},
	{netip.MustParsePrefix("2001:db8::/32"), "for documentation"},
	{netip.MustParsePrefix("2002::/16"), "a tunnel (6to4)"},
	{netip.MustParsePrefix("3fff::/20"), "for documentation"},
	{netip.MustParsePrefix("fc00::/7"), "unique-local"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fec0::/10"), "site-local"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}
