package sftpmount

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// ErrNotRegular is wrapped by the error about a path that leads to something
// else than a regular file.
var ErrNotRegular = errors.New("not a regular file")

// Config is how servers are reached. The zero value of a field means its
// default.
type Config struct {
	// Login returns who logs in at a host ("files.example.org", as it stands in
	// the URL, with ":port" if that is not 22). It is asked for each new
	// connection, so that a changed key is seen. Its error fails the call; without
	// a login a host cannot be reached. It must return soon.
	Login func(ctx context.Context, host string) (*Login, error)

	// KnownHosts are files in the format of OpenSSH's known_hosts, read for
	// each new connection. A host that is in none of them, or with another key,
	// is refused with [mount.ErrDenied].
	KnownHosts []string

	// Dial makes connections. A program that must not reach certain addresses
	// refuses them here. Default: [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	Channels    int           // of one connection; default 4
	Reads       int           // under way to one host, of up to 2 MiB each; default 16
	IdleTime    time.Duration // after which an unused connection is closed; default 30 s
	ConnectTime time.Duration // for a connection until it is logged in; default 30 s
	StallTime   time.Duration // without a sign of life; default 1 min
}

// A Login is a user, and what proves that it is them. What is set is tried, keys
// first. A key that cannot be read, or an agent that does not answer, is passed
// over if there is anything else. It prints as the name of the user.
type Login struct {
	User       string
	KeyFiles   []string // private keys, in any format that ssh-keygen writes
	Passphrase string   // of those that have one
	Agent      string   // the socket of an agent, as in SSH_AUTH_SOCK
	Password   string
}

// String names the user.
func (l Login) String() string { return l.User }

// GoString names the user.
func (l Login) GoString() string { return "sftpmount.Login{User: " + l.User + "}" }

func (c Config) withDefaults() Config {
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.Channels <= 0 {
		c.Channels = 4
	}
	if c.Reads <= 0 {
		c.Reads = 16
	}
	for field, usual := range map[*time.Duration]time.Duration{
		&c.IdleTime: 30 * time.Second, &c.ConnectTime: 30 * time.Second, &c.StallTime: time.Minute,
	} {
		if *field <= 0 {
			*field = usual
		}
	}
	return c
}

// A Client holds the connections of its mounts. Its methods may be called by
// any number of goroutines at once.
type Client struct{ hosts *hosts }

// New returns a client that has no connection yet.
func New(c Config) *Client { return &Client{hosts: newHosts(c.withDefaults())} }

// Close closes all connections, those in use too, and waits until they are.
// What is asked for afterwards gives [net.ErrClosed].
func (c *Client) Close() error {
	c.hosts.close()
	return nil
}

// Open is the opener of "sftp" URLs. It makes no connection. The Mount is a
// [mount.RangeOpener] and a [mount.SiblingOpener]. Its version is made of size and
// time of modification, which SFTP gives in whole seconds: two changes within
// one second that leave the size as it was look like one, and so does another
// file of the same size and time. It is asked of the file that is open, so no other
// file can slip in between; one that is written to while it is read gives bytes
// of both versions.
//
// A refused login gives [io/fs.ErrPermission], a server that is silent
// [mount.ErrStalled], and one that answers against the rules [mount.ErrAnswer]. No
// error repeats what a server has written.
func (c *Client) Open(url string) (mount.Mount, error) {
	p, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	return &file{hosts: c.hosts, place: p}, nil
}
