package pack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	chunk "github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

var (
	// ErrKind is a file that is neither a regular one nor a folder nor a symlink.
	ErrKind = errors.New("neither a file nor a folder nor a symlink")
	// ErrChanged is a file that has changed while it was packed.
	ErrChanged = errors.New("changed while it was packed")
	// ErrName is a name that UnixFS cannot have, or that two things were to have.
	ErrName = errors.New("cannot be packed under its name")
)

// A Profile says how files are cut and folders are written.
type Profile struct {
	Name string
	uio.UnixFSProfile
}

// The profiles of IPIP-499, https://github.com/ipfs/specs/pull/499.
var (
	V1 = Profile{"unixfs-v1-2025", uio.UnixFS_v1_2025}
	V0 = Profile{"unixfs-v0-2015", uio.UnixFS_v0_2015}
)

// Options are how a CAR is made.
type Options struct {
	Profile Profile
	Hidden  bool // also what begins with a dot, in folders
	Wrap    bool // one path, too, gets a folder around it; several do anyway
	Mode    bool // store modes; no leaf is raw then, whatever the profile says
	ModTime bool // store times; likewise
	Index   bool // write a CARv2, with an index inside

	// Leave is a folder that is left out wherever it is come upon, as that in which
	// the CAR is made; may be "".
	Leave string

	Progress func(bytes int64) // told of bytes that were read; may be nil
}

// Made is what was written.
type Made struct {
	Root   cid.Cid
	Blocks int64
	Bytes  int64 // of the CAR
	Files  int64 // regular ones
}

// Output is a file that begins empty.
type Output interface {
	io.Writer
	io.WriterAt
}

// Write packs what lies at paths into out. A path that is a symlink stands for
// what it leads to; in folders, symlinks are stored as such. The errors wrap
// [ErrKind], [ErrName], [ErrChanged], or are those of the file system. After one,
// what was written is no CAR.
func Write(ctx context.Context, out Output, paths []string, opts Options) (Made, error) {
	if opts.Progress == nil {
		opts.Progress = func(int64) {}
	}
	car, err := newCAR(out, opts.Profile.rootSize(), opts.Index)
	if err != nil {
		return Made{}, err
	}
	defer car.close()
	p := &packer{ctx: ctx, opts: opts, car: car}
	if opts.Leave != "" {
		if p.leave, err = os.Stat(opts.Leave); err != nil {
			return Made{}, err
		}
	}
	root, err := p.root(paths)
	if err != nil {
		return Made{}, err
	}
	size, err := car.finish(ctx, root.Cid())
	if err != nil {
		return Made{}, err
	}
	return Made{Root: root.Cid(), Blocks: car.blocks, Bytes: size, Files: p.files}, nil
}

// rootSize is how many bytes the CID of a root has.
func (p Profile) rootSize() int {
	const digest = 32
	if p.CIDVersion == 0 {
		return 2 + digest
	}
	return 2 + 2 + digest
}

// A packer walks over files. It belongs to one call of [Write], whose context it
// has: the packages that make nodes take none.
type packer struct {
	ctx   context.Context //nolint:containedctx // of one call
	opts  Options
	car   *car
	leave fs.FileInfo // nil: nothing
	files int64
}

// root packs all paths and returns the node that stands for them.
func (p *packer) root(paths []string) (ipld.Node, error) {
	if len(paths) == 1 && !p.opts.Wrap {
		return p.path(paths[0])
	}
	dir, err := p.newFolder(nil)
	if err != nil {
		return nil, err
	}
	seen := map[string]string{}
	for _, path := range paths {
		name, err := baseOf(path)
		if err != nil {
			return nil, err
		}
		if other, twice := seen[name]; twice {
			return nil, fmt.Errorf("%s: %w: %s would be called %q, too", path, ErrName, other, name)
		}
		seen[name] = path
		node, err := p.path(path)
		if err != nil {
			return nil, err
		}
		if err := p.child(dir, path, name, node); err != nil {
			return nil, err
		}
	}
	return p.endFolder(dir)
}

// baseOf is the name that a path has in a folder around it.
func baseOf(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	name := filepath.Base(abs)
	if name == string(filepath.Separator) || name == "." {
		return "", fmt.Errorf("%s: %w: it has none", path, ErrName)
	}
	return name, nil
}

// path packs what the user has named.
func (p *packer) path(path string) (ipld.Node, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	return p.entry(path, info)
}

// entry packs what lies at path.
func (p *packer) entry(path string, info fs.FileInfo) (ipld.Node, error) {
	if err := p.ctx.Err(); err != nil {
		return nil, err
	}
	switch info.Mode().Type() {
	case 0:
		return p.file(path, info)
	case fs.ModeDir:
		return p.folder(path, info)
	case fs.ModeSymlink:
		return p.symlink(path)
	default:
		return nil, fmt.Errorf("%s: %w, but %v", path, ErrKind, info.Mode().Type())
	}
}

