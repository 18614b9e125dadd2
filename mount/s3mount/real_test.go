package s3mount_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/mounttest"
	"github.com/dagstore/dagstore/mount/s3mount"
)

func TestLaws(t *testing.T) {
	o := newOwner(t)
	o.Put(t, "/cars", nil)
	body := make([]byte, 5000)
	for i := range body {
		body[i] = byte(i * 7)
	}
	o.Put(t, "/cars/two words/ü+%.car", body)
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{o.service()}})
	m := open(t, c, "s3://cars/two%20words/ü+%25.car")
	if err := mounttest.Test(t.Context(), mount.Registry{"s3": c.Open}, m, body); err != nil {
		t.Fatal(err)
	}
	if want := "s3://cars/two%20words/%C3%BC+%25.car"; m.URL() != want {
		t.Errorf("its URL is %q, not %q", m.URL(), want)
	}
}

// An object without bytes has ranges without bytes.
func TestLawsOfNothing(t *testing.T) {
	o := newOwner(t)
	o.Put(t, "/cars", nil)
	o.Put(t, "/cars/empty.car", nil)
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{o.service()}})
	if err := mounttest.Test(t.Context(), mount.Registry{"s3": c.Open}, open(t, c, "s3://cars/empty.car"), nil); err != nil {
		t.Fatal(err)
	}
}

// What a reader has in mind counts, whatever is there by now.
func TestChangedBetweenRanges(t *testing.T) {
	o := newOwner(t)
	o.Put(t, "/cars", nil)
	o.Put(t, "/cars/a.car", bytes.Repeat([]byte("a"), 1000))
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{o.service()}})
	m := open(t, c, "s3://cars/a.car")
	st, err := m.Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.Size != 1000 || st.Version == "" || st.ModTime.IsZero() || !st.Ranges || st.Waits {
		t.Errorf("Stat is %+v", st)
	}
	r := mount.Range{Offset: 10, Length: 5, Version: st.Version}
	if got, err := read(mount.OpenRange(t.Context(), m, r)); got != "aaaaa" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	o.Put(t, "/cars/a.car", bytes.Repeat([]byte("b"), 1000))
	for _, r := range []mount.Range{r, {Length: -1, Version: st.Version}, {Offset: 1000, Length: -1, Version: st.Version}, {Offset: 5, Version: st.Version}} {
		if got, err := read(mount.OpenRange(t.Context(), m, r)); got != "" || !errors.Is(err, mount.ErrChanged) {
			t.Errorf("%v gives %q, %v", r, got, err)
		}
	}
	if got, err := read(mount.OpenRange(t.Context(), m, mount.Range{Offset: 10, Length: 5})); got != "bbbbb" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestVersions(t *testing.T) {
	o := newOwner(t)
	o.Put(t, "/cars", nil)
	if _, err := o.Do(http.MethodPut, "/cars", "versioning=", []byte(`<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Enabled</Status></VersioningConfiguration>`)); err != nil {
		t.Fatal(err)
	}
	old := o.Put(t, "/cars/a.car", []byte("the first")).Get("X-Amz-Version-Id")
	if old == "" {
		t.Fatal("the server keeps no versions")
	}
	o.Put(t, "/cars/a.car", []byte("another"))
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{o.service()}})
	newest, first := open(t, c, "s3://cars/a.car"), open(t, c, "s3://cars/a.car?versionId="+old)
	if want := "s3://cars/a.car?versionId=" + old; first.URL() != want {
		t.Errorf("the URL is %q, not %q", first.URL(), want)
	}
	if got, err := read(newest.Open(t.Context())); got != "another" || err != nil {
		t.Errorf("the newest: %q, %v", got, err)
	}
	if err := mounttest.Test(t.Context(), mount.Registry{"s3": c.Open}, first, []byte("the first")); err != nil {
		t.Error(err)
	}
	for _, m := range []mount.Mount{
		open(t, c, "s3://cars/a.car?versionId=01JZZZZZZZZZZZZZZZZZZZZZZZ"),
		open(t, c, "s3://cars/b.car?versionId="+old),
	} {
		if _, err := m.Stat(t.Context()); err == nil {
			t.Errorf("%s is there", m.URL())
		}
	}
	if _, err := o.Do(http.MethodDelete, "/cars/a.car", "", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := newest.Stat(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was deleted gives %v", err)
	}
	if got, err := read(first.Open(t.Context())); got != "the first" || err != nil {
		t.Errorf("a version of what was deleted: %q, %v", got, err)
	}
}

func TestAbsentAndClosed(t *testing.T) {
	o := newOwner(t)
	o.Put(t, "/cars", nil)
	o.Put(t, "/cars/a.car", []byte("a"))
	wrong, unknown, public := o.service(), o.service(), o.service()
	wrong.Credentials.SecretKey = "SECRET-MARKER"
	unknown.Credentials.AccessKey = "nobody"
	public.Credentials = s3mount.Credentials{Anonymous: true}
	for name, s := range map[string]*s3mount.Service{"wrong": &wrong, "unknown": &unknown, "public": &public} {
		s.Buckets, s.Name = []string{name}, "cars"
	}
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{wrong, unknown, public, o.service()}})
	for url, want := range map[string]error{
		"s3://cars/b.car":    fs.ErrNotExist,
		"s3://cars/a.car/b":  fs.ErrNotExist,
		"s3://nothing/a.car": fs.ErrNotExist,
		"s3://wrong/a.car":   fs.ErrPermission,
		"s3://unknown/a.car": fs.ErrPermission,
		"s3://public/a.car":  fs.ErrPermission,
	} {
		m := open(t, c, url)
		_, statErr := m.Stat(t.Context())
		_, openErr := m.Open(t.Context())
		_, rangeErr := mount.OpenRange(t.Context(), m, mount.Range{Length: 1, Version: "x"})
		var listErr error
		for _, err := range c.List(t.Context(), strings.TrimSuffix(url, "a.car"), nil) {
			listErr = err
		}
		if url == "s3://cars/b.car" || url == "s3://cars/a.car/b" {
			listErr = want // there is nothing wrong with the bucket
		}
		for _, err := range []error{statErr, openErr, rangeErr, listErr} {
			if strings.Contains(url, "unknown") && errors.Is(err, fs.ErrNotExist) && errors.Is(statErr, err) {
				continue // to a HEAD the server says no more than 404
			}
			if !errors.Is(err, want) || strings.Contains(fmt.Sprint(err), "MARKER") {
				t.Errorf("%s gives %v", url, err)
			}
		}
	}
}

