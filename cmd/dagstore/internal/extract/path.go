package extract

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/ipfs/go-cid"
)

// A Path is a root and the names that lead on from it.
type Path struct {
	Root  cid.Cid
	Names []string
}

// ParsePath reads a CID in any version and base, bare, as /ipfs/CID or as
// ipfs://CID, with the names that follow it. Names are taken as they are,
// but from a URI, where they are percent-encoded. Its errors wrap [ErrPath].
func ParsePath(s string) (Path, error) {
	rest, uri := cutPrefixFold(s, "ipfs://")
	switch {
	case uri:
		if strings.ContainsAny(rest, "?#") {
			return Path{}, fmt.Errorf("%w: %q: a URI with a query or a fragment names no block", ErrPath, s)
		}
	case strings.HasPrefix(s, "/ipns/"), strings.HasPrefix(s, "ipns://"):
		return Path{}, fmt.Errorf("%w: %q: names are not resolved, only CIDs", ErrPath, s)
	default:
		rest = strings.TrimPrefix(s, "/ipfs/")
	}
	root, names, err := cutRoot(rest)
	if err != nil {
		return Path{}, fmt.Errorf("%w: %q: %w", ErrPath, s, err)
	}
	p := Path{Root: root}
	for name := range strings.SplitSeq(names, "/") {
		if uri {
			if name, err = url.PathUnescape(name); err != nil {
				return Path{}, fmt.Errorf("%w: %q: %w", ErrPath, s, err)
			}
		}
		switch {
		case name == "":
			continue // a slash too many
		case name == "." || name == ".." || strings.Contains(name, "/"):
			return Path{}, fmt.Errorf("%w: %q: no entry of a folder is called %q", ErrPath, s, name)
		}
		p.Names = append(p.Names, name)
	}
	return p, nil
}

// cutRoot cuts s behind the CID with which it begins. There are bases whose
// alphabet has a slash, so the CID need not end at the first one.
func cutRoot(s string) (root cid.Cid, names string, err error) {
	end := 0
	for range maxSlashes {
		next := strings.IndexByte(s[end:], '/')
		if next < 0 {
			end = len(s)
		} else {
			end += next
		}
		c, decodeErr := cid.Decode(s[:end])
		if decodeErr == nil {
			return c, s[end:], nil
		}
		if err == nil { // the reading up to the first slash is the likely one
			err = decodeErr
		}
		if end == len(s) {
			break
		}
		end++
	}
	return cid.Undef, "", err
}

// maxSlashes is how many slashes a CID may have: as many as base64 could put
// into one with a digest of 64 bytes.
const maxSlashes = 96

// cutPrefixFold is strings.CutPrefix, in which the case of letters of prefix
// does not matter.
func cutPrefixFold(s, prefix string) (rest string, found bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// Name is what a copy of what lies at p is called: the last name, else the
// CID.
func (p Path) Name() string {
	if n := len(p.Names); n > 0 {
		return p.Names[n-1]
	}
	return p.Root.String()
}

// String returns p as a content path.
func (p Path) String() string {
	return strings.Join(append([]string{"/ipfs", p.Root.String()}, p.Names...), "/")
}
