package main

import (
	"context"
	"fmt"
	"iter"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/watch"
	"github.com/dagstore/dagstore/mount"
)

// A watchedPrefix is what lies below a prefix of a bucket.
type watchedPrefix struct {
	from   *sources
	prefix string
	url    string // of what lies below it, as shards have it; it ends with a slash
	list   lister
}

func newWatchedPrefix(from *sources, prefix string, list lister) (*watchedPrefix, error) {
	m, err := from.mounts.Open(prefix + "x")
	if err != nil {
		return nil, err
	}
	return &watchedPrefix{from, prefix, strings.TrimSuffix(m.URL(), "x"), list}, nil
}

// wants reports whether an object is a CAR, by its name below the prefix.
func (w *watchedPrefix) wants(name string) bool {
	if name == "" || strings.HasSuffix(name, "/") { // which stands for a folder
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if watch.Temporary(part) {
			return false
		}
	}
	return w.from.wants(name)
}

// Look implements [watch.Source]. No object is asked for.
func (w *watchedPrefix) Look(ctx context.Context) iter.Seq2[watch.Found, error] {
	return func(yield func(watch.Found, error) bool) {
		for o, err := range w.list(ctx, w.prefix) {
			f := watch.Found{Requests: o.requests}
			if err == nil && w.wants(o.name) {
				f.Name, f.Key, f.Stat, f.Whole = o.url, keyOfPath(w.from.prefix, o.name), o.stat, true
			}
			if err != nil {
				err = fmt.Errorf("cannot list it to its end: %w", err)
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

// Open implements [watch.Source].
func (w *watchedPrefix) Open(_ context.Context, f watch.Found) (watch.CAR, error) {
	m, err := w.from.mounts.Open(f.Name)
	return watch.CAR{Mount: m, Stat: f.Stat}, err
}

// Owns implements [watch.Source].
func (w *watchedPrefix) Owns(url string) bool {
	rest, ok := strings.CutPrefix(url, w.url)
	if !ok || strings.ContainsAny(rest, "?#") {
		return false
	}
	name, err := mount.UnescapePath(rest)
	if strings.HasPrefix(w.url, zstdPrefix) {
		name = strings.TrimSuffix(name, ".zst")
	}
	return err == nil && w.wants(name)
}

// watchList is how often a list on this machine is looked at.
const watchList = 15 * time.Second

// listRests is for how long a list on this machine must not have changed.
const listRests = 30 * time.Second

// A watchedList is what a list names.
type watchedList struct {
	from  *sources
	list  string
	mount mount.Mount // of a list elsewhere; nil: it is a file

	mu    sync.Mutex
	last  string    // version of the file when it was looked at last
	since time.Time // when it was seen first
}

// Version implements [watch.Versioned]: a list elsewhere is asked how it is,
// and read only if that is not what it was.
func (w *watchedList) Version(ctx context.Context) (watch.Version, error) {
	if w.mount == nil {
		return w.fileVersion()
	}
	v := watch.Version{}
	if elsewhere(w.mount.URL()) {
		v.Requests = 1
	}
	stat, err := w.mount.Stat(ctx)
	if err != nil {
		return v, fmt.Errorf("cannot ask for the list: %w", err)
	}
	if stat.Version != "" || !stat.ModTime.IsZero() {
		v.Name = fmt.Sprintf("%s %d %d", stat.Version, stat.Size, stat.ModTime.UnixNano())
	}
	return v, nil
}

// fileVersion waits for the file to rest, so that no list is taken for whole
// that somebody is writing.
func (w *watchedList) fileVersion() (watch.Version, error) {
	info, err := os.Stat(w.list)
	if err != nil {
		return watch.Version{}, fmt.Errorf("cannot read the list: %w", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	is := fmt.Sprintf("%d %d", info.Size(), info.ModTime().UnixNano())
	if is != w.last {
		w.last, w.since = is, time.Now()
	}
	return watch.Version{Name: is, Unready: time.Since(w.since) < listRests && time.Since(info.ModTime()) < time.Hour}, nil
}

// Look implements [watch.Source]. A list whose last line cannot be read may go
// on behind it: nothing that was not seen is then taken for gone.
func (w *watchedList) Look(ctx context.Context) iter.Seq2[watch.Found, error] {
	return func(yield func(watch.Found, error) bool) {
		var last item
		more := w.from.fromList(ctx, w.list, func(it item) bool {
			last = it
			return yield(w.found(&it), nil)
		})
		if more && last.err != nil && last.mount == nil && last.url == "" {
			yield(watch.Found{}, fmt.Errorf("%s: %w", last.name, last.err))
		}
	}
}

// found is an entry of the list.
func (w *watchedList) found(it *item) watch.Found {
	f := watch.Found{
		Name: it.name, Key: it.key, Whole: true, Requests: it.listing, Err: it.err, Ref: it,
		Stat: mount.Stat{Size: -1, Version: it.etag},
	}
	switch {
	case it.mount != nil:
		f.Name = it.mount.URL()
	case it.key == "" && it.url == "" && it.name == w.list:
		f.Name, f.Err = "", nil // the list itself cannot be read: that ends the look
	}
	if it.size != nil {
		f.Stat.Size = *it.size
	}
	return f
}

// Open implements [watch.Source].
func (w *watchedList) Open(_ context.Context, f watch.Found) (watch.CAR, error) {
	it, ok := f.Ref.(*item)
	if !ok || it.mount == nil {
		return watch.CAR{}, fmt.Errorf("%s is no entry of a list", path.Base(f.Name))
	}
	check := func(ctx context.Context) error {
		_, err := it.check(ctx)
		return err
	}
	return watch.CAR{
		Mount: it.mount, Stat: f.Stat, Check: check,
		Lazy: it.lazy, Serve: it.mode, Pin: it.pin, Piece: it.piece, Labels: it.labels, IndexURL: it.index,
	}, nil
}

// Owns implements [watch.Source]: that a shard was of this list, nobody knows
// once it is in it no more.
func (*watchedList) Owns(string) bool { return false }

var (
	_ watch.Source    = (*watchedPrefix)(nil)
	_ watch.Versioned = (*watchedList)(nil)
)
