package ftpmount

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// ErrNotRegular is wrapped by the error about a path that leads to a folder.
var ErrNotRegular = errors.New("not a regular file")

// Config is how servers are reached. Its zero value is useful: it logs in as
// "anonymous" everywhere. The zero value of a field means its default.
type Config struct {
	// Login returns who logs in at a host ("files.example.org", as it stands in
	// the URL, with ":port" if that is not the scheme's own). It is asked for
	// each new connection, so that a changed password is seen. Its error fails
	// the call; nil, nil is "anonymous". It must return soon.
	Login func(ctx context.Context, host string) (*Login, error)

	// Dial makes connections, also those for data. A program that must not
	// reach certain addresses refuses them here. Default: [net.Dialer].
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// TLS is for ftps and ftpes. The name that a certificate must have is
	// set by host. Default: the roots of the system.
	TLS *tls.Config

	MaxConns    int           // to one host; default 4
	IdleTime    time.Duration // after which an unused connection is closed; default 30 s
	ConnectTime time.Duration // for a connection until it is logged in; default 30 s
	StallTime   time.Duration // without a byte from a server that should send some; default 1 min
	ParkTime    time.Duration // unread for so long, a stream lends its connection to who waits; default 2 s
}

// A Login is a user and a password. It prints without the password.
type Login struct {
	User, Password string

	// Cleartext allows the password to be sent over plain FTP, where all
	// that stand between can read it.
	Cleartext bool
}

// String names the user.
func (l Login) String() string { return l.User }

// GoString names the user.
func (l Login) GoString() string { return "ftpmount.Login{User: " + l.User + "}" }

func (c Config) withDefaults() Config {
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	if c.MaxConns <= 0 {
		c.MaxConns = 4
	}
	for field, usual := range map[*time.Duration]time.Duration{
		&c.IdleTime: 30 * time.Second, &c.ConnectTime: 30 * time.Second, &c.StallTime: time.Minute, &c.ParkTime: 2 * time.Second,
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

// Open is the opener of "ftp", "ftpes" and "ftps" URLs. It makes no connection.
// The Mount is a [mount.RangeOpener] and a [mount.SiblingOpener]. Its version is
// made of size and time of modification, which servers give in whole seconds:
// two changes within one second that leave the size as it was look like one. A
// server without SIZE or MDTM gives no version, one without SIZE or REST no
// ranges.
//
// A file that is refused to the user gives [io/fs.ErrPermission], as a refused
// login does, if the server says that this is the reason; what else it answers
// with code 550 is [io/fs.ErrNotExist]. One that is not available now, or has too
// many connections, gives [mount.ErrBusy], one that is silent [mount.ErrStalled], and
// one that answers against the rules [mount.ErrAnswer]. No error repeats what a
// server has written.
//
// FTP has no way to ask for the bytes of one version. Version and size are asked
// for right before the bytes, on the same connection; a file that is written
// to meanwhile gives bytes of both.
func (c *Client) Open(url string) (mount.Mount, error) {
	p, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	return &file{hosts: c.hosts, place: p}, nil
}
