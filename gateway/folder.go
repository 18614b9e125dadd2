package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/ipfs/boxo/files"
	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/nodes"
)

const (
	// maxListed is how many entries a folder may have to be shown as a page.
	maxListed = 50_000
	// maxFolders is how many folders may lie in each other in an archive.
	maxFolders = 256
)

var errFolders = fmt.Errorf("%w: more than %d folders lie in each other", nodes.ErrBroken, maxFolders)

// checkListing refuses to have a page made of a folder that is too large for one.
// A sharded folder of forty nodes may have a trillion entries: those of each node
// are counted once. A folder with an index.html has no listing, and HEAD and a
// redirect need none.
func (h *Handler) checkListing(ctx context.Context, rq *request, src *source, c *content) error {
	at, err := src.resolve(ctx, c.root, c.way)
	if err != nil || len(at.inner) > 0 {
		return nil //nolint:nilerr // boxo tells
	}
	rq.found = true
	if at.cid.Prefix().Codec != cid.DagProtobuf {
		return nil
	}
	var absent *noLinkError
	if _, err := src.resolve(ctx, at.cid, []string{indexName}); !errors.As(err, &absent) {
		return err
	}
	if rq.head || !strings.HasSuffix(c.shown, "/") && c.query.Get("go-get") != "1" { // boxo adds the slash
		return nil
	}
	count := counter{src: src, known: make(map[cid.Cid]int)}
	n, err := count.entries(ctx, at.cid, 0)
	if err == nil && n > maxListed {
		err = &statusError{http.StatusNotAcceptable, fmt.Sprintf("the folder has more than %d entries; ask for one of them by its name, or for a CAR", maxListed)}
	}
	return err
}

// A counter counts the entries of a sharded folder.
type counter struct {
	src   *source
	known map[cid.Cid]int
}

// entries is how many entries a node and those below it have, up to some more than
// can be listed.
func (c *counter) entries(ctx context.Context, id cid.Cid, depth int) (n int, err error) {
	if n, ok := c.known[id]; ok {
		return n, nil
	}
	if depth > maxFileDepth {
		return 0, errTooDeep
	}
	if len(c.known) > maxListed {
		return maxListed + 1, nil // nodes without entries are no reason to go on
	}
	var below []cid.Cid
	err = c.src.View(ctx, id, func(data []byte) error {
		n, below, err = entriesOf(data)
		return err
	})
	if err != nil {
		return 0, err
	}
	c.known[id] = n // nothing leads back to it
	for _, b := range below {
		more, err := c.entries(ctx, b, depth+1)
		if err != nil {
			return 0, err
		}
		if n += more; n > maxListed {
			break
		}
	}
	c.known[id] = n
	return n, nil
}

// entriesOf is how many entries a node of a folder has itself, and what lies below
// it if it is sharded.
func entriesOf(block []byte) (n int, below []cid.Cid, err error) {
	var pb nodes.PB
	if err := pb.Parse(block); err != nil {
		return 0, nil, err
	}
	u, err := nodes.ParseUnixFS(pb.Data)
	if err != nil || u.Kind != nodes.HAMT {
		return len(pb.Links), nil, nil //nolint:nilerr // it is no sharded folder
	}
	if !u.IsShard() {
		return 0, nil, fmt.Errorf("%w: a sharded folder of a kind that nobody knows", nodes.ErrBroken)
	}
	digits := nodes.ShardDigits(u.Fanout)
	for i := range pb.Links {
		if len(pb.Links[i].Name) != digits {
			n++
			continue
		}
		l, err := pb.Links[i].CID()
		if err != nil {
			return 0, nil, err
		}
		below = append(below, l)
	}
	return n, below, nil
}

// headOfArchive answers HEAD of an archive, of which boxo would read all.
func headOfArchive(w *responseWriter, r *http.Request, src *source, c *content, at *spot) error {
	f, err := fileAt(r.Context(), src, at.cid)
	switch {
	case err != nil:
		return err
	case !f.unixfs:
		return &statusError{http.StatusNotAcceptable, "what lies there is no file and no folder"}
	}
	id := c.text(at.cid)
	etag := `W/"` + id + `.x-tar"`
	w.set("X-Ipfs-Roots", at.header(c))
	w.set("Etag", etag)
	w.set("Content-Type", typeOf(formatTAR))
	w.set("Content-Disposition", disposition("attachment", cmp.Or(c.query.Get("filename"), id+".tar")))
	w.Header()["X-Content-Type-Options"] = nosniff
	c.fresh.set(w)
	status := http.StatusOK
	if unchanged(r, etag, time.Time{}) {
		status = http.StatusNotModified
	}
	w.WriteHeader(status)
	return nil
}

// shallow is a node in which folders lie in each other no deeper than depth: whoever
// walks through it may go as deep as it does.
func shallow(n files.Node, depth int) files.Node {
	if d, ok := n.(files.Directory); ok {
		return &shallowFolder{d, depth}
	}
	return n
}

type shallowFolder struct {
	files.Directory
	depth int
}

// Entries implements [files.Directory].
func (f *shallowFolder) Entries() files.DirIterator {
	return &shallowEntries{f.Directory.Entries(), f.depth, nil}
}

type shallowEntries struct {
	files.DirIterator
	depth int
	err   error
}

// Next implements [files.DirIterator]. It ends with an error where it is too deep.
func (e *shallowEntries) Next() bool {
	if e.depth <= 0 {
		e.err = errFolders
		return false
	}
	return e.DirIterator.Next()
}

// Node implements [files.DirIterator].
func (e *shallowEntries) Node() files.Node { return shallow(e.DirIterator.Node(), e.depth-1) }

// Err implements [files.DirIterator].
func (e *shallowEntries) Err() error {
	if e.err != nil {
		return e.err
	}
	return e.DirIterator.Err()
}
