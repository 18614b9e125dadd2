package dag

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
)

// together is how many entries of a folder are described at once.
const together = 256

// ReadDir returns what is in a folder, by name. An entry whose block cannot be
// had is [fs.ModeIrregular], and its Info says why. A name that no file can
// have, with a slash in it for example, is left out, as is the second of two
// that are alike; the error then wraps [ErrName], and comes with all others.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	at, err := f.find("readdir", name, true)
	if err != nil {
		return nil, err
	}
	if at.node == nil || !at.node.isFolder() {
		return nil, fail("readdir", name, errIsFile)
	}
	l := newListing(f, at.node)
	var all []fs.DirEntry
	var odd error
	for over := false; !over; {
		some, err := f.some(l, together)
		all = append(all, some...)
		over = err != nil && !errors.Is(err, ErrName)
		switch {
		case errors.Is(err, io.EOF):
		case over:
			odd = err // worse than a name
		default:
			odd = cmp.Or(odd, err)
		}
	}
	slices.SortStableFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	n := len(all)
	all = slices.CompactFunc(all, func(a, b fs.DirEntry) bool { return a.Name() == b.Name() })
	if len(all) < n && odd == nil {
		odd = fmt.Errorf("%w: there are two of one", ErrName)
	}
	if odd != nil {
		return all, fail("readdir", name, odd)
	}
	return all, nil
}

var errIsFile = errors.New("it is not a folder")

// some returns up to n entries, and io.EOF with the last. An error that wraps
// ErrName is of one that is left out, and does not end the listing. That the
// context has ended is no entry's own failure.
func (f *FS) some(l *listing, n int) ([]fs.DirEntry, error) {
	all, err := f.upTo(l, n)
	if over := f.ctx.Err(); over != nil {
		return nil, over
	}
	return all, err
}

func (f *FS) upTo(l *listing, n int) ([]fs.DirEntry, error) {
	var links []link
	var odd error
	for len(links) < n && odd == nil {
		e, ok, err := l.next(f.ctx)
		switch {
		case err != nil:
			return f.entries(links), err
		case !ok:
			return f.entries(links), io.EOF
		case !fs.ValidPath(e.name) || e.name == "." || strings.Contains(e.name, "/"):
			odd = fmt.Errorf("%w: %q", ErrName, e.name)
			continue
		}
		links = append(links, e)
	}
	return f.entries(links), odd
}

// entries describes links. What has to be read for it is read together, and
// once: the nodes may be more than are remembered.
func (f *FS) entries(links []link) []fs.DirEntry {
	var cids []cid.Cid
	for _, l := range links {
		if l.cid.Prefix().Codec == cid.DagProtobuf && f.nodes.get(l.cid) == nil {
			cids = append(cids, l.cid)
		}
	}
	known := make(map[cid.Cid]info)
	many(f.ctx, f.src, cids, func(c cid.Cid, block []byte) {
		if n, err := decode(c, block); err == nil {
			f.nodes.put(n)
			known[c] = n.info("")
		}
	})
	out := make([]fs.DirEntry, len(links))
	for i, l := range links {
		in, ok := known[l.cid]
		if in.name = l.name; !ok {
			at, err := f.spot(f.ctx, l.cid)
			if err == nil {
				in, err = f.info(f.ctx, l.name, at)
			}
			if err != nil {
				out[i] = lost{l.name, fail("lstat", l.name, err)}
				continue
			}
		}
		out[i] = fs.FileInfoToDirEntry(in)
	}
	return out
}

// lost is an entry that cannot be described.
type lost struct {
	name string
	err  error
}

// Name implements [fs.DirEntry].
func (e lost) Name() string { return e.name }

// IsDir implements [fs.DirEntry]: nobody knows.
func (e lost) IsDir() bool { return false }

// Type implements [fs.DirEntry].
func (e lost) Type() fs.FileMode { return fs.ModeIrregular }

// Info implements [fs.DirEntry].
func (e lost) Info() (fs.FileInfo, error) { return nil, e.err }

// info describes what is at a spot.
func (f *FS) info(ctx context.Context, name string, at spot) (info, error) {
	if at.node == nil {
		n, err := size(ctx, f.src, at.cid)
		return info{name: name, size: n, mode: defaultFile, cid: at.cid}, err
	}
	return at.node.info(name), nil
}

func (n *node) info(name string) info {
	in := info{name: name, size: n.size, mode: n.mode(), mtime: n.mtime, cid: n.cid}
	if n.kind == symlink {
		in.size = int64(len(n.data))
	}
	return in
}

type info struct {
	name  string
	size  int64
	mode  fs.FileMode
	mtime time.Time
	cid   cid.Cid
}

// Name implements [fs.FileInfo].
func (i info) Name() string { return i.name }

// Size implements [fs.FileInfo].
func (i info) Size() int64 { return i.size }

// Mode implements [fs.FileInfo].
func (i info) Mode() fs.FileMode { return i.mode }

// ModTime implements [fs.FileInfo].
func (i info) ModTime() time.Time { return i.mtime }

// IsDir implements [fs.FileInfo].
func (i info) IsDir() bool { return i.mode.IsDir() }

// Sys implements [fs.FileInfo]: it is the CID.
func (i info) Sys() any { return i.cid }

// openFolder is an open folder.
type openFolder struct {
	fs   *FS
	name string
	info fs.FileInfo

	mu      sync.Mutex
	listing *listing
	closed  bool
}

// Stat implements [fs.File].
func (d *openFolder) Stat() (fs.FileInfo, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fail("stat", d.name, fs.ErrClosed)
	}
	return d.info, nil
}

// Read implements [fs.File]: it always fails.
func (d *openFolder) Read([]byte) (int, error) { return 0, fail("read", d.name, errIsFolder) }

// Close implements [fs.File].
func (d *openFolder) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fail("close", d.name, fs.ErrClosed)
	}
	d.closed = true
	return nil
}

// ReadDir implements [fs.ReadDirFile]. The order is that in which the entries
// lie, so that a folder of millions is read piece by piece.
func (d *openFolder) ReadDir(n int) ([]fs.DirEntry, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, fail("readdir", d.name, fs.ErrClosed)
	}
	var all []fs.DirEntry
	for n <= 0 || len(all) < n {
		want := together
		if n > 0 {
			want = min(want, n-len(all))
		}
		some, err := d.fs.some(d.listing, want)
		all = append(all, some...)
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return all, fail("readdir", d.name, err)
		case n > 0 && len(all) == 0:
			return nil, io.EOF
		default:
			return all, nil
		}
	}
	return all, nil
}
