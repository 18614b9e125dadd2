package mounttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var car = []byte(strings.Repeat("sixteen bytes.. ", 100))

// bent is a good mount with some methods replaced. Those that are nil are the
// ones of the good mount.
type bent struct {
	mount.RangeOpener
	url       func() string
	stat      func(context.Context) (mount.Stat, error)
	open      func(context.Context) (io.ReadCloser, error)
	openRange func(context.Context, mount.Range) (io.ReadCloser, error)
	openFile  func(context.Context) (mount.File, error)
	sibling   func(suffix string) (mount.Mount, error)
}

func (b *bent) URL() string {
	if b.url != nil {
		return b.url()
	}
	return b.RangeOpener.URL()
}

func (b *bent) Stat(ctx context.Context) (mount.Stat, error) {
	if b.stat != nil {
		return b.stat(ctx)
	}
	return b.RangeOpener.Stat(ctx)
}

func (b *bent) Open(ctx context.Context) (io.ReadCloser, error) {
	if b.open != nil {
		return b.open(ctx)
	}
	return b.RangeOpener.Open(ctx)
}

func (b *bent) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	if b.openRange != nil {
		return b.openRange(ctx, r)
	}
	return b.RangeOpener.OpenRange(ctx, r)
}

func (b *bent) OpenFile(ctx context.Context) (mount.File, error) {
	if b.openFile != nil {
		return b.openFile(ctx)
	}
	return mount.OpenFile(ctx, b.RangeOpener)
}

// OpenSibling has none by default: the registry below knows one mount only.
func (b *bent) OpenSibling(suffix string) (mount.Mount, error) {
	if b.sibling != nil {
		return b.sibling(suffix)
	}
	return nil, mount.ErrNoSiblings
}

// bend returns a registry, and the mount that it makes of every "mem" URL.
func bend(how func(good mount.RangeOpener, b *bent)) (mount.Registry, mount.Mount) {
	var cars memmount.Set
	b := &bent{RangeOpener: cars.Put("car", car).(mount.RangeOpener)}
	how(b.RangeOpener, b)
	return mount.Registry{"mem": func(string) (mount.Mount, error) { return b, nil }}, b
}

// impatient runs the suite with little time.
func impatient(t *testing.T, reg mount.Registry, m mount.Mount) error {
	t.Helper()
	s := &suite{reg: reg, m: m, want: car, patience: 50 * time.Millisecond, lawTime: 5 * time.Second}
	return s.run(t.Context())
}

// reader makes a stream of one Read method.
type reader struct {
	read  func([]byte) (int, error)
	close func() error
}

func (r reader) Read(p []byte) (int, error) { return r.read(p) }

func (r reader) Close() error {
	if r.close == nil {
		return nil
	}
	return r.close()
}

// file makes a File of one ReadAt method.
type file struct {
	readAt func([]byte, int64) (int, error)
	close  error
}

func (f file) ReadAt(p []byte, off int64) (int, error) { return f.readAt(p, off) }
func (f file) Close() error                            { return f.close }

func bodyOf(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }

var errOwn = errors.New("an error of the mount")

// Every law is broken here by at least one mount, and Test has to say so.
func TestEveryLawCanBeBroken(t *testing.T) {
	broken := map[string]bool{}
	release := make(chan struct{}) // of those that hang
	defer close(release)
	for _, c := range slices.Concat(brokenFacts(), brokenSiblings(), brokenReads(), brokenCancels(), hanging(release)) {
		broken[c.law] = true
		t.Run(c.law+"/"+c.name, func(t *testing.T) {
			reg, m := bend(c.bend)
			err := impatient(t, reg, m)
			if err == nil {
				t.Fatal("no law is said to be broken")
			}
			parts := err.(interface{ Unwrap() []error }).Unwrap()
			found := false
			for _, part := range parts {
				name, _, _ := strings.Cut(part.Error(), ": ")
				found = found || name == c.law
				if !isLaw(name) {
					t.Errorf("a part does not begin with a law: %v", part)
				}
			}
			if !found {
				t.Errorf("law %q is not said to be broken, but: %v", c.law, err)
			}
		})
	}
	for _, l := range laws() {
		if !broken[l.name] {
			t.Errorf("no mount here breaks law %q", l.name)
		}
	}
}

