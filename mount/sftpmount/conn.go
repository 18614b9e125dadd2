package sftpmount

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/dagstore/dagstore/mount"
)

// link is a connection on which something is heard again and again: a server
// that is silent for longer has gone.
type link struct {
	net.Conn
	stall  time.Duration
	silent atomic.Bool // it has gone
}

// Read implements [io.Reader].
func (l *link) Read(p []byte) (int, error) {
	if err := l.SetReadDeadline(time.Now().Add(l.stall)); err != nil {
		return 0, err
	}
	n, err := l.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.silent.Store(true)
	}
	return n, err
}

// Write implements [io.Writer].
func (l *link) Write(p []byte) (int, error) {
	if err := l.SetWriteDeadline(time.Now().Add(l.stall)); err != nil {
		return 0, err
	}
	return l.Conn.Write(p)
}

// conn is a connection that is logged in.
type conn struct {
	host *host
	raw  *link
	ssh  *ssh.Client
	gone chan struct{} // closed when it has ended

	mu       sync.Mutex
	channels []*channel // those that are open
	opened   int        // how many were, or are being
	users    int        // calls and streams
	idle     *time.Timer
}

// channel is one SFTP server, at the other end, and who uses it.
type channel struct {
	sftp  *sftp.Client
	users int // guarded by the mutex of its conn
}

// perChannel is how many users a channel has before another one is opened.
const perChannel = 4

// dial connects to a host, logs in and opens a channel.
func (h *host) dial(parent context.Context) (*conn, error) {
	ctx, cancel := context.WithTimeout(parent, h.cfg.ConnectTime)
	defer cancel()
	c, err := h.connect(ctx)
	switch {
	case err == nil:
		return c, nil
	case parent.Err() != nil:
		return nil, net.ErrClosed // the client ends: no caller's context reaches until here
	case ctx.Err() != nil:
		return nil, fmt.Errorf("connecting to %s: %w for %v", h.address, mount.ErrStalled, h.cfg.ConnectTime)
	}
	return nil, fmt.Errorf("connecting to %s: %w", h.address, err)
}

func (h *host) connect(ctx context.Context) (*conn, error) {
	config, done, err := h.clientConfig(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	raw, err := h.cfg.Dial(ctx, "tcp", h.address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = raw.Close() }) // ends the handshake
	defer stop()
	c := &conn{host: h, raw: &link{Conn: raw, stall: h.cfg.StallTime}, gone: make(chan struct{}), opened: 1}
	inner, channels, requests, err := ssh.NewClientConn(c.raw, h.address, config)
	if err != nil {
		_ = raw.Close() // the handshake has failed
		return nil, explainLogin(err)
	}
	c.ssh = ssh.NewClient(inner, channels, requests)
	first, err := newChannel(c.ssh)
	if err != nil {
		_ = c.ssh.Close() // it is of no use
		return nil, fmt.Errorf("no SFTP: %w", c.explain(err))
	}
	c.add(first)
	return c, nil
}

func newChannel(client *ssh.Client) (*channel, error) {
	s, err := sftp.NewClient(client, sftp.UseConcurrentReads(true))
	if err != nil {
		return nil, err
	}
	return &channel{sftp: s}, nil
}

// watch waits for the end of the connection, and hears now and then that it
// has not come.
func (c *conn) watch() {
	c.host.hosts.work.Go(func() {
		_ = c.ssh.Wait() // why it has ended, its users see
		close(c.gone)
		c.host.forget(c)
	})
	c.host.hosts.work.Go(func() {
		tick := time.NewTicker(c.host.cfg.StallTime / 3)
		defer tick.Stop()
		for {
			select {
			case <-c.gone:
				return
			case <-tick.C:
			}
			if _, _, err := c.ssh.SendRequest("keepalive@openssh.com", true, nil); err != nil {
				return
			}
		}
	})
}

// kill ends the connection, and so whatever waits on it.
func (c *conn) kill() { _ = c.raw.Close() }

// explain says what a call on c has come to.
func (c *conn) explain(err error) error {
	if c.raw.silent.Load() {
		return fmt.Errorf("%w for %v", mount.ErrStalled, c.host.cfg.StallTime)
	}
	return explain(err)
}

// add notes a channel that is open.
func (c *conn) add(ch *channel) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.channels = append(c.channels, ch)
}

// use returns the channel with the fewest users, and counts one more. If all
// have many, another one is opened aside, for those who come later.
func (c *conn) use() *channel {
	c.mu.Lock()
	defer c.mu.Unlock()
	least := c.channels[0]
	for _, ch := range c.channels {
		if ch.users < least.users {
			least = ch
		}
	}
	if least.users >= perChannel && c.opened < c.host.cfg.Channels && c.host.hosts.begin() {
		c.opened++
		go func() {
			defer c.host.hosts.work.Done()
			if ch, err := caught(func() (*channel, error) { return newChannel(c.ssh) }); err == nil { // else the server allows no more
				c.add(ch)
			}
		}()
	}
	least.users++
	return least
}

// leave ends the use of a channel.
func (c *conn) leave(ch *channel) {
	c.mu.Lock()
	ch.users--
	c.mu.Unlock()
	c.host.leave(c)
}
