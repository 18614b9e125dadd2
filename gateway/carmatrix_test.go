package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	carv2 "github.com/ipld/go-car/v2"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	"github.com/ipld/go-ipld-prime/node/basicnode"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// sections are the CIDs of a CAR in their order, each block hashed.
func sections(t *testing.T, data []byte) (roots, cids []cid.Cid) {
	t.Helper()
	reader, err := carv2.NewBlockReader(strings.NewReader(string(data)))
	if err != nil {
		t.Fatalf("go-car: %v", err)
	}
	for {
		b, err := reader.Next()
		if err != nil {
			if err.Error() != "EOF" {
				t.Fatalf("go-car: %v", err)
			}
			return reader.Roots, cids
		}
		cids = append(cids, b.Cid())
	}
}

// depthFirst are the blocks of a DAG of dag-pb and raw in the order in which they
// are met; with repeats as often as that.
func depthFirst(t *testing.T, m *dagtest.Memory, root cid.Cid, repeats bool) (all []cid.Cid) {
	t.Helper()
	seen := cid.NewSet()
	var walk func(cid.Cid)
	walk = func(c cid.Cid) {
		if !seen.Visit(c) && !repeats {
			return
		}
		all = append(all, c)
		for _, l := range linksOf(t, m, c) {
			walk(l)
		}
	}
	walk(root)
	return all
}

func linksOf(t *testing.T, m *dagtest.Memory, c cid.Cid) (all []cid.Cid) {
	t.Helper()
	if c.Prefix().Codec != cid.DagProtobuf {
		return nil
	}
	for _, l := range decodePB(t, m, c).Links() {
		all = append(all, l.Cid)
	}
	return all
}

// site is a folder with what CARs are asked for. The file has 20 leaves of 1,024
// bytes, two of which are alike.
type site struct {
	m            *dagtest.Memory
	server       *httptest.Server
	root, file   cid.Cid
	hamt, link   cid.Cid
	cbor, raw    cid.Cid
	sub          cid.Cid
	data         string
	leaves       []cid.Cid
	path         string
	inlineFolder cid.Cid // its entries are identity CIDs
}

func newSite(t *testing.T, cfg Config) *site {
	t.Helper()
	m := dagtest.New(t)
	s := &site{m: m}
	text := dagtest.Text(20 * dagtest.Chunk)
	s.data = text[:19*dagtest.Chunk] + text[:dagtest.Chunk]
	file := m.File(s.data)
	many := map[string]ipld.Node{}
	for i := range 700 {
		many[fmt.Sprintf("entry %03d", i)] = m.File(fmt.Sprint(i))
	}
	hamt := m.Folder(true, many)
	link := m.Symlink("file")
	sub := m.Folder(false, map[string]ipld.Node{"file": file, "again": file})
	inline := cartest.Identity([]byte("inline")).CID
	s.inlineFolder = m.Odd(inline, "a", "b").Cid()
	root := m.Folder(false, map[string]ipld.Node{"file": file, "hamt": hamt, "link": link, "sub": sub, "ü": m.File("name")})
	s.file, s.hamt, s.link, s.sub, s.root = file.Cid(), hamt.Cid(), link.Cid(), sub.Cid(), root.Cid()
	s.raw = m.File("one leaf").Cid()
	b := basicnode.Prototype.Any.NewBuilder()
	if err := dagjson.Decode(b, strings.NewReader(fmt.Sprintf(`{"a":{"b":{"/":%q}},"c":[1,{"/":%q}]}`, s.sub, s.raw))); err != nil {
		t.Fatal(err)
	}
	s.cbor = m.Block(cid.DagCBOR, 0x12, encodeCBOR(t, b.Build()))
	for _, c := range depthFirst(t, m, s.file, true) {
		if c.Prefix().Codec == cid.Raw {
			s.leaves = append(s.leaves, c)
		}
	}
	if len(s.leaves) != 20 || !s.leaves[0].Equals(s.leaves[19]) {
		t.Fatalf("%d leaves", len(s.leaves))
	}
	s.server = serve(t, m, false, cfg)
	s.path = "/ipfs/" + s.root.String()
	return s
}

