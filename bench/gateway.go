package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/ipld/merkledag"
	uio "github.com/ipfs/boxo/ipld/unixfs/io"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	dssync "github.com/ipfs/go-datastore/sync"
	format "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore"
)

// hamtEntries makes a folder of about 2,800 blocks.
const hamtEntries = 2_250

// A site is what a gateway serves, and the same as files.
type site struct {
	small, large *carFile // raw blocks of 1 KiB, and of 1 MiB
	file         cid.Cid
	folder       cid.Cid
	folderBlocks int
	fileSize     int64
	dir          string // of the store
	files        string // of the same bytes, one file each
}

// site makes it once.
func (e *env) site(ctx context.Context) (*site, error) {
	if e.served != nil {
		return e.served, nil
	}
	s := &site{files: filepath.Join(e.dir, "files"), fileSize: e.scale.file}
	if err := os.MkdirAll(s.files, 0o755); err != nil {
		return nil, err
	}
	var err error
	if s.small, err = e.car("gw-1k", min(16_384, e.scale.mid), midSize); err != nil {
		return nil, err
	}
	if s.large, err = e.car("gw-1m", min(64, e.scale.big), 1<<20); err != nil {
		return nil, err
	}
	dags, err := e.siteDAGs(ctx, s)
	if err != nil {
		return nil, err
	}
	store, err := e.store(ctx, "gateway", []*carFile{s.small, s.large, dags})
	if err != nil {
		return nil, err
	}
	s.dir = e.stores["gateway"]
	err = errors.Join(s.writeFiles(ctx, store), store.Close())
	e.served = s
	return s, err
}

// siteDAGs writes a CAR with a file and a sharded folder, each depth first.
func (e *env) siteDAGs(ctx context.Context, s *site) (*carFile, error) {
	data := make([]byte, s.fileSize)
	_, _ = rand.NewChaCha8([32]byte{21}).Read(data) // it never fails
	all, err := unixFS(data)
	if err != nil {
		return nil, err
	}
	s.file = all[0].Cid()
	if err := os.WriteFile(filepath.Join(s.files, "file"), data, 0o644); err != nil {
		return nil, err
	}
	folder, err := hamt(ctx, min(hamtEntries, e.scale.gets))
	if err != nil {
		return nil, err
	}
	s.folder, s.folderBlocks = folder[0].Cid(), len(folder)
	return writeNodes(filepath.Join(e.dir, "gw-dags.car"), append(all, folder...))
}

// hamt is a sharded folder of small files, its root first.
func hamt(ctx context.Context, entries int) ([]format.Node, error) {
	dags := merkledag.NewDAGService(blockservice.New(blockstore.NewBlockstore(dssync.MutexWrap(datastore.NewMapDatastore())), nil))
	dir, err := uio.NewHAMTDirectory(dags, 0)
	if err != nil {
		return nil, err
	}
	dir.SetCidBuilder(merkledag.V1CidPrefix())
	for i := range entries {
		leaf := merkledag.NewRawNode(fmt.Appendf(nil, "entry %d of a sharded folder\n", i))
		if err := errors.Join(dags.Add(ctx, leaf), dir.AddChild(ctx, fmt.Sprintf("a file with the name %d", i), leaf)); err != nil {
			return nil, err
		}
	}
	root, err := dir.GetNode()
	if err != nil {
		return nil, err
	}
	if err := dags.Add(ctx, root); err != nil {
		return nil, err
	}
	var all []format.Node
	seen := cid.NewSet()
	var walk func(c cid.Cid) error
	walk = func(c cid.Cid) error {
		if !seen.Visit(c) {
			return nil
		}
		n, err := dags.Get(ctx, c)
		if err != nil {
			return err
		}
		all = append(all, n)
		for _, l := range n.Links() {
			if err := walk(l.Cid); err != nil {
				return err
			}
		}
		return nil
	}
	return all, walk(root.Cid())
}