func isLaw(name string) bool {
	for _, l := range laws() {
		if l.name == name {
			return true
		}
	}
	return false
}

type brokenCase struct {
	law, name string
	bend      func(good mount.RangeOpener, b *bent)
}

func constURL(url string) func(mount.RangeOpener, *bent) {
	return func(_ mount.RangeOpener, b *bent) { b.url = func() string { return url } }
}

func statWith(change func(n int64, st *mount.Stat)) func(mount.RangeOpener, *bent) {
	var calls atomic.Int64
	return func(good mount.RangeOpener, b *bent) {
		b.stat = func(ctx context.Context) (mount.Stat, error) {
			st, err := good.Stat(ctx)
			change(calls.Add(1), &st)
			return st, err
		}
	}
}

func brokenFacts() []brokenCase {
	return []brokenCase{
		{"url", "space", constURL("mem:a car")},
		{"url", "lower-case escape", constURL("mem:a%2fcar")},
		{"url", "not ASCII", constURL("mem:é")},
		{"url", "no scheme", constURL("/srv/car")},
		{"url", "scheme in upper case", constURL("MEM:car")},
		{"url", "password", constURL("mem://ann:secret@host/car")},
		{"url", "fragment", constURL("mem:car#here")},
		{"url", "changes", func(_ mount.RangeOpener, b *bent) {
			var n atomic.Int64
			b.url = func() string { return fmt.Sprintf("mem:%d", n.Add(1)) }
		}},
		{"url", "panics", func(_ mount.RangeOpener, b *bent) { b.url = func() string { panic(errOwn) } }},
		{"reopen", "unknown scheme", constURL("tape:car")},
		{"stat", "size", statWith(func(_ int64, st *mount.Stat) { st.Size++ })},
		{"stat", "changes", statWith(func(n int64, st *mount.Stat) { st.Version = fmt.Sprint(n) })},
		{"reopen", "stat differs", statWith(func(n int64, st *mount.Stat) { st.ModTime = st.ModTime.Add(time.Duration(n)) })},
		{"stat", "fails", func(_ mount.RangeOpener, b *bent) {
			b.stat = func(context.Context) (mount.Stat, error) { return mount.Stat{}, errOwn }
		}},
		{"version", "is not asked", func(good mount.RangeOpener, b *bent) {
			b.openRange = func(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
				r.Version = ""
				return good.OpenRange(ctx, r)
			}
		}},
		{"version", "is refused", func(good mount.RangeOpener, b *bent) {
			b.openRange = func(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
				if r.Version != "" {
					return nil, mount.ErrChanged
				}
				return good.OpenRange(ctx, r)
			}
		}},
		{"section", "mount has one version only from byte 0", func(good mount.RangeOpener, b *bent) {
			b.openRange = func(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
				if r.Version != "" && r.Offset > 0 {
					return nil, errOwn
				}
				return good.OpenRange(ctx, r)
			}
		}},
	}
}

func openWith(open func(ctx context.Context, good io.ReadCloser) io.ReadCloser) func(mount.RangeOpener, *bent) {
	return func(good mount.RangeOpener, b *bent) {
		b.open = func(ctx context.Context) (io.ReadCloser, error) {
			r, err := good.Open(ctx)
			if err != nil {
				return nil, err
			}
			return open(ctx, r), nil
		}
	}
}

func rangeWith(change func(*mount.Range)) func(mount.RangeOpener, *bent) {
	return func(good mount.RangeOpener, b *bent) {
		b.openRange = func(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
			change(&r)
			return good.OpenRange(ctx, r)
		}
	}
}

func fileWith(readAt func(f mount.File, p []byte, off int64) (int, error)) func(mount.RangeOpener, *bent) {
	return func(good mount.RangeOpener, b *bent) {
		b.openFile = func(ctx context.Context) (mount.File, error) {
			f, err := mount.OpenFile(ctx, good)
			if err != nil {
				return nil, err
			}
			return file{readAt: func(p []byte, off int64) (int, error) { return readAt(f, p, off) }}, nil
		}
	}
}

