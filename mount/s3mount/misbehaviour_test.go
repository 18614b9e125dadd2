package s3mount_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/s3mount"
)

var modified = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// errAny stands for an error that none of the sentinels is.
var errAny = errors.New("any")

var sentinels = []error{
	mount.ErrRange, mount.ErrChanged, mount.ErrNoRanges, mount.ErrBusy, mount.ErrNotReady, mount.ErrAnswer, mount.ErrStalled,
	fs.ErrNotExist, fs.ErrPermission, io.ErrUnexpectedEOF, s3mount.ErrCredentials,
}

// is reports whether err is what is wanted, and none of the other sentinels.
func is(err, want error) bool {
	for _, s := range sentinels {
		if errors.Is(err, s) != (s == want) {
			return false
		}
	}
	return err != nil
}

// harmless reports whether err shows no secret, however it is printed.
func harmless(err error) bool {
	return !strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "MARKER")
}

// Bytes 10 to 14 of version "etag" are asked for. Whatever comes instead is an
// error, after one request.
func TestMisbehavingRanges(t *testing.T) {
	five := content[10:15]
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"a range further on":        {part("bytes 20-24/1000", five), mount.ErrAnswer},
		"a longer range":            {part("bytes 10-15/1000", five+"x"), mount.ErrAnswer},
		"a shorter range":           {part("bytes 10-13/1000", five[:4]), mount.ErrAnswer},
		"a range of a short object": {part("bytes 10-12/13", five[:3]), mount.ErrRange},
		"no range":                  {part("", five), mount.ErrAnswer},
		"a range of another unit":   {part("lines 10-14/1000", five), mount.ErrAnswer},
		"a range over the end":      {part("bytes 10-14/12", five), mount.ErrAnswer},
		"a range that goes back":    {part("bytes 14-10/1000", five), mount.ErrAnswer},
		"numbers that are none":     {part("bytes +10-14/1000", five), mount.ErrAnswer},
		"numbers without end":       {part("bytes 10-99999999999999999999/1000", five), mount.ErrAnswer},
		"another length":            {part("bytes 10-14/1000", five+five), mount.ErrAnswer},
		"the whole object":          {func(w http.ResponseWriter, r *http.Request) { r.Header.Del("Range"); good(w, r) }, mount.ErrNoRanges},
		"another ETag":              {part("bytes 10-14/1000", five, "ETag", `"other"`), mount.ErrChanged},
		"a weak ETag":               {part("bytes 10-14/1000", five, "ETag", `W/"etag"`), mount.ErrChanged},
		"no ETag":                   {part("bytes 10-14/1000", five, "ETag", ""), mount.ErrChanged},
		"too little, of a length":   {raw("HTTP/1.1 206 Partial Content\r\nETag: \"etag\"\r\nContent-Length: 5\r\nContent-Range: bytes 10-14/1000\r\n\r\n" + five[:3]), io.ErrUnexpectedEOF},
		"too little, in chunks":     {chunked(206, "bytes 10-14/1000", five[:3]), io.ErrUnexpectedEOF},
		"too much, in chunks":       {chunked(206, "bytes 10-14/1000", five+"x"), mount.ErrAnswer},
		"a chunk that breaks off":   {raw("HTTP/1.1 206 Partial Content\r\nETag: \"etag\"\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 10-14/1000\r\n\r\n5\r\n" + five[:3]), io.ErrUnexpectedEOF},
		"chunks that are none":      {raw("HTTP/1.1 206 Partial Content\r\nETag: \"etag\"\r\nTransfer-Encoding: chunked\r\nContent-Range: bytes 10-14/1000\r\n\r\nSECRET-MARKER\r\n"), mount.ErrAnswer},
		"changed":                   {refuse(412, "PreconditionFailed"), mount.ErrChanged},
		"busy":                      {refuse(503, "SlowDown", "Retry-After", "7"), mount.ErrBusy},
		"busy, by the code":         {refuse(400, "RequestLimitExceeded"), mount.ErrBusy},
		"busy, by the status":       {refuse(429, "", "Retry-After", "never"), mount.ErrBusy},
		"archived":                  {refuse(403, "InvalidObjectState"), mount.ErrNotReady},
		"closed to us":              {refuse(403, "AccessDenied"), fs.ErrPermission},
		"wrong keys":                {refuse(403, "SignatureDoesNotMatch"), fs.ErrPermission},
		"keys that have expired":    {refuse(400, "ExpiredToken"), fs.ErrPermission},
		"not known to us":           {refuse(401, ""), fs.ErrPermission},
		"absent":                    {refuse(404, "NoSuchKey"), fs.ErrNotExist},
		"absent bucket":             {refuse(404, "NoSuchBucket"), fs.ErrNotExist},
		"absent version":            {refuse(404, "NoSuchVersion"), fs.ErrNotExist},
		"deleted":                   {refuse(405, "MethodNotAllowed", "X-Amz-Delete-Marker", "true"), fs.ErrNotExist},
		"absent, in HTML": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, "<html>SECRET-MARKER")
		}, fs.ErrNotExist},
		"out of range":               {refuse(416, "InvalidRange"), mount.ErrRange},
		"out of order":               {refuse(500, "InternalError"), errAny},
		"a code that is none":        {refuse(500, "SESSION-MARKER"), errAny},
		"a gateway without a server": {refuse(502, ""), errAny},
		"nothing":                    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }, mount.ErrAnswer},
		"no HTTP":                    {raw("SECRET-MARKER\r\n\r\n"), mount.ErrAnswer},
		"headers without end":        {raw("HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Long: SECRET-MARKER\r\n", 10_000) + "\r\n"), mount.ErrAnswer},
		"a refusal without end":      {endless, fs.ErrPermission},
		"the end":                    {raw(""), errAny},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, c.answer)
			client := f.client(t)
			m := open(t, client, "s3://cars/a.car")
			got, err := read(mount.OpenRange(t.Context(), m, mount.Range{Offset: 10, Length: 5, Version: "etag"}))
			if !is(err, c.want) || !strings.HasPrefix(five, got) {
				t.Errorf("it gives %q, %v", got, err)
			}
			if !harmless(err) {
				t.Errorf("it shows a secret: %v", err)
			}
			if n := f.requests.Load(); n != 1 || client.Cost().Gets != 1 {
				t.Errorf("%d requests, %+v", n, client.Cost())
			}
			if n := client.Cost().Bytes; n > 100_000 {
				t.Errorf("%d bytes were read", n)
			}
		})
	}
}