// fileNodes are the nodes of the file, each before the leaves below it.
func (s *site) fileNodes(t *testing.T) []cid.Cid {
	return slices.DeleteFunc(depthFirst(t, s.m, s.file, false), func(c cid.Cid) bool { return c.Prefix().Codec == cid.Raw })
}

// TestCARScopes holds what is in a CAR, and in what order, for each scope and kind
// of thing.
func TestCARScopes(t *testing.T) {
	s := newSite(t, Config{})
	all := func(way []cid.Cid, root cid.Cid) []cid.Cid { return append(way, depthFirst(t, s.m, root, false)...) }
	way := []cid.Cid{s.root}
	hamt := slices.DeleteFunc(depthFirst(t, s.m, s.hamt, false), func(c cid.Cid) bool { return c.Prefix().Codec == cid.Raw })
	for suffix, want := range map[string][]cid.Cid{
		"?format=car":                             all(nil, s.root),
		"?format=car&dag-scope=all":               all(nil, s.root),
		"?format=car&dag-scope=entity":            {s.root},
		"?format=car&dag-scope=block":             {s.root},
		"/file?format=car":                        all(way, s.file),
		"/file?format=car&dag-scope=entity":       all(way, s.file),
		"/file?format=car&dag-scope=block":        {s.root, s.file},
		"/hamt?format=car":                        all(way, s.hamt),
		"/hamt?format=car&dag-scope=entity":       append(way, hamt...),
		"/hamt?format=car&dag-scope=block":        {s.root, s.hamt},
		"/link?format=car&dag-scope=entity":       {s.root, s.link},
		"/sub/file?format=car&dag-scope=block":    {s.root, s.sub, s.file},
		"/sub?format=car":                         all(way, s.sub),
		"/sub/?format=car&dag-scope=entity":       {s.root, s.sub},
		"/ü?format=car":                           {s.root, linksOf(t, s.m, s.root)[4]},
		"/nothing?format=car":                     {s.root},
		"/file/nothing?format=car&dag-scope=all":  {s.root, s.file},
		"/file?format=car&entity-bytes=0:*":       all(way, s.file),
		"/hamt?format=car&entity-bytes=0:10":      append(way, hamt...), // it has no bytes, so that this says nothing
		"/sub?format=car&entity-bytes=5:6":        {s.root, s.sub},
		"/link?format=car&entity-bytes=1:1":       {s.root, s.link},
		"?format=car&dag-scope=all&car-order=unk": all(nil, s.root),
	} {
		a := get(t, s.server, http.StatusOK, s.path+suffix)
		roots, got := sections(t, a.body)
		if !slices.EqualFunc(got, want, cid.Cid.Equals) {
			t.Errorf("%s: %d blocks, want %d\n%v\n%v", suffix, len(got), len(want), got, want)
		}
		end := s.end(suffix)
		if strings.Contains(suffix, "nothing") {
			end = cid.MustParse("bafkqaaa")
		}
		if len(roots) != 1 || !roots[0].Equals(end) {
			t.Errorf("%s: roots %v, want %s", suffix, roots, end)
		}
		head := ask(t, s.server, http.MethodHead, s.path+suffix)
		for _, name := range []string{"Etag", "Content-Type", "X-Ipfs-Roots", "Cache-Control", "Content-Disposition", "Accept-Ranges"} {
			if head.status != http.StatusOK || head.header.Get(name) != a.header.Get(name) {
				t.Errorf("%s: HEAD has %d and %s %q, GET %q", suffix, head.status, name, head.header.Get(name), a.header.Get(name))
			}
		}
		if ranges := a.header.Get("Accept-Ranges"); ranges != "none" {
			t.Errorf("%s: Accept-Ranges %q", suffix, ranges)
		}
	}
}

// end is where a path of TestCARScopes leads.
func (s *site) end(suffix string) cid.Cid {
	path, _, _ := strings.Cut(suffix, "?")
	switch strings.Trim(path, "/") {
	case "":
		return s.root
	case "file", "sub/file":
		return s.file
	case "hamt":
		return s.hamt
	case "link":
		return s.link
	case "sub":
		return s.sub
	}
	c, _ := cid.V1Builder{Codec: cid.Raw, MhType: 0x12}.Sum([]byte("name"))
	return c
}

