package sftpmount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	"github.com/pkg/sftp"

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
	info, c, ch, err := with(ctx, f,
		func(s *sftp.Client) (fs.FileInfo, error) { return s.Stat(f.place.path) },
		func(fs.FileInfo) {})
	if err != nil {
		return mount.Stat{}, f.fail("stat", err)
	}
	c.leave(ch)
	if err := regular(info); err != nil {
		return mount.Stat{}, f.fail("stat", err)
	}
	return mount.Stat{Size: info.Size(), Version: version(info), ModTime: info.ModTime(), Ranges: true}, nil
}

// Open implements [mount.Mount].
func (f *file) Open(ctx context.Context) (io.ReadCloser, error) {
	return f.OpenRange(ctx, mount.Range{Length: -1})
}

// opened is a file that is open, and how it was then.
type opened struct {
	file *sftp.File
	info fs.FileInfo
}

// OpenRange implements [mount.RangeOpener].
func (f *file) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	o, c, ch, err := with(ctx, f, func(s *sftp.Client) (opened, error) { return openFile(s, f.place.path) }, func(o opened) {
		_ = o.file.Close() // nobody wants it any more
	})
	if err != nil {
		return nil, f.fail("open", err)
	}
	st := &stream{mount: f, ctx: ctx, conn: c, channel: ch, file: o.file}
	err = regular(o.info)
	switch is := version(o.info); {
	case err != nil:
	case r.Version != "" && r.Version != is:
		err = fmt.Errorf("%w: it has version %s, not %s", mount.ErrChanged, is, r.Version)
	default:
		r, err = r.Resolve(o.info.Size())
	}
	if err != nil {
		_ = st.Close() // it was not read
		return nil, f.fail("open", err)
	}
	st.at, st.left = r.Offset, r.Length
	return st, nil
}

func openFile(s *sftp.Client, path string) (opened, error) {
	file, err := s.Open(path)
	if err != nil {
		return opened{}, err
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close() // it was not read
		return opened{}, err
	}
	return opened{file, info}, nil
}

// maxTries is how many connections one call may find lost.
const maxTries = 3

// with calls do with a channel, which its caller has to leave if there is no
// error. A connection that was there before may turn out to be lost: then
// another one is made. Late is given what comes when nobody waits any more.
func with[T any](ctx context.Context, f *file, do func(*sftp.Client) (T, error), late func(T)) (v T, c *conn, ch *channel, err error) {
	h := f.hosts.of(f.place)
	for tries := 1; ; tries++ {
		if err := ctx.Err(); err != nil {
			return v, nil, nil, err
		}
		c, old, err := h.get(ctx)
		if err != nil {
			return v, nil, nil, err
		}
		ch := c.use()
		v, err = call(ctx, c, func() (T, error) { return do(ch.sftp) }, late)
		if err == nil {
			return v, c, ch, nil
		}
		lost := !answered(err) && ctx.Err() == nil
		if lost { // what is not understood is of no use either
			h.forget(c)
			c.kill()
		}
		c.leave(ch)
		switch {
		case ctx.Err() != nil:
			return v, nil, nil, ctx.Err()
		case !lost || !old || tries == maxTries:
			return v, nil, nil, c.explain(err)
		}
	}
}

// regular returns an error unless info is of a file that can be read.
func regular(info fs.FileInfo) error {
	switch {
	case !info.Mode().IsRegular():
		return ErrNotRegular
	case info.Size() < 0:
		return errors.New("the server says that it has more bytes than there can be")
	}
	return nil
}

// version is what Client.Open says of it.
func version(info fs.FileInfo) string {
	return strconv.FormatInt(info.Size(), 16) + "-" + strconv.FormatInt(info.ModTime().Unix(), 16)
}

func (f *file) fail(op string, err error) error {
	return fmt.Errorf("sftpmount: %s %s: %w", op, f.URL(), err)
}
