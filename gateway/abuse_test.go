package gateway

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// goodClient asks for a file again and again while something else goes on, and
// wants it each time.
func goodClient(t *testing.T, m *dagtest.Memory, h http.Handler) (stop func()) {
	t.Helper()
	data := pattern(50_000)
	path := "/ipfs/" + m.Folder(false, map[string]ipld.Node{"good": m.File(string(data))}).Cid().String() + "/good"
	server := serveHandler(t, h)
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for asked := 0; ; asked++ {
			select {
			case <-done:
				if asked == 0 {
					t.Error("the good client has asked for nothing")
				}
				return
			default:
			}
			if a := ask(t, server, http.MethodGet, path); a.status != http.StatusOK || a.err != nil || !bytes.Equal(a.body, data) {
				t.Errorf("the good client got %d, %d bytes, %v", a.status, len(a.body), a.err)
				return
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// pb makes a dag-pb node of UnixFS: data and links, by name.
func pb(m *dagtest.Memory, data []byte, names []string, to ...cid.Cid) cid.Cid {
	var block []byte
	field := func(b []byte, tag uint64, body []byte) []byte {
		b = binary.AppendUvarint(b, tag<<3|2)
		b = binary.AppendUvarint(b, uint64(len(body)))
		return append(b, body...)
	}
	for i, c := range to {
		l := field(nil, 1, c.Bytes())
		if names != nil {
			l = field(l, 2, []byte(names[i]))
		}
		block = field(block, 2, l)
	}
	return m.Block(cid.DagProtobuf, 0x12, field(block, 1, data))
}

// unixFS is the data of a node: a type, and the sizes of a file's parts.
func unixFS(kind uint64, sizes ...uint64) []byte {
	b := binary.AppendUvarint(nil, 1<<3)
	b = binary.AppendUvarint(b, kind)
	total := uint64(0)
	for _, s := range sizes {
		total += s
	}
	if kind == 2 {
		b = binary.AppendUvarint(b, 3<<3)
		b = binary.AppendUvarint(b, total)
	}
	for _, s := range sizes {
		b = binary.AppendUvarint(b, 4<<3)
		b = binary.AppendUvarint(b, s)
	}
	if kind == 5 {
		b = binary.AppendUvarint(append(b, 5<<3), 0x22)
		b = binary.AppendUvarint(append(b, 6<<3), 256)
	}
	return b
}

// TestDeepAndWide walks a chain of very many nodes, and a node of very many links.
func TestDeepAndWide(t *testing.T) {
	m := dagtest.New(t)
	h := handlerOver(t, m, Config{})
	stop := goodClient(t, m, h)
	defer stop()
	server := serveHandler(t, h)
	const deep = 30_000
	c := m.File("the end").Cid()
	for range deep {
		c = pb(m, unixFS(1), []string{"a"}, c)
	}
	if _, got := sections(t, get(t, server, 200, "/ipfs/"+c.String()+"?format=car").body); len(got) != deep+1 {
		t.Errorf("a deep DAG: %d blocks", len(got))
	}
	get(t, server, 200, "/ipfs/"+c.String()+strings.Repeat("/a", 256)+"?format=raw")
	if a := ask(t, server, http.MethodGet, "/ipfs/"+c.String()+"?format=tar"); a.err == nil && a.status == 200 {
		t.Errorf("an archive of %d folders in each other: %d bytes that end well", deep, len(a.body))
	}

	leaf := m.File("leaf").Cid()
	names, to := make([]string, 60_000), make([]cid.Cid, 60_000)
	for i := range names {
		names[i], to[i] = fmt.Sprintf("%06d", i), leaf
	}
	wide := pb(m, unixFS(1), names, to...)
	for query, want := range map[string]int{"": 2, "&car-dups=y": 60_001} {
		if _, got := sections(t, get(t, server, 200, "/ipfs/"+wide.String()+"?format=car"+query).body); len(got) != want {
			t.Errorf("a wide DAG%s: %d blocks", query, len(got))
		}
	}
	get(t, server, 200, "/ipfs/"+wide.String()+"/059999")
	get(t, server, http.StatusNotAcceptable, "/ipfs/"+wide.String()+"/", "Accept", "text/html")
}

// TestBombs walks DAGs of forty blocks with a trillion ways through them.
func TestBombs(t *testing.T) {
	m := dagtest.New(t)
	h := handlerOver(t, m, Config{})
	stop := goodClient(t, m, h)
	defer stop()
	server := serveHandler(t, h)
	const levels, leafSize = 40, 1024
	leaf := m.Block(cid.Raw, 0x12, pattern(leafSize))
	folder, file, hamt := leaf, leaf, leaf
	size := uint64(leafSize)
	for i := range levels {
		folder = pb(m, unixFS(1), []string{"a", "b"}, folder, folder)
		file = pb(m, unixFS(2, size, size), nil, file, file)
		size *= 2
		if names := []string{"00", "01"}; i == 0 {
			hamt = pb(m, unixFS(5), []string{"00x", "01y"}, hamt, hamt)
		} else {
			hamt = pb(m, unixFS(5), names, hamt, hamt)
		}
	}
	for path, want := range map[string]int{
		folder.String() + "?format=car": levels + 1, file.String() + "?format=car": levels + 1, hamt.String() + "?format=car": levels + 1,
		hamt.String() + "?format=car&dag-scope=entity": levels, file.String() + "?format=car&dag-scope=entity": levels + 1,
		file.String() + "?format=car&entity-bytes=5:-5":                      levels + 1,
		file.String() + "?format=car&entity-bytes=0:*":                       levels + 1,
		file.String() + "?format=car&entity-bytes=500000000000:500000000000": levels + 1,
		file.String() + "?format=car&entity-bytes=1024:700000000000":         levels + 1,
	} {
		if _, got := sections(t, get(t, server, 200, "/ipfs/"+path).body); len(got) != want {
			t.Errorf("%s: %d blocks, want %d", path, len(got), want)
		}
	}
	part := get(t, server, http.StatusPartialContent, "/ipfs/"+file.String(), "Range", "bytes=500000000000-500000000099")
	if off := 500_000_000_000 % leafSize; !bytes.Equal(part.body, pattern(leafSize)[off:off+100]) {
		t.Errorf("a part of a file of a petabyte: %q", part.body)
	}
	get(t, server, http.StatusNotAcceptable, "/ipfs/"+hamt.String()+"/", "Accept", "text/html")
	get(t, server, http.StatusNotFound, "/ipfs/"+hamt.String()+"/nothing")
	// What has no end ends with the client.
	for _, path := range []string{file.String(), folder.String() + "?format=car&car-dups=y", file.String() + "?format=car&car-dups=y", folder.String() + "?format=tar"} {
		takeSome(t, server.URL+"/ipfs/"+path, 4<<20)
	}
	idle(t, h, 1) // the good client may be asking
}

// takeSome takes n bytes of a body and goes away.
func takeSome(t *testing.T, url string, n int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.CopyN(io.Discard, resp.Body, n); err != nil {
		t.Errorf("%s: %d bytes, %v", url, got, err)
	}
}

// idle waits until no more than most requests are under way.
func idle(t *testing.T, h *Handler, most int64) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); h.Stats().Active > most; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d requests are still under way", h.Stats().Active)
		}
	}
	if used := h.walks.used.Load(); most == 0 && used != 0 {
		t.Errorf("%d blocks are still kept in mind", used)
	}
}

