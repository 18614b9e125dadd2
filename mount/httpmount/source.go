package httpmount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/dagstore/dagstore/mount"
)

// source is a mount of one place.
type source struct {
	client     *Client
	place      place
	credential *Credential // nil: none
}

var (
	_ mount.RangeOpener   = (*source)(nil)
	_ mount.SiblingOpener = (*source)(nil)
)

// URL implements [mount.Mount].
func (s *source) URL() string { return s.place.String() }

// OpenSibling implements [mount.SiblingOpener].
func (s *source) OpenSibling(suffix string) (mount.Mount, error) {
	if s.place.query != "" || strings.HasSuffix(s.place.path, "/") {
		return nil, fmt.Errorf("%w: %s", mount.ErrNoSiblings, s.place.bare())
	}
	beside := *s
	beside.place.path += suffix
	return &beside, nil
}

// Stat implements [mount.Mount]. It takes one request, and a second one where
// the first does not tell all: to a server that refuses HEAD, or that says
// nothing about ranges.
func (s *source) Stat(ctx context.Context) (mount.Stat, error) {
	st, err := s.stat(ctx)
	if err == nil {
		err = s.client.size(st.Size)
	}
	if err != nil {
		return mount.Stat{}, s.fail("stat", err)
	}
	return st, nil
}

// headRefused are the statuses with which servers refuse HEAD that would
// answer to GET.
var headRefused = []int{
	http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusLengthRequired,
	http.StatusInternalServerError, http.StatusNotImplemented,
}

func (s *source) stat(ctx context.Context) (mount.Stat, error) {
	r, err := s.ask(ctx, http.MethodHead, nil)
	if err != nil {
		return mount.Stat{}, err
	}
	r.close()
	if slices.Contains(headRefused, r.StatusCode) {
		return s.probe(ctx, -1)
	}
	if r.StatusCode != http.StatusOK {
		return mount.Stat{}, s.refusal(r)
	}
	a := answerOf(r.Response)
	if a.size < 0 || a.coding != "" || a.units == "" {
		return s.probe(ctx, a.size)
	}
	return a.stat(a.units == "bytes"), nil
}

// probe asks for the first byte, whose answer tells what that to HEAD did not.
// If it does not tell the size, it is size.
func (s *source) probe(ctx context.Context, size int64) (mount.Stat, error) {
	r, err := s.ask(ctx, http.MethodGet, map[string]string{"Range": "bytes=0-0"})
	if err != nil {
		return mount.Stat{}, err
	}
	defer r.close()
	a := answerOf(r.Response)
	if a.coding != "" {
		return mount.Stat{}, a.coded()
	}
	ranges := false
	switch r.StatusCode {
	case http.StatusOK:
	case http.StatusPartialContent:
		if a.first != 0 || a.last != 0 {
			return mount.Stat{}, a.otherRange("bytes 0-0")
		}
		ranges = true
	case http.StatusRequestedRangeNotSatisfiable:
		if a.size != 0 { // there is a first byte, or nobody knows
			return mount.Stat{}, s.refusal(r)
		}
		ranges = true
	default:
		return mount.Stat{}, s.refusal(r)
	}
	if a.size < 0 {
		a.size = size
	}
	return a.stat(ranges), nil
}

// Open implements [mount.Mount].
func (s *source) Open(ctx context.Context) (io.ReadCloser, error) {
	return s.OpenRange(ctx, mount.Range{Length: -1})
}

// OpenRange implements [mount.RangeOpener]. It takes one request; a range of no
// bytes, which HTTP cannot ask for, takes those of Stat.
func (s *source) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	body, err := s.openRange(ctx, r)
	if err != nil {
		return nil, s.fail("open", err)
	}
	return body, nil
}

func (s *source) openRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	if _, err := r.Resolve(math.MaxInt64); err != nil {
		return nil, err
	}
	if r.Length == 0 {
		return s.empty(ctx, r)
	}
	header := conditions(r.Version)
	if asked := spelt(r); asked != "" {
		header["Range"] = asked
	}
	reply, err := s.ask(ctx, http.MethodGet, header)
	if err != nil {
		return nil, err
	}
	left, err := s.check(reply, r)
	if err == nil {
		return &stream{source: s, reply: reply, left: left}, nil
	}
	reply.close()
	if errors.Is(err, errAtEnd) {
		return s.empty(ctx, r)
	}
	return nil, err
}

// spelt is r as the value of the header Range, or "" if it is the whole source.
func spelt(r mount.Range) string {
	switch {
	case r.Length != -1:
		return fmt.Sprintf("bytes=%d-%d", r.Offset, r.Offset+r.Length-1)
	case r.Offset > 0:
		return fmt.Sprintf("bytes=%d-", r.Offset)
	}
	return ""
}

// errAtEnd says that a range begins where the source ends, and so is empty.
var errAtEnd = errors.New("the range is empty")

// check returns how many bytes of r the answer brings, -1 if it does not say
// but tells where it ends, or what is wrong with the answer.
func (s *source) check(reply *reply, r mount.Range) (int64, error) {
	a := answerOf(reply.Response)
	asked := spelt(r)
	switch reply.StatusCode {
	case http.StatusOK, http.StatusPartialContent:
		if err := a.same(r.Version); err != nil {
			return 0, err
		}
		if a.coding != "" {
			return 0, a.coded()
		}
	case http.StatusPreconditionFailed:
		if r.Version != "" {
			return 0, fmt.Errorf("%w: it is not of version %s any more", mount.ErrChanged, r.Version)
		}
	}
	if err := s.client.size(a.size); err != nil {
		return 0, err
	}
	switch {
	case reply.StatusCode == http.StatusPartialContent && asked != "":
		return a.part(r)
	case reply.StatusCode == http.StatusOK && asked == "":
		return a.whole(reply.Response)
	case reply.StatusCode == http.StatusOK:
		if a.size >= 0 {
			if _, err := r.Resolve(a.size); err != nil {
				return 0, err
			}
		}
		return 0, fmt.Errorf("%w: it answers with the whole to %q", mount.ErrNoRanges, asked)
	case reply.StatusCode == http.StatusRequestedRangeNotSatisfiable && asked != "":
		if r.Length == -1 && r.Offset == a.size {
			return 0, errAtEnd
		}
		return 0, fmt.Errorf("%w: %s", mount.ErrRange, r)
	}
	return 0, s.refusal(reply)
}

// empty opens a range without bytes, which has to lie in the source all the
// same.
func (s *source) empty(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	st, err := s.stat(ctx)
	if err != nil {
		return nil, err
	}
	if err := changed(r.Version, st.Version); err != nil {
		return nil, err
	}
	if st.Size >= 0 {
		if r, err = r.Resolve(st.Size); err != nil {
			return nil, err
		}
	}
	if r.Length != 0 { // it has grown
		return nil, fmt.Errorf("%w: it has %d bytes by now", mount.ErrChanged, st.Size)
	}
	return http.NoBody, nil
}

// size refuses a source that is too large; -1 is one of unknown size.
func (c *Client) size(n int64) error {
	if most := c.cfg.Largest; most > 0 && n > most {
		return fmt.Errorf("%w: it has more than the %d bytes that are", mount.ErrDenied, most)
	}
	return nil
}

func (s *source) fail(op string, err error) error {
	return fmt.Errorf("httpmount: %s %s: %w", op, s.place.bare(), err)
}
