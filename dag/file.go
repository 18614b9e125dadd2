package dag

import (
	"errors"
	"io"
	"io/fs"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"
)

// maxDepth is how many nodes may lie between a file and its bytes. Ten, of a
// hundred parts each, have more bytes than there are.
const maxDepth = 64

// firstRead is how much memory is made for a file before anything of it was
// read.
const firstRead = 1 << 20

var (
	errWhence   = errors.New("a whence that is none")
	errNegative = errors.New("an offset before the beginning")
)

// A File is an open file of an [FS]. ReadAt may be called by many goroutines at
// once; Read, Seek and WriteTo share one position, and wait for each other. It
// reads block by block, each checked by its source, and keeps the last one, so
// that reading on in small pieces reads no block twice.
type File struct {
	fs     *FS
	name   string
	info   fs.FileInfo
	node   *node // nil: a raw block
	closed atomic.Bool
	way    atomic.Pointer[way]

	mu  sync.Mutex
	pos int64
}

var (
	_ fs.File       = (*File)(nil)
	_ io.ReaderAt   = (*File)(nil)
	_ io.ReadSeeker = (*File)(nil)
	_ io.WriterTo   = (*File)(nil)
)

// A way is the nodes from a file to some of its bytes. It is never changed.
type way struct {
	nodes []*node
	off   int64 // of the bytes of the last, in the file
}

// bytes returns the bytes of the last node that begin with off, if they do.
func (w *way) bytes(off int64) []byte {
	if w == nil || off < w.off {
		return nil
	}
	data := w.nodes[len(w.nodes)-1].data
	if off-w.off >= int64(len(data)) {
		return nil
	}
	return data[off-w.off:]
}

// Stat describes the file.
func (f *File) Stat() (fs.FileInfo, error) {
	if f.closed.Load() {
		return nil, fail("stat", f.name, fs.ErrClosed)
	}
	return f.info, nil
}

// Close ends the use of the file. There is nothing to be closed; later calls
// give [fs.ErrClosed].
func (f *File) Close() error {
	if f.closed.Swap(true) {
		return fail("close", f.name, fs.ErrClosed)
	}
	f.way.Store(nil)
	return nil
}

// Read reads from the position on: as much as the next block has, or p holds.
func (f *File) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(p) == 0 {
		return 0, f.usable("read")
	}
	data, err := f.at(f.pos)
	n := copy(p, data)
	f.pos += int64(n)
	return n, err
}

// ReadAt implements [io.ReaderAt].
func (f *File) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fail("read", f.name, errNegative)
	}
	for n < len(p) {
		data, err := f.at(off + int64(n))
		n += copy(p[n:], data)
		if err != nil {
			return n, err
		}
	}
	return n, f.usable("read")
}

// Seek implements [io.Seeker]. A position behind the end is one from which
// nothing can be read.
func (f *File) Seek(offset int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.usable("seek"); err != nil {
		return 0, err
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += f.pos
	case io.SeekEnd:
		offset += f.info.Size()
	default:
		return 0, fail("seek", f.name, errWhence)
	}
	if offset < 0 {
		return 0, fail("seek", f.name, errNegative)
	}
	f.pos = offset
	return offset, nil
}

// WriteTo writes what follows the position to w, block by block and without a
// copy of its own. An error of w is returned as it is.
func (f *File) WriteTo(w io.Writer) (written int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		data, err := f.at(f.pos)
		if errors.Is(err, io.EOF) {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		n, err := w.Write(data)
		f.pos += int64(n)
		written += int64(n)
		switch {
		case err != nil:
			return written, err
		case n < len(data):
			return written, io.ErrShortWrite
		}
	}
}

// all returns the whole file.
func (f *File) all() ([]byte, error) {
	out := make([]byte, 0, min(f.info.Size(), firstRead))
	for {
		data, err := f.at(int64(len(out)))
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		out = append(out, data...)
	}
}

func (f *File) usable(op string) error {
	if f.closed.Load() {
		return fail(op, f.name, fs.ErrClosed)
	}
	return nil
}

// at returns the bytes of the block that off is in, from there on: one at
// least, and they must not be changed. Its error is [io.EOF] at the end, or a
// [*fs.PathError].
func (f *File) at(off int64) ([]byte, error) {
	if err := f.usable("read"); err != nil {
		return nil, err
	}
	if off >= f.info.Size() {
		return nil, io.EOF
	}
	last := f.way.Load()
	if data := last.bytes(off); data != nil {
		return data, nil
	}
	w, err := f.find(last, off)
	if err != nil {
		return nil, fail("read", f.name, err)
	}
	f.way.Store(w)
	return w.bytes(off), nil
}

// find goes down from the file to the block that off is in. What it shares with
// the way before is not read again.
func (f *File) find(last *way, off int64) (*way, error) {
	n := f.node
	if n == nil {
		var err error
		if n, err = f.part(last, 0, f.info.Sys().(cid.Cid)); err != nil { // see info
			return nil, err
		}
		if n.size != f.info.Size() {
			return nil, broken(n.cid, "%d bytes instead of %d", n.size, f.info.Size())
		}
	}
	w := &way{nodes: []*node{n}}
	for len(w.nodes) <= maxDepth {
		rest := off - w.off
		if rest < int64(len(n.data)) {
			return w, nil
		}
		i := sort.Search(len(n.links), func(i int) bool { return n.links[i].end > rest })
		from := int64(len(n.data))
		if i > 0 {
			from = n.links[i-1].end
		}
		l := n.links[i]
		below, err := f.part(last, len(w.nodes), l.cid)
		switch {
		case err != nil:
			return nil, err
		case below.kind != file:
			return nil, broken(l.cid, "it is part of a file and no file")
		case below.size != l.end-from:
			return nil, broken(l.cid, "%d bytes, where its file has %d", below.size, l.end-from)
		}
		w.nodes, w.off, n = append(w.nodes, below), w.off+from, below
	}
	return nil, broken(f.node.cid, "a file of more than %d levels", maxDepth)
}

// part reads a node, unless it lies on the way before, at the same depth.
func (f *File) part(last *way, depth int, c cid.Cid) (*node, error) {
	if last != nil && depth < len(last.nodes) && last.nodes[depth].cid.Equals(c) {
		return last.nodes[depth], nil
	}
	return f.fs.read(f.fs.ctx, c)
}