// TestFalseSizes wants a file whose parts are not as long as it says to be broken
// off, and nothing made for what it says.
func TestFalseSizes(t *testing.T) {
	m := dagtest.New(t)
	h := handlerOver(t, m, Config{})
	server := serveHandler(t, h)
	leaf := m.Block(cid.Raw, 0x12, pattern(1000))
	loop := leaf
	for range 100 {
		loop = pb(m, unixFS(2, 1000), nil, loop)
	}
	for name, c := range map[string]cid.Cid{
		"more than there is": pb(m, unixFS(2, 1000, 1<<40), nil, leaf, leaf),
		"less than there is": pb(m, unixFS(2, 1000, 10), nil, leaf, leaf),
		"a folder in a file": pb(m, unixFS(2, 1000, 1000), nil, leaf, pb(m, unixFS(1), nil)),
		"no UnixFS in it":    pb(m, unixFS(2, 1000, 1000), nil, leaf, pb(m, []byte("x"), nil)),
		"too many levels":    loop,
	} {
		if a := ask(t, server, http.MethodGet, "/ipfs/"+c.String()); a.err == nil && a.status == 200 {
			t.Errorf("%s: %d bytes that end well", name, len(a.body))
		}
	}
	huge := uint64(1) << 62
	for name, c := range map[string]cid.Cid{
		"more than an int": pb(m, unixFS(2, huge, huge, huge), nil, leaf, leaf, leaf),
		"sizes of no part": pb(m, unixFS(2, 1000), nil, leaf, leaf),
	} {
		if a := ask(t, server, http.MethodGet, "/ipfs/"+c.String()); a.status != http.StatusNotAcceptable {
			t.Errorf("%s: %d", name, a.status)
		}
		// What a file consists of is a question of its sizes; what is below it is not.
		folder := "/ipfs/" + m.Odd(c, "file").Cid().String()
		for _, at := range []string{"/ipfs/" + c.String(), folder + "/file"} {
			for query, status := range map[string]int{
				"dag-scope=entity": 406, "entity-bytes=0:9": 406, "entity-bytes=-5:*": 406, "dag-scope=entity&entity-bytes=0:9": 406,
				"dag-scope=entity&car-dups=y": 406, "dag-scope=all": 200, "dag-scope=block": 200, "dag-scope=block&entity-bytes=0:9": 200,
			} {
				if a := ask(t, server, http.MethodGet, at+"?format=car&"+query); a.err != nil || a.status != status {
					t.Errorf("%s: %s: %d, %v, want %d", name, query, a.status, a.err, status)
				}
			}
			if a := ask(t, server, http.MethodHead, at+"?format=car&entity-bytes=0:9"); a.status != http.StatusNotAcceptable {
				t.Errorf("%s: HEAD: %d", name, a.status)
			}
		}
	}
	idle(t, h, 0)
}

