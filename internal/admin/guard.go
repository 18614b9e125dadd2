package admin

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

// A Scope is what somebody may do.
type Scope string

const (
	Anyone  Scope = ""                // no token is needed
	Read    Scope = "read"            // look at everything, blocks included
	Write   Scope = "write"           // change what is stored
	Private Scope = "sources:private" // name sources that lie anywhere
)

// Scopes are those that a token can have.
func Scopes() []Scope { return []Scope{Read, Write, Private} }

// A caller is who asks.
type caller struct {
	who    string
	scopes []Scope
	local  bool               // over the socket
	token  *[sha256.Size]byte // hash of the token that was shown, by the maker of the link if it is a session
	by     string             // of a link and its session: who made it
	cookie string             // of a session, hashed
	until  time.Time
}

// bound is what bounds that hold for one caller count c as: all sessions that one
// token has let in are one.
func (c *caller) bound() string {
	if c.by != "" {
		return "sessions of " + c.by
	}
	return c.who
}

// may reports whether c has a scope. Who may write may read.
func (c *caller) may(scope Scope) bool {
	return scope == Anyone || slices.Contains(c.scopes, scope) || scope == Read && slices.Contains(c.scopes, Write)
}

// callerKey is where a request's context has its caller.
type callerKey struct{}

// localHosts are what this machine is called by itself.
var localHosts = []string{"localhost", "127.0.0.1", "::1"}

// Local serves a listener that only the owner of the store can reach, as is a
// unix socket of mode 0600: whoever asks may do everything.
func (s *Server) Local() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.enter(w, r, func(*http.Request) (caller, error) {
			return caller{who: "socket", scopes: Scopes(), local: true}, nil
		})
	})
}

// Guarded serves a listener on the loopback address, which every program of
// this machine and every page in a browser can reach.
func (s *Server) Guarded() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.enter(w, r, func(r *http.Request) (caller, error) {
			if err := s.checkHost(r); err != nil {
				return caller{}, err
			}
			if err := checkOrigin(r); err != nil && strings.HasPrefix(r.URL.Path, prefix) {
				return caller{}, err
			}
			return s.identify(r)
		})
	})
}

// enter answers one request of somebody whom identify knows, or refuses it.
func (s *Server) enter(in http.ResponseWriter, r *http.Request, identify func(*http.Request) (caller, error)) {
	s.requests.Add(1)
	w := s.pace(in, r)
	defer w.end()
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	c, err := identify(r)
	if err != nil {
		s.turnedAway(r, err)
		s.refuse(w, r, err)
		return
	}
	if !strings.HasPrefix(r.URL.Path, prefix) {
		s.page(w, r)
		return
	}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	s.mux.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, c)))
}

// page answers what is not the API.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	if s.cfg.Page != nil {
		s.cfg.Page.ServeHTTP(w, r)
		return
	}
	s.refuse(w, r, fmt.Errorf("%w: the API is below %s", wire.ErrNoRoute, prefix))
}

// checkHost refuses requests for names that are not ours: a page whose name has
// been made to lead to this machine sends them.
func (s *Server) checkHost(r *http.Request) error {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if slices.Contains(localHosts, host) || slices.ContainsFunc(s.cfg.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
		return nil
	}
	return fmt.Errorf("%w: %q", wire.ErrForeignHost, r.Host)
}

// checkOrigin refuses what a page of another site asks for, also if it is of
// this machine: cookies do not tell ports apart, origins do.
func checkOrigin(r *http.Request) error {
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "", "same-origin", "none":
	default:
		return fmt.Errorf("%w: Sec-Fetch-Site is %q", wire.ErrCrossOrigin, site)
	}
	if origin := r.Header.Get("Origin"); origin != "" && origin != "http://"+r.Host && origin != "https://"+r.Host {
		return fmt.Errorf("%w: %q", wire.ErrCrossOrigin, origin)
	}
	return nil
}

// identify finds out who asks, by a token or by a session. Who shows nothing is
// nobody, and may do what anyone may.
func (s *Server) identify(r *http.Request) (caller, error) {
	if auth := r.Header.Get("Authorization"); auth != "" {
		kind, secret, _ := strings.Cut(auth, " ")
		if !strings.EqualFold(kind, "Bearer") {
			return caller{}, fmt.Errorf("%w: by Authorization: Bearer", wire.ErrUnauthorized)
		}
		t, ok := s.cfg.Tokens.find(secret)
		if !ok {
			return caller{}, fmt.Errorf("%w: this one is not known", wire.ErrUnauthorized)
		}
		return caller{who: "token " + t.Name, scopes: t.Scopes, token: &t.hash}, nil
	}
	if cookie, err := r.Cookie(cookieName); err == nil {
		if c, ok := s.sessions.find(cookie.Value); ok && s.stands(&c) {
			return c, nil
		}
	}
	return caller{who: "nobody"}, nil
}

