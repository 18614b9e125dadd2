package front

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

const (
	// bodyTime is how long the body of a request may take to come, and bodyBytes how
	// long it may be. Nothing that is served here reads one.
	bodyTime  = 10 * time.Second
	bodyBytes = 64 << 10
)

// withoutBody takes the bodies of requests before next sees them. The server itself
// reads what is left of a body before it answers, and waits for that for ever.
func withoutBody(next http.Handler, patience time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
			next.ServeHTTP(w, r)
			return
		}
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(patience)) // where there are deadlines
		n, err := io.Copy(io.Discard, io.LimitReader(r.Body, bodyBytes+1))
		switch {
		case err == nil && n <= bodyBytes:
			// What comes now is the next request, or that the client leaves.
			_ = control.SetReadDeadline(time.Time{})
			r.Body, r.ContentLength = http.NoBody, 0
			next.ServeHTTP(w, r)
		case err == nil:
			refuse(w, http.StatusRequestEntityTooLarge, "no request has a body here")
		case errors.Is(err, os.ErrDeadlineExceeded):
			refuse(w, http.StatusRequestTimeout, "the body of the request did not come")
		default:
			refuse(w, http.StatusBadRequest, "the body of the request cannot be read")
		}
	})
}

// refuse answers, and has the connection closed.
func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Connection", "close")
	http.Error(w, why, status)
}