// TestNestedData wants blocks that are nothing but brackets to cost nobody a stack.
func TestNestedData(t *testing.T) {
	m := dagtest.New(t)
	h := handlerOver(t, m, Config{})
	const deep = 3_000_000
	for _, c := range []cid.Cid{
		m.Block(cid.DagJSON, 0x12, []byte(strings.Repeat("[", deep)+strings.Repeat("]", deep))),
		m.Block(0x0200, 0x12, []byte(strings.Repeat(`{"a":`, deep)+"1"+strings.Repeat("}", deep))),
		m.Block(cid.DagCBOR, 0x12, append(bytes.Repeat([]byte{0x81}, deep), 1)),
		m.Block(0x51, 0x12, append(bytes.Repeat([]byte{0x81}, deep), 1)),
	} {
		for _, path := range []string{"", "/a", "/0/0", "?format=dag-json", "?format=dag-cbor", "?format=json", "?format=cbor", "?format=tar", "?format=car", "?format=car&dag-scope=block"} {
			a := visit(t, h, "localhost", "/ipfs/"+c.String()+path, "Accept", "text/html")
			if a.status == http.StatusInternalServerError {
				t.Errorf("codec 0x%x, %s: %d %.200s", c.Prefix().Codec, path, a.status, a.body)
			}
		}
	}
}

// TestFloodOfMisses asks for very much that there is not, at once.
func TestFloodOfMisses(t *testing.T) {
	m := dagtest.New(t)
	h := handlerOver(t, m, Config{})
	stop := goodClient(t, m, h)
	defer stop()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for j := range 500 {
				c, err := cid.V1Builder{Codec: cid.Raw, MhType: 0x12}.Sum(fmt.Appendf(nil, "miss %d %d", i, j))
				if err != nil {
					t.Error(err)
					return
				}
				if a := visit(t, h, "localhost", "/ipfs/"+c.String()+[]string{"", "?format=raw", "?format=car", "/a/b"}[j%4]); a.status != http.StatusNotFound {
					t.Errorf("a miss: %d", a.status)
				}
			}
		})
	}
	all.Wait()
}

// TestLongHeaders sends lists of ranges, types and validators.
func TestLongHeaders(t *testing.T) {
	m := dagtest.New(t)
	h := handlerOver(t, m, Config{})
	data := pattern(5000)
	c := m.File(string(data)).Cid().String()
	if a := visit(t, h, "localhost", "/ipfs/"+c, "Range", "bytes=0-"+strings.Repeat(",0-", 100_000)); a.status != 200 || len(a.body) != 5000 {
		t.Errorf("a list of ranges: %d, %d bytes", a.status, len(a.body))
	}
	if a := visit(t, h, "localhost", "/ipfs/"+c, "Accept", strings.Repeat("application/vnd.ipld.car;q=0.5,", 10_000)); a.status != 400 {
		t.Errorf("a list of types: %d", a.status)
	}
	if a := visit(t, h, "localhost", "/ipfs/"+c, "If-None-Match", strings.Repeat(`"x", `, 100_000)); a.status != 200 {
		t.Errorf("a list of validators: %d", a.status)
	}
}

// TestTooMany wants 429 for one request too many, and the others answered.
func TestTooMany(t *testing.T) {
	m := dagtest.New(t)
	c := m.Block(cid.Raw, 0x12, []byte("x"))
	reached, proceed := make(chan struct{}, 2), make(chan struct{})
	m.OnGet = func(cid.Cid) {
		reached <- struct{}{}
		<-proceed
	}
	h := handlerOver(t, m, Config{Limits: Limits{Requests: 1}})
	var all sync.WaitGroup
	all.Go(func() {
		if a := visit(t, h, "localhost", "/ipfs/"+c.String()+"?format=raw"); a.status != 200 {
			t.Errorf("the first: %d", a.status)
		}
	})
	<-reached
	a := visit(t, h, "localhost", "/ipfs/"+c.String()+"?format=raw")
	if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("one too many: %d %v", a.status, a.header)
	}
	close(proceed)
	all.Wait()
	if a := visit(t, h, "localhost", "/ipfs/"+c.String()+"?format=raw"); a.status != 200 || h.Stats().Busy != 1 {
		t.Errorf("the next: %d, %+v", a.status, h.Stats())
	}
}