// stands reports whether c is still let in, who was, and brings its scopes up to
// date: with a token go the sessions that it has let in.
func (s *Server) stands(c *caller) bool {
	if c.cookie != "" && !s.sessions.known(c.cookie) {
		return false
	}
	if c.token == nil {
		return true
	}
	t, ok := s.cfg.Tokens.findHash(*c.token)
	if ok {
		c.scopes = t.Scopes
	}
	return ok
}

// goesOn reports whether an answer that lasts may go on: whoever gets it may still
// ask for it.
func (s *Server) goesOn(c *call) error {
	if s.stands(&c.caller) && c.may(c.route.scope) {
		return nil
	}
	return fmt.Errorf("%w: no longer", wire.ErrUnauthorized)
}

// A call is one request for one route.
type call struct {
	w     http.ResponseWriter
	r     *http.Request
	route *route
	caller
	began bool   // the answer
	note  string // for the log
	lies  []wire.Fault
}

// reached answers a request that has a route.
func (s *Server) reached(w http.ResponseWriter, r *http.Request) {
	c := &call{w: w, r: r, route: s.routes[r.Pattern]}
	c.caller, _ = r.Context().Value(callerKey{}).(caller)
	if !c.may(c.route.scope) {
		err := wire.ErrUnauthorized
		if len(c.scopes) > 0 {
			err = fmt.Errorf("%w: it needs the scope %q", wire.ErrForbidden, c.route.scope)
		}
		s.audit(c, err, 0)
		s.refuse(w, r, err)
		return
	}
	if c.route.unending() && !r.ProtoAtLeast(1, 1) {
		s.refuse(w, r, wire.ErrHTTPVersion)
		return
	}
	// Who needs no token takes no room from those who have one.
	if c.route.scope != Anyone {
		leave, err := s.room.enter(&c.caller)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		defer leave()
	}
	limit := c.route.limit
	if limit == 0 {
		limit = mostBody
	}
	r.Body = limited(w, r.Body, limit)
	start := time.Now()
	err := s.perform(c)
	s.audit(c, err, time.Since(start))
	switch {
	case err == nil:
	case c.began:
		if r.Context().Err() == nil {
			s.log.Warn("an answer of the admin API was broken off", "route", c.route.pattern(), "who", c.who, "error", err)
		}
		// What there is of it goes out, and then it is broken off: what has been sent
		// is not all of it, and nobody is to take it for that.
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	default:
		s.refuse(w, r, err)
	}
}

// perform carries out the route of c. A panic is an error of this request alone.
func (s *Server) perform(c *call) (err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler { //nolint:errorlint // it is compared by net/http itself
				panic(p)
			}
			s.log.Error("a request of the admin API panicked", "route", c.route.pattern(), "panic", p, "stack", string(debug.Stack()))
			err = errors.New("a fault in the program; the log has more")
		}
	}()
	return c.route.handle(s, c)
}

// turnedAway writes one line for what would have had an effect, of somebody who was
// not even let in.
func (s *Server) turnedAway(r *http.Request, err error) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead || r.Method == http.MethodOptions {
		return
	}
	name, _ := wire.NameOf(err)
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "admin", slog.String("who", "nobody"), slog.String("method", r.Method),
		slog.String("path", r.URL.EscapedPath()), slog.String("error", err.Error()), slog.String("result", name))
}

// audit writes one line for what has, or would have had, an effect.
func (s *Server) audit(c *call, err error, took time.Duration) {
	if c.route.scope != Write && c.route.method == http.MethodGet {
		return
	}
	attrs := []slog.Attr{
		slog.String("who", c.who), slog.String("method", c.route.method), slog.String("path", c.r.URL.EscapedPath()),
		slog.Duration("took", took),
	}
	if c.note != "" {
		attrs = append(attrs, slog.String("note", c.note))
	}
	level, result := slog.LevelInfo, "done"
	if err != nil {
		result, _ = wire.NameOf(err)
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	s.log.LogAttrs(c.r.Context(), level, "admin", append(attrs, slog.String("result", result))...)
}

// astray answers what has no route.
func (s *Server) astray(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE"} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := s.mux.Handler(other); pattern != prefix && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		s.refuse(w, r, wire.ErrNoRoute)
		return
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	s.refuse(w, r, fmt.Errorf("%w: %s", wire.ErrMethod, strings.Join(allowed, ", ")))
}

// refuse answers with a problem.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = fmt.Errorf("%w: %w", wire.ErrTooLarge, err)
	}
	p := wire.ProblemOf(err)
	p.Instance = r.URL.EscapedPath()
	h := w.Header()
	h.Set("Content-Type", mimeProblem)
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="dagstore"`)
	}
	w.WriteHeader(p.Status)
	writeJSON(w, p)
}
