package s3mount_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/s3mount"
)

// listing answers with a page: entries as they are, and the token of the next.
func listing(w http.ResponseWriter, entries, token string) {
	truncated := ""
	if token != "" {
		truncated = "<IsTruncated>true</IsTruncated><NextContinuationToken>" + token + "</NextContinuationToken>"
	}
	fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><EncodingType>url</EncodingType>%s%s</ListBucketResult>`, truncated, entries)
}

func entry(key, class string) string {
	return "<Contents><Key>" + key + "</Key><LastModified>2026-05-04T03:02:01.000Z</LastModified><ETag>&quot;etag&quot;</ETag><Size>7</Size><StorageClass>" + class + "</StorageClass></Contents>"
}

// collect lists until the end, or until there are very many.
func collect(ctx context.Context, c *s3mount.Client, url string) (objects []s3mount.Object, last error) {
	for object, err := range c.List(ctx, url, nil) {
		if last != nil || err != nil && object != (s3mount.Object{}) {
			return objects, errors.New("it goes on after an error")
		}
		if last = err; err == nil {
			objects = append(objects, object)
		}
		if len(objects) > 100_000 {
			return objects, errors.New("it has no end")
		}
	}
	return objects, last
}

func TestMisbehavingListings(t *testing.T) {
	n := 0 // requests of one case
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		want   error
		most   int // requests
	}{
		"the same token again": {func(w http.ResponseWriter, _ *http.Request) {
			listing(w, entry(fmt.Sprintf("in/%d", n), ""), "again")
		}, mount.ErrAnswer, 2},
		"tokens in a circle": {func(w http.ResponseWriter, _ *http.Request) {
			listing(w, entry(fmt.Sprintf("in/%d", n), ""), fmt.Sprint("t", n%5))
		}, mount.ErrAnswer, 6},
		"the same page again": {func(w http.ResponseWriter, _ *http.Request) {
			listing(w, entry("in/a", "")+entry("in/b", ""), fmt.Sprint("t", n))
		}, mount.ErrAnswer, 2},
		"pages in a circle": {func(w http.ResponseWriter, _ *http.Request) {
			listing(w, entry(fmt.Sprintf("in/%d", n%3), "")+entry(fmt.Sprintf("in/new-%d", n), ""), fmt.Sprint("t", n))
		}, mount.ErrAnswer, 4},
		"nothing without end": {func(w http.ResponseWriter, _ *http.Request) {
			listing(w, "", fmt.Sprint("t", n))
		}, mount.ErrAnswer, 101},
		"more, and no token": {func(w http.ResponseWriter, _ *http.Request) {
			listing(w, "<IsTruncated>true</IsTruncated>"+entry("in/a", ""), "")
		}, mount.ErrAnswer, 1},
		"another prefix": {func(w http.ResponseWriter, _ *http.Request) { listing(w, entry("out/a", ""), "") }, mount.ErrAnswer, 1},
		"no key":         {func(w http.ResponseWriter, _ *http.Request) { listing(w, entry("", ""), "") }, mount.ErrAnswer, 1},
		"a key that is too long": {func(w http.ResponseWriter, _ *http.Request) {
			listing(w, entry("in/"+strings.Repeat("x", 1022), ""), "")
		}, mount.ErrAnswer, 1},
		"a key of bytes":   {func(w http.ResponseWriter, _ *http.Request) { listing(w, entry("in/%FF", ""), "") }, mount.ErrAnswer, 1},
		"a key of nothing": {func(w http.ResponseWriter, _ *http.Request) { listing(w, entry("in/%4", ""), "") }, mount.ErrAnswer, 1},
		"a size below nothing": {func(w http.ResponseWriter, _ *http.Request) {
			listing(w, strings.Replace(entry("in/a", ""), "<Size>7", "<Size>-7", 1), "")
		}, mount.ErrAnswer, 1},
		"no XML":       {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "SECRET-MARKER") }, mount.ErrAnswer, 1},
		"other XML":    {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>SECRET-MARKER</html>") }, mount.ErrAnswer, 1},
		"cut off XML":  {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<ListBucketResult><Contents><Key>in/a") }, mount.ErrAnswer, 1},
		"a huge page":  {hugePage, mount.ErrAnswer, 1},
		"busy":         {refuse(503, "SlowDown", "Retry-After", "7"), mount.ErrBusy, 1},
		"closed to us": {refuse(403, "AccessDenied"), fs.ErrPermission, 1},
		"absent":       {refuse(404, "NoSuchBucket"), fs.ErrNotExist, 1},
	} {
		t.Run(name, func(t *testing.T) {
			n = 0
			f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
				c.answer(w, r)
				n++
			})
			client := f.client(t)
			_, err := collect(t.Context(), client, "s3://cars/in/")
			if !is(err, c.want) || !harmless(err) {
				t.Errorf("it gives %v", err)
			}
			if got := int(f.requests.Load()); got > c.most || client.Cost().Lists != int64(got) {
				t.Errorf("%d requests, %+v", got, client.Cost())
			}
			if read := client.Cost().Bytes; read > 17<<20 {
				t.Errorf("%d bytes were read", read)
			}
		})
	}
}

func hugePage(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, "<ListBucketResult>")
	for some := strings.Repeat(entry("in/a", ""), 1000); ; {
		if _, err := fmt.Fprint(w, some); err != nil {
			return
		}
	}
}

// What is asked for, and what becomes of what is answered.
func TestListing(t *testing.T) {
	soon := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	var asked []string
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.RequestURI)
		if r.Header.Get("X-Amz-Optional-Object-Attributes") != "RestoreStatus" {
			t.Error("it does not ask what is restored")
		}
		if r.URL.Query().Get("continuation-token") == "" {
			listing(w, entry("in+%2B%25%01/", "")+entry("in+%2B%25%01/a", "STANDARD"), "to ken/+=&amp;")
			return
		}
		restored := strings.Replace(entry("in+%2B%25%01/d", "GLACIER"), "</Contents>", "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress><RestoreExpiryDate>"+soon+"</RestoreExpiryDate></RestoreStatus></Contents>", 1)
		listing(w, entry("in+%2B%25%01/b", "GLACIER")+entry("in+%2B%25%01/c", "DEEP_ARCHIVE")+restored+entry("in+%2B%25%01/e", "GLACIER_IR"), "")
	})
	objects, err := collect(t.Context(), f.client(t), "s3://cars/in%20+%25%01/")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range objects {
		got = append(got, fmt.Sprint(o.URL, " ", o.Class, " ", o.Archived))
		if o.Size != 7 || o.ETag != "etag" || !o.ModTime.Equal(modified) || !strings.HasPrefix(o.Key, "in +%\x01/") {
			t.Errorf("%+v", o)
		}
	}
	want := "s3://cars/in%20+%25%01/  false\ns3://cars/in%20+%25%01/a STANDARD false\ns3://cars/in%20+%25%01/b GLACIER true\n" +
		"s3://cars/in%20+%25%01/c DEEP_ARCHIVE true\ns3://cars/in%20+%25%01/d GLACIER false\ns3://cars/in%20+%25%01/e GLACIER_IR false"
	if strings.Join(got, "\n") != want {
		t.Errorf("it lists\n%s\nnot\n%s", strings.Join(got, "\n"), want)
	}
	want = "GET /cars/?encoding-type=url&list-type=2&prefix=in%20%2B%25%01%2F\n" +
		"GET /cars/?continuation-token=to%20ken%2F%2B%3D%26&encoding-type=url&list-type=2&prefix=in%20%2B%25%01%2F"
	if strings.Join(asked, "\n") != want {
		t.Errorf("it asks\n%s\nnot\n%s", strings.Join(asked, "\n"), want)
	}
}

func TestListOfNoPrefix(t *testing.T) {
	c := newClient(t, nil)
	for _, url := range []string{"", "s3:", "s3://", "s3:///in/", "file:///in/", "s3://cars/in/?versionId=1", "s3://key:SECRET-MARKER@cars/"} {
		if objects, err := collect(t.Context(), c, url); len(objects) > 0 || !errors.Is(err, mount.ErrURL) || !harmless(err) {
			t.Errorf("%q gives %v, %v", url, objects, err)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := collect(ended, c, "s3://cars/"); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended it gives %v", err)
	}
}
