package netguard_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/internal/netguard"
	"github.com/dagstore/dagstore/internal/netguard/netguardtest"
	"github.com/dagstore/dagstore/mount"
)

func TestCheck(t *testing.T) {
	guard := netguard.New()
	for addr, why := range map[string]string{
		"127.0.0.1": "loopback", "127.255.255.254": "loopback", "::1": "loopback", "::ffff:127.0.0.1": "loopback",
		"0.0.0.0": "unspecified", "0.1.2.3": "unspecified", "::": "unspecified",
		"10.0.0.1": "private", "172.16.0.1": "private", "172.31.255.255": "private", "192.168.1.1": "private", "::ffff:10.1.2.3": "private",
		"100.64.0.1": "CGNAT", "100.127.255.255": "CGNAT", "169.254.1.1": "link-local", "fe80::1": "link-local", "fe80::1%eth0": "link",
		"169.254.169.254": "metadata", "fd00:ec2::254": "metadata", "fd20:ce::254": "metadata", "100.100.100.200": "metadata", "168.63.129.16": "metadata",
		"192.0.0.192": "metadata", "64:ff9b::a9fe:a9fe": "metadata", "64:ff9b::7f00:1": "loopback", "64:ff9b:1::1": "private",
		"192.0.0.1": "reserved", "192.0.2.1": "documentation", "198.51.100.7": "documentation", "203.0.113.9": "documentation", "192.88.99.1": "6to4",
		"198.18.0.1": "benchmarks", "198.19.255.255": "benchmarks", "224.0.0.1": "multicast", "239.255.255.255": "multicast", "ff02::1": "multicast",
		"240.0.0.1": "reserved", "255.255.255.255": "broadcast", "fc00::1": "unique-local", "fdff::1": "unique-local", "fec0::1": "site-local",
		"2002:7f00:1::": "6to4", "2001::1": "Teredo", "2001:20::1": "reserved", "2001:db8::1": "documentation", "3fff:fff::1": "documentation",
		"::7f00:1": "out of use", "::ffff:0:127.0.0.1": "public internet", "100::1": "discarding", "5f00::1": "public internet", "4000::1": "public internet",
	} {
		err := guard.Check(netip.MustParseAddr(addr))
		refused, ok := errors.AsType[*netguard.RefusedError](err)
		if !ok || !errors.Is(err, mount.ErrDenied) || !strings.Contains(refused.Why, why) {
			t.Errorf("%s gives %v, not that it is %s", addr, err, why)
		}
	}
	for _, addr := range []string{"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
		"172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111",
		"2a00::1", "::ffff:8.8.8.8", "64:ff9b::808:808"} {
		if err := guard.Check(netip.MustParseAddr(addr)); err != nil {
			t.Errorf("%s gives %v", addr, err)
		}
	}
	if err := guard.Check(netip.Addr{}); !errors.Is(err, mount.ErrDenied) {
		t.Errorf("no address gives %v", err)
	}
}

func TestAllow(t *testing.T) {
	guard := netguard.New(netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("::ffff:192.168.7.9/128"), netip.Prefix{})
	for addr, allowed := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "192.168.7.9": true, "192.168.7.8": false, "127.0.0.1": false, "8.8.8.8": true,
	} {
		if err := guard.Check(netip.MustParseAddr(addr)); (err == nil) != allowed {
			t.Errorf("%s gives %v", addr, err)
		}
	}
	if err := guard.Host("nas"); err != nil {
		t.Errorf("a name that may lie in what is allowed gives %v", err)
	}
}