// TestCAREntityBytes wants the blocks that a range needs and no others, for all
// forms of it, with dag-scope and without.
func TestCAREntityBytes(t *testing.T) {
	s := newSite(t, Config{})
	size := len(s.data)
	path := "/ipfs/" + s.file.String()
	for part, leaves := range map[string][2]int{ // the first leaf, and behind the last
		"0:0": {0, 1}, "0:1023": {0, 1}, "0:1024": {0, 2}, "1023:1024": {0, 2}, "1024:2047": {1, 2},
		"5000:5999": {4, 6}, "0:*": {0, 20}, "19000:*": {18, 20}, "-1:*": {19, 20}, "-1024:*": {19, 20}, "-1025:*": {18, 20},
		"-2048:-1025": {18, 19}, "0:-1": {0, 20}, "499:-18000": {0, 3}, "0:99999999": {0, 20}, "20479:20479": {19, 20},
		"-99999999:0": {0, 1}, "-99999999:*": {0, 20}, "18432:-1": {18, 20}, "0:9223372036854775807": {0, 20},
	} {
		want := cid.NewSet()
		for _, c := range s.leaves[leaves[0]:leaves[1]] {
			want.Add(c)
		}
		for _, scope := range []string{"", "&dag-scope=entity", "&dag-scope=all", "&car-dups=y"} {
			a := get(t, s.server, http.StatusOK, path+"?format=car&entity-bytes="+part+scope)
			_, cids := sections(t, a.body)
			got, nodes, repeats := cid.NewSet(), 0, 0
			for _, c := range cids {
				if c.Prefix().Codec != cid.Raw {
					nodes++
				} else if !got.Visit(c) {
					repeats++
				}
			}
			if got.Len() != want.Len() || slices.ContainsFunc(want.Keys(), func(c cid.Cid) bool { return !got.Has(c) }) {
				t.Errorf("entity-bytes=%s%s: %d leaves, want %d", part, scope, got.Len(), want.Len())
			}
			if most := len(s.fileNodes(t)); nodes < 2 || nodes > most || !cids[0].Equals(s.file) {
				t.Errorf("entity-bytes=%s%s: %d nodes of %d, the first %s", part, scope, nodes, most, cids[0])
			}
			whole := leaves[1]-leaves[0] == 20
			if wants := whole && scope == "&car-dups=y"; wants != (repeats == 1) || repeats > 1 {
				t.Errorf("entity-bytes=%s%s: %d repeats", part, scope, repeats)
			}
		}
	}
	// What says nothing is as dag-scope=block; what is outside is refused.
	for part, status := range map[string]int{
		"10:5": 200, "-5:-10": 200, "100:-20400": 200, fmt.Sprint(size, ":*"): 400, "99999:99999": 400, "20480:20481": 400,
		"-30000:-25000": 400, "9223372036854775807:*": 400, "-9223372036854775808:-9223372036854775808": 400,
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			a := ask(t, s.server, method, path+"?format=car&entity-bytes="+part)
			if a.status != status {
				t.Errorf("%s entity-bytes=%s: %d, want %d", method, part, a.status, status)
			}
			if status == http.StatusOK && method == http.MethodGet {
				if _, got := sections(t, a.body); len(got) != 1 {
					t.Errorf("entity-bytes=%s: %d blocks", part, len(got))
				}
			}
		}
	}
	raw := "/ipfs/" + s.raw.String() + "?format=car&entity-bytes="
	for part, status := range map[string]int{"0:*": 200, "3:4": 200, "-1:*": 200, "8:*": 400, "100:200": 400} {
		a := get(t, s.server, status, raw+part)
		if status == http.StatusOK {
			if _, got := sections(t, a.body); len(got) != 1 {
				t.Errorf("a raw block, %s: %d blocks", part, len(got))
			}
		}
	}
	empty := "/ipfs/" + s.m.File("").Cid().String() + "?format=car&entity-bytes="
	for _, part := range []string{"0:*", "0:0", "5:9", "-1:*"} {
		if _, got := sections(t, get(t, s.server, http.StatusOK, empty+part).body); len(got) != 1 {
			t.Errorf("an empty file, %s: %d blocks", part, len(got))
		}
	}
	for _, bad := range []string{"", "1", "a:b", "1:", ":1", "*:1", "1:2:3", "0x1:2", "1.5:2", "9223372036854775808:*"} {
		get(t, s.server, http.StatusBadRequest, path+"?format=car&entity-bytes="+bad)
	}
}

