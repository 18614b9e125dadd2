package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/settings"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/memmount"
)

// unasked is a source that must not be asked how it is.
type unasked struct {
	mount.Mount
	t   *testing.T
	url string
}

func (u unasked) URL() string { return u.url }

func (u unasked) Stat(context.Context) (mount.Stat, error) {
	u.t.Errorf("%s is asked, and was listed", u.url)
	return mount.Stat{}, errors.New("asked")
}

// bucket is a place that can be listed, of the scheme "far".
type bucket struct {
	t       *testing.T
	cars    memmount.Set
	objects []listed
	fails   error // at the end of the listing
}

func (b *bucket) put(name string, data []byte, waits bool) {
	b.cars.Put(name, data)
	st := mount.Stat{Size: int64(len(data)), Version: "v-" + name, ModTime: time.Unix(1, 0), Ranges: true, Waits: waits}
	b.objects = append(b.objects, listed{"far://bucket/" + mount.EscapePath(name), strings.TrimPrefix(name, "cars/"), st, 1})
}

func (b *bucket) open(url string) (mount.Mount, error) {
	name, err := mount.UnescapePath(strings.TrimPrefix(url, "far://bucket/"))
	if err != nil {
		return nil, err
	}
	m, err := b.cars.Open("mem:" + mount.EscapePath(name))
	if err != nil {
		return nil, err
	}
	return unasked{m, b.t, url}, nil
}

func (b *bucket) list(_ context.Context, url string) iter.Seq2[listed, error] {
	return func(yield func(listed, error) bool) {
		for _, o := range b.objects {
			if strings.HasPrefix(o.url, url) && !yield(o, nil) {
				return
			}
		}
		if b.fails != nil {
			yield(listed{}, b.fails)
		}
	}
}

// What lies below a prefix is added as it is listed, without asking each.
func TestPrefix(t *testing.T) {
	b := &bucket{t: t}
	b.put("cars/a.car", carOf("a"), false)
	b.put("cars/sub/b c.car", carOf("b"), false)
	b.put("cars/old.car", carOf("c"), true)
	b.put("cars/readme.txt", []byte("no CAR"), false)
	b.put("other/d.car", carOf("d"), false)
	var out, errs bytes.Buffer
	a := &app{
		stdout: &out, stderr: &errs, getenv: os.Getenv, repo: filepath.Join(t.TempDir(), "store"),
		settings: new(settings.File), mounts: mount.Registry{"far": b.open}, listers: map[string]lister{"far": b.list},
	}
	opts := addDefaults()
	opts.prefix, opts.lazy, opts.jobs = "p/", true, 1
	if err := a.add(t.Context(), []string{"far://bucket/cars/"}, opts); err != nil {
		t.Fatal(err, errs.String())
	}
	for _, line := range []string{"lazy       p/a ", "lazy       p/sub/b c ", "lazy       p/old "} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("%q is not said in:\n%s", line, out.String())
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 3 || !strings.Contains(errs.String(), "old.car: it is archived") {
		t.Errorf("it said:\n%s%s", out.String(), errs.String())
	}
	// Again, and with a listing that breaks off: the rest is unchanged.
	out.Reset()
	errs.Reset()
	b.fails = errors.New("the line is cut")
	opts.lazy = false
	b.objects = b.objects[2:3] // only what is archived, which is not read
	if err := a.add(t.Context(), []string{"far://bucket/cars/"}, opts); exitCode(err) != exitPartial {
		t.Errorf("%v", err)
	}
	if !strings.Contains(out.String(), "unchanged  p/old") || !strings.Contains(errs.String(), "cannot list it to its end: the line is cut") {
		t.Errorf("it said:\n%s%s", out.String(), errs.String())
	}
	for _, opts := range []addOptions{{key: "k"}, {indexFile: "i"}} {
		err := a.add(t.Context(), []string{"far://bucket/cars/"}, addOptions{key: opts.key, indexFile: opts.indexFile, jobs: 1, index: "auto"})
		if exitCode(err) != exitFailed || !strings.Contains(errs.String(), "is of a single CAR") {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}

// A list may lie where CARs do.
func TestListElsewhere(t *testing.T) {
	var cars memmount.Set
	cars.Put("a.car", carOf("a"))
	cars.Put("list.ndjson", []byte("mem://x/a.car\n{\"mount\":\"mem://x/a.car\",\"key\":\"b\"}\n"))
	open := func(url string) (mount.Mount, error) { return cars.Open("mem:" + strings.TrimPrefix(url, "mem://x/")) }
	s := &sources{args: []string{"mem://x/list.ndjson"}, list: "mem://x/list.ndjson", mounts: mount.Registry{"mem": open}}
	var got []string
	for it := range s.items(t.Context()) {
		got = append(got, fmt.Sprint(it.name, " ", it.key, " ", it.err))
	}
	want := []string{
		"mem://x/list.ndjson, line 1 a <nil>", "mem://x/list.ndjson, line 2 b <nil>",
		"mem://x/list.ndjson, line 1 a <nil>", "mem://x/list.ndjson, line 2 b <nil>",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	s = &sources{args: []string{"mem://x/absent.jsonl"}, mounts: s.mounts}
	for it := range s.items(t.Context()) {
		if !errors.Is(it.err, os.ErrNotExist) {
			t.Errorf("an absent list: %v", it.err)
		}
	}
	if _, err := s.openList(t.Context(), stdinList); err != nil {
		t.Error(err)
	}
}

// A list elsewhere is read to its end before what it names is added, however
// long that takes: its server does not wait.
func TestListIsReadFirst(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	l := &endedList{text: strings.Repeat("mem://x/a.car\n", 100_000)}
	s := &sources{args: []string{"far://x/list.ndjson"}, mounts: mount.Registry{
		"far": func(string) (mount.Mount, error) { return l, nil },
		"mem": func(url string) (mount.Mount, error) { return unasked{t: t, url: url}, nil },
	}}
	n := 0
	for it := range s.items(t.Context()) {
		if n++; it.err != nil || !l.closed {
			t.Fatalf("item %d: %v; it was closed: %v", n, it.err, l.closed)
		}
	}
	if n != 100_000 {
		t.Errorf("%d items", n)
	}
	if _, err := spool(io.NopCloser(strings.NewReader("four")), 3); err == nil || !strings.Contains(err.Error(), "longer than 3 bytes") {
		t.Errorf("a list that is too long: %v", err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

// An endedList is a list that knows when it has been read.
type endedList struct {
	mount.Mount
	text   string
	closed bool
}

func (l *endedList) Open(context.Context) (io.ReadCloser, error) {
	return struct {
		io.Reader
		io.Closer
	}{strings.NewReader(l.text), l}, nil
}

func (l *endedList) Close() error {
	l.closed = true
	return nil
}

func TestWithoutSecrets(t *testing.T) {
	for url, want := range map[string]string{
		"https://ann:hush@a.example/b?X=hush": "https://***@a.example/b?***",
		"https://a.example":                   "https://a.example",
		"https://a.example?t=hush":            "https://a.example?***",
		"https://a@b@c/d@e":                   "https://***@c/d@e",
		"/srv/a@b?c":                          "/srv/a@b?c",
	} {
		if got := withoutSecrets(url); got != want {
			t.Errorf("%q is shown as %q, want %q", url, got, want)
		}
	}
}
