package ftpmount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/jlaffaye/ftp"

	"github.com/dagstore/dagstore/mount"
)

// file is the mount of one place.
type file struct {
	hosts *hosts
	place place
}

var (
	_ mount.RangeOpener   = (*file)(nil)
	_ mount.SiblingOpener = (*file)(nil)
)

// URL implements [mount.Mount].
func (f *file) URL() string { return f.place.url() }

// OpenSibling implements [mount.SiblingOpener].
func (f *file) OpenSibling(suffix string) (mount.Mount, error) {
	beside := f.place
	beside.path += suffix
	return &file{hosts: f.hosts, place: beside}, nil
}

// Stat implements [mount.Mount].
func (f *file) Stat(ctx context.Context) (mount.Stat, error) {
	var st mount.Stat
	s, err := f.with(ctx, func(s *session) (err error) {
		st, err = s.stat(f.place.argument())
		return err
	})
	if err != nil {
		return mount.Stat{}, f.fail("stat", err)
	}
	s.host.release(s, true)
	return st, nil
}

// Open implements [mount.Mount].
func (f *file) Open(ctx context.Context) (io.ReadCloser, error) {
	return f.open(ctx, mount.Range{Length: -1})
}

// OpenRange implements [mount.RangeOpener].
func (f *file) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	if _, err := r.Resolve(1<<63 - 1); err != nil { // what can be in no file needs no server
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return nil, f.fail("open", err)
	}
	return f.open(ctx, r)
}

// open begins a stream of r.
func (f *file) open(ctx context.Context, r mount.Range) (*stream, error) {
	st := &stream{file: f, ctx: ctx, last: time.Now()}
	if err := st.begin(r); err != nil {
		return nil, f.fail("open", err)
	}
	return st, nil
}

// A verdict is an error of ours that leaves the session as it was.
type verdict struct{ error }

func (v verdict) Unwrap() error { return v.error }

// with calls call with a session, which its caller has to release if there is
// no error. A session that had been idle may turn out to be closed by its
// server: then another one is tried.
func (f *file) with(ctx context.Context, call func(*session) error) (*session, error) {
	h := f.hosts.of(f.place)
	for {
		s, err := h.acquire(ctx)
		if err != nil {
			return nil, err
		}
		err = s.during(ctx, func() error { return call(s) })
		if err == nil {
			return s, nil
		}
		v, own := errors.AsType[verdict](err)
		stays := own || answered(err)
		h.release(s, stays)
		switch {
		case own:
			return nil, v.error
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case stays || !s.used:
			return nil, s.explain(err)
		}
	}
}

func (f *file) fail(op string, err error) error {
	return fmt.Errorf("ftpmount: %s %s: %w", op, f.URL(), err)
}

// stat asks how a file is: in one question if the server knows MLST and tells
// all that is needed, else in two.
func (s *session) stat(path string) (mount.Stat, error) {
	st := mount.Stat{Size: -1}
	e, err := s.conn.GetEntry(path)
	switch {
	case err == nil && e.Type == ftp.EntryTypeFolder:
		return st, verdict{ErrNotRegular}
	case err == nil && e.Type == ftp.EntryTypeFile && e.Size > 0 && e.Size < 1<<63 && !e.Time.IsZero():
		st.Size, st.ModTime = int64(e.Size), e.Time
		return s.known(st), nil
	case err != nil && lost(err):
		return st, err
	}
	size, err := s.conn.FileSize(path)
	switch {
	case err == nil && size >= 0:
		st.Size = size
	case err == nil, unknown(err): // it has no SIZE
	default:
		return st, err
	}
	when, err := s.conn.GetTime(path)
	switch {
	case err == nil:
		st.ModTime = when
	case lost(err):
		return st, err
	}
	return s.known(st), nil
}

// known adds what follows from size and time.
func (s *session) known(st mount.Stat) mount.Stat {
	if st.Size >= 0 && !st.ModTime.IsZero() {
		st.Version = strconv.FormatInt(st.Size, 16) + "-" + strconv.FormatInt(st.ModTime.Unix(), 16)
	}
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	st.Ranges = st.Size >= 0 && !s.host.noRest
	return st
}

// retrieve begins the transfer of r, of which it returns what is known. A body
// that is nil has no bytes.
func (s *session) retrieve(path string, r mount.Range) (body *ftp.Response, st mount.Stat, _ mount.Range, err error) {
	if st, err = s.stat(path); err != nil {
		return nil, st, r, err
	}
	whole := r.Offset == 0 && r.Length == -1
	switch {
	case r.Version != "" && r.Version != st.Version:
		return nil, st, r, verdict{fmt.Errorf("%w: it has version %q, not %q", mount.ErrChanged, st.Version, r.Version)}
	case !whole && !st.Ranges:
		return nil, st, r, verdict{fmt.Errorf("%w: the server has no SIZE or no REST", mount.ErrNoRanges)}
	case st.Size >= 0:
		if r, err = r.Resolve(st.Size); err != nil {
			return nil, st, r, verdict{err}
		}
	}
	if r.Length == 0 {
		return nil, st, r, nil
	}
	body, err = s.conn.RetrFrom(path, uint64(r.Offset))
	if r.Offset > 0 && unknown(err) {
		s.host.mu.Lock()
		s.host.noRest = true
		s.host.mu.Unlock()
		err = verdict{fmt.Errorf("%w: the server has no REST", mount.ErrNoRanges)}
	}
	return body, st, r, err
}