// writeFiles writes what nginx serves: the blocks, and the folder's CAR.
func (s *site) writeFiles(ctx context.Context, store *dagstore.Store) error {
	bs := store.Blockstore(nil)
	for _, b := range append(append([]block{}, s.small.asked...), s.large.asked...) {
		got, err := bs.Get(ctx, b.cid)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(s.files, b.cid.String()), got.RawData(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A load is what one row asks for, again and again.
type load struct {
	path   func(i int) string // of request i
	nginx  func(i int) string // the same bytes of a file
	header http.Header
	bytes  int64 // of a body, or 0 if that is not known
	count  int   // of requests in a round
	beside int   // clients that ask at once; 0 is one
	bare   bool  // whether to measure what net/http alone costs
}

// cost is what a request costs a server, in microseconds of its processors.
func (w *web) cost(ctx context.Context, client *http.Client, l *load, path func(i int) string) (float64, error) {
	ask := func(i int) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+path(i), nil)
		if err != nil {
			return err
		}
		for name, values := range l.header {
			req.Header[name] = values
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		n, err := io.Copy(io.Discard, resp.Body)
		switch {
		case err != nil:
			return err
		case resp.StatusCode/100 != 2:
			return fmt.Errorf("%w: %s of %s", errStatus, resp.Status, req.URL)
		case l.bytes > 0 && n < l.bytes:
			return fmt.Errorf("%w: %d bytes of %s", errWrongBlock, n, req.URL)
		}
		return nil
	}
	all := func(count int) error {
		var group sync.WaitGroup
		clients := max(1, l.beside)
		errs := make([]error, clients)
		for k := range clients {
			group.Go(func() {
				for i := k; i < count && errs[k] == nil; i += clients {
					errs[k] = ask(i)
				}
			})
		}
		group.Wait()
		return errors.Join(errs...)
	}
	if err := all(min(l.count, 64)); err != nil { // files are in memory then, and connections open
		return 0, err
	}
	before, err := w.process.CPU()
	if err != nil {
		return 0, err
	}
	if err := all(l.count); err != nil {
		return 0, err
	}
	after, err := w.process.CPU()
	return inMicros(after-before) / float64(l.count), err
}

// against measures a load on our gateway, on boxo's and on nginx. The figure is
// ours and the limit nginx's, or boxo's where nginx has no such thing.
func (e *env) against(ctx context.Context, l func(s *site) *load, goal float64, unit string, per func(micros float64, s *site) float64) (result, error) {
	s, err := e.site(ctx)
	if err != nil {
		return result{}, err
	}
	costs := map[string]float64{}
	err = onStage(func(t *stage) error {
		client := newClient(t)
		for _, kind := range []string{kindOurs, kindBoxo, "nginx", kindBare} {
			if kind == "nginx" && l(s).nginx == nil || kind == kindBare && !l(s).bare {
				continue
			}
			err := onStage(func(t *stage) error {
				var w *web
				path := l(s).path
				if kind == "nginx" {
					w, path = startFiles(t, s.files), l(s).nginx
				} else {
					w = startGateway(t, kind, s.dir)
				}
				values := make([]float64, e.scale.rounds)
				for i := range values {
					micros, err := w.cost(ctx, client, l(s), path)
					if err != nil {
						return fmt.Errorf("%s: %w", kind, err)
					}
					values[i] = per(micros, s)
				}
				costs[kind] = median(values)
				client.CloseIdleConnections()
				return nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return result{}, err
	}
	limit, with := costs["nginx"], fmt.Sprintf("nginx %s", number(costs["nginx"]))
	if limit == 0 {
		limit, with = costs[kindBoxo], "nginx has no such thing"
	}
	r := result{figure: costs[kindOurs], unit: unit, limit: max(limit, 1e-6), goal: "≤ " + number(goal) + " " + unit}
	r.ratio = r.figure / r.limit
	r.held = r.figure <= goal
	if bare := costs[kindBare]; bare > 0 {
		with += ", net/http alone " + number(bare)
	}
	r.note = fmt.Sprintf("processor time of the server, %d clients, %d requests a round; boxo %s, %s; to hash alone %s s/GiB",
		max(1, l(s).beside), l(s).count, number(costs[kindBoxo]), with, number(hashing()))
	return r, nil
}

// hashing is the seconds that SHA2-256 of a GiB takes on this machine, if nothing
// else runs: the best of many tries.
func hashing() float64 {
	data := make([]byte, dagSize)
	best := time.Hour
	for range 2_000 {
		began := time.Now()
		data[0] += sha256.Sum256(data)[0]
		best = min(best, time.Since(began))
	}
	return best.Seconds() * (1 << 30) / dagSize
}

// seconds of a GiB.
func perGiB(bytes func(s *site) int64) func(float64, *site) float64 {
	return func(micros float64, s *site) float64 { return micros / 1e6 * (1 << 30) / float64(bytes(s)) }
}

func micros(m float64, _ *site) float64 { return m }

func (e *env) requests(n int) int { return max(1, min(n, e.scale.gets)) }

func gwRaw1k(ctx context.Context, e *env) (result, error) {
	return e.against(ctx, func(s *site) *load {
		l := rawLoad(s.small, e.requests(20_000))
		l.bare = true
		return l
	}, 30, "µs", micros)
}

func gwRaw1m(ctx context.Context, e *env) (result, error) {
	return e.against(ctx, func(s *site) *load {
		return rawLoad(s.large, e.requests(1_024))
	}, 0.9, "s/GiB", perGiB(func(*site) int64 { return 1 << 20 }))
}

func rawLoad(c *carFile, count int) *load {
	at := func(i int) block { return c.asked[i*7919%len(c.asked)] }
	return &load{
		path:  func(i int) string { return "/ipfs/" + at(i).cid.String() + "?format=raw" },
		nginx: func(i int) string { return "/" + at(i).cid.String() },
		bytes: int64(c.asked[0].size), count: count, beside: 8,
	}
}

func gwCAR(ctx context.Context, e *env) (result, error) {
	return e.against(ctx, func(s *site) *load { return s.fileLoad(e, "?format=car") }, 1.2, "s/GiB", perGiB(fileSize))
}

func gwFile(ctx context.Context, e *env) (result, error) {
	return e.against(ctx, func(s *site) *load { return s.fileLoad(e, "") }, 1.0, "s/GiB", perGiB(fileSize))
}

func fileSize(s *site) int64 { return s.fileSize }

func (s *site) fileLoad(e *env, query string) *load {
	return &load{
		path:  func(int) string { return "/ipfs/" + s.file.String() + query },
		nginx: func(int) string { return "/file" }, bytes: s.fileSize, count: e.requests(10),
	}
}

func gwRange(ctx context.Context, e *env) (result, error) {
	return e.against(ctx, func(s *site) *load {
		l := s.fileLoad(e, "")
		off := s.fileSize / 2
		l.header = http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", off, off+1023)}}
		l.bytes, l.count, l.beside = 1024, e.requests(2_000), 8
		return l
	}, 250, "µs", micros)
}

func gwHAMT(ctx context.Context, e *env) (result, error) {
	r, err := e.against(ctx, func(s *site) *load {
		return &load{path: func(int) string { return "/ipfs/" + s.folder.String() + "?format=car" }, count: e.requests(100)}
	}, 10, "ms", func(m float64, _ *site) float64 { return m / 1e3 })
	if err == nil {
		r.note = fmt.Sprintf("%d blocks; %s", e.served.folderBlocks, r.note)
	}
	return r, err
}