func brokenReads() []brokenCase {
	short := car[:len(car)-1]
	flipped := bytes.Clone(car)
	flipped[77] ^= 1
	return []brokenCase{
		{"stream", "short", openWith(func(context.Context, io.ReadCloser) io.ReadCloser { return bodyOf(short) })},
		{"stream", "long", openWith(func(context.Context, io.ReadCloser) io.ReadCloser { return bodyOf(append(car[:len(car):len(car)], 1)) })},
		{"stream", "one bit", openWith(func(context.Context, io.ReadCloser) io.ReadCloser { return bodyOf(flipped) })},
		{"stream", "nothing", func(_ mount.RangeOpener, b *bent) {
			b.open = func(context.Context) (io.ReadCloser, error) { return nil, nil }
		}},
		{"stream", "no progress", openWith(func(context.Context, io.ReadCloser) io.ReadCloser {
			return reader{read: func([]byte) (int, error) { return 0, nil }}
		})},
		{"stream", "reads more than asked", openWith(func(context.Context, io.ReadCloser) io.ReadCloser {
			return reader{read: func(p []byte) (int, error) { return len(p) + 1, nil }}
		})},
		{"stream", "goes on after the end", openWith(func(_ context.Context, good io.ReadCloser) io.ReadCloser {
			ended := false
			return reader{read: func(p []byte) (int, error) {
				if ended {
					return 0, errOwn
				}
				n, err := good.Read(p)
				ended = err == io.EOF
				return n, err
			}}
		})},
		{"stream", "two share a place", func(_ mount.RangeOpener, b *bent) {
			var mu sync.Mutex // the law is broken even without a data race
			shared := bytes.NewReader(car)
			b.open = func(context.Context) (io.ReadCloser, error) {
				mu.Lock()
				defer mu.Unlock()
				if shared.Len() == 0 {
					shared.Reset(car)
				}
				return reader{read: func(p []byte) (int, error) {
					mu.Lock()
					defer mu.Unlock()
					return shared.Read(p)
				}}, nil
			}
		}},
		{"stream", "panics", openWith(func(context.Context, io.ReadCloser) io.ReadCloser {
			return reader{read: func([]byte) (int, error) { panic(errOwn) }}
		})},
		{"close", "fails before the end", openWith(func(_ context.Context, good io.ReadCloser) io.ReadCloser {
			return reader{read: good.Read, close: func() error {
				if n, _ := good.Read(make([]byte, 1)); n > 0 {
					return errOwn
				}
				return nil
			}}
		})},
		{"range", "from the beginning", rangeWith(func(r *mount.Range) { r.Offset = 0 })},
		{"range", "none, against its word", func(_ mount.RangeOpener, b *bent) {
			b.openRange = func(context.Context, mount.Range) (io.ReadCloser, error) { return nil, mount.ErrNoRanges }
		}},
		{"bounds", "cut to what there is", rangeWith(func(r *mount.Range) {
			r.Offset = max(0, min(r.Offset, int64(len(car))))
			r.Length = max(-1, min(r.Length, int64(len(car))-r.Offset))
		})},
		{"bounds", "own error", func(good mount.RangeOpener, b *bent) {
			b.openRange = func(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
				body, err := good.OpenRange(ctx, r)
				if errors.Is(err, mount.ErrRange) {
					err = errOwn
				}
				return body, err
			}
		}},
		{"file", "no io.EOF", fileWith(func(f mount.File, p []byte, off int64) (int, error) {
			n, err := f.ReadAt(p, off)
			if err == io.EOF {
				err = nil
			}
			return n, err
		})},
		{"file", "short in the middle", fileWith(func(f mount.File, p []byte, off int64) (int, error) {
			return f.ReadAt(p[:min(len(p), 100)], off)
		})},
		{"file", "one bit", fileWith(func(_ mount.File, p []byte, off int64) (int, error) {
			return bytes.NewReader(flipped).ReadAt(p, off)
		})},
		{"file", "negative offset", fileWith(func(f mount.File, p []byte, off int64) (int, error) {
			return f.ReadAt(p, max(off, 0))
		})},
		{"file", "not local", func(_ mount.RangeOpener, b *bent) {
			b.openFile = func(context.Context) (mount.File, error) { return nil, mount.ErrNotLocal }
		}},
		{"file", "close fails", func(good mount.RangeOpener, b *bent) {
			b.openFile = func(ctx context.Context) (mount.File, error) {
				f, err := mount.OpenFile(ctx, good)
				if err != nil {
					return nil, err
				}
				return file{readAt: f.ReadAt, close: errOwn}, nil
			}
		}},
		{"concurrent", "one at a time", func(good mount.RangeOpener, b *bent) {
			var open atomic.Int64
			b.open = func(ctx context.Context) (io.ReadCloser, error) {
				n := open.Add(1)
				time.Sleep(time.Millisecond) // so that the others open too
				r, err := good.Open(ctx)
				if err != nil {
					return nil, err
				}
				return reader{
					read: func(p []byte) (int, error) {
						if n > 2 || open.Load() > 2 {
							return 0, errOwn
						}
						return r.Read(p)
					},
					close: func() error { open.Add(-1); return nil },
				}, nil
			}
		}},
	}
}

