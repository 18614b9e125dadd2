package httpmount

import (
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// A StatusError is a status with which a server refused a request. It unwraps
// to what that means: [io/fs.ErrNotExist] for 404 and 410, [io/fs.ErrPermission]
// for 401, 403 and 407, [mount.ErrAnswer] for one that is no answer to what was
// asked, and nothing for an error of the server.
type StatusError struct {
	Code int
	Hint string // what can be done about it; "" is nothing known
}

// Error is the code with its name.
func (e *StatusError) Error() string {
	text := "the server answers " + strconv.Itoa(e.Code)
	if name := http.StatusText(e.Code); name != "" {
		text += " " + name
	}
	if e.Hint != "" {
		text += " (" + e.Hint + ")"
	}
	return text
}

// Unwrap returns what the status means.
func (e *StatusError) Unwrap() error {
	switch {
	case e.Code == http.StatusNotFound, e.Code == http.StatusGone:
		return fs.ErrNotExist
	case e.Code == http.StatusUnauthorized, e.Code == http.StatusForbidden, e.Code == http.StatusProxyAuthRequired:
		return fs.ErrPermission
	case e.Code < 400, e.Code == http.StatusPreconditionFailed, e.Code == http.StatusRequestedRangeNotSatisfiable:
		return mount.ErrAnswer // to what was not asked
	}
	return nil
}

// refusal is the error about an answer that is none.
func (s *source) refusal(r *reply) error {
	err := &StatusError{Code: r.StatusCode}
	switch r.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return r.to(&mount.BusyError{After: retryAfter(r.Response), Err: err})
	case http.StatusUnauthorized, http.StatusForbidden:
		switch {
		case s.credential == nil:
			err.Hint = "there are no credentials for this host"
		case !s.shows(s.place.scheme, s.place.host):
			err.Hint = "the credentials for this host are shown to https: URLs only"
		case !r.shown:
			err.Hint = "credentials do not go where a source redirects, unless they name that host too"
		}
	}
	return r.to(err)
}

// to says whose answer it was, if it was another's than the source's own host.
func (r *reply) to(err error) error {
	if r.own {
		return err
	}
	return fmt.Errorf("where it redirects, at %s: %w", r.origin, err)
}

// mostWait is the longest wait that a server can ask for.
const mostWait = 24 * time.Hour

// retryAfter is what a server wants us to wait; 0 if it does not say.
func retryAfter(r *http.Response) time.Duration {
	value := r.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, mostWait)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(r.Header.Get("Date")) // the clock that it is from
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), mostWait)
}