func TestMisbehavingStreams(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"a part":               {part("bytes 0-4/1000", content[:5]), mount.ErrAnswer},
		"too little":           {raw("HTTP/1.1 200 OK\r\nETag: \"etag\"\r\nContent-Length: 1000\r\n\r\n" + content[:999]), io.ErrUnexpectedEOF},
		"no end":               {raw("HTTP/1.0 200 OK\r\nETag: \"etag\"\r\n\r\n" + content), mount.ErrAnswer},
		"chunks":               {chunked(200, "", content), nil},
		"chunks, broken off":   {raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n" + content[:5] + "\r\n"), io.ErrUnexpectedEOF},
		"more than its length": {raw("HTTP/1.1 200 OK\r\nETag: \"etag\"\r\nContent-Length: 1000\r\n\r\n" + content + "x"), nil}, // which belongs to nobody
		"archived":             {refuse(403, "InvalidObjectState"), mount.ErrNotReady},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, c.answer)
			got, err := read(open(t, f.client(t), "s3://cars/a.car").Open(t.Context()))
			switch {
			case c.want == nil && (err != nil || got != content):
				t.Errorf("it gives %d bytes, %v", len(got), err)
			case c.want != nil && (!is(err, c.want) || !strings.HasPrefix(content, got)):
				t.Errorf("it gives %q, %v", got, err)
			}
			if n := f.requests.Load(); n != 1 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A server may answer with all if a range is all that there is.
func TestRangeOfAll(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range")
		good(w, r)
	})
	m := open(t, f.client(t), "s3://cars/a.car")
	if got, err := read(mount.OpenRange(t.Context(), m, mount.Range{Length: 1000, Version: "etag"})); got != content || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for _, r := range []mount.Range{{Length: 999}, {Length: 1001}, {Offset: 1, Length: 1000}, {Offset: 1, Length: -1}} {
		if got, err := read(mount.OpenRange(t.Context(), m, r)); got != "" || !is(err, mount.ErrNoRanges) {
			t.Errorf("%v gives %d bytes, %v", r, len(got), err)
		}
	}
}

func TestBusyUntil(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		after := map[string]string{"/cars/seconds": "7", "/cars/year": "31536000", "/cars/minus": "-5", "/cars/huge": "99999999999999999999"}[r.URL.Path]
		switch r.URL.Path {
		case "/cars/date":
			after = time.Now().Add(90 * time.Second).UTC().Format(http.TimeFormat)
		case "/cars/past":
			after = modified.Format(http.TimeFormat)
		}
		refuse(503, "SlowDown", "Retry-After", after)(w, r)
	})
	c := f.client(t)
	for key, want := range map[string][2]time.Duration{
		"seconds": {7 * time.Second, 7 * time.Second}, "date": {time.Minute, 91 * time.Second}, "past": {}, "minus": {}, "huge": {}, "year": {24 * time.Hour, 24 * time.Hour},
	} {
		_, err := open(t, c, "s3://cars/"+key).Open(t.Context())
		busy, ok := errors.AsType[*mount.BusyError](err)
		if !ok || busy.After < want[0] || busy.After > want[1] {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestArchived(t *testing.T) {
	soon, past := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), modified.AddDate(-10, 0, 0).Format(http.TimeFormat)
	for _, c := range []struct {
		class, restore, archive string
		waits                   bool
	}{
		{},
		{class: "STANDARD_IA"},
		{class: "GLACIER_IR"},
		{class: "GLACIER", waits: true},
		{class: "DEEP_ARCHIVE", waits: true},
		{class: "GLACIER", restore: `ongoing-request="true"`, waits: true},
		{class: "GLACIER", restore: `ongoing-request="false", expiry-date="` + soon + `"`},
		{class: "GLACIER", restore: `ongoing-request="false", expiry-date="` + past + `"`, waits: true},
		{class: "GLACIER", restore: "nonsense", waits: true},
		{class: "INTELLIGENT_TIERING"},
		{class: "INTELLIGENT_TIERING", archive: "ARCHIVE_ACCESS", waits: true},
	} {
		f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
			for name, value := range map[string]string{"X-Amz-Storage-Class": c.class, "X-Amz-Restore": c.restore, "X-Amz-Archive-Status": c.archive} {
				if value != "" {
					w.Header().Set(name, value)
				}
			}
			good(w, r)
		})
		st, err := open(t, f.client(t), "s3://cars/a.car").Stat(t.Context())
		want := mount.Stat{Size: 1000, Version: "etag", ModTime: modified, Ranges: true, Waits: c.waits}
		if err != nil || st != want {
			t.Errorf("%+v: Stat is %+v, %v", c, st, err)
		}
	}
}

