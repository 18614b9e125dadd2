package gateway

import (
	"net/http"
	"strings"
)

// Where requests go that are not for content.
const pieceSpace = "/piece/"

// serveBeside answers what is not about content paths.
func (h *Handler) serveBeside(w *responseWriter, r *http.Request) error {
	if name, ok := strings.CutPrefix(r.URL.Path, pieceSpace); ok {
		return h.servePiece(w, r, name)
	}
	if strings.HasPrefix(r.URL.Path, routingSpace) {
		return h.serveRouting(w, r)
	}
	return &statusError{http.StatusNotFound, "paths of this gateway begin with /ipfs/ and a CID"}
}
