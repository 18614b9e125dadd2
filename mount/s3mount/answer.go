package s3mount

import (
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// A refusal is an answer that is not what was asked for. Of what the server
// says it keeps the code alone: a message may repeat what we have sent, and
// goes to logs and to people.
type refusal struct {
	status  int
	code    string        // of S3; "" for none
	region  string        // where the bucket lies instead
	after   time.Duration // until we may ask again
	deleted bool          // the newest version says that the object is deleted
	kind    error         // the sentinel; nil for none
}

// mostRefusal is how much of a refusal is read.
const mostRefusal = 16 << 10

// readRefusal reads what resp says, and closes it.
func readRefusal(resp *http.Response) *refusal {
	defer resp.Body.Close()
	var body struct {
		Code   string
		Region string
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, mostRefusal))
	if err == nil && len(raw) > 0 {
		if xml.Unmarshal(raw, &body) != nil {
			body.Code = "" // it is no XML, so there is no code
		}
	}
	r := &refusal{
		status:  resp.StatusCode,
		code:    clean(body.Code),
		region:  resp.Header.Get("X-Amz-Bucket-Region"),
		after:   retryAfter(resp.Header.Get("Retry-After"), time.Now()),
		deleted: resp.Header.Get("X-Amz-Delete-Marker") == "true",
	}
	if r.region == "" {
		r.region = body.Region
	}
	r.kind = r.sentinel()
	return r
}

// clean returns a code of S3, which is a word, or nothing.
func clean(code string) string {
	if len(code) > 48 || strings.TrimFunc(code, func(r rune) bool { return 'a' <= r|0x20 && r|0x20 <= 'z' }) != "" {
		return ""
	}
	return code
}

// Error says what the server has said.
func (r *refusal) Error() string {
	s := "the server answers " + strconv.Itoa(r.status)
	if r.code != "" {
		s += " " + r.code
	} else if text := http.StatusText(r.status); text != "" {
		s += " " + text
	}
	if r.status/100 == 3 || r.code == "AuthorizationHeaderMalformed" {
		s += "; the bucket may lie in another region, or at another endpoint"
	}
	if r.kind != nil {
		return r.kind.Error() + ": " + s
	}
	return s
}

// Unwrap returns the sentinel.
func (r *refusal) Unwrap() error { return r.kind }

// asError is r in the error by which callers tell it.
func (r *refusal) asError() error {
	if r.busy() {
		return &mount.BusyError{After: r.after, Err: r}
	}
	return r
}

func (r *refusal) sentinel() error {
	switch {
	case r.busy():
		return nil // its error has one
	case r.code == "InvalidObjectState":
		return mount.ErrNotReady
	case r.code == "XAdminUserNotFound": // what versitygw has for InvalidAccessKeyId, under status 404
		return fs.ErrPermission
	case r.status == http.StatusNotFound, r.deleted:
		return fs.ErrNotExist
	case r.status == http.StatusPreconditionFailed:
		return mount.ErrChanged
	case r.status == http.StatusRequestedRangeNotSatisfiable:
		return mount.ErrRange
	case r.status == http.StatusUnauthorized, r.status == http.StatusForbidden, r.stale():
		return fs.ErrPermission
	case r.status/100 == 2:
		return mount.ErrAnswer
	}
	return nil
}

// busy reports whether the server asks us to come again later.
func (r *refusal) busy() bool {
	switch r.code {
	case "SlowDown", "SlowDownRead", "ServiceUnavailable", "RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled", "TooManyRequests":
		return true
	}
	return r.status == http.StatusServiceUnavailable || r.status == http.StatusTooManyRequests
}

// stale reports whether the keys were good once and are so no more.
func (r *refusal) stale() bool {
	switch r.code {
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired", "InvalidAccessKeyId":
		return true
	}
	return false
}

// elsewhere reports whether the bucket lies in another region than that which
// was asked. The region becomes part of a host's name, and of nothing else.
func (r *refusal) elsewhere(region string) bool {
	switch r.status {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusBadRequest:
		return r.region != region && isRegion(r.region)
	}
	return false
}

// mostAfter bounds what a server may ask of us.
const mostAfter = 24 * time.Hour

// retryAfter reads a header Retry-After: seconds, or a time. 0: it says nothing.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Duration(min(max(n, 0), int64(mostAfter/time.Second))) * time.Second
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), mostAfter)
}

// versionOf is the version of what an answer is about: its ETag, as listings
// have it, or the id of the version where a server knows no ETags.
func versionOf(h http.Header) string {
	if etag := h.Get("ETag"); etag != "" {
		return trimETag(etag)
	}
	if id := h.Get("X-Amz-Version-Id"); id != "" {
		return noETag + id
	}
	return ""
}

const noETag = "version " // no ETag that has been trimmed begins so

// trimETag takes the quotes from a strong ETag. A weak one stays what it is.
func trimETag(s string) string {
	if inner, ok := strings.CutPrefix(s, `"`); ok {
		if inner, ok = strings.CutSuffix(inner, `"`); ok {
			return inner
		}
	}
	return s
}

// ifMatch is the header that demands a version; "": only the answer can tell.
func ifMatch(version string) string {
	if version == "" || strings.HasPrefix(version, "W/") || strings.HasPrefix(version, noETag) {
		return ""
	}
	for i := range len(version) {
		if c := version[i]; c == '"' || c <= ' ' || c > '~' {
			return ""
		}
	}
	return `"` + version + `"`
}

// parseContentRange reads "bytes FIRST-LAST/SIZE"; size is -1 for "*".
func parseContentRange(s string) (first, last, size int64, err error) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, total, ok2 := strings.Cut(rest, "/")
	from, to, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, fmt.Errorf("%w: it does not say which range it is", mount.ErrAnswer)
	}
	size = -1
	first, ok = digits(from)
	last, ok2 = digits(to)
	if total != "*" {
		size, ok3 = digits(total)
	}
	if !ok || !ok2 || !ok3 || last < first || size >= 0 && last >= size {
		return 0, 0, 0, fmt.Errorf("%w: the range that it says it is cannot be one", mount.ErrAnswer)
	}
	return first, last, size, nil
}

// digits takes decimal digits and nothing else.
func digits(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
