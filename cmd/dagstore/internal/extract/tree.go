package extract

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

// maxDepth is how many folders may lie in each other. Each holds a descriptor
// while what is in it is written.
const maxDepth = 256

// A tree writes one UnixFS DAG into a folder. It writes through os.Root,
// which follows nothing that leads out of it.
type tree struct {
	reader  *Reader
	leftOut []string
}

// entry writes c as name into dir. at is where that is, below what is being
// saved: nil for the thing itself.
func (t *tree) entry(ctx context.Context, dir *os.Root, name string, at []string, c cid.Cid) error {
	if len(at) > maxDepth {
		return fmt.Errorf("%w: folders lie in each other more than %d deep", ErrKind, maxDepth)
	}
	node, kind, err := t.reader.unixfs(ctx, c)
	if err != nil {
		return inside(at, err)
	}
	switch kind {
	case folder:
		err = t.folder(ctx, dir, name, at, node)
	case symlink:
		return t.symlink(dir, name, at, node)
	default:
		// A folder may have a million files: only the one that was asked for
		// is waited for.
		err = writeFile(dir, name, len(at) == 0, func(w io.Writer) error {
			return t.reader.copyFile(ctx, node, w)
		})
	}
	if errors.Is(err, fs.ErrExist) {
		return inside(at, fmt.Errorf("%w: there are two of it, or two that this system takes for one", ErrName))
	}
	if err != nil || kind == symlink {
		return err
	}
	if err := stamp(dir, name, kind, node); err != nil {
		return inside(at, err)
	}
	return nil
}

// stamp gives what was written mode and time, if its node has any.
func stamp(dir *os.Root, name string, kind kind, node ipld.Node) error {
	pb, ok := node.(*merkledag.ProtoNode)
	if !ok {
		return nil
	}
	said, err := unixfs.FSNodeFromBytes(pb.Data())
	if err != nil {
		return fmt.Errorf("%w: %w", ErrKind, err)
	}
	if mode := said.Mode().Perm(); mode != 0 {
		if kind == folder {
			mode |= 0o700
		}
		if err := dir.Chmod(name, mode); err != nil {
			return err
		}
	}
	if mtime := said.ModTime(); !mtime.IsZero() {
		return dir.Chtimes(name, mtime, mtime)
	}
	return nil
}

// inside says where in the tree err happened.
func inside(at []string, err error) error {
	if len(at) == 0 {
		return err
	}
	return fmt.Errorf("at %q: %w", path.Join(at...), err)
}

// folder makes the folder name in dir and writes what is in it.
func (t *tree) folder(ctx context.Context, dir *os.Root, name string, at []string, node ipld.Node) error {
	listing, err := uio.NewDirectoryFromNode(t.reader.dags, node)
	if err != nil {
		return inside(at, t.reader.blocks.explain(ctx, err))
	}
	if err := dir.Mkdir(name, 0o777); err != nil {
		return err
	}
	sub, err := dir.OpenRoot(name)
	if err != nil {
		return err
	}
	defer sub.Close()
	// Ending the context ends the listing if it is left early.
	listCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	for entry := range listing.EnumLinksAsync(listCtx) {
		if entry.Err != nil {
			return inside(at, t.reader.blocks.explain(ctx, entry.Err))
		}
		link := entry.Link
		if err := safeName(link.Name); err != nil {
			return inside(at, err)
		}
		// A new slice each time: it goes into errors and the list.
		below := append(at[:len(at):len(at)], link.Name)
		if err := t.entry(ctx, sub, link.Name, below, link.Cid); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// safeName wraps [ErrName] unless name is the name of one file here, in the
// folder that it is written to and nowhere else.
func safeName(name string) error {
	if name == "" || name == "." || name == ".." ||
		strings.ContainsAny(name, "/\x00") || strings.ContainsRune(name, filepath.Separator) || !filepath.IsLocal(name) {
		return fmt.Errorf("%w: %q", ErrName, name)
	}
	return nil
}

// symlink writes a symlink, unless it leads out of what is being saved.
func (t *tree) symlink(dir *os.Root, name string, at []string, node ipld.Node) error {
	target, err := symlinkTarget(node)
	if err != nil {
		return inside(at, err)
	}
	if len(at) == 0 {
		return fmt.Errorf("%w: it is a symlink to %q", ErrKind, target)
	}
	if staysInside(target, len(at)-1) {
		err := dir.Symlink(filepath.FromSlash(target), name)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, fs.ErrExist):
			return inside(at, fmt.Errorf("%w: there are two of it", ErrName))
		}
	}
	t.leftOut = append(t.leftOut, path.Join(at...))
	return nil
}

func symlinkTarget(node ipld.Node) (string, error) {
	pb, ok := node.(*merkledag.ProtoNode)
	if !ok {
		return "", fmt.Errorf("%w: a symlink that is not dag-pb", ErrKind)
	}
	fs, err := unixfs.FSNodeFromBytes(pb.Data())
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrKind, err)
	}
	return string(fs.Data()), nil
}

// staysInside reports whether a symlink in a folder that lies depth folders
// below the top can lead nowhere but below the top.
//
// Going up is allowed at the beginning of target only. There it starts from a
// real folder; behind a name, it would start from wherever that name leads,
// which may itself be a symlink: "a/b/up -> ../.." and "out -> a/b/up/.."
// each look harmless. So by induction every symlink written ends inside.
func staysInside(target string, depth int) bool {
	if target == "" || strings.ContainsRune(target, 0) {
		return false
	}
	if filepath.Separator != '/' && strings.ContainsRune(target, filepath.Separator) {
		return false
	}
	if path.IsAbs(target) || filepath.IsAbs(target) || filepath.VolumeName(target) != "" {
		return false
	}
	names := false
	for part := range strings.SplitSeq(target, "/") {
		switch {
		case part == "" || part == ".":
		case part != "..":
			names = true
		case names:
			return false
		default:
			if depth--; depth < 0 {
				return false
			}
		}
	}
	return true
}
