package mounttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	neturl "net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/dagstore/dagstore/mount"
)

// canonical is the alphabet of a URL. The fragment is that of a section.
const canonical = `^[a-z][a-z0-9+.-]*:([!$&-;=?-Z_a-z~\[\]]|%[0-9A-F]{2})*(#bytes=[0-9]+-[0-9]+)?$`

func (s *suite) url(context.Context) error {
	url := s.m.URL()
	if !regexp.MustCompile(canonical).MatchString(url) {
		return fmt.Errorf("%q is not canonical", url)
	}
	u, err := neturl.Parse(url)
	if err != nil {
		return err
	}
	if _, has := u.User.Password(); has {
		return errors.New("it holds a password")
	}
	for range 10 {
		if again := s.m.URL(); again != url {
			return fmt.Errorf("it was %q and is %q", url, again)
		}
	}
	return nil
}

func (s *suite) reopen(ctx context.Context) error {
	url := s.m.URL()
	again, err := s.reg.Open(url)
	if err != nil {
		return err
	}
	if got := again.URL(); got != url {
		return fmt.Errorf("the mount of %q says that it is %q", url, got)
	}
	a, err := s.m.Stat(ctx)
	if err != nil {
		return err
	}
	b, err := again.Stat(ctx)
	if err != nil {
		return err
	}
	if !sameStat(a, b) {
		return fmt.Errorf("Stat is %+v, of the mount opened again %+v", a, b)
	}
	return readStream(whole(ctx, again), s.want, 4096)
}

func sameStat(a, b mount.Stat) bool {
	t := a.ModTime.Equal(b.ModTime)
	a.ModTime = b.ModTime
	return t && a == b
}

func (s *suite) stat(ctx context.Context) error {
	first, err := s.m.Stat(ctx)
	if err != nil {
		return err
	}
	if first.Size != -1 && first.Size != int64(len(s.want)) {
		return fmt.Errorf("size is %d, not %d", first.Size, len(s.want))
	}
	if _, ok := s.m.(mount.RangeOpener); first.Ranges && !ok {
		return errors.New("it promises ranges, and the mount is no RangeOpener")
	}
	for range 3 {
		again, err := s.m.Stat(ctx)
		if err != nil {
			return err
		}
		if !sameStat(first, again) {
			return fmt.Errorf("it was %+v and is %+v", first, again)
		}
	}
	return nil
}

func (s *suite) stream(ctx context.Context) error {
	for _, size := range []int{1, 7, 512, 64 << 10, len(s.want), len(s.want) + 1} {
		if size == 0 || size < len(s.want)/10_000 {
			continue // it would take all day
		}
		if err := readStream(whole(ctx, s.m), s.want, size); err != nil {
			return fmt.Errorf("reading %d bytes at a time: %w", size, err)
		}
	}
	return s.twoStreams(ctx)
}

// twoStreams reads one stream while another stands in the middle.
func (s *suite) twoStreams(ctx context.Context) error {
	first, err := opened(whole(ctx, s.m))
	if err != nil {
		return err
	}
	defer first.Close()
	half := make([]byte, len(s.want)/2)
	if _, err := io.ReadFull(first, half); err != nil {
		return err
	}
	if err := readStream(whole(ctx, s.m), s.want, 4096); err != nil {
		return fmt.Errorf("a second stream: %w", err)
	}
	if err := drain(first, s.want[len(half):], 4096); err != nil {
		return fmt.Errorf("a stream, after another was read: %w", err)
	}
	return nil
}

func (s *suite) close(ctx context.Context) error {
	for _, at := range marks(len(s.want)) {
		r, err := opened(whole(ctx, s.m))
		if err != nil {
			return err
		}
		_, err = io.CopyN(io.Discard, r, int64(at))
		if closed := r.Close(); closed != nil {
			return fmt.Errorf("after %d bytes: %w", at, closed)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *suite) file(ctx context.Context) error {
	f, err := mount.OpenFile(ctx, s.m)
	if errors.Is(err, mount.ErrNotLocal) {
		if _, ok := s.m.(mount.FileOpener); ok {
			return err
		}
		return nil
	}
	if err != nil {
		return err
	}
	if f == nil {
		return errors.New("neither a file nor an error")
	}
	err = readFile(f, s.want)
	if closed := f.Close(); err == nil && closed != nil {
		err = fmt.Errorf("close: %w", closed)
	}
	return err
}

// section cuts sections, of sections too, and tests them as the mounts that
// they are. A mount that is a section itself has been tested by then.
func (s *suite) section(ctx context.Context) error {
	n := len(s.want)
	if n < 3 || strings.Contains(s.m.URL(), "#") {
		return nil
	}
	st, err := s.m.Stat(ctx)
	if err != nil {
		return err
	}
	cuts := []mount.Mount{mount.Section(s.m, 0, int64(n))} // needs no ranges
	wants := [][]byte{s.want}
	if st.Ranges {
		middle := mount.Section(s.m, 1, int64(n-2))
		cuts = append(cuts, middle, mount.Section(middle, int64(n-3), 1))
		wants = append(wants, s.want[1:n-1], s.want[n-2:n-1])
	}
	for i, cut := range cuts {
		inner := *s
		inner.m, inner.want = cut, wants[i]
		for _, l := range laws() {
			if l.name == "concurrent" || l.name == "cancel" {
				continue
			}
			if err := l.check(&inner, ctx); err != nil {
				return fmt.Errorf("%d bytes of it: %s: %w", len(inner.want), l.name, err)
			}
		}
	}
	if _, err := mount.Section(s.m, 1, int64(n)).Stat(ctx); st.Size >= 0 && !errors.Is(err, mount.ErrRange) {
		return fmt.Errorf("Stat of a section over the end gives %w, not mount.ErrRange", orNil(err))
	}
	return nil
}

func (s *suite) concurrent(ctx context.Context) error {
	const goroutines = 8
	var (
		wg   sync.WaitGroup
		errs [goroutines]error
	)
	shared, err := mount.OpenFile(ctx, s.m)
	if err != nil && !errors.Is(err, mount.ErrNotLocal) {
		return err
	}
	for i := range errs {
		wg.Go(func() {
			errs[i] = s.guard(ctx, func() error { return s.everything(ctx, shared) })
		})
	}
	wg.Wait()
	err = errors.Join(errs[:]...)
	if shared != nil {
		err = errors.Join(err, shared.Close())
	}
	return err
}

// everything is what each of many goroutines does. They share one file.
func (s *suite) everything(ctx context.Context, shared mount.File) error {
	for _, check := range []func(context.Context) error{s.url, s.stat, s.ranges, s.file} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	if shared != nil {
		if err := readFile(shared, s.want); err != nil {
			return err
		}
	}
	return readStream(whole(ctx, s.m), s.want, 4096)
}
