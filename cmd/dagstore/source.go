package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/outside"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// An item is one CAR to add.
type item struct {
	name   string // what the person calls it: a path, a URL, a line of a list
	key    shard.Key
	mount  mount.Mount
	url    string // as a list gives it; the mount may be nil
	unseen bool   // it has a URL, for which no survey asks ahead
	err    error  // why there is nothing to add

	known   *mount.Stat // as a listing of the place has it; nil: ask
	listing int64       // requests that it took to come upon it
	size    *int64      // as the list claims it
	etag    string      // likewise
	piece   cid.Cid
	pin     bool
	labels  map[string]string
	index   string     // URL of an index
	mode    shard.Mode // shard.Auto: as the command says
	lazy    bool
}

// archived reports whether a listing says that the bytes have to be made ready
// by their owner first.
func (it *item) archived() bool { return it.known != nil && it.known.Waits }

// sources is where "add" is told to look.
type sources struct {
	args    []string // files, folders, URLs
	list    string   // --from: a file, a URL, "-", or ""
	stdin   io.Reader
	include []string // globs; default *.car
	prefix  string   // of every key that is made here
	key     string   // --key, for a single item
	index   string   // --index-file, likewise: a path or a URL
	indices string   // --with-indices: the folder for the items of the list
	mounts  mount.Registry
	listers map[string]lister // by scheme
	// outside, if not nil, spells the URLs of somebody who may not name sources
	// that lie anywhere. Paths and prefixes are not for them.
	outside func(url string) string
}

// items yields every CAR that the sources name, as it is found, but for those
// that standard input names. What cannot be added comes as an item with an
// error.
func (s *sources) items(ctx context.Context) iter.Seq[item] {
	return func(yield func(item) bool) {
		for _, arg := range s.args {
			if !s.argument(ctx, arg, yield) {
				return
			}
		}
		if s.list != "" && s.list != stdinList {
			s.fromList(ctx, s.list, yield)
		}
	}
}

// piped yields what a list on standard input names; nil if there is none. It
// can be read only once, and may stay silent for ever.
func (s *sources) piped(ctx context.Context) iter.Seq[item] {
	if s.list != stdinList {
		return nil
	}
	return func(yield func(item) bool) { s.fromList(ctx, stdinList, yield) }
}

// stdinList is the name of the list on standard input.
const stdinList = "-"

// named yields what the arguments name on this machine, without any list: what
// can be looked at twice at no cost.
func (s *sources) named(ctx context.Context) iter.Seq[item] {
	only := *s
	only.list = ""
	only.args = slices.DeleteFunc(slices.Clone(s.args), wire.IsURL)
	return only.items(ctx)
}

// argument yields what one argument names; false: no more is wanted.
func (s *sources) argument(ctx context.Context, arg string, yield func(item) bool) bool {
	if wire.IsURL(arg) {
		return s.fromPlace(ctx, arg, yield)
	}
	if s.outside != nil {
		return yield(item{name: arg, err: fmt.Errorf("%w: paths are not for who lacks the scope sources:private: name CARs by URLs", shard.ErrDenied)})
	}
	info, err := os.Stat(arg)
	if err != nil {
		return yield(item{name: arg, err: err})
	}
	switch {
	case info.IsDir() && s.index != "":
		return yield(item{name: arg, err: exitError(exitUsage, errors.New("it is a folder: --index-file is of a single CAR"))})
	case info.IsDir():
		return s.fromFolder(arg, yield)
	}
	key := shard.Key(s.key)
	if key == "" {
		key = keyOfPath(s.prefix, filepath.Base(arg))
	}
	return yield(s.withIndex(fromFile(arg, key), s.index))
}

// withIndex is it with the index that a path or a URL names; "": with none.
func (s *sources) withIndex(it item, name string) item {
	if name == "" || it.err != nil {
		return it
	}
	if s.outside != nil && !wire.IsURL(name) {
		it.err = fmt.Errorf("%w: the index is named by a path", shard.ErrDenied)
	} else if it.index, it.err = indexURLOf(name); it.err == nil && s.outside != nil {
		it.index = s.outside(it.index)
	}
	if it.err != nil {
		it.err = fmt.Errorf("its index: %w", it.err)
	}
	return it
}

