package admin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// hold acquires the shard that the path names.
func (s *Server) hold(c *call) (*dagstore.Accessor, error) {
	key, err := c.key()
	if err != nil {
		return nil, err
	}
	return s.store.Acquire(c.r.Context(), key, &dagstore.AcquireOptions{Background: true})
}

// getIndexFile sends the index of a shard as an index file with all that the
// store knows.
func (s *Server) getIndexFile(c *call) error {
	acc, err := s.hold(c)
	if err != nil {
		return err
	}
	defer acc.Close() //nolint:errcheck // it always succeeds
	return index.Write(c.r.Context(), newStream(c, mimeBytes), acc.Index().All(), nil)
}

// getCAR sends the CAR of a shard, or ranges of it.
func (s *Server) getCAR(c *call) error {
	acc, err := s.hold(c)
	if err != nil {
		return err
	}
	defer acc.Close() //nolint:errcheck // it always succeeds
	out, in := &late{ResponseWriter: c.w}, &source{ReadSeeker: acc.CAR(c.r.Context())}
	h := c.w.Header()
	h.Set("Content-Type", c.route.answer.mime)
	http.ServeContent(out, c.r, "", time.Time{}, in)
	if out.status == 0 || in.failed == nil {
		c.began = true
		out.send()
		return in.failed
	}
	// Nothing has been sent: what went wrong can still be told.
	for _, name := range []string{"Content-Length", "Content-Range", "Accept-Ranges"} {
		h.Del(name)
	}
	return in.failed
}

func (s *Server) getManifests(c *call) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	out := wire.Manifests{Manifests: []wire.Manifest{}}
	for m, err := range s.store.Manifests(c.r.Context(), key) {
		switch {
		case errors.Is(err, shard.ErrIndex): // of one manifest
			out.Damaged = append(out.Damaged, wire.ProblemOf(err))
		case err != nil:
			return err
		default:
			out.Manifests = append(out.Manifests, wire.ManifestOf(string(key), m))
		}
	}
	return c.answer(out)
}

func (s *Server) getMembers(c *call) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	var out *bufio.Writer
	for mh, err := range s.store.Members(c.r.Context(), key, c.segment("name")) {
		if err != nil {
			return err
		}
		if out == nil {
			out = bufio.NewWriterSize(newStream(c, mimeText), 32<<10)
		}
		if _, err := fmt.Fprintln(out, mh.B58String()); err != nil {
			return err
		}
	}
	if out == nil {
		out = bufio.NewWriter(newStream(c, mimeText))
	}
	return out.Flush()
}

func (s *Server) getMember(c *call) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	id, err := c.cid()
	if err != nil {
		return err
	}
	is, err := s.store.HasMember(c.r.Context(), key, c.segment("name"), id.Hash())
	if err != nil {
		return err
	}
	return c.answer(wire.Membership{Member: is})
}

func (s *Server) putManifest(c *call) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	version, err := c.number("version", 0, 0, 1<<63-1)
	if err != nil {
		return err
	}
	loose, err := c.flag("loose", false)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(c.r.Header.Get("Content-Type"), "text/plain") {
		return fmt.Errorf("%w: %s", wire.ErrMediaType, mimeText)
	}
	m := dagstore.Manifest{Name: c.segment("name"), Rule: c.r.URL.Query().Get("rule"), Version: uint64(version)}
	put, err := s.store.PutManifest(c.r.Context(), key, m, membersOf(c.r.Body), &dagstore.ManifestOptions{Loose: loose})
	if err != nil {
		return err
	}
	return c.answer(wire.ManifestOf(string(key), put))
}

// membersOf reads the members of a manifest. A line that is none is a wrong request.
func membersOf(body io.Reader) iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		for mh, err := range wire.ReadMembers(body) {
			if bad, ok := errors.AsType[*wire.LineError](err); ok {
				err = badRequest("%w", bad)
			}
			if !yield(mh, err) {
				return
			}
		}
	}
}

func (s *Server) deleteManifest(c *call) error {
	key, err := c.key()
	if err != nil {
		return err
	}
	if err := s.store.RemoveManifest(c.r.Context(), key, c.segment("name")); err != nil {
		return err
	}
	return c.nothing()
}
