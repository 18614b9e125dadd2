package httpmount

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// An answer is what the header of a response says about the source.
type answer struct {
	size        int64 // of the whole source; -1: it does not say
	first, last int64 // bytes that a part begins and ends with; -1: it does not say
	length      int64 // of the body; -1: it does not say
	etag        string
	modified    time.Time
	units       string // of Accept-Ranges, such as "bytes"
	coding      string // "" for the bytes themselves
	kind        string // of Content-Type
}

// mostETag is the length of the longest ETag that is believed to be one.
const mostETag = 1 << 10

func answerOf(r *http.Response) answer {
	a := answer{size: -1, first: -1, last: -1, length: r.ContentLength}
	switch r.StatusCode {
	case http.StatusOK:
		a.size = r.ContentLength
	case http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		if all := r.Header.Values("Content-Range"); len(all) == 1 {
			a.first, a.last, a.size = contentRange(all[0])
		}
	}
	if tag := r.Header.Get("Etag"); len(tag) <= mostETag && visible(tag) {
		a.etag = tag
	}
	if t, err := http.ParseTime(r.Header.Get("Last-Modified")); err == nil {
		a.modified = t.UTC()
	}
	a.units = strings.ToLower(strings.TrimSpace(r.Header.Get("Accept-Ranges")))
	if coding := strings.ToLower(strings.Join(r.Header.Values("Content-Encoding"), ",")); coding != "identity" {
		a.coding = coding
	}
	a.kind = strings.ToLower(r.Header.Get("Content-Type"))
	return a
}

// visible reports whether s is printable ASCII without spaces.
func visible(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > 0x7e })
}

var rangeForm = regexp.MustCompile(`^bytes +(?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18}|\*)$`)

// contentRange parses the header of that name. What it does not say is -1.
func contentRange(s string) (first, last, size int64) {
	part := rangeForm.FindStringSubmatch(strings.ToLower(strings.TrimSpace(s)))
	if part == nil {
		return -1, -1, -1
	}
	return number(part[1]), number(part[2]), number(part[3])
}

// number parses at most 18 digits; what is none is -1.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// stat is what a says of the source.
func (a *answer) stat(ranges bool) mount.Stat {
	return mount.Stat{Size: a.size, Version: a.version(a.size), ModTime: a.modified, Ranges: ranges}
}

// strong reports whether tag is an ETag that changes whenever a byte does
// (RFC 9110, section 8.8.3).
func strong(tag string) bool {
	return len(tag) > 2 && tag[0] == '"' && strings.IndexByte(tag[1:], '"') == len(tag)-2 && visible(tag)
}

const (
	modifiedMark = "modified="
	sizeMark     = "size="
)

// version is what the comment of the package says of it.
func (a *answer) version(size int64) string {
	if strong(a.etag) {
		return a.etag
	}
	if a.etag == "" && a.modified.IsZero() {
		return ""
	}
	var parts []string
	if !a.modified.IsZero() {
		parts = append(parts, modifiedMark+a.modified.Format(time.RFC3339))
	}
	if size >= 0 {
		parts = append(parts, sizeMark+strconv.FormatInt(size, 10))
	}
	if a.etag != "" {
		parts = append(parts, a.etag)
	}
	return strings.Join(parts, ";")
}

// conditions are the headers by which a server that knows them refuses to
// answer with another version. A version that none of ours can be gives none,
// since all answers to it will be of another.
func conditions(version string) map[string]string {
	header := make(map[string]string)
	if strong(version) {
		header["If-Match"] = version
	} else if rest, ok := strings.CutPrefix(version, modifiedMark); ok {
		when, _, _ := strings.Cut(rest, ";")
		if t, err := time.Parse(time.RFC3339, when); err == nil {
			header["If-Unmodified-Since"] = t.UTC().Format(http.TimeFormat)
		}
	}
	return header
}

// same gives [mount.ErrChanged] unless the answer is of a version. One that
// does not say of what size the whole is has to have that which is in the
// version.
func (a *answer) same(version string) error {
	if a.size < 0 && !strong(version) {
		for part := range strings.SplitSeq(version, ";") {
			if digits, ok := strings.CutPrefix(part, sizeMark); ok {
				a.size = number(digits)
				break
			}
		}
	}
	return changed(version, a.version(a.size))
}

// changed holds the version that is wanted against that which is there.
func changed(want, is string) error {
	switch {
	case want == "" || want == is:
		return nil
	case is == "":
		return fmt.Errorf("%w: it does not say any more of what version it is, and was %s", mount.ErrChanged, want)
	}
	return fmt.Errorf("%w: it is of version %s, not %s", mount.ErrChanged, is, want)
}

func (a *answer) coded() error {
	return fmt.Errorf("%w: its bytes come in the coding %q, which nobody asked for", mount.ErrAnswer, a.coding)
}

func (a *answer) otherRange(asked string) error {
	switch {
	case strings.HasPrefix(a.kind, "multipart/"):
		return fmt.Errorf("%w: to %s it answers with several ranges", mount.ErrAnswer, asked)
	case a.first < 0:
		return fmt.Errorf("%w: to %s it answers with a part and does not say which", mount.ErrAnswer, asked)
	}
	return fmt.Errorf("%w: to %s it answers with bytes %d-%d", mount.ErrAnswer, asked, a.first, a.last)
}

// part returns how many bytes of r the answer brings, which must be all of
// them.
func (a *answer) part(r mount.Range) (int64, error) {
	asked := r.String()
	if a.first != r.Offset || a.last < a.first || strings.HasPrefix(a.kind, "multipart/") || a.size >= 0 && a.last >= a.size {
		return 0, a.otherRange(asked)
	}
	brings := a.last - a.first + 1
	switch {
	case r.Length == -1 && a.size < 0:
		return 0, fmt.Errorf("%w: to %s it does not say where the source ends", mount.ErrAnswer, asked)
	case r.Length == -1 && a.last != a.size-1:
		return 0, a.otherRange(asked)
	case r.Length != -1 && brings != r.Length:
		if a.size >= 0 && brings < r.Length {
			if _, err := r.Resolve(a.size); err != nil {
				return 0, err
			}
		}
		return 0, a.otherRange(asked)
	case a.length >= 0 && a.length != brings:
		return 0, fmt.Errorf("%w: to %s it announces a body of %d bytes", mount.ErrAnswer, asked, a.length)
	}
	return brings, nil
}

// whole returns how many bytes the whole has, -1 if only its end will tell.
func (a *answer) whole(r *http.Response) (int64, error) {
	if a.size < 0 && r.ProtoMajor < 2 && len(r.TransferEncoding) == 0 {
		// It ends where the connection does, and so does one that breaks off.
		return 0, fmt.Errorf("%w: it says neither how long it is nor where it ends", mount.ErrAnswer)
	}
	return a.size, nil
}
