package zstdmount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/dagstore/dagstore/mount"
)

var (
	// ErrDamaged is wrapped by the error about bytes that are not Zstandard, or
	// not what they say of themselves. A source that ends within a frame gives
	// io.ErrUnexpectedEOF.
	ErrDamaged = errors.New("zstdmount: damaged")

	// ErrLimit is wrapped by the error about a source that wants more than
	// the [Config] allows.
	ErrLimit = errors.New("zstdmount: over the limit")
)

// Config bounds what a compressed source may cost. The zero value of a field
// means its default.
type Config struct {
	// MaxWindow is how far back a frame may reach, in bytes, which is how much
	// of it a stream holds in memory. Default: 8 MiB, as RFC 8878 recommends;
	// what "zstd --ultra" or "zstd --long" has packed may want up to 128 MiB.
	MaxWindow int64

	// MaxRatio is how many bytes may come for one compressed byte. Default: 1024.
	MaxRatio int64

	// MaxSize is how many bytes a CAR may have. Default: 1 TiB.
	MaxSize int64
}

const (
	defaultWindow = 8 << 20
	defaultRatio  = 1024
	defaultSize   = 1 << 40

	// freeRatio is how many bytes may come whatever the ratio is.
	freeRatio = 4 << 20
)

func (c Config) withDefaults() Config {
	if c.MaxWindow <= 0 {
		c.MaxWindow = defaultWindow
	}
	c.MaxWindow = max(c.MaxWindow, zstd.MinWindowSize)
	if c.MaxRatio <= 0 {
		c.MaxRatio = defaultRatio
	}
	if c.MaxSize <= 0 {
		c.MaxSize = defaultSize
	}
	return c
}

// Wrap is the Wrap of a Config with its defaults.
func Wrap(open mount.Opener) mount.Opener { return Config{}.Wrap(open) }

// Wrap returns the opener of URLs that are "zstd+" and a URL of open. Its mounts
// are those of open, decompressed. They are no [mount.FileOpener]; they are a
// [mount.RangeOpener] and a [mount.SiblingOpener] if what they wrap is. A
// sibling lies beside the compressed source and is not compressed itself:
// beside "a.car.zst", with ".idx", it is the plain "a.car.zst.idx".
//
// What was read of a source that has a version (the size, and the seek table)
// is remembered for it, in at most 16 MiB for each Wrap.
func (c Config) Wrap(open mount.Opener) mount.Opener {
	w := &wrapper{cfg: c.withDefaults(), open: open, known: newMemory()}
	return w.mount
}

// wrapper is what all mounts of one Wrap share.
type wrapper struct {
	cfg      Config
	open     mount.Opener
	known    *memory
	decoders sync.Pool // of *zstd.Decoder
}

const prefix = "zstd+"

func (w *wrapper) mount(url string) (mount.Mount, error) {
	inner, ok := strings.CutPrefix(url, prefix)
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", mount.ErrURL, prefix)
	}
	m, err := w.open(inner)
	if err != nil {
		return nil, err
	}
	if m == nil {
		return nil, fmt.Errorf("%w: the opener below made nothing of it", mount.ErrURL)
	}
	return w.over(m), nil
}

func (w *wrapper) over(m mount.Mount) mount.Mount {
	f := file{w: w, inner: m}
	_, ranges := m.(mount.RangeOpener)
	_, siblings := m.(mount.SiblingOpener)
	switch {
	case ranges && siblings:
		return rangedBesideFile{rangedFile{f}}
	case ranges:
		return rangedFile{f}
	case siblings:
		return besideFile{f}
	}
	return f
}

// file is a mount over one that offers neither ranges nor siblings. The types
// that embed it add what that offers.
type file struct {
	w     *wrapper
	inner mount.Mount
}

type (
	rangedFile       struct{ file }
	besideFile       struct{ file }
	rangedBesideFile struct{ rangedFile }
)

var (
	_ mount.RangeOpener   = rangedBesideFile{}
	_ mount.SiblingOpener = rangedBesideFile{}
)

// URL implements [mount.Mount].
func (f file) URL() string { return prefix + f.inner.URL() }

// Stat implements [mount.Mount].
func (f file) Stat(ctx context.Context) (mount.Stat, error) {
	st, known, err := f.facts(ctx)
	if err != nil {
		return mount.Stat{}, err
	}
	st.Size = known.size
	st.Ranges = st.Ranges && known.table.fitsRanges()
	return st, nil
}

// Open implements [mount.Mount].
func (f file) Open(ctx context.Context) (io.ReadCloser, error) {
	st, known, err := f.facts(ctx)
	if err != nil {
		return nil, err
	}
	var src io.ReadCloser
	if st.Ranges && st.Version != "" { // so that it is what was asked about
		src, err = mount.OpenRange(ctx, f.inner, mount.Range{Length: -1, Version: st.Version})
	}
	if src == nil && (err == nil || errors.Is(err, mount.ErrNoRanges)) {
		src, err = f.inner.Open(ctx)
	}
	if err != nil {
		return nil, err
	}
	return f.stream(ctx, src, known)
}

// OpenRange implements [mount.RangeOpener].
func (f rangedFile) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	st, known, err := f.facts(ctx)
	switch {
	case err != nil:
		return nil, err
	case !st.Ranges || !known.table.fitsRanges():
		return nil, f.fail(fmt.Errorf("%w: it has no seek table that helps", mount.ErrNoRanges))
	case r.Version != "" && r.Version != st.Version:
		return nil, f.fail(fmt.Errorf("%w: it has version %q, not %q", mount.ErrChanged, st.Version, r.Version))
	}
	if r, err = r.Resolve(known.size); err != nil {
		return nil, f.fail(err)
	}
	if r.Length == 0 {
		return &stream{file: f.file, ctx: ctx, src: io.NopCloser(strings.NewReader(""))}, nil
	}
	first, last := known.table.find(r.Offset), known.table.find(r.Offset+r.Length-1)
	begin, _ := known.table.at(first)
	end, _ := known.table.at(last + 1)
	src, err := mount.OpenRange(ctx, f.inner, mount.Range{Offset: begin, Length: end - begin, Version: st.Version})
	if err != nil {
		return nil, err
	}
	return f.part(ctx, src, known.table, first, r)
}

// OpenSibling implements [mount.SiblingOpener].
func (f besideFile) OpenSibling(suffix string) (mount.Mount, error) { return f.sibling(suffix) }

// OpenSibling implements [mount.SiblingOpener].
func (f rangedBesideFile) OpenSibling(suffix string) (mount.Mount, error) { return f.sibling(suffix) }

func (f file) sibling(suffix string) (mount.Mount, error) {
	return mount.OpenSibling(f.inner, suffix)
}

func (f file) fail(err error) error { return fmt.Errorf("zstdmount: %s: %w", f.URL(), err) }
