package admin

import (
	"errors"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

const (
	usualPage = 100
	mostPage  = 1000
	// mostLooked is how many shards one request looks at: a search that finds
	// nothing answers as soon as one that does, and says where it goes on.
	mostLooked = 5000
)

// A selection says which shards of a listing are meant.
type selection struct {
	states []shard.State // none: any
	search string        // in lower case
	host   string
	match  string
	label  string // "" for any
	value  string // of the label
	valued bool   // a value is given
}

// selection reads what the query selects.
func (c *call) selection() (*selection, error) {
	q := c.r.URL.Query()
	sel := &selection{search: strings.ToLower(q.Get("search")), host: q.Get("host"), match: q.Get("match")}
	sel.label, sel.value, sel.valued = strings.Cut(q.Get("label"), "=")
	for _, name := range c.words("status") {
		states, err := wire.StatesOf(name)
		if err != nil {
			return nil, badRequest("%w", err)
		}
		sel.states = append(sel.states, states...)
	}
	for _, name := range c.words("state") {
		state, err := shard.ParseState(name)
		if err != nil {
			return nil, badRequest("%w", err)
		}
		sel.states = append(sel.states, state)
	}
	if _, err := path.Match(sel.match, ""); err != nil {
		return nil, badRequest("match: %w", err)
	}
	for _, name := range []string{"prefix", "after", "search", "match", "host", "label"} {
		if !utf8.ValidString(q.Get(name)) {
			return nil, badRequest("%s is not UTF-8", name)
		}
	}
	return sel, nil
}

// wants reports whether a shard is meant.
func (s *selection) wants(info *shard.Info) bool {
	switch {
	case len(s.states) > 0 && !slices.Contains(s.states, info.State),
		s.search != "" && !strings.Contains(strings.ToLower(string(info.Key)), s.search) && !strings.Contains(strings.ToLower(info.URL), s.search),
		s.match != "" && !Matches(s.match, info.Key),
		s.host != "" && !LiesOn(s.host, info.URL),
		s.label != "" && !s.labelled(info):
		return false
	}
	return true
}

// labelled reports whether a shard has the label that is meant.
func (s *selection) labelled(info *shard.Info) bool {
	value, ok := info.Labels[s.label]
	return ok && (!s.valued || value == s.value)
}

// Matches holds a glob against a key; without a slash against its last part.
func Matches(glob string, key shard.Key) bool {
	name := string(key)
	if !strings.Contains(glob, "/") {
		name = path.Base(name)
	}
	ok, err := path.Match(glob, name)
	return ok && err == nil
}

// LiesOn reports whether a URL is one of a host, which is given with or without
// a port.
func LiesOn(host, rawURL string) bool {
	at, err := url.Parse(rawURL)
	return err == nil && (strings.EqualFold(at.Host, host) || strings.EqualFold(at.Hostname(), host))
}

// getShards answers with a page. It costs what the page costs, however many
// shards there are: it begins where the last one ended.
func (s *Server) getShards(c *call) error {
	sel, err := c.selection()
	if err != nil {
		return err
	}
	limit, err := c.number("limit", usualPage, 1, mostPage)
	if err != nil {
		return err
	}
	q := c.r.URL.Query()
	page := wire.Page{Shards: []wire.Detail{}}
	var last shard.Key
	for info, err := range s.store.Shards(c.r.Context(), &dagstore.Filter{Prefix: q.Get("prefix"), After: shard.Key(q.Get("after"))}) {
		// That there is one more is known by seeing it.
		if int64(len(page.Shards)) == limit || page.Looked == mostLooked {
			page.Next = string(last)
			break
		}
		page.Looked++
		if about, ok := errors.AsType[*shard.Error](err); ok {
			last = about.Key
			page.Damaged = append(page.Damaged, wire.Damaged{Key: string(about.Key), Problem: wire.ProblemOf(err)})
			continue
		} else if err != nil {
			return err
		}
		if last = info.Key; sel.wants(&info) {
			page.Shards = append(page.Shards, wire.DetailOf(info))
		}
	}
	return c.answer(page)
}

// getExport sends all shards as a list. Who asks for the rest of one that broke off
// is told all the same how many shards are missing from the whole.
func (s *Server) getExport(c *call) error {
	out := newLines(c)
	after := shard.Key(c.r.URL.Query().Get("after"))
	var untold int64
	for info, err := range s.store.Shards(c.r.Context(), &dagstore.Filter{Prefix: c.r.URL.Query().Get("prefix")}) {
		if _, ok := errors.AsType[*shard.Error](err); ok {
			untold++ // a record that cannot be read has nothing to tell
			continue
		} else if err != nil {
			return err
		}
		if wire.StatusOf(info.State) == "removing" {
			continue
		}
		entry, err := wire.EntryOf(info)
		if err != nil {
			untold++
			continue
		}
		if info.Key <= after {
			continue
		}
		if err := out.put(entry); err != nil {
			return err
		}
	}
	if untold > 0 {
		c.w.Header().Set(http.TrailerPrefix+wire.Untold, strconv.FormatInt(untold, 10))
	}
	return out.flush()
}
