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
	mostSessions = 64 // and as many links; the oldest go
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
func (s *sessions) link(c caller) (code string, expires time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	code, c.until = newSecret(), s.now().Add(linkLife)
	s.put(s.links, hashOf(code), c)
	return code, c.until
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
	c.who, c.until, c.cookie = "session", s.now().Add(sessionLife), hashOf(cookie)
	s.put(s.open, c.cookie, c)
	return cookie, c, true
}

// find is whom a cookie stands for.
func (s *sessions) find(cookie string) (caller, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.open[hashOf(cookie)]
	return c, ok && s.now().Before(c.until)
}

// end ends the session of c.
func (s *sessions) end(c caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c.cookie)
}

// put adds one, in the place of what has ended or, if there are too many, of
// the one that ends first.
func (s *sessions) put(in map[string]caller, hash string, c caller) {
	first := ""
	for h, other := range in {
		if !s.now().Before(other.until) {
			delete(in, h)
		} else if first == "" || other.until.Before(in[first].until) {
			first = h
		}
	}
	if len(in) >= mostSessions {
		delete(in, first)
	}
	in[hash] = c
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
	code, expires := s.sessions.link(c.caller)
	// Behind "#" it goes to no server, and into no log.
	return c.answer(wire.OneTimeLink{URL: s.cfg.Admin() + "/#code=" + code, Expires: expires})
}