// Keys that a file system can have, too, since this server keeps them in one.
func TestKeys(t *testing.T) {
	o := newOwner(t)
	o.Put(t, "/cars", nil)
	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{o.service()}})
	want := make(map[string]string)
	for i, key := range []string{
		"plain.car", "two words.car", "a+b.car", "100%.car", "%2F.car", "%.car", "ü.car", "日本/語.car", "\U0001F4E6.car", "a&b=c;d.car",
		"q?x=1#f.car", "'\"<>.car", "~!@$*(),:[]{}|^`.car", "x..y.car", "...car", "back\\slash.car", "-.car", "trailing .car ", " leading.car", "a/b/c/d/e.car", "e\u0301.car", "\u00e9.car",
	} {
		body := fmt.Sprintf("body %d", i)
		if _, err := o.Do(http.MethodPut, "/cars/"+key, "", []byte(body)); err != nil {
			t.Logf("left out: the server does not take the key %q: %v", key, err)
			continue
		}
		want[key] = body
		m := open(t, c, "s3://cars/"+mount.EscapePath(key))
		if got, err := read(m.Open(t.Context())); got != body || err != nil {
			t.Errorf("key %q: %q, %v", key, got, err)
		}
	}
	if len(want) < 18 {
		t.Fatalf("the server takes %d keys only", len(want))
	}
	for object, err := range c.List(t.Context(), "s3://cars/", nil) {
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := want[object.Key]; !ok {
			t.Errorf("it lists %q, which nobody has put", object.Key)
		}
		if got, err := read(open(t, c, object.URL).Open(t.Context())); got != want[object.Key] || err != nil {
			t.Errorf("%s, from the listing: %q, %v", object.URL, got, err)
		}
		delete(want, object.Key)
	}
	for key := range want {
		t.Errorf("it does not list %q", key)
	}
}

func TestListMany(t *testing.T) {
	const many = 3000
	o := newOwner(t)
	o.Put(t, "/cars", nil)
	size := func(i int) int { return i % 17 }
	var wg sync.WaitGroup
	errs := make(chan error, many)
	for w := range 4 {
		wg.Go(func() {
			for i := w; i < many; i += 4 {
				_, err := o.Do(http.MethodPut, fmt.Sprintf("/cars/in/%04d.car", i), "", bytes.Repeat([]byte("x"), size(i)))
				errs <- err
			}
		})
	}
	wg.Wait()
	for range many {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	o.Put(t, "/cars/other.car", nil)
	o.Put(t, "/cars/in-not.car", nil)

	c := newClient(t, &s3mount.Config{Services: []s3mount.Service{o.service()}})
	var cost s3mount.Cost
	var objects []s3mount.Object
	begun := time.Now()
	for object, err := range c.List(t.Context(), "s3://cars/in/", &s3mount.ListOptions{Cost: &cost}) {
		if err != nil {
			t.Fatal(err)
		}
		if len(objects) == 0 && cost.Lists != 1 {
			t.Errorf("%d requests before the first object", cost.Lists)
		}
		objects = append(objects, object)
	}
	t.Logf("%d objects in %v: %+v", len(objects), time.Since(begun), cost)
	if len(objects) != many || cost.Lists > 4 || cost.Bytes == 0 || cost.Heads+cost.Gets != 0 || c.Cost() != cost {
		t.Fatalf("%d objects for %+v, of the client %+v", len(objects), cost, c.Cost())
	}
	for i, object := range objects {
		if want := fmt.Sprintf("in/%04d.car", i); object.Key != want || object.Size != int64(size(i)) || object.Archived {
			t.Fatalf("object %d is %+v", i, object)
		}
	}
	for range 10 {
		object := objects[rand.IntN(many)]
		st, err := open(t, c, object.URL).Stat(t.Context())
		if err != nil || st != object.Stat() {
			t.Errorf("Stat of %+v is %+v, %v", object, st, err)
		}
	}

	rest := 0
	for object, err := range c.List(t.Context(), "s3://cars/in/", &s3mount.ListOptions{After: "in/2989.car"}) {
		if err != nil || object.Key <= "in/2989.car" {
			t.Fatal(object, err)
		}
		rest++
	}
	if rest != 10 {
		t.Errorf("%d objects behind the 2,990th", rest)
	}
	cost = s3mount.Cost{}
	for range c.List(t.Context(), "s3://cars", &s3mount.ListOptions{Cost: &cost}) {
		break
	}
	if cost.Lists != 1 {
		t.Errorf("the first object alone costs %+v", cost)
	}
}
