package s3mount

import (
	"context"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dagstore/dagstore/mount"
)

// An Object is what a listing says of one object.
type Object struct {
	URL      string // for [Client.Open]
	Key      string // as it is, not escaped
	Size     int64
	ETag     string // the version that Stat of its mount would give
	ModTime  time.Time
	Class    string // of storage, such as STANDARD
	Archived bool   // it cannot be read before somebody has it restored; it is never done here
}

// Stat is what the Stat of its mount would say, as far as a listing knows: the
// time is cut to seconds, as a HEAD has it.
func (o Object) Stat() mount.Stat {
	return mount.Stat{Size: o.Size, Version: o.ETag, ModTime: o.ModTime.Truncate(time.Second), Ranges: true, Waits: o.Archived}
}

// ListOptions are for [Client.List]; nil is the default.
type ListOptions struct {
	After string // a key; only those behind it in the order of the server are listed
	Cost  *Cost  // what the listing costs is added to it before its objects are yielded
}

const (
	mostPage  = 16 << 20 // bytes of one page; 1,000 keys of 1 KiB, escaped, are 4 MiB
	mostEmpty = 100      // pages in a row without an object
)

// List lists the objects whose keys begin with the prefix in url, which is
// "s3://BUCKET/PREFIX": as a rule a prefix ends with a slash, and "" is the whole
// bucket. It asks for 1,000 objects at a time (ListObjectsV2), for the next
// ones when those have been taken, and for nothing else: there is no request
// for each object. What S3 tools put in place of folders (keys that end with a
// slash) is listed, too.
//
// After an error, which is yielded once with a zero Object, the listing has
// ended; it may be taken up again with the last key as After. A listing that
// does not get on (a page, or the token of one, that was there before) wraps
// [mount.ErrAnswer], and so does one with a key outside of the prefix. The same
// errors as those of a mount tell that the bucket is absent, closed to us or
// busy. The listing ends with the error of ctx when that ends.
func (c *Client) List(ctx context.Context, url string, o *ListOptions) iter.Seq2[Object, error] {
	if o == nil {
		o = new(ListOptions)
	}
	return func(yield func(Object, error) bool) {
		at, err := c.locate(url)
		if err == nil && at.version != "" {
			err = fmt.Errorf("%w: a prefix has no version", mount.ErrURL)
		}
		if err != nil {
			yield(Object{}, err)
			return
		}
		l := &listing{client: c, at: at, after: o.After, cost: o.Cost, seen: make(map[[16]byte]bool)}
		for {
			objects, more, err := l.next(ctx)
			switch ended := ctx.Err(); {
			case ended != nil:
				yield(Object{}, ended)
				return
			case err != nil:
				yield(Object{}, fmt.Errorf("s3mount: list %s: %w", at.url(), err))
				return
			}
			for _, object := range objects {
				if !yield(object, nil) {
					return
				}
			}
			if !more {
				return
			}
		}
	}
}

// A listing is under way.
type listing struct {
	client *Client
	at     location
	after  string
	cost   *Cost // may be nil

	token string            // of the next page
	seen  map[[16]byte]bool // hashes of tokens and of the first keys of pages
	empty int               // pages in a row
}

// page is what S3 answers to ListObjectsV2.
type page struct {
	XMLName               xml.Name `xml:"ListBucketResult"`
	IsTruncated           bool
	NextContinuationToken string
	EncodingType          string
	Contents              []entry
}

type entry struct {
	Key           string
	LastModified  string
	ETag          string
	Size          int64
	StorageClass  string
	RestoreStatus struct {
		IsRestoreInProgress bool
		RestoreExpiryDate   string
	}
}

// next reads one page, and whether there are more.
func (l *listing) next(ctx context.Context) (objects []Object, more bool, err error) {
	p, err := l.fetch(ctx)
	if err != nil {
		return nil, false, err
	}
	now := time.Now()
	for _, e := range p.Contents {
		object, err := l.object(e, p.EncodingType, now)
		if err != nil {
			return nil, false, err
		}
		objects = append(objects, object)
	}
	if err := l.advance(objects, p); err != nil {
		return nil, false, fmt.Errorf("%w: %w", mount.ErrAnswer, err)
	}
	return objects, p.IsTruncated, nil
}

// advance goes on behind a page, and says why a listing can have no end.
func (l *listing) advance(objects []Object, p *page) error {
	l.empty++
	if len(objects) > 0 {
		l.empty = 0
		if !l.first("key", objects[0].Key) {
			return errors.New("the listing begins again")
		}
	}
	if !p.IsTruncated {
		return nil
	}
	l.token = p.NextContinuationToken
	switch {
	case l.token == "":
		return errors.New("there is more, and no way to it")
	case !l.first("token", l.token):
		return errors.New("the listing goes back to where it was")
	case l.empty > mostEmpty:
		return errors.New("the listing goes on without an object")
	}
	return nil
}

// first reports whether it is the first time that s comes as kind.
func (l *listing) first(kind, s string) bool {
	sum := sha256.Sum256([]byte(kind + " " + s))
	hash := [16]byte(sum[:16])
	if l.seen[hash] {
		return false
	}
	l.seen[hash] = true
	return true
}

func (l *listing) fetch(ctx context.Context) (*page, error) {
	// Keys may have characters that XML has not; those who list archives say
	// which objects are restored.
	query := url.Values{"list-type": {"2"}, "encoding-type": {"url"}, "prefix": {l.at.key}}
	switch {
	case l.token != "":
		query.Set("continuation-token", l.token)
	case l.after != "":
		query.Set("start-after", l.after)
	}
	resp, err := l.client.do(ctx, request{
		method: http.MethodGet, bucket: l.at.bucket, query: query, cost: l.cost,
		header: http.Header{"X-Amz-Optional-Object-Attributes": {"RestoreStatus"}},
	})
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, mostPage+1))
	switch {
	case err != nil:
		return nil, broken(err)
	case len(raw) > mostPage:
		return nil, fmt.Errorf("%w: a page of the listing has over %d bytes", mount.ErrAnswer, mostPage)
	}
	p := new(page)
	if err := xml.Unmarshal(raw, p); err != nil {
		return nil, fmt.Errorf("%w: the listing is not the XML that it should be", mount.ErrAnswer)
	}
	return p, nil
}

// object makes of an entry what List yields.
func (l *listing) object(e entry, encoding string, now time.Time) (Object, error) {
	key := e.Key
	if encoding == "url" {
		var err error
		if key, err = url.QueryUnescape(key); err != nil {
			return Object{}, fmt.Errorf("%w: a key of the listing is not escaped as it says", mount.ErrAnswer)
		}
	}
	if key == "" || len(key) > mostKey || !utf8.ValidString(key) || e.Size < 0 || !strings.HasPrefix(key, l.at.key) {
		return Object{}, fmt.Errorf("%w: an entry of the listing can be of no object with the prefix", mount.ErrAnswer)
	}
	restored := !e.RestoreStatus.IsRestoreInProgress && parseTime(e.RestoreStatus.RestoreExpiryDate).After(now)
	return Object{
		URL:      location{bucket: l.at.bucket, key: key}.url(),
		Key:      key,
		Size:     e.Size,
		ETag:     trimETag(e.ETag),
		ModTime:  parseTime(e.LastModified),
		Class:    e.StorageClass,
		Archived: archives(e.StorageClass) && !restored,
	}, nil
}

// parseTime reads a time of a listing; the zero time is for what is none.
func parseTime(s string) time.Time {
	at, err := time.Parse(time.RFC3339, strings.TrimSpace(s))
	if err != nil {
		return time.Time{}
	}
	return at
}