func brokenCancels() []brokenCase {
	return []brokenCase{
		{"cancel", "stat does not ask", func(good mount.RangeOpener, b *bent) {
			b.stat = func(context.Context) (mount.Stat, error) { return good.Stat(context.Background()) }
		}},
		{"cancel", "open does not ask", func(good mount.RangeOpener, b *bent) {
			b.open = func(context.Context) (io.ReadCloser, error) { return good.Open(context.Background()) }
		}},
		{"cancel", "file does not ask", func(good mount.RangeOpener, b *bent) {
			b.openFile = func(context.Context) (mount.File, error) { return mount.OpenFile(context.Background(), good) }
		}},
		{"cancel", "range does not ask", func(good mount.RangeOpener, b *bent) {
			b.openRange = func(_ context.Context, r mount.Range) (io.ReadCloser, error) {
				return good.OpenRange(context.Background(), r)
			}
		}},
		{"cancel", "cut taken for complete", openWith(func(ctx context.Context, good io.ReadCloser) io.ReadCloser {
			return reader{read: func(p []byte) (int, error) {
				n, err := good.Read(p)
				if ctx.Err() != nil {
					return n, io.EOF
				}
				return n, err
			}}
		})},
		{"cancel", "own error", openWith(func(ctx context.Context, good io.ReadCloser) io.ReadCloser {
			return reader{read: func(p []byte) (int, error) {
				if ctx.Err() != nil {
					return 0, errOwn
				}
				return good.Read(p)
			}}
		})},
	}
}

// hanging are mounts that hang until release is closed.
func hanging(release <-chan struct{}) []brokenCase {
	return []brokenCase{
		{"cancel", "read hangs", openWith(func(ctx context.Context, good io.ReadCloser) io.ReadCloser {
			return reader{read: func(p []byte) (int, error) {
				if ctx.Err() != nil {
					<-release
				}
				return good.Read(p)
			}}
		})},
		{"cancel", "open hangs", func(good mount.RangeOpener, b *bent) {
			b.open = func(ctx context.Context) (io.ReadCloser, error) {
				if ctx.Err() != nil {
					<-release
				}
				return good.Open(ctx)
			}
		}},
	}
}

// A mount that is good is found good, with fewer abilities and vaguer facts too.
func TestGoodMountsPass(t *testing.T) {
	var cars memmount.Set
	good := cars.Put("car", car)
	for name, m := range map[string]mount.Mount{
		"all":                            good,
		"no file":                        struct{ mount.RangeOpener }{good.(mount.RangeOpener)},
		"section":                        mount.Section(good, 0, int64(len(car))),
		"no ranges, no size, no version": vague{good},
		"ranges after all":               struct{ vagueRanges }{vagueRanges{vague{good}}},
	} {
		t.Run(name, func(t *testing.T) {
			reg := mount.Registry{"mem": func(string) (mount.Mount, error) { return m, nil }}
			if name == "section" || name == "all" { // with more than one mount
				reg = mount.Registry{"mem": cars.Open}
			}
			if err := Test(t.Context(), reg, m, car); err != nil {
				t.Error(err)
			}
		})
	}
}

// vague knows little about its source.
type vague struct{ mount.Mount }

func (v vague) Stat(ctx context.Context) (mount.Stat, error) {
	_, err := v.Mount.Stat(ctx)
	return mount.Stat{Size: -1}, err
}

type vagueRanges struct{ vague }

func (v vagueRanges) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return nil, mount.ErrNoRanges
}

// A suite that is stopped says so, and soon.
func TestStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var cars memmount.Set
	err := Test(ctx, mount.Registry{"mem": cars.Open}, cars.Put("car", car), car)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
