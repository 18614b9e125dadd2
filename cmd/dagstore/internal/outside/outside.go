package outside

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/dagstore/dagstore/mount"
)

// Prefix stands before the scheme of a source that was named from outside.
const Prefix = "outside+"

// URL is a URL as it is remembered of somebody from outside. One that is so
// already stays as it is.
func URL(url string) string {
	if url == "" || Is(url) {
		return url
	}
	return Prefix + url
}

// Is reports whether a URL is one of a source that was named from outside.
func Is(url string) bool {
	return len(url) >= len(Prefix) && strings.EqualFold(url[:len(Prefix)], Prefix)
}

// Wrap is an opener of URLs with Prefix over one of URLs without it.
func Wrap(open mount.Opener) mount.Opener {
	return func(url string) (mount.Mount, error) {
		if !Is(url) {
			return nil, fmt.Errorf("%w: it does not begin with %q", mount.ErrURL, Prefix)
		}
		m, err := open(url[len(Prefix):])
		if err != nil {
			return nil, err
		}
		return over(m), nil
	}
}

// Refuse is an opener that refuses every URL, and says why.
func Refuse(why string) mount.Opener {
	return func(string) (mount.Mount, error) {
		return nil, fmt.Errorf("%w: %s", mount.ErrDenied, why)
	}
}

// over has the optional interfaces that m has.
func over(m mount.Mount) mount.Mount {
	s := source{m}
	_, ranges := m.(mount.RangeOpener)
	_, local := m.(mount.FileOpener)
	_, siblings := m.(mount.SiblingOpener)
	switch {
	case local && ranges && siblings:
		return localSource{besideSource{rangedSource{s}}}
	case ranges && siblings:
		return besideSource{rangedSource{s}}
	case ranges:
		return rangedSource{s}
	}
	return s
}

type (
	// source is a mount that offers what every mount does.
	source struct{ inner mount.Mount }

	rangedSource struct{ source }
	besideSource struct{ rangedSource }
	localSource  struct{ besideSource }
)

var (
	_ mount.RangeOpener   = rangedSource{}
	_ mount.SiblingOpener = besideSource{}
	_ mount.FileOpener    = localSource{}
)

// URL implements [mount.Mount].
func (s source) URL() string { return Prefix + s.inner.URL() }

// Stat implements [mount.Mount].
func (s source) Stat(ctx context.Context) (mount.Stat, error) {
	st, err := s.inner.Stat(ctx)
	if _, ok := s.inner.(mount.RangeOpener); !ok {
		st.Ranges = false
	}
	return st, err
}

// Open implements [mount.Mount].
func (s source) Open(ctx context.Context) (io.ReadCloser, error) { return s.inner.Open(ctx) }

// OpenRange implements [mount.RangeOpener].
func (s rangedSource) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	return mount.OpenRange(ctx, s.inner, r)
}

// OpenSibling implements [mount.SiblingOpener].
func (s besideSource) OpenSibling(suffix string) (mount.Mount, error) {
	m, err := mount.OpenSibling(s.inner, suffix)
	if err != nil {
		return nil, err
	}
	return over(m), nil
}

// OpenFile implements [mount.FileOpener].
func (s localSource) OpenFile(ctx context.Context) (mount.File, error) {
	return mount.OpenFile(ctx, s.inner)
}