func TestHost(t *testing.T) {
	guard := new(netguard.Guard)
	for host, why := range map[string]string{
		"127.0.0.1": "loopback", "127.0.0.1.": "loopback", "127.1": "loopback", "127.0.1": "loopback", "2130706433": "loopback", "0x7f000001": "loopback",
		"0x7F.1": "loopback", "0177.0.0.1": "loopback", "017700000001": "loopback", "0x7f.0.0x0.01": "loopback", "[::1]": "loopback", "::1": "loopback",
		"[::ffff:127.0.0.1]": "loopback", "[::ffff:7f00:1]": "loopback", "[0:0:0:0:0:0:0:1]": "loopback", "0": "unspecified", "0x": "unspecified",
		"[::]": "unspecified", "localhost": "loopback", "LOCALHOST": "loopback", "localhost.": "loopback", "localhost..": "loopback", "x.localhost": "loopback",
		"localhost.localdomain": "loopback", "ip6-localhost": "loopback", "169.254.169.254": "metadata", "0xa9fea9fe": "metadata", "2852039166": "metadata",
		"0251.0376.0251.0376": "metadata", "[::ffff:a9fe:a9fe]": "metadata", "[fd00:ec2::254]": "metadata", "metadata.google.internal": "metadata",
		"metadata.google.internal.": "metadata", "10.1": "private", "192.168.257": "private", "[fe80::1%25eth0]": "link", "[fe80::1%eth0]": "link",
		"": "no host", ".": "no host", "[]": "no host", "256.1.1.1": "no address", "1.2.3.4.5": "no address", "1.2.3.999": "no address", "4294967296": "no address",
		"08.1.1.1": "no address", "1..2": "no address", "example.09": "no address", "a.0x1": "no address", "[1.2.3.4:80]": "no address",
		"nas": "private", "db.internal": "private", "printer.local": "private", "router.home.arpa": "private", "99999999999999999999": "no address",
	} {
		err := guard.Host(host)
		refused, ok := errors.AsType[*netguard.RefusedError](err)
		if !ok || !errors.Is(err, mount.ErrDenied) || !strings.Contains(refused.Why, why) {
			t.Errorf("%q gives %v, not that it is %s", host, err, why)
		}
	}
	for _, host := range []string{"example.org", "example.org.", "localhost.example.org", "8.8.8.8", "134744072", "[2606:4700::1111]", "0x.example", "a1.b2", "xn--bcher-kva.example"} {
		if err := guard.Host(host); err != nil {
			t.Errorf("%q gives %v", host, err)
		}
	}
}

func TestControl(t *testing.T) {
	guard := netguard.New()
	for _, c := range []struct {
		network, address string
		allowed          bool
	}{
		{"tcp4", "8.8.8.8:443", true}, {"tcp6", "[2606:4700::1111]:80", true}, {"udp4", "8.8.8.8:53", true},
		{"tcp4", "127.0.0.1:80", false}, {"tcp6", "[::1]:80", false}, {"tcp6", "[fe80::1%eth0]:80", false}, {"tcp6", "[::ffff:10.0.0.1]:80", false},
		{"unix", "/run/docker.sock", false}, {"unix", "8.8.8.8:80", false}, {"tcp", "", false}, {"tcp", "example.org:80", false}, {"tcp", "8.8.8.8", false},
	} {
		if err := guard.Control(t.Context(), c.network, c.address, nil); (err == nil) != c.allowed || err != nil && !errors.Is(err, mount.ErrDenied) {
			t.Errorf("%s %q gives %v", c.network, c.address, err)
		}
	}
}

// A name is resolved before its address is looked at, each time that it is
// dialled. Nothing listens where these answers lead, and nothing is sent there.
func TestNamesThatLeadInside(t *testing.T) {
	for _, addr := range []string{"127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "192.168.0.1"} {
		names, err := netguardtest.NewNames(netip.MustParseAddr(addr))
		if err != nil {
			t.Fatal(err)
		}
		defer names.Close()
		dialer := &net.Dialer{ControlContext: netguard.New().Control, Resolver: names.Resolver()}
		conn, err := dialer.DialContext(t.Context(), "tcp", "rebound.example.org:80")
		if err == nil {
			conn.Close()
		}
		if refused, ok := errors.AsType[*netguard.RefusedError](err); !ok || refused.Host != addr || names.Asked() == 0 {
			t.Errorf("a name that leads to %s gives %v after %d questions", addr, err, names.Asked())
		}
	}
}

func FuzzHost(f *testing.F) {
	for _, seed := range []string{"127.0.0.1", "0x7f.1", "[::1]", "a.b.", "0", "1.2.3.4.5", "[fe80::1%25e]", "99999999999"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		err := netguard.New().Host(host)
		// What the library takes for an address is never taken for a name.
		addr, bad := netip.ParseAddr(strings.Trim(strings.TrimSuffix(host, "."), "[]"))
		if bad == nil && err == nil && netguard.New().Check(addr) != nil {
			t.Fatalf("%q is an address that must not be dialled", host)
		}
	})
}
