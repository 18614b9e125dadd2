package httpmount

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// mostRedirects is how often one request is sent on.
const mostRedirects = 10

// A hop is where a request goes: to the source itself, or to where that, or
// what that redirected to, has sent it.
type hop struct {
	url    *url.URL
	origin string
	own    bool // it is the origin of the source, and trusted as that is
	shown  bool // the credential of the source is shown to it
}

// A reply is an answer whose body may be read until close is called.
type reply struct {
	*http.Response
	hop
	watch *watch
	leave func()
}

func (r *reply) close() {
	if r.StatusCode >= 400 {
		late := time.AfterFunc(drainTime, r.watch.close)
		drain(r.Response)
		late.Stop()
	}
	r.watch.close()
	_ = r.Body.Close() // it was only read
	r.leave()
}

const (
	drainTime  = time.Second // that the page about an error may take
	drainBytes = 4 << 10     // that it may have
)

// drain reads what a server says besides, if that is little, so that the
// connection can be used again.
func drain(r *http.Response) {
	if 0 <= r.ContentLength && r.ContentLength <= drainBytes {
		_, _ = io.Copy(io.Discard, r.Body) // nobody needs it
	}
}

// ask sends a request and follows redirects. The caller closes the reply.
func (s *source) ask(ctx context.Context, method string, header map[string]string) (*reply, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	leave, err := s.client.gate.enter(ctx, s.place.host)
	if err != nil {
		return nil, err
	}
	w := newWatch(ctx, s.client.cfg.Patience)
	r, at, err := s.follow(w, method, header) //nolint:bodyclose // the reply closes it
	if err != nil {
		err = w.reason(err)
		w.close()
		leave()
		return nil, err
	}
	w.pause(step) // the body has all of the patience again
	return &reply{Response: r, hop: at, watch: w, leave: leave}, nil
}

func (s *source) follow(w *watch, method string, header map[string]string) (*http.Response, hop, error) {
	u, err := url.Parse(s.place.String())
	if err != nil {
		return nil, hop{}, fmt.Errorf("%w: no server can be asked for it", mount.ErrURL)
	}
	at := hop{url: u, origin: s.place.origin(), own: true, shown: s.shows(s.place.scheme, s.place.host)}
	for range mostRedirects + 1 {
		r, err := s.send(w.ctx, method, at, header)
		if err != nil {
			return nil, at, err
		}
		switch r.StatusCode {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			return r, at, nil
		}
		next, err := s.next(at, r.Header.Get("Location"))
		drain(r)
		_ = r.Body.Close() // it was only read
		if err != nil {
			return nil, at, err
		}
		at = next
	}
	return nil, at, fmt.Errorf("%w: it redirects more than %d times", mount.ErrAnswer, mostRedirects)
}

// send sends one request.
func (s *source) send(ctx context.Context, method string, at hop, header map[string]string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, method, at.url.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: no server can be asked for it", mount.ErrURL)
	}
	for name, value := range header {
		r.Header.Set(name, value)
	}
	r.Header.Set("Accept-Encoding", "identity")
	r.Header.Set("User-Agent", s.client.cfg.UserAgent)
	if at.shown {
		s.credential.apply(r)
	}
	transport, err := s.client.transport(r, at.own)
	if err != nil {
		return nil, err
	}
	return transport.RoundTrip(r)
}

// shows reports whether the credential of the source, if it has one, may be
// shown to a host.
func (s *source) shows(scheme, host string) bool {
	return s.credential != nil && s.credential.matches(host) && (scheme == "https" || s.credential.PlainHTTP)
}

// transport returns the connections that a request may use.
func (c *Client) transport(r *http.Request, own bool) (*http.Transport, error) {
	way := c.direct
	if c.cfg.Proxy != nil {
		proxy, err := c.cfg.Proxy(r)
		switch {
		case err != nil: // its text may hold the proxy's password
			return nil, fmt.Errorf("%w: the proxy that is set for it cannot be used", mount.ErrDenied)
		case proxy != nil:
			way = c.proxied
		}
	}
	if own && !c.cfg.Untrusted {
		return way.named, nil
	}
	return way.others, nil
}

