package rclone

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/hash"

	"github.com/dagstore/dagstore/mount"
)

// file is the mount of one path.
type file struct {
	client       *Client
	remote, path string
}

var (
	_ mount.RangeOpener   = (*file)(nil)
	_ mount.SiblingOpener = (*file)(nil)
)

// URL implements [mount.Mount].
func (f *file) URL() string {
	return prefix + f.remote + "/" + mount.EscapePath(f.path)
}

// OpenSibling implements [mount.SiblingOpener].
func (f *file) OpenSibling(suffix string) (mount.Mount, error) {
	return &file{client: f.client, remote: f.remote, path: f.path + suffix}, nil
}

// Stat implements [mount.Mount].
func (f *file) Stat(ctx context.Context) (mount.Stat, error) {
	o, err := f.find(ctx)
	if err != nil {
		return mount.Stat{}, f.fail("stat", err)
	}
	return o.stat, nil
}

// Open implements [mount.Mount].
func (f *file) Open(ctx context.Context) (io.ReadCloser, error) {
	return f.OpenRange(ctx, mount.Range{Length: -1})
}

// OpenRange implements [mount.RangeOpener].
func (f *file) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	o, err := f.find(ctx)
	if err != nil {
		return nil, f.fail("open", err)
	}
	whole := r.Offset == 0 && r.Length == -1
	switch {
	case r.Version != "" && r.Version != o.stat.Version:
		err = fmt.Errorf("%w: it has version %q, not %q", mount.ErrChanged, o.stat.Version, r.Version)
	case o.stat.Size >= 0:
		r, err = r.Resolve(o.stat.Size)
	case !whole:
		err = fmt.Errorf("%w: its size is not known", mount.ErrNoRanges)
	}
	if err != nil {
		return nil, f.fail("open", err)
	}
	s := &stream{mount: f, ctx: ctx, left: r.Length, at: r.Offset}
	if r.Length == 0 {
		return s, nil
	}
	var options []fs.OpenOption
	if !whole {
		options = append(options, &fs.RangeOption{Start: r.Offset, End: r.Offset + r.Length - 1})
	}
	s.body, err = apart(ctx, f.client,
		func() (io.ReadCloser, error) { return o.object.Open(ctx, options...) },
		func(body io.ReadCloser) { _ = body.Close() }) // nobody wants it any more
	if err != nil {
		return nil, f.fail("open", explain(err))
	}
	return s, nil
}

// found is an object, and how it is.
type found struct {
	object fs.Object
	stat   mount.Stat
}

// find asks the service for the object.
func (f *file) find(ctx context.Context) (found, error) {
	if err := ctx.Err(); err != nil {
		return found{}, err
	}
	remote, err := f.client.get(ctx, f.remote)
	if err != nil {
		return found{}, explain(err)
	}
	o, err := apart(ctx, f.client, func() (found, error) {
		o, err := remote.NewObject(ctx, f.path)
		if err != nil {
			return found{}, err
		}
		st, err := stat(ctx, remote, o)
		return found{o, st}, err
	}, func(found) {})
	if err != nil {
		return found{}, explain(err)
	}
	return o, nil
}

// stat says how an object is.
func stat(ctx context.Context, remote fs.Fs, o fs.Object) (mount.Stat, error) {
	st := mount.Stat{Size: max(o.Size(), -1)}
	st.Ranges = st.Size >= 0
	var parts []string
	if remote.Precision() != fs.ModTimeNotSupported {
		if st.ModTime = o.ModTime(ctx); !st.ModTime.IsZero() {
			parts = append(parts, strconv.FormatInt(st.ModTime.UnixNano(), 16))
		}
	}
	if kind := remote.Hashes().GetOne(); kind != hash.None && !remote.Features().SlowHash {
		sum, err := o.Hash(ctx, kind)
		if err != nil && !errors.Is(err, hash.ErrUnsupported) {
			return st, err
		}
		if sum != "" {
			parts = append(parts, sum)
		}
	}
	if with, ok := o.(fs.IDer); ok && with.ID() != "" {
		parts = append(parts, with.ID())
	}
	if len(parts) > 0 {
		st.Version = strings.Join(append([]string{strconv.FormatInt(st.Size, 16)}, parts...), "-")
	}
	return st, ctx.Err()
}