// fromFolder yields the files below root whose names are wanted, in the order
// of their paths. Symbolic links to files are taken, those to folders are not
// followed, so the walk always ends.
func (s *sources) fromFolder(root string, yield func(item) bool) bool {
	if s.key != "" {
		return yield(item{name: root, err: exitError(exitUsage, errors.New("it is a folder: --key names a single CAR, --prefix is for many"))})
	}
	stopped := false
	// The callback turns every error into an item, so WalkDir itself returns none.
	// It would not walk into a root that is a symbolic link itself; with a
	// separator behind it, the link's name means the folder.
	_ = filepath.WalkDir(root+string(filepath.Separator), func(file string, entry fs.DirEntry, err error) error {
		var it item
		switch {
		case err != nil:
			it = item{name: file, err: err}
		case entry.IsDir() || !s.wanted(root, file):
			return nil
		default:
			it = fromFile(file, keyOfPath(s.prefix, below(root, file)))
		}
		if !yield(it) {
			stopped = true
			return fs.SkipAll
		}
		return nil
	})
	return !stopped
}

// below is the path of file below root, which is how WalkDir made file.
func below(root, file string) string {
	rel, err := filepath.Rel(root, file)
	if err != nil {
		return file
	}
	return rel
}

// wanted reports whether a glob matches file: its name, or, for a glob with a
// slash, its path below root.
func (s *sources) wanted(root, file string) bool {
	return s.wants(filepath.ToSlash(below(root, file)))
}

// wants is [sources.wanted] for a path below the place that was named, with
// slashes.
func (s *sources) wants(file string) bool {
	for _, glob := range s.include {
		name := path.Base(file)
		if strings.Contains(glob, "/") {
			name = file
		}
		if ok, err := path.Match(glob, name); ok && err == nil {
			return true
		}
	}
	return false
}

func fromFile(file string, key shard.Key) item {
	m, err := filemount.New(file)
	return item{name: file, key: key, mount: m, err: err}
}

// withoutSecrets is a URL as it may be shown that was refused: it may hold a
// password, or a signature in its query.
func withoutSecrets(url string) string {
	if !wire.IsURL(url) {
		return url
	}
	url, _, cut := strings.Cut(url, "?")
	scheme, rest, _ := strings.Cut(url, "://")
	authority, path, slash := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		authority = "***" + authority[at:]
	}
	url = scheme + "://" + authority
	if slash {
		url += "/" + path
	}
	if cut {
		url += "?***"
	}
	return url
}

// fromURL is the item at url, under key or, if that is empty, one made of url.
func (s *sources) fromURL(name, url, key string) item {
	it := item{name: name, key: shard.Key(key), unseen: true}
	if it.mount, it.err = s.open(url); it.err != nil {
		if errors.Is(it.err, mount.ErrScheme) {
			it.err = fmt.Errorf("%w; there are %s, and %s before each", it.err, s.schemes(), zstdPrefix)
		}
		it.name, it.url = withoutSecrets(name), withoutSecrets(url)
		return it
	}
	if key == "" {
		it.key, it.err = keyOfURL(s.prefix, url)
	}
	return it
}

// open is the source at a URL.
func (s *sources) open(url string) (mount.Mount, error) {
	if s.outside != nil {
		url = s.outside(url)
	}
	return s.mounts.Open(url)
}

// schemes names what can stand before the colon of a URL.
func (s *sources) schemes() string {
	var names []string
	for name := range s.mounts {
		if !strings.HasPrefix(name, zstdPrefix) && !outside.Is(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (s *sources) fromEntry(list string, e wire.Entry, err error) item {
	name := fmt.Sprintf("%s, line %d", list, e.Line)
	if err != nil {
		return item{name: name, key: shard.Key(e.Key), url: withoutSecrets(e.Mount), err: err}
	}
	it := s.fromURL(name, e.Mount, e.Key)
	if it.mount != nil {
		it.url = e.Mount
	}
	it.size, it.etag, it.piece, it.pin, it.labels = e.Size, e.ETag, e.PieceCID, e.Pin, e.Labels
	it.mode, it.lazy = e.Mode, e.Lazy
	if e.Index == "" && s.indices != "" && s.outside == nil && it.err == nil {
		if at := indexFileOf(s.indices, it.key); isFile(at) {
			return s.withIndex(it, at)
		}
	}
	return s.withIndex(it, e.Index)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}
