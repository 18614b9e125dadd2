package httpmount

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Config is how servers are talked to. Its zero value is ready: no
// credentials, the system's certificates, no proxy, no limits but Patience.
type Config struct {
	// Credentials are shown to the hosts that they name.
	Credentials []Credential

	// TLS has certificates of authorities, for servers of one's own, and
	// certificates to show to servers, which go to the hosts that URLs name and
	// not to where those redirect. nil is the system's, and none. It is copied.
	TLS *tls.Config

	// Proxy says through which proxy a request goes; nil means through none,
	// whatever the environment says. [http.ProxyFromEnvironment] honours it.
	// A proxy dials by itself, so where a redirect leads is then checked by the
	// name alone: the proxy has to keep others from the networks behind it.
	Proxy func(*http.Request) (*url.URL, error)

	// Untrusted is for URLs that come from others: their own hosts, and not
	// only those that they redirect to, must lie in the public internet.
	Untrusted bool

	// Allow are networks that redirects, and URLs that come from others, may
	// lead to besides the public internet.
	Allow []netip.Prefix

	// PerHost is how many requests to one host may be under way at once, streams
	// that are open and not read to their end included; 0: any number. Who comes
	// later waits under its context, in order. Who holds such a stream and asks
	// the same host for more may wait for itself.
	PerHost int

	// Largest is the largest source, in bytes, that is read; 0: any. A larger
	// one gives [mount.ErrDenied], one of unknown length as soon as it is seen.
	Largest int64

	// Patience is how long a server may keep a caller waiting for its answer,
	// and for each next 4 KiB of it: [mount.ErrStalled]. The time between two
	// reads does not count. 0 is 30 s, less is for ever.
	Patience time.Duration

	// UserAgent is what the servers see as it; "" is "dagstore".
	UserAgent string
}

// A Credential is what is shown to some hosts: exactly one of a bearer token, a
// user with a password, and a header. It goes to a source on one of the hosts,
// and where that redirects only as long as each host on the way is one of them,
// too. Another port of a host is another host. Of several credentials for a
// host the first counts.
type Credential struct {
	// Hosts are names or addresses, as "cars.example.org", with a port where
	// it is not the scheme's own, as "cars.example.org:8443". The name
	// "*.example.org" stands for all below example.org, and not for itself.
	Hosts []string

	Bearer Secret // for "Authorization: Bearer …"

	User     string // for "Authorization: Basic …"
	Password Secret

	Header string // the name of a header, such as "X-Api-Key"
	Value  Secret

	// PlainHTTP shows it to "http" URLs, too, where everybody on the way can
	// read it.
	PlainHTTP bool
}

// A Secret is a string that prints as "***", so that a Config can be logged.
type Secret string

// String implements [fmt.Stringer].
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "***"
}

// GoString implements [fmt.GoStringer].
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText implements [encoding.TextMarshaler].
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

const (
	defaultPatience  = 30 * time.Second
	defaultUserAgent = "dagstore"
)

// withDefaults fills in what is not set. cfg may be nil.
func (cfg *Config) withDefaults() Config {
	var out Config
	if cfg != nil {
		out = *cfg
		out.Credentials = slices.Clone(cfg.Credentials)
	}
	if out.Patience == 0 {
		out.Patience = defaultPatience
	}
	if out.UserAgent == "" {
		out.UserAgent = defaultUserAgent
	}
	return out
}

// Validate reports all that is wrong with cfg, joined. No error repeats a
// secret.
func (cfg *Config) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("httpmount: Config."+format, args...))
	}
	if cfg.PerHost < 0 {
		wrong("PerHost is %d", cfg.PerHost)
	}
	if cfg.Largest < 0 {
		wrong("Largest is %d", cfg.Largest)
	}
	if !headerValue(cfg.UserAgent) {
		wrong("UserAgent cannot stand in a header")
	}
	for i, p := range cfg.Allow {
		if !p.IsValid() {
			wrong("Allow[%d] is no network", i)
		}
	}
	for i := range cfg.Credentials {
		for _, err := range cfg.Credentials[i].validate() {
			wrong("Credentials[%d]: %w", i, err)
		}
	}
	return errors.Join(errs...)
}

func (c *Credential) validate() (errs []error) {
	if len(c.Hosts) == 0 {
		errs = append(errs, errors.New("it names no host"))
	}
	for _, h := range c.Hosts {
		name, _ := strings.CutPrefix(h, "*.")
		if _, err := parseHost(name); err != nil || name != h && (strings.HasPrefix(name, "[") || strings.Trim(name, "0123456789.") == "") {
			errs = append(errs, fmt.Errorf("%q names no host", h))
		}
	}
	kinds := 0
	for _, has := range []bool{c.Bearer != "", c.User != "" || c.Password != "", c.Header != "" || c.Value != ""} {
		if has {
			kinds++
		}
	}
	if kinds != 1 {
		errs = append(errs, fmt.Errorf("it has %d of a bearer token, a user and a header, not one", kinds))
	}
	switch {
	case strings.Contains(c.User, ":"):
		errs = append(errs, errors.New("a user of HTTP has no colon"))
	case c.Header == "" && c.Value != "", strings.Trim(c.Header, tokenChars) != "":
		errs = append(errs, errors.New("its header has no name that a header can have"))
	case reserved[http.CanonicalHeaderKey(c.Header)]:
		errs = append(errs, fmt.Errorf("the header %s is not for credentials", http.CanonicalHeaderKey(c.Header)))
	case !headerValue(string(c.Bearer)) || !headerValue(string(c.Value)):
		errs = append(errs, errors.New("its secret cannot stand in a header: is there a line break in its file?"))
	}
	return errs
}

// tokenChars is what the name of a header is made of.
const tokenChars = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// reserved are headers that say what is asked for, and of whom.
var reserved = map[string]bool{
	"Host": true, "Range": true, "If-Match": true, "If-Unmodified-Since": true, "If-Range": true, "Accept-Encoding": true,
	"Connection": true, "Content-Length": true, "Transfer-Encoding": true, "Te": true, "Trailer": true, "Upgrade": true,
}

// headerValue reports whether s can be the value of a header.
func headerValue(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return false
		}
	}
	return strings.TrimSpace(s) == s
}

// matches reports whether the credential is for a host, canonical and with its
// port if that is not the default.
func (c *Credential) matches(host string) bool {
	for _, h := range c.Hosts {
		rest, wild := strings.CutPrefix(h, "*.")
		canonical, err := parseHost(rest)
		switch {
		case err != nil:
		case wild && strings.HasSuffix(host, "."+canonical), !wild && host == canonical:
			return true
		}
	}
	return false
}

// apply shows the credential in header.
func (c *Credential) apply(r *http.Request) {
	switch {
	case c.Bearer != "":
		r.Header.Set("Authorization", "Bearer "+string(c.Bearer))
	case c.Header != "":
		r.Header.Set(c.Header, string(c.Value))
	default:
		r.SetBasicAuth(c.User, string(c.Password))
	}
}
