package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/nodes"
)

// ErrNoName is what the functions of [Names] return for a name that leads nowhere.
// It is answered by 404, any other error by 503.
var ErrNoName = errors.New("gateway: there is no such name")

// errParts is of a file of which nobody knows what it consists of.
var errParts = &statusError{http.StatusNotAcceptable, "the parts of the file are not those that it says"}

// A statusError is what is wrong with a request, and the status that says so.
type statusError struct {
	status int
	why    string
}

func (e *statusError) Error() string { return e.why }

// A noLinkError says that a block has no link of this name.
type noLinkError struct {
	name string
	in   cid.Cid
}

func (e *noLinkError) Error() string {
	return fmt.Sprintf("there is no link named %q under %s", shorten(e.name), e.in)
}

// answerTo is what a client is told of an error of ours, of a block or of a name.
func answerTo(ctx context.Context, err error) (status int, why string) {
	var (
		request *statusError
		block   *blockError
		link    *noLinkError
	)
	switch {
	case errors.As(err, &request):
		return request.status, request.why
	case errors.As(err, &block):
		return block.status, block.Error()
	case errors.As(err, &link):
		return http.StatusNotFound, link.Error()
	case ipld.IsNotFound(err):
		return http.StatusNotFound, err.Error()
	case errors.Is(err, nodes.ErrCodec):
		return http.StatusNotAcceptable, "the codec of a block is not one whose links are known"
	case errors.Is(err, nodes.ErrBroken):
		return http.StatusNotFound, err.Error()
	case errors.Is(err, errTooLarge):
		return http.StatusServiceUnavailable, "too much is asked for at once"
	case errors.Is(err, errStalled), errors.Is(context.Cause(ctx), errStalled):
		return http.StatusGatewayTimeout, "nothing came of it in time"
	case ctx.Err() != nil:
		return http.StatusServiceUnavailable, "the request was given up" // nobody is there to read it
	}
	return statusOf(err)
}

// fail answers by an error. What was already sent is broken off.
func (h *Handler) fail(w *responseWriter, r *http.Request, err error) {
	if w.status != 0 {
		w.rq.breakOff()
		return
	}
	status, why := answerTo(r.Context(), err)
	if status == http.StatusInternalServerError {
		h.config.Logger.ErrorContext(r.Context(), "gateway: internal error", "path", r.URL.Path, "error", err)
	}
	http.Error(w, why, status)
}
