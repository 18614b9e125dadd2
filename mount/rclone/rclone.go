package rclone

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strings"
	"sync"

	"github.com/rclone/rclone/fs"

	"github.com/dagstore/dagstore/mount"
)

// ErrNotRegular is wrapped by the error about a path that leads to a folder.
var ErrNotRegular = errors.New("not a regular file")

// Config is which remotes there are.
type Config struct {
	// Remotes are places as rclone names them ("b2:bucket/cars", "/srv/cars"), by
	// the name that URLs have for them: lower-case letters, digits, dots,
	// hyphens and underscores.
	Remotes map[string]string

	// Open opens a place. Default: [fs.NewFs], with the configuration that the
	// program has loaded.
	Open func(ctx context.Context, place string) (fs.Fs, error)
}

// A Client holds what rclone has opened. Its methods may be called by any
// number of goroutines at once.
type Client struct {
	cfg    Config
	work   sync.WaitGroup // goroutines that wait for rclone
	mu     sync.Mutex
	closed bool
	open   map[string]*remote
}

// New returns a client that has opened nothing yet.
func New(c Config) *Client {
	if c.Open == nil {
		c.Open = fs.NewFs
	}
	return &Client{cfg: c, open: make(map[string]*remote)}
}

// Close waits for what is under way, which a service may take its time for, and
// shuts down what rclone has opened. What is asked for afterwards gives
// [net.ErrClosed].
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.work.Wait()
	var errs []error
	for name, r := range c.open {
		if r.fs == nil {
			continue
		}
		if shutdown := r.fs.Features().Shutdown; shutdown != nil {
			if err := shutdown(context.Background()); err != nil {
				errs = append(errs, fmt.Errorf("rclone: closing %q: %w", name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// begin counts a goroutine, unless nothing may begin.
func (c *Client) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.work.Add(1)
	return true
}

const prefix = "rclone://"

// Open is the opener of "rclone" URLs: "rclone://", the name of a remote, a slash
// and the path in it, percent-escaped. It does no I/O. A name that is not
// listed wraps [mount.ErrDenied].
//
// The Mount is a [mount.RangeOpener] and a [mount.SiblingOpener]. Its version is
// made of size, time of modification, and a checksum and an id where the service
// tells them without more work. A service that knows none of these but the size
// gives no version. What is asked for is of the object that was found, and its
// version is compared before; whether it is replaced meanwhile, most services do
// not tell.
func (c *Client) Open(url string) (mount.Mount, error) {
	rest, ok := strings.CutPrefix(url, prefix)
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", mount.ErrURL, prefix)
	}
	if i := strings.IndexAny(rest, "?#"); i >= 0 {
		return nil, fmt.Errorf("%w: a %q in a path is written %%%X", mount.ErrURL, rest[i], rest[i])
	}
	name, rest, _ := strings.Cut(rest, "/")
	if name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789.-_") != "" {
		return nil, fmt.Errorf("%w: no remote is called so", mount.ErrURL)
	}
	p, err := mount.UnescapePath(rest)
	if err != nil {
		return nil, err
	}
	if p == "" || path.Clean("/"+p) != "/"+p || strings.Contains(p, "\x00") {
		return nil, fmt.Errorf("%w: its path has an empty part, \".\", \"..\" or a zero byte", mount.ErrURL)
	}
	if _, ok := c.cfg.Remotes[name]; !ok {
		return nil, fmt.Errorf("%w: the remote is not one of those that are listed", mount.ErrDenied)
	}
	return &file{client: c, remote: name, path: p}, nil
}

// remote is a place that is open, or is being opened.
type remote struct {
	ready chan struct{}
	fs    fs.Fs
	err   error // both are read after ready
}

// get opens the place of name, once for all who wait for it. One that could
// not be opened is tried again by the next call.
func (c *Client) get(ctx context.Context, name string) (fs.Fs, error) {
	c.mu.Lock()
	r := c.open[name]
	if r == nil && c.closed {
		c.mu.Unlock()
		return nil, net.ErrClosed
	}
	if r == nil {
		r = &remote{ready: make(chan struct{})}
		c.open[name] = r
		c.work.Go(func() {
			// Nobody's context ends it, since many may wait for it.
			r.fs, r.err = caught(func() (fs.Fs, error) { return c.cfg.Open(context.WithoutCancel(ctx), c.cfg.Remotes[name]) })
			if r.err != nil { // and also fs.ErrorIsFile, which comes with the folder
				r.fs = nil
				c.mu.Lock()
				delete(c.open, name)
				c.mu.Unlock()
			}
			close(r.ready)
		})
	}
	c.mu.Unlock()
	select {
	case <-r.ready:
		return r.fs, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
