package denylist

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// A Match is the rule that counts for what was asked.
type Match struct {
	List   string // which list
	Line   int    // which line of it, from 1
	Allow  bool   // the rule allows
	Status int    // what a gateway answers if it does not: 410 or 451
}

// Denies reports whether what was asked may not be served.
func (m Match) Denies() bool { return m.Line > 0 && !m.Allow }

// String says where the rule stands.
func (m Match) String() string { return fmt.Sprintf("%s:%d", m.List, m.Line) }

// A Set is lists in their order. The zero value denies nothing.
type Set struct{ lists []*List }

// NewSet returns a set of lists, of which later ones go before earlier ones.
func NewSet(lists ...*List) *Set { return &Set{lists} }

// Lists returns the lists, in their order.
func (s *Set) Lists() []*List { return s.lists }

// Block returns the rule for the block of c, wherever it is met.
func (s *Set) Block(c cid.Cid) Match { return s.Path(c, "") }

// Path returns the rule for what lies at a path below c, which is not
// escaped and of which empty parts do not count. It says nothing of the blocks
// on the way.
func (s *Set) Path(c cid.Cid, path string) Match {
	if len(s.lists) == 0 || !c.Defined() {
		return Match{}
	}
	q := query{space: blocks, subject: string(c.Hash()), path: cleanPath(path), cid: c}
	return s.find(&q)
}

// Name returns the rule for a path below a name, which is a domain, a CID or
// a multihash in base58btc.
func (s *Set) Name(name, path string) Match {
	if len(s.lists) == 0 {
		return Match{}
	}
	in, subject, err := parseName(name)
	if err != nil {
		return Match{}
	}
	q := query{space: in, subject: subject, path: cleanPath(path)}
	if in == keys {
		q.cid = cid.NewCidV1(cid.Libp2pKey, multihash.Multihash(subject))
	} else if strings.Contains(subject, "xn--") {
		if letters, err := domainNames.ToUnicode(subject); err == nil && letters != subject {
			q.also = &query{space: in, subject: letters, path: q.path}
		}
	}
	return s.find(&q)
}

// Content returns the rule for a content path, which begins with /ipfs/ or
// /ipns/. None matches what is no such path.
func (s *Set) Content(path string) Match {
	if rest, ok := strings.CutPrefix(path, "/ipns/"); ok {
		name, below, _ := strings.Cut(rest, "/")
		return s.Name(name, below)
	}
	rest, ok := strings.CutPrefix(path, "/ipfs/")
	if !ok {
		return Match{}
	}
	root, below, _ := strings.Cut(rest, "/")
	c, err := cid.Decode(root)
	if err != nil {
		return Match{}
	}
	return s.Path(c, below)
}

func (s *Set) find(q *query) Match {
	for i := len(s.lists) - 1; i >= 0; i-- {
		l := s.lists[i]
		e, ok := l.find(q)
		if !ok {
			continue
		}
		m := Match{List: l.Name, Line: int(e.line), Allow: e.flags&flagAllow != 0, Status: http.StatusGone}
		if e.flags&flagLegal != 0 {
			m.Status = http.StatusUnavailableForLegalReasons
		}
		return m
	}
	return Match{}
}

// A query is what is asked, in the forms in which lists may have it.
type query struct {
	keyer
	space   space
	subject string
	path    string
	cid     cid.Cid // undefined for domains
	also    *query  // a domain as people write it: who hides it may have hashed that

	hash   string // multihash in base58btc; "": not made yet
	hidden string // the digest of the older form; "": not made yet
}

// find returns the last entry of l that matches.
func (l *List) find(q *query) (last entry, ok bool) {
	look := func(k key) {
		if l.tail != nil {
			if e, found := l.tail.find(k); found {
				last, ok = e, true
			}
		}
		for i := len(l.tables) - 1; i >= 0; i-- {
			if e, found := l.tables[i].find(k); found {
				if !ok || e.line > last.line {
					last, ok = e, true
				}
				return // what is older has lower lines
			}
		}
	}
	look(q.exact(q.space, q.subject, q.path))
	for _, n := range l.lengths {
		if n > len(q.path) {
			break
		}
		look(q.prefix(q.space, q.subject, q.path[:n]))
	}
	for ; q != nil; q = q.also {
		for _, f := range l.hashed {
			if sum, err := f.sum(q.modern()); err == nil {
				look(q.exact(modern, sum, ""))
			}
		}
		if l.isLegacy {
			look(q.exact(legacy, q.legacy(), ""))
		}
	}
	return last, ok
}

// sum returns the multihash of text.
func (f function) sum(text string) (string, error) {
	if f.code == multihash.SHA2_256 && f.length == sha256.Size { // what everybody uses
		sum := sha256.Sum256([]byte(text))
		return string(append([]byte{multihash.SHA2_256, sha256.Size}, sum[:]...)), nil
	}
	sum, err := multihash.Sum([]byte(text), f.code, f.length)
	return string(sum), err
}

// modern is what is hashed in the form of today.
func (q *query) modern() string {
	if q.hash == "" {
		var room [96]byte
		text := room[:0]
		if q.space == domains {
			text = append(append(text, "/ipns/"...), q.subject...)
		} else {
			text = appendBase58(text, q.subject)
		}
		if q.path != "" {
			text = append(append(text, '/'), q.path...)
		}
		q.hash = string(text)
	}
	return q.hash
}

// legacy is the digest in the older form.
func (q *query) legacy() string {
	if q.hidden == "" {
		var text strings.Builder
		switch {
		case q.space == domains:
			text.WriteString(q.subject)
		case q.cid.Version() == 0:
			text.WriteString(cid.NewCidV1(cid.DagProtobuf, q.cid.Hash()).String())
		default:
			// Text in another base was of the same CID.
			text.WriteString(q.cid.String())
		}
		text.WriteByte('/')
		text.WriteString(q.path)
		sum := sha256.Sum256([]byte(text.String()))
		q.hidden = string(sum[:])
	}
	return q.hidden
}
