package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ipfs/go-cid"

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
	listed bool   // it is of a list
	err    error  // why there is nothing to add

	size   *int64 // as the list claims it
	etag   string // likewise
	piece  cid.Cid
	pin    bool
	labels map[string]string
}

// sources is where "add" is told to look.
type sources struct {
	args    []string // files, folders, URLs
	list    string   // --from: a file, "-", or ""
	stdin   io.Reader
	include []string // globs; default *.car
	prefix  string   // of every key that is made here
	key     string   // --key, for a single item
	mounts  mount.Registry
	notef   func(format string, args ...any)
}

// items yields every CAR that the sources name, as it is found, but for those
// that standard input names. What cannot be added comes as an item with an
// error.
func (s *sources) items() iter.Seq[item] {
	return func(yield func(item) bool) {
		for _, arg := range s.args {
			if !s.argument(arg, yield) {
				return
			}
		}
		if s.list != "" && s.list != stdinList {
			s.fromList(yield)
		}
	}
}

// piped yields what a list on standard input names; nil if there is none. It
// can be read only once, and may stay silent for ever.
func (s *sources) piped() iter.Seq[item] {
	if s.list != stdinList {
		return nil
	}
	return func(yield func(item) bool) { s.fromList(yield) }
}

// stdinList is the name of the list on standard input.
const stdinList = "-"

// named yields what the arguments name, without any list.
func (s *sources) named() iter.Seq[item] {
	only := *s
	only.list = ""
	return only.items()
}

// argument yields what one argument names; false: no more is wanted.
func (s *sources) argument(arg string, yield func(item) bool) bool {
	if isURL(arg) {
		return yield(s.fromURL(arg, arg, s.key))
	}
	info, err := os.Stat(arg)
	if err != nil {
		return yield(item{name: arg, err: err})
	}
	if info.IsDir() {
		return s.fromFolder(arg, yield)
	}
	key := shard.Key(s.key)
	if key == "" {
		key = keyOfPath(s.prefix, filepath.Base(arg))
	}
	return yield(fromFile(arg, key))
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
	for _, glob := range s.include {
		name := filepath.Base(file)
		if strings.Contains(glob, "/") {
			name = filepath.ToSlash(below(root, file))
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

// fromURL is the item at url, under key or, if that is empty, one made of url.
func (s *sources) fromURL(name, url, key string) item {
	it := item{name: name, key: shard.Key(key)}
	if it.mount, it.err = s.mounts.Open(url); it.err != nil {
		return it
	}
	if key == "" {
		it.key, it.err = keyOfURL(s.prefix, url)
	}
	return it
}

// fromList yields the entries of the list that --from names.
func (s *sources) fromList(yield func(item) bool) {
	name, r := s.list, s.stdin
	if name == stdinList {
		name = "standard input"
	} else {
		f, err := os.Open(name)
		if err != nil {
			yield(item{name: name, err: fmt.Errorf("cannot read the list: %w", err)})
			return
		}
		defer f.Close()
		r = f
	}
	saidIndex := false
	for entry, err := range readList(r) {
		if entry.Index != "" && !saidIndex {
			saidIndex = true
			s.notef(`%s, line %d: "index" is not used: this version always reads the CAR itself`, name, entry.line)
		}
		if !yield(s.fromEntry(name, entry, err)) {
			return
		}
	}
}

func (s *sources) fromEntry(list string, e listEntry, err error) item {
	name := fmt.Sprintf("%s, line %d", list, e.line)
	if err != nil {
		return item{name: name, key: shard.Key(e.Key), url: e.Mount, err: err}
	}
	it := s.fromURL(name, e.Mount, e.Key)
	it.url, it.listed = e.Mount, true
	it.size, it.etag, it.piece, it.pin, it.labels = e.Size, e.ETag, e.piece, e.Pin, e.Labels
	return it
}
