package page_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/gateway"
	"github.com/dagstore/dagstore/internal/admin"
	"github.com/dagstore/dagstore/internal/admin/page"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/car/dagtest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/httpmount"
	"github.com/dagstore/dagstore/mount/memmount"
	"github.com/dagstore/dagstore/shard"
)

// A world is a store with its gateway, its API and its page.
type world struct {
	t       *testing.T
	dir     string
	store   *dagstore.Store
	hub     *admin.Hub
	server  *admin.Server
	http    *httptest.Server // the API and the page
	socket  *httptest.Server // the API for who may do all
	gateway *httptest.Server
	cars    *httptest.Server // where CARs lie
	set     *memmount.Set
	client  *httpmount.Client
	gate    chan struct{} // closed: nothing is held up any more
	held    []*dagstore.Accessor
	reader  string      // a token that may only look
	lost    atomic.Bool // nobody answers
	dags    dags
}

// dags are roots that can be looked at.
type dags struct{ folder, sharded, picture, data, text cid.Cid }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), hub: admin.NewHub(), set: new(memmount.Set), gate: make(chan struct{})}
	w.cars = httptest.NewServer(http.FileServer(http.Dir(w.dir)))
	t.Cleanup(w.cars.Close)
	far, err := httpmount.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.client = far
	mounts := mount.Registry{"file": filemount.Open, "mem": w.set.Open, "http": far.Open, "gated": w.openGated}
	w.store, err = dagstore.Open(t.Context(), filepath.Join(w.dir, "store"), &dagstore.Config{
		Events: w.hub.Events(), Mounts: mounts, Copies: dagstore.Copies{Quota: 64 << 20}, Work: dagstore.Work{Stall: time.Hour},
		Hosts: dagstore.Hosts{Longest: time.Hour, First: time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.serve(mounts)
	t.Cleanup(w.close)
	return w
}

// serve begins to answer.
func (w *world) serve(mounts mount.Registry) {
	w.t.Helper()
	handler, err := gateway.New(w.store, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	meter := new(admin.Meter)
	path := filepath.Join(w.t.TempDir(), "tokens")
	w.reader, err = admin.AddToken(path, "reader", []admin.Scope{admin.Read})
	w.must(err)
	tokens, err := admin.LoadTokens(path)
	w.must(err)
	w.gateway = httptest.NewServer(meter.Wrap(handler))
	w.server, err = admin.New(w.store, &admin.Config{
		Hub: w.hub, Mounts: mounts, Meter: meter, Page: page.New(), Program: "test", Folder: w.dir, Command: "dagstore serve",
		Gateway: func() string { return w.gateway.URL }, Admin: func() string { return w.http.URL }, Scratch: w.t.TempDir(),
		Add: w.add, Tokens: tokens,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	guarded := w.server.Guarded()
	w.http = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.lost.Load() {
			panic(http.ErrAbortHandler)
		}
		guarded.ServeHTTP(rw, r)
	}))
	w.socket = httptest.NewServer(w.server.Local())
}

func (w *world) close() {
	w.open()
	for _, a := range w.held {
		_ = a.Close() // it always succeeds
	}
	w.http.CloseClientConnections()
	if err := w.server.Close(); err != nil {
		w.t.Error(err)
	}
	w.http.Close()
	w.socket.Close()
	w.gateway.Close()
	if err := w.store.Close(); err != nil {
		w.t.Error(err)
	}
}

// open holds up nothing any more.
func (w *world) open() {
	select {
	case <-w.gate:
	default:
		close(w.gate)
	}
}

// add carries out a job: each source is the path of a CAR.
func (w *world) add(ctx context.Context, job wire.AddJob, list io.Reader, _ func(string) string, told *admin.Progress) error {
	urls := make([]string, 0, len(job.Sources))
	for _, source := range job.Sources {
		m, err := filemount.New(source)
		if err != nil {
			return err
		}
		urls = append(urls, m.URL())
	}
	if list != nil {
		for entry, err := range wire.ReadList(list) {
			if err != nil {
				return err
			}
			urls = append(urls, entry.Mount)
		}
	}
	told.Expect(int64(len(urls)), 0)
	for _, url := range urls {
		r := wire.Result{Name: url, Key: job.Prefix + url[strings.LastIndex(url, "/")+1:], URL: url, Size: -1}
		m, err := filemount.Open(url)
		if err == nil {
			err = w.store.Register(ctx, shard.Key(r.Key), m, &dagstore.RegisterOptions{Lazy: job.Lazy, Verify: job.Verify})
		}
		if err != nil {
			p := wire.ProblemOf(err)
			r.Problem = &p
		} else if info, err := w.store.Info(ctx, shard.Key(r.Key)); err == nil {
			r.Size = info.Bytes
			told.Moved(info.Bytes)
		}
		if err := told.Result(r); err != nil {
			return err
		}
	}
	return nil
}

// link is a one-time link to the page, for who may do all.
func (w *world) link() string {
	w.t.Helper()
	answer, err := w.socket.Client().Post(w.socket.URL+"/api/v1/links", "", nil)
	w.must(err)
	return w.linkIn(answer)
}

// readerLink is one for who may only look.
func (w *world) readerLink() string {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.http.URL+"/api/v1/links", nil)
	w.must(err)
	request.Header.Set("Authorization", "Bearer "+w.reader)
	answer, err := w.http.Client().Do(request)
	w.must(err)
	return w.linkIn(answer)
}

func (w *world) linkIn(answer *http.Response) string {
	w.t.Helper()
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	_, url, _ := strings.Cut(string(text), `"url":"`)
	url, _, ok := strings.Cut(url, `"`)
	if !ok {
		w.t.Fatalf("no link: %s", text)
	}
	return url
}

// gated is a mount whose reading does not begin before the gate opens.
type gated struct {
	mount.Mount
	name string
	gate <-chan struct{}
}

func (w *world) openGated(url string) (mount.Mount, error) {
	name := strings.TrimPrefix(url, "gated:")
	m, err := w.set.Open("mem:" + name)
	return &gated{m, name, w.gate}, err
}

func (g *gated) URL() string { return "gated:" + g.name }

func (g *gated) Open(ctx context.Context) (io.ReadCloser, error) {
	select {
	case <-g.gate:
		return g.Mount.Open(ctx)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// file writes a file and returns its mount.
func (w *world) file(name string, data []byte) (path string, m mount.Mount) {
	w.t.Helper()
	path = filepath.Join(w.dir, filepath.FromSlash(name))
	w.must(os.MkdirAll(filepath.Dir(path), 0o777))
	w.must(os.WriteFile(path, data, 0o666))
	m, err := filemount.New(path)
	w.must(err)
	return path, m
}

func (w *world) register(key string, m mount.Mount, opts *dagstore.RegisterOptions) {
	w.t.Helper()
	w.must(w.store.Register(w.t.Context(), shard.Key(key), m, opts))
}

func (w *world) await(key string, state shard.State) {
	w.t.Helper()
	w.poll(key+" is "+state.String(), func() bool {
		info, err := w.store.Info(w.t.Context(), shard.Key(key))
		return err == nil && info.State == state
	})
}

func (w *world) poll(what string, f func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if f() {
			return
		}
	}
	w.t.Fatalf("waited for a minute: %s", what)
}

// several calls f for each number below n, some at once.
func (w *world) several(n int, f func(i int) error) {
	w.t.Helper()
	var workers sync.WaitGroup
	errs := make([]error, n)
	for at := range 32 {
		workers.Go(func() {
			for i := at; i < n; i += 32 {
				errs[i] = f(i)
			}
		})
	}
	workers.Wait()
	w.must(errors.Join(errs...))
}

// fill makes some 1,000 shards, in every state that a shard can have.
func (w *world) fill() {
	w.t.Helper()
	ctx := w.t.Context()
	w.several(700, func(i int) error { // ready
		name := fmt.Sprintf("archive/%d/photos-%04d.car", 2019+i%7, i)
		m := w.set.Put(name, cartest.RandomV1(uint64(i), 3+i%40, 120))
		return w.store.Register(ctx, shard.Key(strings.TrimSuffix(name, ".car")), m, &dagstore.RegisterOptions{Verify: i%3 == 0, Labels: map[string]string{"owner": []string{"anna", "ben"}[i%2]}})
	})
	w.several(240, func(i int) error { // lazy
		name := fmt.Sprintf("backup/host-%02d/%04d.car", i%12, i)
		return w.store.Register(ctx, shard.Key(name), w.set.Put(name, cartest.RandomV1(uint64(5000+i), 4, 90)), &dagstore.RegisterOptions{Lazy: true})
	})
	w.several(23, func(i int) error { // failed
		err := w.store.Register(ctx, shard.Key(fmt.Sprintf("incoming/broken-%02d.car", i)), w.set.Put(fmt.Sprintf("broken-%d.car", i), []byte("this is no CAR")), nil)
		if !errors.Is(err, shard.ErrCAR) {
			return fmt.Errorf("a file that is no CAR: %w", err)
		}
		return nil
	})
	w.far()
	w.goingOn()
	w.graphs()
	w.real()
}

// realCARs are some of the folder beside the project, with their roots.
var realCARs = []string{"wikipedia-cryptographic-hash-function", "sample-v1", "sample-wrapped-v2", "simple-unixfs", "atproto-repo_slice"}

// real registers CARs that others have made, where there are any.
func (w *world) real() {
	w.t.Helper()
	for _, name := range realCARs {
		m, err := filemount.New(filepath.Join("..", "..", "..", "..", "shared", "cars", name+".car"))
		w.must(err)
		if _, err := m.Stat(w.t.Context()); errors.Is(err, os.ErrNotExist) {
			w.t.Log("no CARs in ../shared/cars: made ones are looked at alone")
			return
		}
		w.register("real/"+name, m, nil)
	}
}

// far makes shards whose CARs lie on servers, one of which is down.
func (w *world) far() {
	w.t.Helper()
	ctx := w.t.Context()
	w.several(30, func(i int) error {
		name := fmt.Sprintf("far/%02d.car", i)
		w.file(name, cartest.RandomV1(uint64(9000+i), 30, 2000))
		m, err := w.client.Open(w.cars.URL + "/" + name)
		if err != nil {
			return err
		}
		opts := &dagstore.RegisterOptions{Serve: shard.Copy, Pin: i%5 == 0}
		if i%3 == 0 {
			opts.Serve = shard.InPlace
		}
		return w.store.Register(ctx, shard.Key("mirror/"+name), m, opts)
	})
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	for i := range 4 {
		m, err := w.client.Open(fmt.Sprintf("%s/gone/%d.car", down.URL, i))
		w.must(err)
		if err := w.store.Register(ctx, shard.Key(fmt.Sprintf("mirror/gone/%d.car", i)), m, nil); err == nil {
			w.t.Fatal("a CAR on a server that is down was registered")
		}
	}
}

// goingOn makes shards that are held, indexed, recovered, drained and removed.
func (w *world) goingOn() {
	w.t.Helper()
	ctx := w.t.Context()
	hold := func(key string) *dagstore.Accessor {
		a, err := w.store.Acquire(ctx, shard.Key(key), nil)
		w.must(err)
		w.held = append(w.held, a)
		return a
	}
	for i := range 5 {
		hold(fmt.Sprintf("archive/%d/photos-%04d", 2019+i%7, i))
	}
	for i := range 3 {
		key := fmt.Sprintf("incoming/new-%d.car", i)
		w.set.Put(key, cartest.RandomV1(uint64(7000+i), 10, 100))
		m, err := w.openGated("gated:" + key)
		w.must(err)
		w.must(w.store.RegisterShard(ctx, shard.Key(key), m, nil, nil))
		w.await(key, shard.Initializing)
	}
	for i := range 2 {
		key := fmt.Sprintf("incoming/again-%d.car", i)
		m, err := w.openGated("gated:" + key) // which is not there
		w.must(err)
		if err := w.store.Register(ctx, shard.Key(key), m, nil); err == nil {
			w.t.Fatal("a CAR that is not there was registered")
		}
		w.set.Put(key, cartest.RandomV1(uint64(7100+i), 10, 100))
		w.must(w.store.RecoverShard(ctx, shard.Key(key), nil, nil))
		w.await(key, shard.Recovering)
	}
	path, m := w.file("cut.car", cartest.RandomV1(7200, 20, 100))
	w.register("incoming/cut.car", m, nil)
	cut := hold("incoming/cut.car")
	w.must(os.Truncate(path, 1500))
	if _, err := cut.Blockstore().Get(ctx, cartest.RandomBlock(7200, 19, 100).CID); !errors.Is(err, shard.ErrChanged) {
		w.t.Fatal(err)
	}
	w.await("incoming/cut.car", shard.Draining)
	w.register("old/2011.car", w.set.Put("old/2011.car", cartest.RandomV1(7300, 10, 100)), nil)
	hold("old/2011.car")
	w.must(w.store.DestroyShard(ctx, "old/2011.car", nil, &dagstore.DestroyOptions{Held: dagstore.Wait}))
	w.await("old/2011.car", shard.Destroying)
}

// png is a picture of one pixel.
const png = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89\x00\x00\x00\rIDATx\xdac\xfc\xcf\xc0P\x0f\x00\x04\x85\x01\x80\x84\xa9\x8c!\x00\x00\x00\x00IEND\xaeB`\x82"

// graphs makes DAGs that can be walked.
func (w *world) graphs() {
	w.t.Helper()
	memory := dagtest.New(w.t)
	long := memory.File(dagtest.Text(20 << 10))
	d := &w.dags
	leaf := func(data string) ipld.Node {
		memory.Block(cid.Raw, multihash.SHA2_256, []byte(data))
		return merkledag.NewRawNode([]byte(data))
	}
	words, picture := leaf("Blocks are found by what they are.\n\n\tNot by where they lie.\n"), leaf(png)
	d.text, d.picture = words.Cid(), picture.Cid()
	many := make(map[string]ipld.Node)
	for i := range 600 {
		many[fmt.Sprintf("page %03d.txt", i)] = memory.File(dagtest.Text(40 + i))
	}
	sharded := memory.Folder(true, many)
	folder := memory.Folder(false, map[string]ipld.Node{
		"readme.txt": words, "picture.png": picture, "long.txt": long, "pages": sharded,
		"with space & <b>": long, "link": memory.Symlink("readme.txt"), "empty": memory.Folder(false, nil),
	})
	d.folder, d.sharded = folder.Cid(), sharded.Cid()
	// {"name": "x", "parts": [link, link], "n": 7} in DAG-CBOR.
	data := append([]byte("\xa3\x61n\x07\x64name\x6bA <b>tale</b>\x65parts\x82"), cartest.AppendLink(nil, d.folder.Bytes())...)
	data = cartest.AppendLink(data, d.text.Bytes())
	data[len("\xa3\x61n\x07\x64name")] = 0x60 + byte(len("A <b>tale</b>"))
	d.data = memory.Block(cid.DagCBOR, multihash.SHA2_256, data)
	blocks := []cartest.Block{}
	for _, b := range memory.All() {
		blocks = append(blocks, cartest.Block{CID: cid.NewCidV1(codecOf(d, b.Cid()), b.Cid().Hash()), Data: b.RawData()})
	}
	w.register("graphs/tale.car", w.set.Put("tale.car", cartest.V1([]cid.Cid{d.data, d.folder}, blocks)), nil)
}

// codecOf is what a block is, which a blockstore by multihash does not keep.
func codecOf(d *dags, c cid.Cid) uint64 {
	switch {
	case string(c.Hash()) == string(d.data.Hash()):
		return cid.DagCBOR
	case c.Prefix().Codec == cid.Raw:
		return cid.Raw
	}
	return cid.DagProtobuf
}

// run begins a job.
func (w *world) run(job string) {
	w.t.Helper()
	answer, err := w.socket.Client().Post(w.socket.URL+"/api/v1/jobs", "application/json", strings.NewReader(job))
	if err != nil {
		w.t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusAccepted {
		text, _ := io.ReadAll(answer.Body)
		w.t.Fatalf("%s: %s", answer.Status, text)
	}
}