// TestSlowReader wants a client that takes nothing to be cut off, while another is
// served.
func TestSlowReader(t *testing.T) {
	m := dagtest.New(t)
	h := handlerOver(t, m, Config{Limits: Limits{Progress: time.Second}})
	stop := goodClient(t, m, handlerOver(t, m, Config{})) // its limits are not those of the slow one
	defer stop()
	server := serveHandler(t, h)
	big := m.Block(cid.Raw, 0x12, bytes.Repeat([]byte("x"), 2<<20))
	many := make([]cid.Cid, 32)
	sizes := make([]uint64, len(many))
	for i := range many {
		many[i], sizes[i] = big, 2<<20
	}
	file := pb(m, unixFS(2, sizes...), nil, many...) // 64 MiB: more than what lies in between holds
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "GET /ipfs/%s HTTP/1.1\r\nHost: localhost\r\n\r\n", file); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); h.Stats().Bytes == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing was sent")
		}
	}
	idle(t, h, 0)
	if got := h.Stats().Bytes; got >= 64<<20 {
		t.Errorf("%d bytes went to a client that takes none", got)
	}
	if got := h.Stats().Broken; got != 1 {
		t.Errorf("%d answers were broken off", got)
	}
}

// TestSlowSource wants 504 for what does not come, before and after the answer has
// begun.
func TestSlowSource(t *testing.T) {
	m := dagtest.New(t)
	root, leaf := damagedDAG(t, m, func(*dagtest.Memory, cid.Cid) {})
	slow := &slowStore{Memory: m, slow: leaf}
	with := func(limits Limits) (*Handler, *httptest.Server) {
		h, err := newHandler(slow, slow, noShards, Config{Limits: limits})
		if err != nil {
			t.Fatal(err)
		}
		return h, serveHandler(t, h)
	}
	_, server := with(Limits{FirstByte: 100 * time.Millisecond})
	for _, path := range []string{"/ipfs/" + leaf.String() + "?format=raw", "/ipfs/" + leaf.String() + "?format=car", "/ipfs/" + leaf.String()} {
		a := get(t, server, http.StatusGatewayTimeout, path)
		if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %v", path, a.header)
		}
	}
	// Once it has begun, the time is another.
	h, server := with(Limits{Progress: 100 * time.Millisecond})
	for _, path := range []string{"/file", "?format=car", "?format=tar"} {
		if a := ask(t, server, http.MethodGet, "/ipfs/"+root.String()+path); a.err == nil {
			t.Errorf("%s: %d with %d bytes that end well", path, a.status, len(a.body))
		}
	}
	idle(t, h, 0)
}

// A slowStore never comes to an end with one of its blocks.
type slowStore struct {
	*dagtest.Memory
	slow cid.Cid
}

// Get returns a block, or waits.
func (s *slowStore) Get(ctx context.Context, c cid.Cid) (blocks.Block, error) {
	if c.Equals(s.slow) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.Memory.Get(ctx, c)
}

// View implements [blockstore.Viewer].
func (s *slowStore) View(ctx context.Context, c cid.Cid, f func([]byte) error) error {
	b, err := s.Get(ctx, c)
	if err != nil {
		return err
	}
	return f(b.RawData())
}

// TestEmptyShards wants a sharded folder of very many nodes that have no entries to
// be given up: all of them would have to be read, and remembered, to list nothing.
func TestEmptyShards(t *testing.T) {
	const width, per, wide = 256, 250, 80
	m := dagtest.New(t)
	server := serve(t, m, false, Config{})
	data := func(n int) []byte { // of a node, with a bit field that makes it another one
		b := append([]byte{0x08, 5, 0x12, 4}, binary.BigEndian.AppendUint32(nil, uint32(n))...)
		b = append(b, 0x28, 0x22)
		return binary.AppendUvarint(append(b, 0x30), width)
	}
	var names []string
	for i := range width {
		names = append(names, fmt.Sprintf("%02X", i))
	}
	n := 0
	level := func(of int, below func() cid.Cid) cid.Cid {
		var to []cid.Cid
		for range of {
			to = append(to, below())
		}
		n++
		return pb(m, data(n), names[:of], to...)
	}
	leaf := func() cid.Cid { return level(0, nil) }
	root := level(4, func() cid.Cid {
		return level(wide, func() cid.Cid { return level(per, leaf) })
	})
	m.Reads()
	get(t, server, http.StatusNotAcceptable, "/ipfs/"+root.String()+"/")
	if reads := m.Reads(); reads > maxListed+1000 {
		t.Errorf("%d of %d nodes were read", reads, n)
	}
}
