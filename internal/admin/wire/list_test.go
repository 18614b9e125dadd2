package wire

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/dagstore/dagstore/shard"
)

func TestReadList(t *testing.T) {
	const piece = "baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq"
	const text = `file:///srv/one.car

  {"mount":"file:///srv/two.car"}
{"key":"three","mount":"file:///3.car","size":12,"etag":"x","piece":"` + piece + `","index":"i","pin":true,"labels":{"a":"b"}}` + "\r\n" +
		`file:///last.car`
	var got []Entry
	for entry, err := range ReadList(strings.NewReader(text)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, entry)
	}
	if len(got) != 4 {
		t.Fatalf("%d entries, want 4", len(got))
	}
	for i, want := range []struct {
		line  int
		mount string
	}{{1, "file:///srv/one.car"}, {3, "file:///srv/two.car"}, {4, "file:///3.car"}, {5, "file:///last.car"}} {
		if got[i].Line != want.line || got[i].Mount != want.mount {
			t.Errorf("entry %d: line %d, %q, want line %d, %q", i, got[i].Line, got[i].Mount, want.line, want.mount)
		}
	}
	full := got[2]
	if full.PieceCID.String() != piece {
		t.Errorf("piece %v, want %s", full.PieceCID, piece)
	}
	if full.Key != "three" || full.Size == nil || *full.Size != 12 || full.ETag != "x" ||
		full.Index != "i" || !full.Pin || !reflect.DeepEqual(full.Labels, map[string]string{"a": "b"}) {
		t.Errorf("a field was lost: %+v", full)
	}
}

func TestReadListBadLines(t *testing.T) {
	tests := []struct{ line, want string }{
		{`{"mount":"file:///a.car","color":"red"}`, `unknown field "color"`},
		{`{"key":"a"}`, `no "mount"`},
		{`{"mount":"/srv/a.car"}`, "no URL"},
		{`{"mount":"file:///a.car","size":-1}`, `"size" is -1`},
		{`{"mount":"file:///a.car","size":1.5}`, "cannot unmarshal"},
		{`{"mount":"file:///a.car","piece":"x"}`, `"piece" is no CID`},
		{`{"mount":"file:///a.car"} {}`, "more on the line"},
		{`{"mount":"file:///a.car"`, "unexpected EOF"},
		{`["file:///a.car"]`, "no URL"},
		{`/srv/a.car`, "no URL"},
		{"file:///caf\xe9.car", "not valid UTF-8"},
		{"{\"key\":\"caf\xe9\",\"mount\":\"file:///a.car\"}", "not valid UTF-8"},
	}
	for _, test := range tests {
		var errs []error
		var good int
		for _, err := range ReadList(strings.NewReader("file:///a.car\n" + test.line + "\nfile:///b.car\n")) {
			if err != nil {
				errs = append(errs, err)
			} else {
				good++
			}
		}
		if len(errs) != 1 || good != 2 {
			t.Errorf("%q: %d errors and %d good lines, want 1 and 2", test.line, len(errs), good)
			continue
		}
		if text := errs[0].Error(); !strings.Contains(text, test.want) {
			t.Errorf("%q: error %q, want %q", test.line, text, test.want)
		}
	}
}

func TestReadListThatBreaksOff(t *testing.T) {
	broken := errors.New("broken")
	long := strings.Repeat("x", maxListLine+1)
	tests := []struct {
		name string
		list func() []error
		want string
	}{
		{"reader", func() (errs []error) {
			for _, err := range ReadList(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader("file:///a")))) {
				errs = append(errs, err)
			}
			return errs
		}, "timeout"},
		{"error at once", func() (errs []error) {
			for _, err := range ReadList(iotest.ErrReader(broken)) {
				errs = append(errs, err)
			}
			return errs
		}, "broken"},
		{"long line", func() (errs []error) {
			for _, err := range ReadList(strings.NewReader(long)) {
				errs = append(errs, err)
			}
			return errs
		}, "longer than"},
	}
	for _, test := range tests {
		errs := test.list()
		last := errs[len(errs)-1]
		if last == nil || !strings.Contains(last.Error(), test.want) {
			t.Errorf("%s: last error %v, want %q", test.name, last, test.want)
		}
	}
}

func TestIsURL(t *testing.T) {
	for s, want := range map[string]bool{
		"file:///a.car": true, "https://example.org/a": true, "zstd+https://x": true, "s3://b/k": true,
		"": false, "/a.car": false, "a.car": false, "C:\\a.car": false, "c://a": false, "://a": false,
		"a b://c": false, "file:/a": false, "file:": false, "3s://b": false,
	} {
		if got := IsURL(s); got != want {
			t.Errorf("IsURL(%q) = %t", s, got)
		}
	}
}

func FuzzReadList(f *testing.F) {
	f.Add("file:///a.car\n{\"mount\":\"file:///b.car\",\"size\":3}\n")
	f.Add("{\"mount\":\"\"}")
	f.Fuzz(func(t *testing.T, text string) {
		last := 0
		for entry, err := range ReadList(strings.NewReader(text)) {
			if entry.Line <= last {
				t.Fatalf("line %d comes after line %d", entry.Line, last)
			}
			last = entry.Line
			if err == nil && !IsURL(entry.Mount) {
				t.Fatalf("entry without a URL: %+v", entry)
			}
		}
	})
}

func TestHalfPair(t *testing.T) {
	for text, want := range map[string]bool{
		`"\ud83d\ude00"`: false, `"\\ud800"`: false, `"\u00e9 \"x"`: false, `"\uFFFD"`: false,
		`"\ud800"`: true, `"\udc00"`: true, `"\ud800\ud800\udc00"`: true, `"\ud83dx"`: true, `"\\\uDBFF"`: true,
	} {
		if got := halfPair([]byte(text)); got != want {
			t.Errorf("halfPair(%s) = %t", text, got)
		}
	}
	if _, err := parseEntry([]byte(`{"key":"\ud800","mount":"file:///a.car"}`)); err == nil {
		t.Error("a key with half of a surrogate pair was taken")
	}
}

func TestListMark(t *testing.T) {
	for entry, err := range ReadList(strings.NewReader("\ufefffile:///a.car\n")) {
		if err != nil || entry.Mount != "file:///a.car" {
			t.Errorf("%q, %v", entry.Mount, err)
		}
	}
}

// TestEntryOf: what a list has of a shard, and what it cannot have.
func TestEntryOf(t *testing.T) {
	info := shard.Info{Key: "k", URL: "https://example/x.car", Version: 1, Bytes: 7, Source: `"v"`}
	e, err := EntryOf(info)
	if err != nil || e.ETag != `"v"` || *e.Size != 7 || e.Serve != "" {
		t.Errorf("%+v, %v", e, err)
	}
	info.URL = "file:///x.car"
	if e, err = EntryOf(info); err != nil || e.ETag != "" {
		t.Errorf("the version of a local file: %+v, %v", e, err)
	}
	info.Local.Mode = shard.Sparse // it has come to that; nobody has said so
	if e, err = EntryOf(info); err != nil || e.Serve != "" {
		t.Errorf("%+v, %v", e, err)
	}
	for _, mode := range []shard.Mode{shard.InPlace, shard.Sparse, shard.Copy} {
		info.Local.Chosen = mode
		if e, err = EntryOf(info); err != nil || e.Serve != ModeName(mode) {
			t.Errorf("%v: %+v, %v", mode, e, err)
		}
	}
	info.Labels = map[string]string{"a": "\xff"}
	if _, err = EntryOf(info); err == nil {
		t.Error("a label that is not UTF-8 is exported")
	}
}
