package s3mount

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"
)

// Config says how buckets are reached. A URL has none of this: it names a
// bucket, and where that lies and who may read it is known here. The zero value
// reaches Amazon S3 with the credentials that the AWS tools would find.
type Config struct {
	// Services say how some buckets each are reached. A bucket is of the
	// service that has its name; else of the one with the longest glob that
	// matches it; else of the one without names, or of the zero Service.
	Services []Service

	// Only refuses buckets that no service has, with [mount.ErrDenied]. It is for
	// stores that others may add to: whoever names a bucket has it read with
	// the credentials that are configured here.
	Only bool

	// Proxy says through which proxy a request goes; nil means through none,
	// whatever the environment says. [http.ProxyFromEnvironment] honours it.
	Proxy func(*http.Request) (*url.URL, error)

	// PerHost is how many requests to one host may be under way at once, streams
	// that are open included; 0: any number. Who comes later waits under its
	// context. With 1, who holds a stream open and asks for more waits for itself.
	PerHost int

	// Patience is how long a server may keep a caller waiting for its answer,
	// and for each next 4 KiB of it: [mount.ErrStalled]. The time between two
	// reads does not count. 0 is 30 s, less is for ever.
	Patience time.Duration
}

// Service is how some buckets are reached. Its zero value is Amazon S3.
type Service struct {
	// Buckets are names, or globs as [path.Match] has them; none: all buckets
	// that no other service has.
	Buckets []string

	// Name is what the server calls the bucket; "": as URLs do. With it, two
	// buckets of one name at two endpoints get URLs of their own. It is for
	// services of one bucket alone.
	Name string

	// Endpoint is "https://HOST" or "http://HOST", with a port if need be. "":
	// AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, else Amazon S3 in the region.
	Endpoint string

	// Region is where a bucket is looked for first; what the server says
	// instead is remembered for each bucket. "": AWS_REGION,
	// AWS_DEFAULT_REGION, else us-east-1.
	Region string

	Addressing    Addressing
	CA            string // certificates, PEM, trusted besides those of the system
	RequesterPays bool   // we pay for requests to buckets of somebody else
	Credentials   Credentials
}

// Credentials says with which keys requests are signed. The zero value looks
// where the AWS tools look, and takes the first that is there: the environment,
// a web identity (AWS_WEB_IDENTITY_TOKEN_FILE), the profile in the shared files
// ~/.aws/config and ~/.aws/credentials, the role of the container, the role of
// the machine. They are fetched at the first request, and again before they
// expire.
type Credentials struct {
	AccessKey    string // with SecretKey: these keys and no others
	SecretKey    Secret
	SessionToken Secret // of temporary keys

	Profile string // this profile of the shared files and nothing else
	File    string // of the profile; "": the shared files

	Anonymous bool // requests are not signed: the bucket is public
}

// Secret is a string that prints, and is marshalled, as "(secret)".
type Secret string

const hidden = "(secret)"

// Format implements [fmt.Formatter].
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText implements [encoding.TextMarshaler].
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Addressing is where a request names the bucket.
type Addressing uint8

const (
	// Auto: Amazon S3 in the host, but for a name that cannot stand there;
	// any other server in the path.
	Auto Addressing = iota
	InPath
	InHost
)

// settings are a Service with its defaults filled in, and without what the
// connections and the keyring have of it.
type settings struct {
	name     string   // "": as in the URL
	endpoint *url.URL // nil: Amazon S3
	region   string
	address  Addressing
	payer    bool
	roots    *x509.CertPool // nil: the system's
}

const defaultRegion = "us-east-1"

