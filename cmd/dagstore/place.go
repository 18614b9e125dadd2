package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/scratch"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A lister yields what lies below a URL that ends with a slash.
type lister func(ctx context.Context, url string) iter.Seq2[listed, error]

// listed is one object of a listing, as it is there.
type listed struct {
	url      string
	name     string // behind the prefix, not escaped; "": there is no object
	stat     mount.Stat
	requests int64 // that the listing has taken since the object before
}

// fromPlace yields what lies at a URL: a CAR, a list of them, or all that lies
// below a prefix.
func (s *sources) fromPlace(ctx context.Context, at string, yield func(item) bool) bool {
	path, _, _ := strings.Cut(at, "?")
	scheme, rest, _ := strings.Cut(at, ":")
	scheme = strings.ToLower(scheme)
	list := s.listers[scheme]
	if s.outside != nil {
		list = nil // it would list with the credentials of the operator
	}
	if list != nil && path == at && !strings.Contains(strings.TrimPrefix(rest, "//"), "/") {
		path, rest = path+"/", rest+"/" // a whole bucket
	}
	switch {
	case strings.HasSuffix(path, ".ndjson"), strings.HasSuffix(path, ".jsonl"):
		return s.only(at, "it is a list", yield) && s.fromList(ctx, at, yield)
	case strings.HasSuffix(path, "/") && list != nil:
		return s.only(at, "it is a prefix", yield) && s.fromPrefix(ctx, scheme+":"+rest, list, yield)
	}
	return yield(s.withIndex(s.fromURL(at, at, s.key), s.index))
}

// only reports whether what stands for many CARs has no option that is of one.
func (s *sources) only(name, what string, yield func(item) bool) bool {
	for flag, value := range map[string]string{"--key": s.key, "--index-file": s.index} {
		if value != "" {
			err := exitError(exitUsage, fmt.Errorf("%s: %s is of a single CAR", what, flag))
			yield(item{name: name, err: err})
			return false
		}
	}
	return true
}

// fromPrefix yields the objects below a prefix whose names are wanted, as the
// place lists them: none of them is asked for.
func (s *sources) fromPrefix(ctx context.Context, prefix string, list lister, yield func(item) bool) bool {
	var requests int64
	for object, err := range list(ctx, prefix) {
		if err != nil {
			return yield(item{name: prefix, err: fmt.Errorf("cannot list it to its end: %w", err)})
		}
		requests += object.requests
		// What ends with a slash stands for a folder, and has no bytes.
		if strings.HasSuffix(object.name, "/") || object.name == "" || !s.wants(object.name) {
			continue
		}
		it := s.fromURL(object.url, object.url, string(keyOfPath(s.prefix, object.name)))
		it.known, it.listing, requests = &object.stat, requests, 0
		if !yield(it) {
			return false
		}
	}
	return true
}

// packed lists what is compressed of what list lists, under the names that it
// has unpacked. How long it is then, a listing does not know.
func packed(list lister) lister {
	return func(ctx context.Context, url string) iter.Seq2[listed, error] {
		return func(yield func(listed, error) bool) {
			var requests int64
			for o, err := range list(ctx, strings.TrimPrefix(url, zstdPrefix)) {
				requests += o.requests
				name, is := strings.CutSuffix(o.name, ".zst")
				if err == nil && !is {
					continue
				}
				o.url, o.name, o.stat.Size = zstdPrefix+o.url, name, -1
				o.requests, requests = requests, 0
				if !yield(o, err) {
					return
				}
			}
			if requests > 0 {
				yield(listed{requests: requests}, nil)
			}
		}
	}
}

// zstdPrefix stands before the URL of what is compressed.
const zstdPrefix = "zstd+"

// openList opens a list: standard input, a file, or what lies at a URL.
func (s *sources) openList(ctx context.Context, name string) (io.ReadCloser, error) {
	switch {
	case name == stdinList:
		return io.NopCloser(s.stdin), nil
	case !wire.IsURL(name) && s.outside != nil:
		return nil, fmt.Errorf("%w: it is named by a path", shard.ErrDenied)
	case !wire.IsURL(name):
		return os.Open(name)
	}
	m, err := s.open(name)
	if err != nil {
		return nil, err
	}
	r, err := m.Open(ctx)
	if err != nil {
		return nil, err
	}
	return spool(r, mostList)
}

// mostList is how long a list elsewhere may be.
const mostList = 1 << 30

// spool reads all of r, and closes it, into a file that goes when it is closed. A
// server that waits for its reader, while that adds CARs, would give up.
func spool(r io.ReadCloser, most int64) (io.ReadCloser, error) {
	defer r.Close() // it was only read
	f, err := scratch.File("", "dagstore-list-*")
	if err != nil {
		return nil, err
	}
	n, err := io.Copy(f, io.LimitReader(r, most+1))
	if err == nil && n > most {
		err = fmt.Errorf("it is longer than %d bytes", most)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// fromList yields the entries of a list; false: no more is wanted.
func (s *sources) fromList(ctx context.Context, list string, yield func(item) bool) bool {
	name := list
	if list == stdinList {
		name = "standard input"
	}
	r, err := s.openList(ctx, list)
	if err != nil {
		return yield(item{name: name, err: fmt.Errorf("cannot read the list: %w", err)})
	}
	defer r.Close() // it was only read
	requests := int64(0)
	if wire.IsURL(list) && elsewhere(list) {
		requests = 1
	}
	for entry, err := range wire.ReadList(r) {
		it := s.fromEntry(name, entry, err)
		it.listing, requests = requests, 0
		if !yield(it) {
			return false
		}
	}
	return true
}