// A server that knows no versions answers with what it has, which is not what
// was asked for.
func TestVersionThatIsNotAsked(t *testing.T) {
	id := ""
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if id != "" {
			w.Header().Set("X-Amz-Version-Id", id)
		}
		good(w, r)
	})
	c := f.client(t)
	for _, given := range []string{"", "other"} {
		id = given
		m := open(t, c, "s3://cars/a.car?versionId=one")
		if _, err := m.Stat(t.Context()); !is(err, mount.ErrAnswer) {
			t.Errorf("Stat gives %v", err)
		}
		if _, err := m.Open(t.Context()); !is(err, mount.ErrAnswer) {
			t.Errorf("Open gives %v", err)
		}
	}
	id = ""
	if got, err := read(open(t, c, "s3://cars/a.car?versionId=null").Open(t.Context())); got != content || err != nil {
		t.Errorf("the version of an object that has none gives %d bytes, %v", len(got), err)
	}
}

// Without an ETag it is the id of the version that tells versions apart.
func TestVersionWithoutETag(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amz-Version-Id", "one")
		http.ServeContent(w, r, "", modified, strings.NewReader(content))
	})
	m := open(t, f.client(t), "s3://cars/a.car")
	st, err := m.Stat(t.Context())
	if err != nil || st.Version == "" {
		t.Fatalf("%+v, %v", st, err)
	}
	if got, err := read(mount.OpenRange(t.Context(), m, mount.Range{Offset: 1, Length: 2, Version: st.Version})); got != content[1:3] || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := mount.OpenRange(t.Context(), m, mount.Range{Offset: 1, Length: 2, Version: st.Version + "x"}); !is(err, mount.ErrChanged) {
		t.Errorf("another version gives %v", err)
	}
}

// Nothing that hangs outlives its context.
func TestHanging(t *testing.T) {
	f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "body") {
			w.Header().Set("ETag", `"etag"`)
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(content[:10]))
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	})
	c := f.client(t)
	for name, call := range map[string]func(context.Context) error{
		"Stat": func(ctx context.Context) error { _, err := open(t, c, "s3://cars/a").Stat(ctx); return err },
		"Open": func(ctx context.Context) error { _, err := open(t, c, "s3://cars/a").Open(ctx); return err },
		"OpenRange": func(ctx context.Context) error {
			_, err := mount.OpenRange(ctx, open(t, c, "s3://cars/a"), mount.Range{Length: 1})
			return err
		},
		"Read": func(ctx context.Context) error { _, err := read(open(t, c, "s3://cars/body").Open(ctx)); return err },
		"List": func(ctx context.Context) (last error) {
			for _, err := range c.List(ctx, "s3://cars/", nil) {
				last = err
			}
			return last
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		before := f.requests.Load()
		done := make(chan error, 1)
		go func() { done <- call(ctx) }()
		for f.requests.Load() == before {
			time.Sleep(time.Millisecond)
		}
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s gives %v", name, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s hangs", name)
		}
	}
}

// A redirect would take the request, signed as it is, to somebody else.
func TestRedirect(t *testing.T) {
	other := newFake(t, good)
	for _, status := range []int{301, 302, 307, 308} {
		f := newFake(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, status)
		})
		c := f.client(t)
		if _, err := open(t, c, "s3://cars/a.car").Open(t.Context()); !is(err, errAny) {
			t.Errorf("status %d gives %v", status, err)
		}
		for _, err := range c.List(t.Context(), "s3://cars/", nil) {
			if !is(err, errAny) {
				t.Errorf("status %d gives %v", status, err)
			}
		}
	}
	if n := other.requests.Load(); n != 0 {
		t.Errorf("%d requests were led astray", n)
	}
}
