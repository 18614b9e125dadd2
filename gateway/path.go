package gateway

import (
	"fmt"
	"net/http"
	"net/url"
	gopath "path"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multibase"
	"golang.org/x/net/idna"
)

const (
	spaceIPFS = "ipfs"
	spaceIPNS = "ipns"
)

// maxURI is the longest Ipfs-Uri that is sent: proxies have limits too.
const maxURI = 8 << 10

// A content is a request for content, taken apart.
type content struct {
	space string   // spaceIPFS or spaceIPNS
	name  string   // the CID or the name, as it was written
	names []string // the path behind it
	path  string   // all of it, cleaned; it ends with a slash if the request's did
	query url.Values
	wish  wish
	shown string // the path as the client sees it, where that differs: a host has the rest

	root  cid.Cid  // where the path begins, once names are resolved
	way   []string // from there: what a name leads to, and names
	fresh freshness
}

// parseContent takes a path apart. Like everybody's, it is cleaned: "//" and
// ".." of it mean what they do elsewhere.
func parseContent(path string, depth int) (*content, error) {
	clean := path
	if strings.Contains(path, "//") || strings.Contains(path, "/.") {
		clean = gopath.Clean(path)
		if strings.HasSuffix(path, "/") && clean != "/" {
			clean += "/"
		}
	}
	parts := strings.Split(strings.Trim(clean, "/"), "/")
	if len(parts) < 2 || parts[0] != spaceIPFS && parts[0] != spaceIPNS || parts[1] == "" {
		return nil, &statusError{http.StatusBadRequest, "a path begins with /ipfs/ and a CID"}
	}
	if len(parts)-2 > depth {
		return nil, &statusError{http.StatusBadRequest, fmt.Sprintf("a path of more than %d names", depth)}
	}
	c := &content{space: parts[0], name: parts[1], names: parts[2:], path: clean}
	if c.space == spaceIPFS {
		var err error
		if c.root, err = cid.Decode(c.name); err != nil {
			return nil, &statusError{http.StatusBadRequest, fmt.Sprintf("invalid path %q: it begins with no CID: %v", "/ipfs/"+shorten(c.name), err)}
		}
		c.way, c.fresh = c.names, freshness{immutable: true}
	}
	return c, nil
}

// shorten keeps what a client sent from coming back at full length.
func shorten(s string) string {
	if len(s) > 128 {
		return s[:128] + "…"
	}
	return s
}

// mutable says whether the path begins with a name that may change.
func (c *content) mutable() bool { return c.space == spaceIPNS }

// saved says whether the client wants to save what it gets, and not to show it.
func (c *content) saved() bool { return c.query.Get("download") == "true" }

// last is the last name of the path, or nothing.
func (c *content) last() string {
	if len(c.names) == 0 {
		return ""
	}
	return c.names[len(c.names)-1]
}

// describe sets what every answer says of the path. An old header is left out
// where it could not hold it.
func (c *content) describe(w *responseWriter) {
	if plain(c.path) {
		w.set("X-Ipfs-Path", c.path)
	}
	if uri := c.uri(); uri != "" && len(uri) <= maxURI {
		w.set("Ipfs-Uri", uri)
	}
}

// text is the text of a CID, which for the root need not be made anew.
func (c *content) text(id cid.Cid) string {
	if !c.mutable() && id.Equals(c.root) && id.Version() == 1 && c.name[0] == 'b' && c.name == strings.ToLower(c.name) {
		return c.name
	}
	return id.String()
}

// plain says whether a header can hold s.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// uri is the path as a URI, with its root in the form that all agree on
// (IPIP-0548), or nothing.
func (c *content) uri() string {
	root := c.authority()
	switch {
	case root == "":
		return ""
	case len(c.names) == 0 && !strings.HasSuffix(c.path, "/"):
		return c.space + "://" + root
	}
	var b strings.Builder
	b.Grow(len(c.path) + 16)
	b.WriteString(c.space)
	b.WriteString("://")
	b.WriteString(root)
	for _, name := range c.names {
		b.WriteByte('/')
		escape(&b, name)
	}
	if strings.HasSuffix(c.path, "/") {
		b.WriteByte('/')
	}
	return b.String()
}

func (c *content) authority() string {
	if !c.mutable() {
		if c.root.Version() == 1 && c.name[0] == 'b' && c.name == strings.ToLower(c.name) {
			return c.name // it is in that form
		}
		s, err := cid.NewCidV1(c.root.Type(), c.root.Hash()).StringOfBase(multibase.Base32)
		if err != nil {
			return ""
		}
		return s
	}
	if key, ok := keyOf(c.name); ok {
		return key.String()
	}
	host, err := idna.Lookup.ToASCII(strings.TrimSuffix(c.name, "."))
	if err != nil || !strings.Contains(host, ".") || strings.HasPrefix(host, ".") {
		return ""
	}
	return host
}

// escape writes a name with everything but letters, digits and "-._~" encoded.
func escape(b *strings.Builder, name string) {
	const digits = "0123456789ABCDEF"
	for i := range len(name) {
		switch ch := name[i]; {
		case 'a' <= ch && ch <= 'z', 'A' <= ch && ch <= 'Z', '0' <= ch && ch <= '9', ch == '-', ch == '.', ch == '_', ch == '~':
			b.WriteByte(ch)
		default:
			b.WriteByte('%')
			b.WriteByte(digits[ch>>4])
			b.WriteByte(digits[ch&15])
		}
	}
}

// disposition is a Content-Disposition. Names that are not plain are there twice,
// as RFC 6266 has it: for those who can read them, and for those who cannot.
func disposition(kind, name string) string {
	if !strings.ContainsFunc(name, func(r rune) bool { return oddIn(r) || r == ' ' }) {
		return kind + `; filename="` + name + `"`
	}
	var b strings.Builder
	b.WriteString(kind)
	b.WriteString(`; filename="`)
	for _, r := range name {
		if oddIn(r) {
			r = '_'
		}
		b.WriteRune(r)
	}
	b.WriteString("\"; filename*=UTF-8''")
	escape(&b, strings.ToValidUTF8(name, "\uFFFD"))
	return b.String()
}

// oddIn says whether not everybody can read a letter of a name.
func oddIn(r rune) bool {
	return r < ' ' || r > '~' || r == '"' || r == '\\' || r == '%' || r == '/'
}
