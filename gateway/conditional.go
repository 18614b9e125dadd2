package gateway

import (
	"cmp"
	"errors"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// forever is for what cannot change: what a CID names, in a format that does not
// either.
const forever = "public, max-age=29030400, immutable"

// freshness is for how long an answer may be kept.
type freshness struct {
	immutable bool
	ttl       time.Duration // of what is not: 0 if nobody knows
	modified  time.Time     // if anybody knows
}

// control is the Cache-Control of a success, or nothing.
func (f freshness) control() string {
	switch {
	case f.immutable:
		return forever
	case f.ttl > 0:
		return "public, max-age=" + strconv.FormatInt(int64(f.ttl/time.Second), 10)
	}
	return ""
}

// set says it in a header.
func (f freshness) set(w *responseWriter) {
	if control := f.control(); control != "" {
		w.set("Cache-Control", control)
	}
	if !f.modified.IsZero() {
		w.set("Last-Modified", f.modified.UTC().Format(http.TimeFormat))
	}
}

// matches says whether an If-None-Match names an ETag. The weak is as good as
// the strong there.
func matches(header, etag string) bool {
	for {
		header = strings.TrimLeft(header, ", \t")
		if header == "" {
			return false
		}
		if header[0] == '*' {
			return true
		}
		tag, rest, ok := scanTag(header)
		switch {
		case !ok:
			return false
		case strings.TrimPrefix(tag, "W/") == strings.TrimPrefix(etag, "W/"):
			return true
		}
		header = rest
	}
}

// scanTag takes an ETag off the front of s.
func scanTag(s string) (tag, rest string, ok bool) {
	start := 0
	if strings.HasPrefix(s, "W/") {
		start = 2
	}
	if len(s) <= start || s[start] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(s[start+1:], '"')
	if end < 0 {
		return "", "", false
	}
	end += start + 2
	return s[:end], s[end:], true
}

// unchanged says whether the client has what it asks for.
func unchanged(r *http.Request, etag string, modified time.Time) bool {
	if match := r.Header["If-None-Match"]; len(match) == 1 && match[0] != "" {
		return matches(match[0], etag)
	} else if len(match) > 1 {
		return matches(strings.Join(match, ","), etag) // as if it were one
	}
	since := r.Header.Get("If-Modified-Since")
	if since == "" || modified.IsZero() {
		return false
	}
	t, err := http.ParseTime(since)
	return err == nil && !modified.Truncate(time.Second).After(t)
}

// onlyHere says whether the client wants nothing that is not on this machine.
func onlyHere(r *http.Request) bool {
	for _, line := range r.Header["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(directive), "only-if-cached") {
				return true
			}
		}
	}
	return false
}

// A span is a part of something of a known length: length bytes from off.
type span struct{ off, length int64 }

// rangeOf is the part that r asks for; whole is true if that is all, and ok is
// false if it is nothing. Several ranges are answered by all, once: no more than
// that can be had by asking for the same bytes a thousand times. A header that
// cannot be read is ignored, as RFC 9110 allows.
func rangeOf(r *http.Request, size int64, etag string, modified time.Time) (part span, whole, ok bool) {
	all := span{0, size}
	header := r.Header.Get("Range")
	if header == "" || !strings.HasPrefix(header, "bytes=") || strings.Contains(header, ",") || len(r.Header["Range"]) > 1 {
		return all, true, true
	}
	if condition := r.Header.Get("If-Range"); condition != "" && !inRange(condition, etag, modified) {
		return all, true, true
	}
	first, last, found := strings.Cut(textproto.TrimString(header[len("bytes="):]), "-")
	if !found {
		return all, true, true
	}
	first, last = textproto.TrimString(first), textproto.TrimString(last)
	if first == "" { // the last so many
		n, err := strconv.ParseUint(last, 10, 63)
		switch {
		case err != nil && !isRange(err):
			return all, true, true
		case err == nil && n == 0 || size == 0:
			return span{}, false, false
		case err != nil || int64(n) > size:
			return all, false, true
		}
		return span{size - int64(n), int64(n)}, false, true
	}
	from, err := strconv.ParseUint(first, 10, 63)
	if err != nil && !isRange(err) {
		return all, true, true
	}
	to := uint64(size) - 1
	if last != "" {
		n, bad := strconv.ParseUint(last, 10, 63)
		switch {
		case bad != nil && !isRange(bad), bad == nil && err == nil && n < from:
			return all, true, true
		case bad == nil && size > 0:
			to = min(to, n)
		}
	}
	if err != nil || int64(from) >= size {
		return span{}, false, false
	}
	return span{int64(from), int64(to-from) + 1}, false, true
}

func isRange(err error) bool { return errors.Is(err, strconv.ErrRange) }

// oneRange says whether a header has just one range, and that on no condition.
func oneRange(header http.Header) bool {
	first, last, ok := strings.Cut(strings.TrimPrefix(header.Get("Range"), "bytes="), "-")
	if !ok || len(header["Range"]) > 1 || len(header["If-Range"]) > 0 || !strings.HasPrefix(header.Get("Range"), "bytes=") {
		return false
	}
	from, err := strconv.ParseUint(cmp.Or(first, "0"), 10, 63)
	to, bad := strconv.ParseUint(cmp.Or(last, "9223372036854775807"), 10, 63)
	return err == nil && bad == nil && (first == "" || from <= to) && first+last != ""
}

// inRange says whether the range of an If-Range holds: a weak ETag does not, nor
// does a time that is not the very one.
func inRange(condition, etag string, modified time.Time) bool {
	if tag, rest, ok := scanTag(condition); ok {
		return rest == "" && tag == etag && !strings.HasPrefix(tag, "W/")
	}
	t, err := http.ParseTime(condition)
	return err == nil && !modified.IsZero() && modified.Truncate(time.Second).Equal(t)
}

// begin writes the header of an answer with part of size bytes, whole or not.
func begin(w *responseWriter, part span, size int64, whole bool) {
	w.set("Accept-Ranges", "bytes")
	w.set("Content-Length", strconv.FormatInt(part.length, 10))
	if whole {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.set("Content-Range", "bytes "+strconv.FormatInt(part.off, 10)+"-"+
		strconv.FormatInt(part.off+part.length-1, 10)+"/"+strconv.FormatInt(size, 10))
	w.WriteHeader(http.StatusPartialContent)
}

// unsatisfiable writes the answer to a range that has nothing.
func unsatisfiable(w http.ResponseWriter, size int64) {
	w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
	http.Error(w, "no part of the content is in the range", http.StatusRequestedRangeNotSatisfiable)
}