// TestCAROfParts wants a range of a file one leaf of which is missing, but for the
// blocks that it needs, to be whole.
func TestCAROfParts(t *testing.T) {
	s := newSite(t, Config{})
	s.m.Drop(s.leaves[3])
	path := "/ipfs/" + s.file.String() + "?format=car&entity-bytes="
	for _, part := range []string{"0:3071", "4096:*", "-1:*"} {
		get(t, s.server, http.StatusOK, path+part)
	}
	for _, part := range []string{"0:3072", "4095:*", "0:*"} {
		if a := ask(t, s.server, http.MethodGet, path+part); a.err == nil {
			t.Errorf("%s: a CAR of %d bytes that ends well", part, len(a.body))
		}
	}
}

// TestCARDuplicates wants a block as often as it is met, or once.
func TestCARDuplicates(t *testing.T) {
	s := newSite(t, Config{})
	path := "/ipfs/" + s.sub.String() + "?format=car"
	for query, repeats := range map[string]bool{"": false, "&car-dups=n": false, "&car-dups=y": true} {
		_, got := sections(t, get(t, s.server, http.StatusOK, path+query).body)
		if want := depthFirst(t, s.m, s.sub, repeats); !slices.EqualFunc(got, want, cid.Cid.Equals) {
			t.Errorf("%q: %d blocks, want %d", query, len(got), len(want))
		}
	}
}

// TestCARIdentity wants no section for what is inline, unless that is the root.
func TestCARIdentity(t *testing.T) {
	s := newSite(t, Config{})
	for _, dups := range []string{"y", "n"} {
		_, got := sections(t, get(t, s.server, http.StatusOK, "/ipfs/"+s.inlineFolder.String()+"?format=car&car-dups="+dups).body)
		if len(got) != 1 || !got[0].Equals(s.inlineFolder) {
			t.Errorf("dups=%s: %v", dups, got)
		}
	}
	// A folder that is inline, with a block below it that is not.
	node := decodePB(t, s.m, s.m.Odd(s.raw, "a").Cid()).RawData()
	inline := cid.NewCidV1(cid.DagProtobuf, cartest.Identity(node).CID.Hash())
	roots, got := sections(t, get(t, s.server, http.StatusOK, "/ipfs/"+inline.String()+"?format=car").body)
	if len(got) != 2 || !got[0].Equals(inline) || !got[1].Equals(s.raw) || !roots[0].Equals(inline) {
		t.Errorf("an inline folder: roots %v, %v", roots, got)
	}
	if _, got := sections(t, get(t, s.server, http.StatusOK, "/ipfs/"+inline.String()+"/a?format=car").body); len(got) != 1 {
		t.Errorf("below an inline folder: %v", got)
	}
}

// TestCARData follows links of dag-cbor, and paths through it.
func TestCARData(t *testing.T) {
	s := newSite(t, Config{})
	path := "/ipfs/" + s.cbor.String()
	below := depthFirst(t, s.m, s.sub, false)
	for suffix, want := range map[string][]cid.Cid{
		"?format=car":                        append(append([]cid.Cid{s.cbor}, below...), s.raw),
		"?format=car&dag-scope=entity":       {s.cbor},
		"?format=car&entity-bytes=0:1":       {s.cbor},
		"/a?format=car&dag-scope=entity":     {s.cbor},
		"/a/b?format=car&dag-scope=block":    {s.cbor, s.sub},
		"/a/b?format=car":                    append([]cid.Cid{s.cbor}, below...),
		"/a/b/file?format=car&dag-scope=all": append([]cid.Cid{s.cbor, s.sub}, depthFirst(t, s.m, s.file, false)...),
		"/c/1?format=car":                    {s.cbor, s.raw},
		"/c/7?format=car":                    {s.cbor},
	} {
		_, got := sections(t, get(t, s.server, http.StatusOK, path+suffix).body)
		if !slices.EqualFunc(got, want, cid.Cid.Equals) {
			t.Errorf("%s: %v, want %v", suffix, got, want)
		}
	}
	unknown := s.m.Block(0x78, 0x12, []byte("a codec whose links nobody knows"))
	get(t, s.server, http.StatusNotAcceptable, "/ipfs/"+unknown.String()+"?format=car")
	get(t, s.server, http.StatusOK, "/ipfs/"+unknown.String()+"?format=car&dag-scope=block")
}

