package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/settings"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/watch"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/shard"
)

// places are what is to be watched: what the configuration says, and what was
// named besides.
func (a *app) places(named []string) ([]watch.Place, error) {
	var places []watch.Place
	var errs []error
	for i := range a.settings.Watch {
		p, err := a.watched(&a.settings.Watch[i])
		if err != nil {
			err = fmt.Errorf("configuration: [[watch]] %d: %w", i+1, err)
		}
		places, errs = append(places, p), append(errs, err)
	}
	for _, name := range named {
		w := settings.Watch{Path: name}
		if wire.IsURL(name) {
			w = settings.Watch{URL: name}
		}
		p, err := a.watched(&w)
		if err != nil {
			err = fmt.Errorf("--watch %s: %w", withoutSecrets(name), err)
		}
		places, errs = append(places, p), append(errs, err)
	}
	seen := make(map[string]bool)
	for _, p := range places {
		if seen[p.Name] {
			errs = append(errs, fmt.Errorf("%s: it is watched twice", p.Name))
		}
		seen[p.Name] = true
	}
	return places, errors.Join(errs...)
}

// watched makes a place of what the configuration says of it.
func (a *app) watched(w *settings.Watch) (watch.Place, error) {
	p := watch.Place{
		Name: cmp.Or(w.Path, w.URL), Every: time.Duration(w.Every), Replace: w.Replace,
		Options: dagstore.RegisterOptions{Lazy: w.Lazy, Verify: w.Verify, Pin: w.Pin, Labels: w.Labels},
	}
	var err error
	if p.Options.Index, err = wire.ParsePolicy(cmp.Or(w.Index, "auto")); err != nil {
		return p, err
	}
	if p.Options.Serve, err = wire.ParseMode(cmp.Or(w.Serve, "auto")); err != nil {
		return p, err
	}
	opts := addDefaults()
	opts.prefix = w.Prefix
	if len(w.Include) > 0 {
		opts.include = w.Include
	}
	from := a.sources(nil, opts)
	if w.Path != "" {
		err = watchPath(&p, from, w.Path)
	} else {
		err = watchURL(&p, from, w.URL)
	}
	return p, err
}

// isList reports whether a path, or that of a URL, is called as a list is.
func isList(path string) bool {
	return strings.HasSuffix(path, ".ndjson") || strings.HasSuffix(path, ".jsonl")
}

// watchPath makes p of what lies on this machine.
func watchPath(p *watch.Place, from *sources, path string) (err error) {
	info, statErr := os.Stat(path)
	folder := statErr == nil && info.IsDir()
	switch {
	case !folder && isList(path):
		p.Kind = watch.List
		if p.Every == 0 {
			p.Every = watchList // it costs nothing to ask
		}
		p.Source = &watchedList{from: from, list: path}
		return nil
	case !folder && statErr == nil:
		return errors.New("it is neither a folder nor a list (.ndjson, .jsonl)")
	}
	p.Kind = watch.Folder
	key := func(below string) shard.Key { return keyOfPath(from.prefix, below) }
	p.Source, err = watch.NewFolder(path, key, from.wants)
	return err
}

// watchURL makes p of what lies elsewhere.
func watchURL(p *watch.Place, from *sources, url string) error {
	path, _, _ := strings.Cut(url, "?")
	if isList(path) {
		m, err := from.mounts.Open(url)
		if err != nil {
			p.Name = withoutSecrets(url)
			return err
		}
		p.Kind, p.Source = watch.List, &watchedList{from: from, list: url, mount: m}
		return nil
	}
	scheme, rest, _ := strings.Cut(url, ":")
	scheme = strings.ToLower(scheme)
	list := from.listers[scheme]
	if list != nil && path == url && !strings.Contains(strings.TrimPrefix(rest, "//"), "/") {
		path, rest = path+"/", rest+"/" // a whole bucket
	}
	if list == nil || !strings.HasSuffix(path, "/") || path != url && path != url+"/" {
		p.Name = withoutSecrets(url)
		return errors.New("it cannot be watched: folders, prefixes of S3 (s3://bucket/prefix/) and lists (.ndjson, .jsonl) can")
	}
	source, err := newWatchedPrefix(from, scheme+":"+rest, list)
	p.Kind, p.Source = watch.Prefix, source
	return err
}

// watcher makes what watches places; nil if there are none.
func (a *app) watcher(store *dagstore.Store, places []watch.Place) (*watch.Watcher, error) {
	if len(places) == 0 {
		return nil, nil //nolint:nilnil // nothing is to be watched
	}
	return watch.New(watch.Config{Store: store, Places: places, Logger: a.logger(slog.LevelInfo)})
}

// watchBeside watches until ctx ends.
func watchBeside(ctx context.Context, w *watch.Watcher) {
	if w != nil {
		w.Run(ctx)
	}
}