// file packs a regular file.
func (p *packer) file(path string, info fs.FileInfo) (ipld.Node, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	if now, err := f.Stat(); err != nil {
		return nil, err
	} else if !os.SameFile(info, now) {
		return nil, fmt.Errorf("%s: %w", path, ErrChanged)
	}
	params := helpers.DagBuilderParams{
		Dagserv: p.car, Maxlinks: p.opts.Profile.FileDAGWidth,
		// A raw block has no room for mode and time: with them all leaves are wrapped, as Kubo does.
		RawLeaves: p.opts.Profile.RawLeaves && !p.opts.Mode && !p.opts.ModTime, CidBuilder: p.opts.Profile.CidBuilder(),
	}
	params.FileMode, params.FileModTime = p.stat(info)
	counted := &counter{p: p, r: f, path: path, size: info.Size()}
	builder, err := params.New(chunk.NewSizeSplitter(counted, p.opts.Profile.ChunkSize))
	if err != nil {
		return nil, err
	}
	node, err := balanced.Layout(builder)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	// The splitter takes an error for the end of the file.
	if counted.err != nil {
		return nil, counted.err
	}
	if now, err := f.Stat(); err != nil {
		return nil, err
	} else if counted.n != info.Size() || now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime()) {
		return nil, fmt.Errorf("%s: %w", path, ErrChanged)
	}
	p.files++
	return node, nil
}

// stat is what of a file's mode and time is stored; zero values are not.
func (p *packer) stat(info fs.FileInfo) (mode fs.FileMode, mtime time.Time) {
	if info != nil && p.opts.Mode {
		mode = info.Mode()
	}
	if info != nil && p.opts.ModTime {
		mtime = info.ModTime()
	}
	return mode, mtime
}

// folder packs a folder and what is in it, by rising name.
func (p *packer) folder(path string, info fs.FileInfo) (ipld.Node, error) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	dir, err := p.newFolder(info)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		name := entry.Name()
		if name[0] == '.' && !p.opts.Hidden {
			continue
		}
		at := filepath.Join(path, name)
		info, err := os.Lstat(at)
		if err != nil {
			return nil, err
		}
		if p.leave != nil && os.SameFile(p.leave, info) {
			continue
		}
		node, err := p.entry(at, info)
		if err != nil {
			return nil, err
		}
		if err := p.child(dir, at, name, node); err != nil {
			return nil, err
		}
	}
	return p.endFolder(dir)
}

func (p *packer) newFolder(info fs.FileInfo) (uio.Directory, error) {
	mode, mtime := p.stat(info)
	dir, err := uio.NewDirectory(p.car,
		uio.WithCidBuilder(p.opts.Profile.CidBuilder()),
		uio.WithSizeEstimationMode(p.opts.Profile.HAMTSizeEstimation),
		uio.WithMaxHAMTFanout(p.opts.Profile.HAMTShardWidth),
		uio.WithStat(mode, mtime))
	if err == nil {
		dir.SetHAMTShardingSize(p.opts.Profile.HAMTShardingSize)
	}
	return dir, err
}

func (p *packer) child(dir uio.Directory, path, name string, node ipld.Node) error {
	if !utf8.ValidString(name) {
		return fmt.Errorf("%q: %w: it is not valid UTF-8", path, ErrName)
	}
	if err := dir.AddChild(p.ctx, name, node); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (p *packer) endFolder(dir uio.Directory) (ipld.Node, error) {
	node, err := dir.GetNode()
	if err != nil {
		return nil, err
	}
	return node, p.car.Add(p.ctx, node)
}

func (p *packer) symlink(path string) (ipld.Node, error) {
	target, err := os.Readlink(path)
	if err != nil {
		return nil, err
	}
	data, err := unixfs.SymlinkData(filepath.ToSlash(target))
	if err != nil {
		return nil, err
	}
	node := merkledag.NodeWithData(data)
	if err := node.SetCidBuilder(p.opts.Profile.CidBuilder()); err != nil {
		return nil, err
	}
	return node, p.car.Add(p.ctx, node)
}

// A counter is a file that is read: it counts, tells, and ends with the context.
type counter struct {
	p    *packer
	r    io.Reader
	path string
	size int64 // that it should have
	n    int64
	err  error
}

func (c *counter) Read(b []byte) (n int, err error) {
	if c.err != nil {
		return 0, c.err // who has read as much as was wanted drops the error that came with it
	}
	if err = c.p.ctx.Err(); err == nil {
		n, err = c.r.Read(b)
	}
	c.n += int64(n)
	c.p.opts.Progress(int64(n))
	if c.n > c.size && err == nil {
		err = fmt.Errorf("%s: %w", c.path, ErrChanged) // it may grow for ever
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}