// resolve fills in the defaults of b and reports all that is wrong with it.
func (b Service) resolve() (settings, error) {
	s := settings{name: b.Name, region: b.Region, address: b.Addressing, payer: b.RequesterPays}
	errs := b.checkNames()
	endpoint := b.Endpoint
	if endpoint == "" && !strings.EqualFold(os.Getenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"), "true") {
		endpoint = firstEnv("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
	}
	if endpoint != "" {
		var err error
		if s.endpoint, err = parseEndpoint(endpoint); err != nil {
			errs = append(errs, err)
		}
	}
	if s.region == "" {
		s.region = firstEnv("AWS_REGION", "AWS_DEFAULT_REGION")
	}
	if s.region == "" {
		s.region = defaultRegion
	}
	if !isRegion(s.region) {
		errs = append(errs, errors.New("the region is made of letters, digits and hyphens"))
	}
	if s.address > InHost {
		errs = append(errs, errors.New("addressing is unknown"))
	}
	if b.CA != "" {
		var err error
		if s.roots, err = x509.SystemCertPool(); err != nil {
			s.roots = x509.NewCertPool()
		}
		if !s.roots.AppendCertsFromPEM([]byte(b.CA)) {
			errs = append(errs, errors.New("the CA holds no certificate in PEM"))
		}
	}
	errs = append(errs, b.Credentials.check())
	return s, errors.Join(errs...)
}

// checkNames reports what is wrong with the names of buckets.
func (b Service) checkNames() (errs []error) {
	for _, name := range b.Buckets {
		_, err := path.Match(name, "")
		if glob := isGlob(name); glob && err != nil || !glob && !isBucket(name) {
			errs = append(errs, fmt.Errorf("no bucket is called %q", name))
		}
	}
	if b.Name != "" {
		if !isBucket(b.Name) {
			errs = append(errs, fmt.Errorf("no bucket is called %q", b.Name))
		}
		if len(b.Buckets) != 1 || isGlob(b.Buckets[0]) {
			errs = append(errs, errors.New("a name is for a service of one bucket"))
		}
	}
	return errs
}

func isGlob(name string) bool { return strings.ContainsAny(name, `*?[\`) }

// check reports what contradicts itself. It repeats no key.
func (c Credentials) check() error {
	keys := c.AccessKey != "" || c.SecretKey != "" || c.SessionToken != ""
	kinds := 0
	for _, is := range []bool{keys, c.Profile != "" || c.File != "", c.Anonymous} {
		if is {
			kinds++
		}
	}
	switch {
	case kinds > 1:
		return errors.New("credentials are keys, a profile or anonymous, and not two of them")
	case keys && (c.AccessKey == "" || c.SecretKey == ""):
		return errors.New("an access key and a secret key come together")
	}
	return nil
}

// parseEndpoint does not repeat s, which may hold a password.
func parseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Hostname() == "":
		return nil, errors.New(`an endpoint is "https://HOST" or "http://HOST", with a port if need be`)
	case u.User != nil:
		return nil, errors.New("an endpoint has no user; keys are set as credentials")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("an endpoint has no path")
	}
	host := strings.ToLower(u.Host)
	usual := ":443"
	if u.Scheme == "http" {
		usual = ":80"
	}
	host = strings.TrimSuffix(host, usual) // as others sign it
	return &url.URL{Scheme: u.Scheme, Host: host}, nil
}

// isRegion reports whether s may be a region. It becomes part of a host's name.
func isRegion(s string) bool {
	return len(s) <= 63 && s != "" && strings.TrimFunc(s, func(r rune) bool {
		return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-'
	}) == ""
}

// isBucket reports whether s may be the name of a bucket: what S3 gives now,
// and what it gave long ago. It becomes part of a host's name or of a path.
func isBucket(s string) bool {
	switch {
	case len(s) < 3 || len(s) > 255, s[0] == '.', s[len(s)-1] == '.', strings.Contains(s, ".."):
		return false
	}
	return strings.TrimFunc(s, func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '.' || r == '_'
	}) == ""
}

// inHost reports whether the name of a bucket may stand before a host's name.
func inHost(bucket string, tls bool) bool {
	return len(bucket) <= 63 && strings.ToLower(bucket) == bucket && !strings.Contains(bucket, "_") &&
		bucket[0] != '-' && bucket[len(bucket)-1] != '-' &&
		(!tls || !strings.Contains(bucket, ".")) // no certificate is for two more names
}

func firstEnv(names ...string) string {
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return ""
}
