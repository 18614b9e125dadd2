package gateway

import (
	"cmp"
	"context"
	"errors"
	"mime"
	"net/http"
	gopath "path"
	"strings"

	"github.com/gabriel-vasile/mimetype"
	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/nodes"
)

// sniffed is how many bytes of a file say of what type it is.
const sniffed = 3072

// serveFile answers with the bytes of a file, if that is what lies at the path. Only
// those blocks are read that have bytes which are sent, each checked before any
// of its bytes leave. It is false, and nothing was written, if something else is
// there, or nothing.
func (h *Handler) serveFile(w *responseWriter, r *http.Request, src *source, p *place, c *content) (served bool, err error) {
	ctx := r.Context()
	at, err := src.resolve(ctx, c.root, c.way)
	var absent *noLinkError
	switch {
	case errors.As(err, &absent) && p.sub, err == nil && len(at.inner) > 0:
		return false, nil // boxo knows what to make of it: _redirects, and pages of its own
	case err != nil:
		return false, err
	}
	e, err := fileAt(ctx, src, at.cid)
	switch {
	case err != nil:
		return false, err
	case !e.unixfs && at.cid.Prefix().Codec == cid.DagProtobuf:
		return false, &statusError{http.StatusNotAcceptable, "what lies there is no file and no folder, but a dag-pb node of another kind"}
	case !e.unixfs:
		return false, nil
	}
	first, kind, modified := at.cid, "", e.mtime
	if !e.kind.IsFile() {
		index, err := indexOf(ctx, src, c, at)
		if err != nil || index == nil {
			return false, err
		}
		if e, err = fileAt(ctx, src, index.cid); err != nil || !e.unixfs || !e.kind.IsFile() {
			return false, err
		}
		first, kind = index.cid, "text/html"
	}
	switch {
	case e.size < 0:
		return false, errParts
	}
	size, fresh := e.size, c.fresh
	fresh.modified = modified
	etag := `"` + c.text(at.cid) + `"`
	describe := func() {
		w.set("X-Ipfs-Roots", at.header(c))
		w.set("Etag", etag)
		fresh.set(w)
	}
	if unchanged(r, etag, fresh.modified) {
		if err := src.need(ctx, first); err != nil {
			return false, err
		}
		describe()
		w.WriteHeader(http.StatusNotModified)
		return true, nil
	}
	part, whole, ok := rangeOf(r, size, etag, fresh.modified)
	if !ok {
		unsatisfiable(w, size)
		return true, nil
	}
	f := &fileAnswer{h: h, w: w, src: src, c: c, first: passed{first, e.block}, node: e.node, known: kind, size: size, part: part, whole: whole, describe: describe}
	return true, f.send(ctx)
}

// indexOf is where the page of a folder lies, or nil if it has none or its slash is
// still to be added.
func indexOf(ctx context.Context, src *source, c *content, at *spot) (*spot, error) {
	if !strings.HasSuffix(c.shown, "/") {
		return nil, nil
	}
	index, err := src.resolve(ctx, at.cid, []string{indexName})
	var absent *noLinkError
	if errors.As(err, &absent) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	// It is shown as if it had been asked for.
	for _, folder := range []string{c.path, "/" + spaceIPFS + "/" + at.cid.String() + "/"} {
		if err := src.allowed(index.cid, folder+indexName); err != nil {
			return nil, err
		}
	}
	return index, nil
}

const indexName = "index.html"

// maxFirst is how much of a file's first block is kept while it is decided what
// is to be sent.
const maxFirst = 256 << 10

// A found is what lies somewhere, and its first block, if that is one of a file
// that can be kept.
type found struct {
	entity
	block []byte
	node  *fileNode
}

// fileAt looks at what is there. A raw block is a file.
func fileAt(ctx context.Context, src *source, c cid.Cid) (f found, err error) {
	switch c.Prefix().Codec {
	case cid.Raw:
		n, err := src.GetSize(ctx, c)
		f.entity = entity{unixfs: err == nil, kind: nodes.Raw, size: int64(n)}
		return f, err
	case cid.DagProtobuf:
		err = src.View(ctx, c, func(data []byte) error {
			if len(data) > maxFirst {
				f.entity = readEntity(data)
				return nil
			}
			block, n := append([]byte{}, data...), new(fileNode)
			if n.read(block) != nil {
				f.entity = readEntity(block)
				return nil //nolint:nilerr // it is something else, or broken
			}
			f.entity = entity{unixfs: true, kind: n.u.Kind, size: n.size, mtime: n.u.ModTime}
			f.block, f.node = block, n
			return nil
		})
	}
	return f, err
}

// A fileAnswer is a file on its way to a client.
type fileAnswer struct {
	h        *Handler
	w        *responseWriter
	src      *source
	c        *content
	first    passed
	node     *fileNode
	size     int64
	part     span
	whole    bool
	known    string // its type, if that does not depend on a name
	describe func()
}

func (f *fileAnswer) send(ctx context.Context) error {
	named := f.c.query.Get("filename")
	name := cmp.Or(named, f.c.last())
	switch {
	case f.c.saved() && (named != "" || name != "" && f.known == ""): // of a folder's page the last is the folder
		f.w.Header().Set("Content-Disposition", disposition("attachment", name))
	case named != "":
		f.w.Header().Set("Content-Disposition", disposition("inline", name))
	}
	kind := cmp.Or(f.known, mime.TypeByExtension(gopath.Ext(name)))
	shares := &share{of: &f.h.walks}
	defer shares.end()
	if f.w.rq.head {
		if kind == "" {
			var err error
			if kind, err = f.sniff(ctx, shares); err != nil {
				return err
			}
		} else if err := f.src.need(ctx, f.first.cid); err != nil {
			return err
		}
		f.begin(kind)
		return nil
	}
	begun := false
	w := &walk{src: f.src, share: shares, known: f.first, first: f.node, visit: visitor{bytes: func(data []byte) error {
		if !begun {
			begun = true
			f.begin(f.kind(kind, data))
		}
		_, err := f.w.Write(data)
		return err
	}}}
	// A file of no bytes has a root nevertheless.
	if err := w.file(ctx, f.first.cid, f.part); err != nil {
		return err
	}
	if !begun {
		f.begin(f.kind(kind, nil))
	}
	return nil
}

// begin writes the header.
func (f *fileAnswer) begin(kind string) {
	f.describe()
	// Browsers find out the encoding of a page by what it says itself.
	if strings.HasPrefix(kind, "text/html;") {
		kind = "text/html"
	}
	f.w.set("Content-Type", kind)
	begin(f.w, f.part, f.size, f.whole)
}

// kind is the type of a file whose name does not say it. The bytes in its middle
// do not either.
func (f *fileAnswer) kind(known string, first []byte) string {
	switch {
	case known != "":
		return known
	case f.part.off > 0:
		return "application/octet-stream"
	}
	return mimetype.Detect(first[:min(len(first), sniffed)]).String()
}

// sniff is the type of a file by its first bytes.
func (f *fileAnswer) sniff(ctx context.Context, shares *share) (string, error) {
	var first []byte
	if f.size > 0 {
		w := &walk{src: f.src, share: shares, known: f.first, first: f.node, visit: visitor{bytes: func(data []byte) error {
			if first == nil { // what GET sees when it has to say so
				first = append(first, data...)
			}
			return nil
		}}}
		if err := w.file(ctx, f.first.cid, span{0, min(f.size, sniffed)}); err != nil {
			return "", err
		}
	} else if err := f.src.need(ctx, f.first.cid); err != nil {
		return "", err
	}
	return f.kind("", first), nil
}
