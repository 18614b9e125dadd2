package gateway

import (
	"cmp"
	"net/http"
	"time"
)

// serveRaw answers with one block as it is. Nothing leaves before the whole block
// was held against its CID, and to say how long it is the index is enough.
func (h *Handler) serveRaw(w *responseWriter, r *http.Request, src *source, c *content) error {
	ctx := r.Context()
	at, err := src.resolve(ctx, c.root, c.way)
	if err != nil {
		return err
	}
	id := c.text(at.cid)
	etag := `"` + id + `.raw"`
	header := w.Header()
	describe := func() {
		w.set("X-Ipfs-Roots", at.header(c))
		w.set("Etag", etag)
		w.set("Content-Type", typeOf(formatRaw))
		header["X-Content-Type-Options"] = nosniff
		w.set("Content-Disposition", disposition("attachment", cmp.Or(c.query.Get("filename"), id+".bin")))
		c.fresh.set(w)
	}
	if unchanged(r, etag, time.Time{}) {
		if err := src.need(ctx, at.cid); err != nil {
			return err
		}
		describe()
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	send := func(size int, data []byte) error {
		part, whole, ok := rangeOf(r, int64(size), etag, time.Time{})
		if !ok {
			unsatisfiable(w, int64(size))
			return nil
		}
		describe()
		begin(w, part, int64(size), whole)
		if w.rq.head {
			return nil
		}
		_, err := w.Write(data[part.off:][:part.length])
		return err
	}
	if w.rq.head {
		size, err := src.GetSize(ctx, at.cid)
		if err != nil {
			return err
		}
		return send(size, nil)
	}
	return src.View(ctx, at.cid, func(data []byte) error { return send(len(data), data) })
}

// nosniff is shared by all headers, and never changed.
var nosniff = []string{"nosniff"}