// next is where a redirect leads. Its errors do not repeat where exactly: such
// URLs are often signed.
func (s *source) next(from hop, location string) (hop, error) {
	denied := func(why string) (hop, error) {
		return hop{}, fmt.Errorf("%w: it redirects to %s", mount.ErrDenied, why)
	}
	u, err := from.url.Parse(location)
	if err != nil || location == "" || len(location) > mostURL {
		return hop{}, fmt.Errorf("%w: it redirects to what is no URL", mount.ErrAnswer)
	}
	switch {
	case u.Scheme == "http" && from.url.Scheme == "https":
		return denied("a URL without encryption")
	case u.Scheme != "http" && u.Scheme != "https":
		return denied("another scheme than that of the web")
	case u.User != nil:
		return denied("a URL with a user")
	case u.Opaque != "" || u.Host == "":
		return denied("a URL without a host")
	}
	host, err := parseHost(u.Host)
	host = withoutDefault(u.Scheme, host)
	origin := u.Scheme + "://" + host
	if err != nil || origin != s.place.origin() {
		if err := s.client.guard.Host(u.Hostname()); err != nil {
			return hop{}, fmt.Errorf("it redirects to where only what is named may lie: %w", err)
		}
	}
	if err != nil {
		return denied("a host that is not written as one")
	}
	u.Host, u.Fragment, u.RawFragment = host, "", ""
	to := hop{url: u, origin: origin, own: origin == s.place.origin()}
	// Who was not shown the credential must not decide where it is made use of.
	to.shown = from.shown && s.shows(u.Scheme, host)
	return to, nil
}

// A watch ends a request that its server keeps waiting for too long. The time
// that its caller takes between two reads does not count.
type watch struct {
	parent   context.Context //nolint:containedctx // of the call that the request is for, see [mount.Mount]
	ctx      context.Context //nolint:containedctx // of the request
	cancel   context.CancelCauseFunc
	timer    *time.Timer // nil: it waits for ever
	patience time.Duration
	since    time.Time
	spent    time.Duration // since the last step
	got      int           // bytes since then
}

// step is how many bytes have to come in the time that patience lasts.
const step = 4 << 10

// errPatience is the cause with which a watch ends a request.
var errPatience = errors.New("patience is over")

// newWatch begins to wait.
func newWatch(parent context.Context, patience time.Duration) *watch {
	w := &watch{parent: parent, patience: patience}
	w.ctx, w.cancel = context.WithCancelCause(parent)
	if patience > 0 {
		w.since = time.Now()
		w.timer = time.AfterFunc(patience, func() { w.cancel(errPatience) })
	}
	return w
}

// wait begins to wait again.
func (w *watch) wait() {
	if w.timer != nil {
		w.since = time.Now()
		w.timer.Reset(w.patience - w.spent)
	}
}

// pause ends a wait that has brought n bytes.
func (w *watch) pause(n int) {
	if w.timer == nil {
		return
	}
	w.timer.Stop()
	w.spent += time.Since(w.since)
	if w.got += n; w.got >= step {
		w.got, w.spent = 0, 0
	}
}

// close ends the request.
func (w *watch) close() {
	if w.timer != nil {
		w.timer.Stop()
	}
	w.cancel(fs.ErrClosed)
}

// reason is why a request or a read failed that came to err.
func (w *watch) reason(err error) error {
	if ended := w.parent.Err(); ended != nil {
		return ended
	}
	switch cause := context.Cause(w.ctx); {
	case errors.Is(cause, errPatience):
		return fmt.Errorf("%w for %v", mount.ErrStalled, w.patience)
	case errors.Is(cause, fs.ErrClosed):
		return fs.ErrClosed
	}
	if errors.Is(err, mount.ErrDenied) || errors.Is(err, mount.ErrAnswer) || errors.Is(err, mount.ErrURL) {
		return err
	}
	var network net.Error
	switch timeout := errors.As(err, &network) && network.Timeout(); {
	case timeout, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		// Not wrapped: it would be taken for the end of the caller's context.
		return fmt.Errorf("%w: %v", mount.ErrStalled, err) //nolint:errorlint // see above
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: the connection ended before the answer did", io.ErrUnexpectedEOF)
	case errors.As(err, &network), isTLS(err):
		return err
	}
	// The rest may repeat what the server has sent, at any length, which may be
	// what it was shown.
	return fmt.Errorf("%w: %s", mount.ErrAnswer, unspoken(err))
}

// unspoken is what may be said of an error about an answer: texts that are
// fixed, and nothing of the answer itself.
func unspoken(err error) string {
	text := err.Error()
	for _, known := range []string{
		"http: server gave HTTP response to HTTPS client", "net/http: server response headers exceeded",
		"net/http: HTTP/1.x transport connection broken: net/http: server response headers exceeded",
	} {
		if strings.HasPrefix(text, known) {
			return known
		}
	}
	if strings.HasPrefix(text, "stream error: ") { // of HTTP/2, which has codes for them
		return text
	}
	return "it is no answer of HTTP, or none that is understood"
}

// isTLS reports whether two sides did not come to trust each other.
func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	_, ok := errors.AsType[tls.AlertError](err)
	return ok
}
