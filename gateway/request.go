package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
)

var errBroken = errors.New("gateway: answer was broken off")

// A request is what becomes known of one request while boxo answers it. It
// travels in the request's context, since boxo keeps most errors to itself.
type request struct {
	head    bool
	content *content    // what boxo was asked for
	found   bool        // its path leads somewhere
	broken  atomic.Bool // what was sent cannot be completed

	mu      sync.Mutex
	fault   *blockError // the first block that could not be read
	missing cid.Cid     // the first block that no shard has
}

type requestKey struct{}

// A requestContext is one that leads to its request.
type requestContext struct {
	context.Context //nolint:containedctx // it is one
	rq              *request
}

// Value implements [context.Context].
func (c *requestContext) Value(key any) any {
	if key == (requestKey{}) {
		return c.rq
	}
	return c.Context.Value(key)
}

// requestFrom returns the request that ctx belongs to, or a blank one.
func requestFrom(ctx context.Context) *request {
	if rq, ok := ctx.Value(requestKey{}).(*request); ok {
		return rq
	}
	return new(request)
}

// note keeps the first error of each kind.
func (rq *request) note(c cid.Cid, err error) {
	rq.mu.Lock()
	defer rq.mu.Unlock()
	if fault, ok := errors.AsType[*blockError](err); ok {
		if rq.fault == nil {
			rq.fault = fault
		}
	} else if ipld.IsNotFound(err) && !rq.missing.Defined() {
		rq.missing = c
	}
}

// failure returns the first block that could not be read, if any, and the
// first that is missing, if any.
func (rq *request) failure() (*blockError, cid.Cid) {
	rq.mu.Lock()
	defer rq.mu.Unlock()
	return rq.fault, rq.missing
}

// breakOff says that the answer cannot be completed.
func (rq *request) breakOff() { rq.broken.Store(true) }

// errStalled ends a request of which nothing came for too long.
var errStalled = fmt.Errorf("gateway: nothing came in time: %w", context.DeadlineExceeded)

// A responseWriter keeps failures from being cached, knows whether an answer is
// whole, and sees to it that it goes on.
type responseWriter struct {
	http.ResponseWriter
	rq      *request
	own     request // which rq is
	h       *Handler
	ctx     context.Context //nolint:containedctx // that of the request, with which it ends
	stalled *time.Timer     // ends ctx
	until   time.Time       // when the client has to have taken what was written last
	slow    bool            // it had not
	control http.ResponseController
	base    requestContext // what ctx is made of
	status  int
	written int64
	values  [maxValues]string // of the header, so that not each is an allocation
	used    int
}

const maxValues = 12

// set sets a header, whose name is in its canonical form.
func (w *responseWriter) set(name, value string) {
	if w.used == maxValues {
		w.Header()[name] = []string{value}
		return
	}
	at := w.used
	w.used++
	w.values[at] = value
	w.Header()[name] = w.values[at : at+1 : at+1]
}

// watch gives r an end that comes if its answer does not go on.
func (w *responseWriter) watch(r *http.Request) (watched *http.Request, end func()) {
	w.base = requestContext{r.Context(), w.rq}
	ctx, cancel := context.WithCancelCause(&w.base)
	limits := &w.h.config.Limits
	w.ctx = ctx
	w.stalled = time.AfterFunc(limits.FirstByte, func() { cancel(errStalled) })
	w.control = *http.NewResponseController(w.ResponseWriter)
	return r.WithContext(ctx), func() {
		if w.written == 0 {
			w.proceed() // a header may have to wait for the client, too
		}
		w.stalled.Stop()
		cancel(nil)
	}
}

// mostAtOnce is how much a client has to take in the time it has for that: a few
// KiB a second.
const mostAtOnce = 256 << 10

// proceed is called before each piece: the client has some time to take it, and
// then the source some to bring the next.
func (w *responseWriter) proceed() {
	progress := w.h.config.Limits.Progress
	w.stalled.Reset(2 * progress)
	// The error of a connection that has no deadlines is no error here: such a one
	// has other ways to end.
	w.until = time.Now().Add(progress)
	_ = w.control.SetWriteDeadline(w.until)
}

