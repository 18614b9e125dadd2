package admin

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

const (
	cookieName   = "dagstore"
	sessionLife  = 12 * time.Hour
	linkLife     = 5 * time.Minute
	mostSessions = 64   // that one token has let in, or the socket, and as many links; the oldest go
	allSessions  = 4096 // of all of them together
)

// sessions are those of browsers. They live in memory, as hashes: a restart
// ends them.
type sessions struct {
	now func() time.Time

	mu    sync.Mutex
	links map[string]caller // by hash of the code
	open  map[string]caller // by hash of the cookie
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, links: make(map[string]caller), open: make(map[string]caller)}
}

// hashOf is what is kept of a secret. Whoever can time a look-up by it learns
// about a hash, and not about the secret.
func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// newSecret is one that nobody guesses: 130 bits.
func newSecret() string { return rand.Text() }

// link makes a code that stands for c, once.
func (s *sessions) link(c caller) (code string, expires time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	code, c.by, c.until = newSecret(), c.who, s.now().Add(linkLife)
	if !s.put(s.links, hashOf(code), c) {
		return "", c.until, fmt.Errorf("%w: there are %d links", wire.ErrTooMany, len(s.links))
	}
	return code, c.until, nil
}

// exchange makes a session of a code.
func (s *sessions) exchange(code string) (cookie string, c caller, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hash := hashOf(code)
	c, ok = s.links[hash]
	delete(s.links, hash)
	if !ok || !s.now().Before(c.until) {
		return "", caller{}, false
	}
	cookie = newSecret()
	c.who, c.until, c.cookie, c.local = "session", s.now().Add(sessionLife), hashOf(cookie), false
	return cookie, c, s.put(s.open, c.cookie, c)
}

// find is whom a cookie stands for.
func (s *sessions) find(cookie string) (caller, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.open[hashOf(cookie)]
	return c, ok && s.now().Before(c.until)
}

// known reports whether there is a session, by the hash of its cookie.
func (s *sessions) known(hash string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.open[hash]
	return ok && s.now().Before(c.until)
}

// end ends the session of c.
func (s *sessions) end(c caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c.cookie)
}

// put adds one, in the place of what has ended or, if its maker has too many, of
// the one of these that ends first. Nobody pushes out those of others: if there is
// no room at all it is refused.
func (s *sessions) put(in map[string]caller, hash string, c caller) bool {
	first, n := "", 0
	for h, other := range in {
		switch {
		case !s.now().Before(other.until):
			delete(in, h)
		case other.by == c.by:
			if n++; first == "" || other.until.Before(in[first].until) {
				first = h
			}
		}
	}
	if n >= mostSessions {
		delete(in, first)
	}
	if len(in) >= allSessions {
		return false
	}
	in[hash] = c
	return true
}

func (s *Server) getSession(c *call) error {
	return c.answer(sessionOf(c.caller))
}

func sessionOf(c caller) wire.Session {
	out := wire.Session{Who: c.who, Scopes: scopeNames(c.scopes)}
	if !c.until.IsZero() {
		out.Expires = &c.until
	}
	return out
}

func scopeNames(scopes []Scope) []string {
	names := make([]string, len(scopes))
	for i, scope := range scopes {
		names[i] = string(scope)
	}
	return names
}

// postSession exchanges the code of a link for a cookie. The code comes in a
// body and not in a path, so that it stands in no log and no history.
func (s *Server) postSession(c *call) error {
	var login wire.Login
	if err := c.read(&login); err != nil {
		return err
	}
	cookie, who, ok := s.sessions.exchange(login.Code)
	if !ok {
		return fmt.Errorf(`%w: this link was used, or is too old; "dagstore ui" makes another`, wire.ErrUnauthorized)
	}
	http.SetCookie(c.w, &http.Cookie{
		Name: cookieName, Value: cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: c.r.TLS != nil, MaxAge: int(sessionLife / time.Second),
	})
	return c.answer(sessionOf(who))
}

func (s *Server) deleteSession(c *call) error {
	s.sessions.end(c.caller)
	http.SetCookie(c.w, &http.Cookie{Name: cookieName, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: c.r.TLS != nil, MaxAge: -1})
	return c.nothing()
}

// postLink makes a one-time link. What it allows is what who asks may do. A
// session makes none, or it would never end.
func (s *Server) postLink(c *call) error {
	if s.cfg.Admin == nil || s.cfg.Admin() == "" {
		return fmt.Errorf("%w: this process shows no page; \"dagstore serve\" does", wire.ErrNoRoute)
	}
	if c.cookie != "" {
		return fmt.Errorf("%w: a session makes no links, a token does", wire.ErrForbidden)
	}
	code, expires, err := s.sessions.link(c.caller)
	if err != nil {
		return err
	}
	// Behind "#" it goes to no server, and into no log.
	return c.answer(wire.OneTimeLink{URL: s.cfg.Admin() + "/#code=" + code, Expires: expires})
}
