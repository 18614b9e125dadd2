package s3mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// object is a mount of one object.
type object struct {
	location
	client *Client
}

var (
	_ mount.RangeOpener   = (*object)(nil)
	_ mount.SiblingOpener = (*object)(nil)
)

// URL implements [mount.Mount].
func (o *object) URL() string { return o.url() }

// OpenSibling implements [mount.SiblingOpener]. What lies beside one version of
// an object is the newest version of that.
func (o *object) OpenSibling(suffix string) (mount.Mount, error) {
	beside := location{bucket: o.bucket, key: o.key + suffix}
	if len(beside.key) > mostKey {
		return nil, fmt.Errorf("%w: a key is at most %d bytes of UTF-8", mount.ErrURL, mostKey)
	}
	return &object{location: beside, client: o.client}, nil
}

// Stat implements [mount.Mount]. An object that is archived, and not restored
// for now, waits.
func (o *object) Stat(ctx context.Context) (mount.Stat, error) {
	st, err := o.stat(ctx)
	if err != nil {
		return mount.Stat{}, o.fail(ctx, "stat", err)
	}
	return st, nil
}

func (o *object) stat(ctx context.Context) (mount.Stat, error) {
	resp, err := o.client.do(ctx, o.request(http.MethodHead))
	if err != nil {
		return mount.Stat{}, err
	}
	defer resp.Body.Close()
	if err := o.isVersion(resp.Header); err != nil {
		return mount.Stat{}, err
	}
	st := mount.Stat{
		Size:    resp.ContentLength,
		Version: versionOf(resp.Header),
		Ranges:  resp.Header.Get("Accept-Ranges") != "none",
		Waits:   isArchived(resp.Header, time.Now()),
	}
	if at, err := http.ParseTime(resp.Header.Get("Last-Modified")); err == nil {
		st.ModTime = at.UTC()
	}
	return st, nil
}

// isArchived reports whether the headers are those of an object that cannot
// be read before somebody has it restored.
func isArchived(h http.Header, now time.Time) bool {
	if !archives(h.Get("X-Amz-Storage-Class")) && h.Get("X-Amz-Archive-Status") == "" {
		return false
	}
	// ongoing-request="false", expiry-date="Fri, 21 Dec 2012 00:00:00 GMT"
	restore := h.Get("X-Amz-Restore")
	if !strings.Contains(restore, `ongoing-request="false"`) {
		return true
	}
	_, rest, ok := strings.Cut(restore, `expiry-date="`)
	until, _, _ := strings.Cut(rest, `"`)
	at, err := http.ParseTime(until)
	return ok && err == nil && at.Before(now)
}

// archives reports whether objects of a storage class have to be restored
// before they are read. Those of GLACIER_IR do not.
func archives(class string) bool { return class == "GLACIER" || class == "DEEP_ARCHIVE" }

// Open implements [mount.Mount].
func (o *object) Open(ctx context.Context) (io.ReadCloser, error) {
	return o.OpenRange(ctx, mount.Range{Length: -1})
}

// OpenRange implements [mount.RangeOpener]. It is one GET, but for a range of no
// bytes, which S3 has no word for: that is one HEAD.
func (o *object) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	body, err := o.open(ctx, r)
	if err != nil {
		return nil, o.fail(ctx, "open", err)
	}
	return body, nil
}

func (o *object) open(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	if _, err := r.Resolve(math.MaxInt64); err != nil { // a range of no object at all
		return nil, err
	}
	if r.Length == 0 {
		return o.empty(ctx, r)
	}
	req := o.request(http.MethodGet)
	req.header = make(http.Header)
	if match := ifMatch(r.Version); match != "" {
		req.header.Set("If-Match", match)
	}
	whole := r.Offset == 0 && r.Length == -1
	if !whole {
		req.header.Set("Range", rangeHeader(r))
	}
	resp, err := o.client.do(ctx, req)
	if r.Length == -1 && errors.Is(err, mount.ErrRange) {
		return o.empty(ctx, r) // it may be that the range begins where the object ends
	}
	if err != nil {
		return nil, err
	}
	length, err := o.check(resp, r, whole)
	if err != nil {
		_ = resp.Body.Close() // nothing of it is wanted
		return nil, err
	}
	return &stream{ctx: ctx, object: o, body: resp.Body, left: length}, nil
}

func rangeHeader(r mount.Range) string {
	s := "bytes=" + strconv.FormatInt(r.Offset, 10) + "-"
	if r.Length > 0 {
		s += strconv.FormatInt(r.Offset+r.Length-1, 10)
	}
	return s
}

// empty is a range of no bytes, if the object is long enough for it.
func (o *object) empty(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	st, err := o.stat(ctx)
	if err != nil {
		return nil, err
	}
	if r.Version != "" && r.Version != st.Version {
		return nil, mount.ErrChanged
	}
	if r, err = r.Resolve(st.Size); err != nil {
		return nil, err
	}
	if r.Length > 0 {
		return nil, fmt.Errorf("%w: it has bytes that it says it has not", mount.ErrAnswer)
	}
	return &stream{ctx: ctx, object: o, body: http.NoBody}, nil
}

// check holds an answer against what was asked, and returns how many bytes
// its body is to have; -1 if the server does not say.
func (o *object) check(resp *http.Response, r mount.Range, whole bool) (int64, error) {
	if err := o.isVersion(resp.Header); err != nil {
		return 0, err
	}
	if got := versionOf(resp.Header); r.Version != "" && got != r.Version {
		return 0, mount.ErrChanged
	}
	switch {
	case whole && resp.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("%w: a part, where all was asked for", mount.ErrAnswer)
	case whole && resp.ContentLength < 0 && len(resp.TransferEncoding) == 0:
		return 0, fmt.Errorf("%w: it does not say where the object ends", mount.ErrAnswer)
	case whole:
		return resp.ContentLength, nil
	case resp.StatusCode == http.StatusOK && r.Offset == 0 && resp.ContentLength == r.Length:
		return r.Length, nil // all that there is was asked for, and so all is the range
	case resp.StatusCode != http.StatusPartialContent:
		return 0, mount.ErrNoRanges
	}
	first, last, size, err := parseContentRange(resp.Header.Get("Content-Range"))
	if err != nil {
		return 0, err
	}
	got := last - first + 1
	switch {
	case first != r.Offset, resp.ContentLength >= 0 && resp.ContentLength != got:
		return 0, fmt.Errorf("%w: other bytes than were asked for", mount.ErrAnswer)
	case got == r.Length, r.Length == -1 && last+1 == size:
		return got, nil
	case r.Length > got && last+1 == size:
		return 0, fmt.Errorf("%w: %s, the object has %d bytes", mount.ErrRange, r, size)
	}
	return 0, fmt.Errorf("%w: other bytes than were asked for", mount.ErrAnswer)
}

// isVersion holds an answer against the version that the URL names. A server
// that knows no versions would answer with what it has.
func (o *object) isVersion(h http.Header) error {
	got := h.Get("X-Amz-Version-Id")
	if o.version == "" || got == o.version || got == "" && o.version == "null" {
		return nil
	}
	return fmt.Errorf("%w: another version than was asked for", mount.ErrAnswer)
}

func (o *object) request(method string) request {
	r := request{method: method, bucket: o.bucket, key: o.key}
	if o.version != "" {
		r.query = url.Values{"versionId": {o.version}}
	}
	return r
}

// fail says what was being done, and where. The end of a context is no failure
// of the object.
func (o *object) fail(ctx context.Context, op string, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	return fmt.Errorf("s3mount: %s %s: %w", op, o.url(), err)
}
