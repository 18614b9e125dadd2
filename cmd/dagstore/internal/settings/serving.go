package settings

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"
)

// Serve is about "dagstore serve".
type Serve struct {
	Listen   string    `toml:"listen"`   // address and port of the gateway
	Metrics  *string   `toml:"metrics"`  // address and port of metrics and health; "none": nowhere; nil: the usual one
	TLSCert  string    `toml:"tls_cert"` // certificate in PEM, with those between it and a root
	TLSKey   string    `toml:"tls_key"`  // its key in PEM
	Proxies  []string  `toml:"proxies"`  // addresses and networks of proxies that are believed
	Requests int       `toml:"requests"` // at once; 0: the default
	Drain    *Duration `toml:"drain"`    // how long requests are still answered when it is not ready any more
	Grace    *Duration `toml:"grace"`    // how long answers under way may take after that
}

// Gateway is about what is served over HTTP.
type Gateway struct {
	Denylists         []string `toml:"denylists"`          // files, or folders of *.deny files, of what is not served
	PublicURL         string   `toml:"public_url"`         // where others reach the gateway
	Trustless         bool     `toml:"trustless"`          // blocks, CARs and records alone
	DeserializedHosts []string `toml:"deserialized_hosts"` // names for which files and folders are served; nil: those of this machine
	Hosts             []string `toml:"hosts"`              // names that have a subdomain for each CID
	DNSLink           bool     `toml:"dnslink"`            // look domains up in the DNS
	DNSServer         string   `toml:"dns_server"`         // address of the server that is asked; "": those of the system
	IPNS              string   `toml:"ipns"`               // trustless gateway that is asked for records of keys; "": they are not resolved
}

// Duration is a length of time, written as in "1m30s".
type Duration time.Duration

// UnmarshalText implements [encoding.TextUnmarshaler].
func (d *Duration) UnmarshalText(text []byte) error {
	n, err := time.ParseDuration(string(text))
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no length of time, such as 30s", text)
	}
	*d = Duration(n)
	return nil
}

// Or is d, or other if there is none.
func (d *Duration) Or(other time.Duration) time.Duration {
	if d == nil {
		return other
	}
	return time.Duration(*d)
}

func (s *Serve) check() error {
	var errs []error
	if (s.TLSCert == "") != (s.TLSKey == "") {
		errs = append(errs, errors.New("[serve]: tls_cert and tls_key go together"))
	}
	if s.Requests < 0 {
		errs = append(errs, fmt.Errorf("[serve]: requests is %d", s.Requests))
	}
	if _, err := s.Prefixes(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// Prefixes are the networks of Proxies.
func (s *Serve) Prefixes() ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, text := range s.Proxies {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil {
				return nil, fmt.Errorf("[serve]: proxies: %q is neither an address nor a network such as 10.0.0.0/8", text)
			}
			p = netip.PrefixFrom(addr, addr.BitLen())
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

func (s *Serve) paths() []*string { return []*string{&s.TLSCert, &s.TLSKey} }

func (g *Gateway) check() error {
	var errs []error
	if g.PublicURL != "" && !isOrigin(g.PublicURL) {
		errs = append(errs, fmt.Errorf("[gateway]: public_url is %q; it is a scheme and a host, such as https://gateway.example", g.PublicURL))
	}
	if g.IPNS != "" && !isOrigin(g.IPNS) {
		errs = append(errs, fmt.Errorf("[gateway]: ipns is %q; it is a scheme and a host, such as https://gateway.example", g.IPNS))
	}
	if g.DNSServer == "" {
		return errors.Join(errs...)
	}
	if _, err := netip.ParseAddrPort(g.DNSServer); err != nil {
		if _, err := netip.ParseAddr(g.DNSServer); err != nil {
			errs = append(errs, fmt.Errorf("[gateway]: dns_server is %q; it is an address, such as 192.0.2.1 or [2001:db8::1]:53", g.DNSServer))
		}
	}
	if !g.DNSLink {
		errs = append(errs, errors.New("[gateway]: dns_server is asked for nothing without dnslink = true"))
	}
	return errors.Join(errs...)
}

// isOrigin reports whether text is a scheme of the web and a host, and no more.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && u.User == nil &&
		(u.Path == "" || u.Path == "/") && u.RawQuery == "" && u.Fragment == ""
}
