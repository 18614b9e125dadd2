package s3mount

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// A Client makes mounts of "s3" URLs, and lists buckets. It keeps connections
// and credentials, shared by all that it has made. Its methods may be called by
// any number of goroutines at once.
type Client struct {
	names    map[string]*server // by the name of the bucket
	globs    []glob             // the longest first
	others   *server            // nil: other buckets are refused
	pools    []*http.Transport
	patience time.Duration // less than 0: for ever
	spent    spent
}

type glob struct {
	pattern string
	server  *server
}

const defaultPatience = 30 * time.Second

// New makes a Client. It does no I/O but to read the environment. The error
// names all that is wrong with cfg, and repeats no key; nil is the zero Config.
func New(cfg *Config) (*Client, error) {
	if cfg == nil {
		cfg = new(Config)
	}
	c := &Client{names: make(map[string]*server), patience: cfg.Patience}
	if c.patience == 0 {
		c.patience = defaultPatience
	}
	var errs []error
	if cfg.PerHost < 0 {
		errs = append(errs, fmt.Errorf("%d requests to one host", cfg.PerHost))
	}
	pools := make(map[string]*http.Transport) // by CA
	for i := range cfg.Services {
		s, err := c.server(cfg, &cfg.Services[i], pools)
		if err == nil {
			err = c.assign(s, cfg.Services[i].Buckets)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("service %d: %w", i, err))
		}
	}
	if c.others == nil && !cfg.Only {
		var err error
		if c.others, err = c.server(cfg, new(Service), pools); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("s3mount: %w", errors.Join(errs...))
	}
	slices.SortStableFunc(c.globs, func(a, b glob) int { return cmp.Compare(len(b.pattern), len(a.pattern)) })
	c.pools = slices.Collect(maps.Values(pools))
	return c, nil
}

// assign gives buckets to s. A name that two services have is an error.
func (c *Client) assign(s *server, buckets []string) error {
	if len(buckets) == 0 {
		if c.others != nil {
			return errors.New("another one has all other buckets, too")
		}
		c.others = s
	}
	for _, name := range buckets {
		taken := c.names[name] != nil || slices.ContainsFunc(c.globs, func(g glob) bool { return g.pattern == name })
		switch {
		case taken:
			return fmt.Errorf("%q is named twice", name)
		case isGlob(name):
			c.globs = append(c.globs, glob{name, s})
		default:
			c.names[name] = s
		}
	}
	return nil
}

// Open is the opener of "s3" URLs:
//
//	reg := mount.Registry{"file": filemount.Open, "s3": client.Open}
//
// A URL is "s3://BUCKET/KEY", with "?versionId=ID" for one version of many. The
// key is percent-escaped byte by byte; "//", "." and ".." in it are part of the
// name as S3 has it. What is no key of S3 (empty, over 1,024 bytes, not UTF-8),
// a user, any other query (a presigned URL) wraps [mount.ErrURL], without
// repeating the URL; a bucket that the Config refuses wraps [mount.ErrDenied].
// Open does no I/O.
//
// The Mount is a [mount.RangeOpener] and a [mount.SiblingOpener]. Its version is
// the ETag.
func (c *Client) Open(url string) (mount.Mount, error) {
	at, err := c.locate(url)
	if err != nil {
		return nil, err
	}
	if at.key == "" {
		return nil, fmt.Errorf("%w: it names a bucket, and no object in it", mount.ErrURL)
	}
	return &object{location: at, client: c}, nil
}

// CloseIdle closes the connections that are of no use now. It ends no call and
// no stream. A client that is not used any more needs nothing else; without it
// they close by themselves after a minute.
func (c *Client) CloseIdle() {
	for _, pool := range c.pools {
		pool.CloseIdleConnections()
	}
}

// Cost is what requests have cost: how many of each kind have been sent, and
// how many bytes of answers have been read, those of objects and all others.
type Cost struct {
	Heads, Gets, Lists int64
	Bytes              int64
}

// Cost returns what all requests of the Client have cost until now.
func (c *Client) Cost() Cost {
	return Cost{Heads: c.spent.heads.Load(), Gets: c.spent.gets.Load(), Lists: c.spent.lists.Load(), Bytes: c.spent.bytes.Load()}
}

// spent is a Cost that many goroutines add to.
type spent struct{ heads, gets, lists, bytes atomic.Int64 }

// locate returns what url says, if it leads to a bucket that may be reached.
func (c *Client) locate(url string) (location, error) {
	at, err := parseURL(url)
	if err == nil && c.at(at.bucket) == nil {
		err = fmt.Errorf("%w: only buckets that are configured are", mount.ErrDenied)
	}
	return at, err
}

// at returns the server that has the bucket of a URL; nil: it is refused.
func (c *Client) at(bucket string) *server {
	if s := c.names[bucket]; s != nil {
		return s
	}
	for _, g := range c.globs {
		if ok, _ := path.Match(g.pattern, bucket); ok { // the pattern was tried before
			return g.server
		}
	}
	return c.others
}

// A server is one way in which buckets are reached.
type server struct {
	settings
	keys *keyring
	http *http.Client

	mu      sync.Mutex
	regions map[string]string // by bucket, where it is another than settings say
}

// mostRegions bounds what is remembered: names of buckets come from outside.
const mostRegions = 4096

func (s *server) regionOf(bucket string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.regions[bucket]; ok {
		return r
	}
	return s.region
}

func (s *server) learn(bucket, region string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.regions == nil || len(s.regions) >= mostRegions {
		s.regions = make(map[string]string)
	}
	s.regions[bucket] = region
}

func (c *Client) server(cfg *Config, service *Service, pools map[string]*http.Transport) (*server, error) {
	set, err := service.resolve()
	if err != nil {
		return nil, err
	}
	pool := pools[service.CA]
	if pool == nil {
		pool = c.newPool(cfg, &tls.Config{RootCAs: set.roots, MinVersion: tls.VersionTLS12})
		pools[service.CA] = pool
	}
	return &server{
		settings: set,
		keys:     newKeyring(service.Credentials, set.region, cfg.Proxy),
		// No redirect is followed: a request that is signed goes to whom it was
		// signed for. No cookies, no time-out of the whole: a body may be long.
		http: &http.Client{Transport: pool, CheckRedirect: noRedirect},
	}, nil
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// newPool makes the connections of one set of trusted certificates: bounded
// while they are idle, one request at a time on each, as S3 has it.
func (c *Client) newPool(cfg *Config, trust *tls.Config) *http.Transport {
	return &http.Transport{
		Proxy:                  cfg.Proxy,
		DialContext:            (&net.Dialer{Timeout: dialTime, KeepAlive: dialTime}).DialContext,
		TLSClientConfig:        trust,
		TLSHandshakeTimeout:    dialTime,
		ResponseHeaderTimeout:  max(c.patience, 0),
		MaxConnsPerHost:        cfg.PerHost,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    64,
		IdleConnTimeout:        time.Minute,
		DisableCompression:     true, // the bytes are wanted as they are stored
		MaxResponseHeaderBytes: 64 << 10,
	}
}

const dialTime = 30 * time.Second
