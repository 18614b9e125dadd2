package dag

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
)

const (
	maxSymlinks = 40      // that are followed on one way, as Linux does
	maxTarget   = 4 << 10 // bytes of a symlink's target, as there
)

// An FS is what lies below a root as UnixFS: files of any layout, folders,
// sharded ones too, symlinks, and raw blocks, which are files. If the root is a
// file, that is what "." names. It may be used by many goroutines at once, and
// keeps nothing open; what it has decoded last, up to 16 MiB, it remembers.
//
// Every error is a [*fs.PathError]. It wraps [fs.ErrNotExist] if a folder has no
// such name, [ErrUnixFS] if a block is not what it should be, [ErrSymlink], or
// what the Source gave: ipld/format.ErrNotFound is of a block that is missing,
// not of a name.
//
// Open and Stat follow symlinks, Lstat and ReadLink do not follow the last one.
// A symlink leads from where it lies, and never out of the root. Permissions and
// times are those of UnixFS 1.5 where there are any, else 0644, 0755 and the
// zero time; nothing but the nine bits of permissions is taken over. The Sys of
// a FileInfo is the [cid.Cid]. Context ctx of [NewFS] governs all reading.
type FS struct {
	ctx   context.Context //nolint:containedctx // io/fs has no room for one: an FS is made for one use
	src   Source
	root  cid.Cid
	nodes nodes
}

var (
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadLinkFS = (*FS)(nil)
)

// NewFS makes a file system of what lies below root in src, until ctx ends. It
// reads nothing yet.
func NewFS(ctx context.Context, src Source, root cid.Cid) *FS {
	return &FS{ctx: ctx, src: src, root: root}
}

// Open opens a file as a [*File], or a folder as an [fs.ReadDirFile].
func (f *FS) Open(name string) (fs.File, error) {
	at, err := f.find("open", name, true)
	if err != nil {
		return nil, err
	}
	info, err := f.info(f.ctx, path.Base(name), at)
	if err != nil {
		return nil, fail("open", name, err)
	}
	if at.node != nil && at.node.isFolder() {
		return &openFolder{fs: f, name: name, info: info, listing: newListing(f, at.node)}, nil
	}
	return &File{fs: f, name: name, info: info, node: at.node}, nil
}

// Stat describes what is there; it reads no file.
func (f *FS) Stat(name string) (fs.FileInfo, error) { return f.stat("stat", name, true) }

// Lstat is Stat of a symlink itself, if it is one.
func (f *FS) Lstat(name string) (fs.FileInfo, error) { return f.stat("lstat", name, false) }

func (f *FS) stat(op, name string, follow bool) (fs.FileInfo, error) {
	at, err := f.find(op, name, follow)
	if err != nil {
		return nil, err
	}
	info, err := f.info(f.ctx, path.Base(name), at)
	if err != nil {
		return nil, fail(op, name, err)
	}
	return info, nil
}

// ReadLink returns where a symlink leads, as it says.
func (f *FS) ReadLink(name string) (string, error) {
	at, err := f.find("readlink", name, false)
	if err != nil {
		return "", err
	}
	if at.node == nil || at.node.kind != symlink {
		return "", fail("readlink", name, fs.ErrInvalid)
	}
	return string(at.node.data), nil
}

// ReadFile returns all of a file. It makes memory for what it has read, not for
// what the file says of its size.
func (f *FS) ReadFile(name string) ([]byte, error) {
	opened, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	file, ok := opened.(*File)
	if !ok {
		return nil, fail("read", name, errIsFolder)
	}
	return file.all()
}

var errIsFolder = errors.New("it is a folder")

// fail makes the error that a caller sees.
func fail(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// A spot is what a name leads to: its node, or nil for a raw block, which is
// not read before its bytes are wanted.
type spot struct {
	cid  cid.Cid
	node *node
}

// find follows a name, and the last symlink if follow is set.
func (f *FS) find(op, name string, follow bool) (spot, error) {
	if !fs.ValidPath(name) {
		return spot{}, fail(op, name, fs.ErrInvalid)
	}
	at, err := f.spot(f.ctx, f.root)
	switch {
	case err != nil:
	case name != ".":
		at, err = f.walk(at, strings.Split(name, "/"), follow)
	case follow && at.node != nil && at.node.kind == symlink:
		err = ErrSymlink // there is nothing beside the root that it could lead to
	}
	if err != nil {
		return spot{}, fail(op, name, err)
	}
	return at, nil
}

// walk follows names from at on, and symlinks on the way.
func (f *FS) walk(at spot, names []string, follow bool) (spot, error) {
	var above []spot
	for links := 0; len(names) > 0; {
		name := names[0]
		names = names[1:]
		switch name {
		case "", ".": // in the target of a symlink
			continue
		case "..":
			if len(above) == 0 {
				return spot{}, ErrSymlink
			}
			at, above = above[len(above)-1], above[:len(above)-1]
			continue
		}
		next, err := f.child(at, name)
		if err != nil {
			return spot{}, err
		}
		if next.node == nil || next.node.kind != symlink || len(names) == 0 && !follow {
			at, above = next, append(above, at)
			continue
		}
		target := string(next.node.data)
		if links++; links > maxSymlinks || len(target) > maxTarget || target == "" || path.IsAbs(target) {
			return spot{}, ErrSymlink
		}
		names = slices.Concat(strings.Split(target, "/"), names)
	}
	return at, nil
}

// child looks a name up in a folder.
func (f *FS) child(at spot, name string) (spot, error) {
	if at.node == nil || !at.node.isFolder() {
		return spot{}, fs.ErrNotExist
	}
	var l link
	var ok bool
	var err error
	if at.node.kind == shardedFolder {
		l, ok, err = f.findSharded(f.ctx, at.node, name)
	} else {
		l, ok = at.node.named(name)
	}
	switch {
	case err != nil:
		return spot{}, err
	case !ok:
		return spot{}, fs.ErrNotExist
	}
	return f.spot(f.ctx, l.cid)
}

// named looks a name up in a folder that is not sharded.
func (n *node) named(name string) (link, bool) {
	i, ok := slices.BinarySearchFunc(n.links, name, func(l link, name string) int { return strings.Compare(l.name, name) })
	if !ok {
		return link{}, false
	}
	return n.links[i], true
}

// spot is where c is.
func (f *FS) spot(ctx context.Context, c cid.Cid) (spot, error) {
	if c.Prefix().Codec == cid.Raw {
		return spot{cid: c}, nil
	}
	n, err := f.node(ctx, c)
	return spot{c, n}, err
}

// node reads and decodes a node, unless it is remembered.
func (f *FS) node(ctx context.Context, c cid.Cid) (*node, error) {
	if n := f.nodes.get(c); n != nil {
		return n, nil
	}
	n, err := f.read(ctx, c)
	if err == nil {
		f.nodes.put(n)
	}
	return n, err
}

// read is node of a block that is not to be remembered.
func (f *FS) read(ctx context.Context, c cid.Cid) (*node, error) {
	if codec := c.Prefix().Codec; codec != cid.Raw && codec != cid.DagProtobuf {
		return nil, broken(c, "its codec is 0x%x", codec)
	}
	block, err := get(ctx, f.src, c)
	if err != nil {
		return nil, err
	}
	return decode(c, block)
}