// TestCARAccept is the matrix of variants in Accept, parameters, and what the
// answer says that it is.
func TestCARAccept(t *testing.T) {
	s := newSite(t, Config{})
	const car = "application/vnd.ipld.car"
	for _, row := range []struct {
		query, accept string
		status        int
		want          string
	}{
		{"", car, 200, "dfs n"},
		{"", car + ";version=1", 200, "dfs n"},
		{"", car + "; version=1; order=dfs; dups=y", 200, "dfs y"},
		{"", car + ";order=unk", 200, "unk n"},
		{"", car + ";dups=y", 200, "dfs y"},
		{"", car + ";version=2", 406, ""},
		{"", car + ";order=bfs", 406, ""},
		{"", car + ";dups=x", 406, ""},
		// Several: the best that there is.
		{"", car + ";version=2, " + car + ";version=1;dups=y", 200, "dfs y"},
		{"", car + ";order=foo, " + car + ";order=dfs;dups=y;q=0.5", 200, "dfs y"},
		{"", car + ";dups=n;q=0.1, " + car + ";dups=y;q=0.9", 200, "dfs y"},
		{"", car + ";dups=y;q=0, " + car + ";dups=n", 200, "dfs n"},
		{"", car + ";version=3;q=1, " + car + ";order=x;q=0.7", 406, ""},
		{"", "text/html;q=0.2, " + car + ";dups=y;q=0.3", 200, "dfs y"},
		{"", "application/vnd.ipld.raw;q=0.2, " + car + ";dups=y;q=0.3, */*;q=0.1", 200, "dfs y"},
		{"", "application/vnd.ipld.nothing, " + car, 200, "dfs n"},
		// The query beats them.
		{"format=car", "", 200, "dfs n"},
		{"format=car", "text/html", 200, "dfs n"},
		{"format=car", "application/vnd.ipld.raw", 200, "dfs n"},
		{"format=car", car + ";dups=y", 200, "dfs y"},
		{"format=car&car-dups=n", car + ";dups=y", 200, "dfs n"},
		{"format=car&car-order=dfs", car + ";order=unk", 200, "dfs n"},
		{"format=car&car-version=1", car + ";version=2", 200, "dfs n"},
		{"car-dups=y&car-order=unk&car-version=1", car + ";version=1;dups=n", 200, "unk y"},
		{"format=car&car-version=2", "", 400, ""},
		{"format=car&car-order=bfs", "", 400, ""},
		{"format=car&car-dups=maybe", "", 400, ""},
		{"format=car&dag-scope=everything", "", 400, ""},
		{"format=cat", "", 400, ""},
		{"", "application/vnd.ipld.nothing", 406, ""},
		{"", car + ";=", 400, ""},
	} {
		var header []string
		if row.accept != "" {
			header = []string{"Accept", row.accept}
		}
		a := get(t, s.server, row.status, s.path+"?"+row.query, header...)
		if row.status != http.StatusOK {
			if cc := a.header.Get("Cache-Control"); cc != "no-store" {
				t.Errorf("%q %q: Cache-Control %q", row.query, row.accept, cc)
			}
			continue
		}
		order, dups, _ := strings.Cut(row.want, " ")
		want := car + "; version=1; order=" + order + "; dups=" + dups
		if got := a.header.Get("Content-Type"); got != want {
			t.Errorf("%q %q: Content-Type %q, want %q", row.query, row.accept, got, want)
		}
		location := a.header.Get("Content-Location")
		byHeader := !strings.Contains(row.query, "format=")
		against := strings.Contains(row.accept, "raw") || strings.Contains(row.query, "car-") && strings.Contains(row.accept, ";")
		if (byHeader || against) != (location != "") {
			t.Errorf("%q %q: Content-Location %q", row.query, row.accept, location)
		}
		if location == "" {
			continue
		}
		same := get(t, s.server, http.StatusOK, location)
		if same.header.Get("Content-Type") != want || string(same.body) != string(a.body) {
			t.Errorf("%q %q: at %s lies something else", row.query, row.accept, location)
		}
	}
}