// Unwrap is for [http.ResponseController].
func (w *responseWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends the header of failures without what boxo had prepared for
// the success.
func (w *responseWriter) WriteHeader(status int) {
	if w.status != 0 {
		// The one who writes a second header has come upon something that
		// does not go with the first one.
		if status >= http.StatusInternalServerError {
			w.rq.breakOff()
		}
		return
	}
	if status >= http.StatusOK {
		w.status = status
	}
	switch {
	case status >= http.StatusBadRequest:
		w.failureHeader(status)
	case status >= http.StatusMultipleChoices:
		if to := w.Header().Get("Location"); to != "" {
			w.Header().Set("Location", onThisHost(to))
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// onThisHost keeps a Location that is a path from being taken for another host, as
// browsers do with "//" and "/\\" at its beginning: names of folders may be anything.
func onThisHost(to string) string {
	if !strings.HasPrefix(to, "/") {
		return to
	}
	return "/" + strings.TrimLeft(to, "/\\\t\r\n")
}

// failureHeader makes the header one of a failure.
func (w *responseWriter) failureHeader(status int) {
	h := w.Header()
	for _, name := range []string{"Etag", "Last-Modified", "Content-Disposition", "Content-Length", "Content-Location", "X-Ipfs-Roots"} {
		h.Del(name)
	}
	fault, _ := w.rq.failure()
	switch {
	case status == http.StatusNotFound && fault == nil:
		// It may be added at any time.
		h.Set("Cache-Control", "public, max-age=15")
	default:
		h.Set("Cache-Control", "no-store")
	}
	if (status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout) && h.Get("Retry-After") == "" {
		h.Set("Retry-After", retryAfter)
	}
}

// Write sends nothing more once the answer is broken: boxo appends a message
// there, which would look like content. Of an archive it ends the body well
// then, and says that something is missing in a header that comes too late.
func (w *responseWriter) Write(p []byte) (int, error) {
	if w.status != 0 && w.Header().Get("X-Stream-Error") != "" {
		w.rq.breakOff()
	}
	if w.rq.broken.Load() {
		return 0, errBroken
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	written := 0
	for {
		some := p[written:]
		if len(some) > mostAtOnce {
			some = some[:mostAtOnce]
		}
		w.proceed()
		n, err := w.ResponseWriter.Write(some)
		written += n
		w.written += int64(n)
		w.h.counters.bytes.Add(int64(n))
		if err != nil {
			w.slow = errors.Is(err, os.ErrDeadlineExceeded) || !time.Now().Before(w.until)
			return written, err
		}
		if written == len(p) {
			return written, nil
		}
	}
}

// finish ends the answer: by breaking it off if something is missing from it.
func (w *responseWriter) finish() {
	if !w.incomplete() {
		return
	}
	if w.status != 0 {
		if w.slow || w.ctx.Err() == nil || errors.Is(context.Cause(w.ctx), errStalled) {
			w.h.counters.broken.Add(1) // else the client has left
		}
		panic(http.ErrAbortHandler)
	}
	// Nothing has left yet, so there is still time to say what is wrong.
	if fault, missing := w.rq.failure(); fault != nil {
		http.Error(w.unbroken(), fault.Error(), fault.status)
	} else if missing.Defined() {
		http.Error(w.unbroken(), ipld.ErrNotFound{Cid: missing}.Error(), http.StatusNotFound)
	} else {
		http.Error(w.unbroken(), http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	}
}

// unbroken returns w with a clean slate, for a failure to be written.
func (w *responseWriter) unbroken() *responseWriter {
	w.rq.broken.Store(false)
	return w
}

// incomplete reports whether the client would take a part for the whole.
func (w *responseWriter) incomplete() bool {
	if w.rq.broken.Load() {
		return true
	}
	if w.rq.head || (w.status != http.StatusOK && w.status != http.StatusPartialContent) {
		return false
	}
	length, err := strconv.ParseInt(w.Header().Get("Content-Length"), 10, 64)
	return err == nil && w.written < length
}
