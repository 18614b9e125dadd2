package ftpmount

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/jlaffaye/ftp"

	"github.com/dagstore/dagstore/mount"
)

// session is a connection that is logged in, with its connection for data. It
// is used by one goroutine at a time, but any may kill it.
type session struct {
	host *host
	conn *ftp.ServerConn
	used bool // for a call before this one: it may have gone meanwhile
	idle *time.Timer

	mu      sync.Mutex
	dead    bool
	links   []net.Conn         // of commands, of data
	command *link              // the first of them
	dialing context.CancelFunc // of the one that is being dialed
	undial  error              // why one could not be
}

// dial connects to the host and logs in.
func (s *session) dial(parent context.Context) error {
	h := s.host
	ctx, cancel := context.WithTimeout(parent, h.cfg.ConnectTime)
	defer cancel()
	login, err := h.login(ctx)
	if err != nil {
		return err
	}
	err = s.during(ctx, func() error {
		var err error
		if s.conn, err = ftp.Dial(h.address, s.options()...); err != nil {
			return err
		}
		return s.conn.Login(login.User, login.Password)
	})
	switch {
	case err == nil:
		return nil
	case parent.Err() != nil:
		return parent.Err()
	case ctx.Err() != nil:
		return fmt.Errorf("connecting to %s: %w for %v", h.address, mount.ErrStalled, h.cfg.ConnectTime)
	}
	return fmt.Errorf("connecting to %s: %w", h.address, s.explain(err))
}

// login asks who logs in.
func (h *host) login(ctx context.Context) (*Login, error) {
	anonymous := &Login{User: "anonymous", Password: "anonymous", Cleartext: true}
	if h.cfg.Login == nil {
		return anonymous, nil
	}
	login, err := h.cfg.Login(ctx, h.name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("the login for %s: %w", h.name, err)
	case login == nil:
		return anonymous, nil
	case h.security == plain && login.Password != "" && !login.Cleartext:
		return nil, fmt.Errorf("%w: the password for %s would be sent in the clear, which its configuration does not allow; ftpes and ftps protect it", mount.ErrDenied, h.name)
	}
	return login, nil
}

// options is how the client library speaks to the host. The first connection
// that it dials is that of commands.
func (s *session) options() []ftp.DialOption {
	h := s.host
	var opts []ftp.DialOption
	var config *tls.Config
	if h.security != plain {
		config = new(tls.Config)
		if h.cfg.TLS != nil {
			config = h.cfg.TLS.Clone()
		}
		if config.ServerName == "" {
			config.ServerName = h.hostname
		}
		// Servers want the data to come in the session of the commands.
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	switch h.security {
	case explicit:
		opts = append(opts, ftp.DialWithExplicitTLS(config))
	case implicit:
		opts = append(opts, ftp.DialWithTLS(config))
	case plain:
	}
	commands := true
	return append(opts, ftp.DialWithDialFunc(func(network, address string) (net.Conn, error) {
		conn, err := s.connect(network, address, commands)
		if err != nil {
			return nil, err
		}
		if h.security == implicit || h.security == explicit && !commands {
			conn = tls.Client(conn, config)
		}
		commands = false
		return conn, nil
	}))
}

// connect dials an address; kill ends it.
func (s *session) connect(network, address string, commands bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.host.cfg.ConnectTime)
	defer cancel()
	s.mu.Lock()
	dead := s.dead
	s.dialing = cancel
	s.mu.Unlock()
	if dead {
		return nil, net.ErrClosed
	}
	conn, err := s.host.cfg.Dial(ctx, network, address)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialing = nil
	if s.undial = err; err != nil {
		return nil, err
	}
	if _, ok := conn.RemoteAddr().(*net.TCPAddr); s.dead || !ok {
		_ = conn.Close() // nothing was written to it
		return nil, net.ErrClosed
	}
	if !commands { // the one before it is closed by now
		s.links = s.links[:min(1, len(s.links))]
	}
	s.links = append(s.links, conn)
	l := &link{Conn: conn, stall: s.host.cfg.StallTime, commands: commands}
	if commands {
		s.command = l
	}
	return l, nil
}

// kill closes whatever is open. Who waits on it stops waiting.
func (s *session) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
	if s.dialing != nil {
		s.dialing()
	}
	for _, l := range s.links {
		_ = l.Close() // what was sent on it is given up
	}
	s.links = nil
}

// during runs f, which uses s, and ends what it waits for when ctx ends. Then
// the session is dead.
func (s *session) during(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, s.kill)
	err := caught(f)
	if !stop() {
		return ctx.Err()
	}
	if fault := s.broken(); fault != nil {
		return fault
	}
	return err
}

// broken is why the server can be heard no more, or nil. The library takes the
// first half of a line for all of it when the second one does not come.
func (s *session) broken() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.command == nil {
		return nil
	}
	return s.command.broken()
}

// explain says what was wrong with a call of f.
func (s *session) explain(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.undial != nil {
		return s.undial
	}
	return explain(err)
}

// finishTime is how long a server may take to say that it has understood that
// a transfer is over.
const finishTime = 10 * time.Second

// finish ends a transfer, at its end or before, and reports whether the session
// may be used for another.
func (s *session) finish(body *ftp.Response) bool {
	late := time.AfterFunc(finishTime, s.kill)
	defer late.Stop()
	return caught(func() error {
		if err := body.Close(); err != nil && !answered(err) {
			return err
		}
		return s.conn.NoOp() // else it had more to say, and all answers would be taken for others
	}) == nil
}

// caught is the error of f, and errPanic if it has panicked: the library trusts
// some answers to have the form that they should.
func caught(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errPanic
		}
	}()
	return f()
}