// explain says in the words of mounts what rclone has said.
func explain(err error) error {
	for _, row := range []struct{ is, kind error }{
		{fs.ErrorObjectNotFound, iofs.ErrNotExist}, {fs.ErrorDirNotFound, iofs.ErrNotExist},
		{fs.ErrorPermissionDenied, iofs.ErrPermission},
		{fs.ErrorIsDir, ErrNotRegular}, {fs.ErrorNotAFile, ErrNotRegular}, {fs.ErrorIsFile, ErrNotRegular},
		{fs.ErrorRangeIgnored, mount.ErrNoRanges},
	} {
		if errors.Is(err, row.is) {
			return fmt.Errorf("%w: %w", row.kind, err)
		}
	}
	return err
}

func (f *file) fail(op string, err error) error {
	return fmt.Errorf("rclone: %s %s: %w", op, f.URL(), err)
}

// apart calls f in a goroutine of its own, and returns when it does or when ctx
// ends: not all that rclone speaks to is left alone so soon. What f returns
// then is given to late.
func apart[T any](ctx context.Context, c *Client, f func() (T, error), late func(T)) (T, error) {
	type outcome struct {
		v   T
		err error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if !c.begin() {
		return none, net.ErrClosed
	}
	done, left := make(chan outcome), make(chan struct{})
	go func() {
		defer c.work.Done()
		v, err := caught(f)
		select {
		case done <- outcome{v, err}:
		case <-left:
			if err == nil {
				late(v)
			}
		}
	}()
	select {
	case o := <-done:
		if o.err != nil && ctx.Err() != nil {
			return none, ctx.Err()
		}
		return o.v, o.err
	case <-ctx.Done():
		close(left)
		return none, ctx.Err()
	}
}

// caught is what f returns, or an error if it has panicked: it is a goroutine
// of ours that it runs in, where nobody else would catch that.
func caught[T any](f func() (T, error)) (v T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("rclone has panicked: %v", p)
		}
	}()
	return f()
}

// stream reads a body, or a part of one.
type stream struct {
	mount  *file
	ctx    context.Context //nolint:containedctx // governs this one stream, see [mount.Mount]
	body   io.ReadCloser   // nil: there is nothing to read
	at     int64           // offset of the next byte
	left   int64           // -1: to the end, wherever that is
	buf    []byte          // owned by a read while one is under way
	unread []byte          // of buf
	err    error           // how it ended
	closed bool
}

const readSize = 256 << 10

// Read implements [io.Reader].
func (s *stream) Read(p []byte) (int, error) {
	if len(s.unread) == 0 || s.closed || s.ctx.Err() != nil {
		switch err := s.ctx.Err(); {
		case s.closed:
			return 0, iofs.ErrClosed
		case s.err != nil:
			return 0, s.err
		case err != nil:
			return 0, err
		case s.left == 0:
			return 0, io.EOF
		case len(p) == 0:
			return 0, nil
		}
		if s.err = s.fill(); len(s.unread) == 0 {
			return 0, s.err
		}
	}
	n := copy(p, s.unread)
	s.unread = s.unread[n:]
	return n, nil
}

// fill reads what comes next. It may bring bytes and the end together.
func (s *stream) fill() error {
	if s.buf == nil {
		s.buf = make([]byte, readSize)
	}
	buf := s.buf
	if s.left > 0 {
		buf = buf[:min(int64(len(buf)), s.left)]
	}
	type read struct {
		n   int
		err error
	}
	got, err := apart(s.ctx, s.mount.client, func() (read, error) {
		n, err := io.ReadAtLeast(s.body, buf, 1)
		return read{n, err}, nil
	}, func(read) {})
	if err != nil {
		return err
	}
	s.unread = buf[:got.n]
	s.at += int64(got.n)
	if s.left > 0 {
		s.left -= int64(got.n)
	}
	switch {
	case errors.Is(got.err, io.EOF) && s.left == -1:
		return io.EOF
	case errors.Is(got.err, io.EOF):
		return s.mount.fail("read", fmt.Errorf("it ends at byte %d: %w", s.at, io.ErrUnexpectedEOF))
	case got.err != nil && s.ctx.Err() != nil:
		return s.ctx.Err()
	case got.err != nil:
		return s.mount.fail("read", fmt.Errorf("at byte %d: %w: %w", s.at, io.ErrUnexpectedEOF, explain(got.err)))
	}
	return nil
}

// closeTime is how long a service may take to see that its bytes are wanted no
// more, before it is left to do so by itself.
const closeTime = time.Second

// Close implements [io.Closer].
func (s *stream) Close() error {
	if s.closed || s.body == nil {
		s.closed = true
		return nil
	}
	s.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	_, _ = apart(ctx, s.mount.client, func() (none struct{}, err error) { // it was only read
		return none, s.body.Close()
	}, func(struct{}) {})
	return nil
}