// TestCAREtags wants another ETag for each scope, range, order, dups and path, and
// 304 for the very one.
func TestCAREtags(t *testing.T) {
	s := newSite(t, Config{})
	seen := map[string]string{}
	for _, suffix := range []string{
		"?format=car", "?format=car&dag-scope=block", "?format=car&dag-scope=entity", "?format=car&car-dups=y", "?format=car&car-order=unk",
		"/file?format=car", "/file?format=car&entity-bytes=0:5", "/file?format=car&entity-bytes=0:6", "/file?format=car&entity-bytes=1:5",
		"/file?format=car&entity-bytes=0:*", "/file?format=car&dag-scope=entity", "/sub?format=car", "/nothing?format=car",
	} {
		etag := get(t, s.server, http.StatusOK, s.path+suffix).header.Get("Etag")
		if other, ok := seen[etag]; ok || !strings.HasPrefix(etag, `W/"`) {
			t.Errorf("%s: the ETag %s is that of %s", suffix, etag, other)
		}
		seen[etag] = suffix
		for _, match := range []string{etag, `"x", ` + etag, strings.TrimPrefix(etag, "W/"), "*"} {
			a := get(t, s.server, http.StatusNotModified, s.path+suffix, "If-None-Match", match)
			if len(a.body) > 0 || a.header.Get("Etag") != etag {
				t.Errorf("%s: 304 with %d bytes and ETag %s", suffix, len(a.body), a.header.Get("Etag"))
			}
		}
		get(t, s.server, http.StatusOK, s.path+suffix, "If-None-Match", `"x"`)
	}
}

// TestCARHeader is the rest of what a CAR says.
func TestCARHeader(t *testing.T) {
	s := newSite(t, Config{})
	for suffix, want := range map[string]string{
		"?format=car":                           s.root.String() + ".car",
		"/file?format=car":                      s.root.String() + "_file.car",
		"/sub/file?format=car":                  s.root.String() + "_file.car",
		"/file?format=car&filename=my.car":      "my.car",
		"/file?format=car&filename=a%20%22b%22": "a _b_",
		"/ü?format=car":                         s.root.String() + "__.car",
	} {
		a := get(t, s.server, http.StatusOK, s.path+suffix)
		got := a.header.Get("Content-Disposition")
		if !strings.HasPrefix(got, `attachment; filename="`+want+`"`) {
			t.Errorf("%s: Content-Disposition %q, want %q", suffix, got, want)
		}
		if strings.Contains(suffix, "ü") && !strings.Contains(got, "filename*=UTF-8''"+s.root.String()+"_%C3%BC.car") {
			t.Errorf("%s: Content-Disposition %q lacks the name in full", suffix, got)
		}
		for name, want := range map[string]string{
			"Cache-Control": forever, "X-Content-Type-Options": "nosniff", "Accept-Ranges": "none",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", suffix, name, got, want)
			}
		}
	}
	a := get(t, s.server, http.StatusOK, s.path+"/sub/file?format=car", "Range", "bytes=0-9")
	if want := strings.Join([]string{s.root.String(), s.sub.String(), s.file.String()}, ","); a.header.Get("X-Ipfs-Roots") != want {
		t.Errorf("X-Ipfs-Roots %q, want %q", a.header.Get("X-Ipfs-Roots"), want)
	}
	if got := a.header.Get("X-Ipfs-Path"); got != s.path+"/sub/file" {
		t.Errorf("X-Ipfs-Path %q", got)
	}
	if got, want := get(t, s.server, 200, s.path+"/ü?format=car").header, "ipfs://"+s.root.String()+"/%C3%BC"; got.Get("Ipfs-Uri") != want || got.Get("X-Ipfs-Path") != "" {
		t.Errorf("Ipfs-Uri %q, X-Ipfs-Path %q", got.Get("Ipfs-Uri"), got.Get("X-Ipfs-Path"))
	}
}
