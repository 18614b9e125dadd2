package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// said is what a run of the program has said.
type said struct {
	code           int
	stdout, stderr string
}

// runs runs the program to its end.
func runs(t *testing.T, stdin string, args ...string) said {
	t.Helper()
	s := start(t, strings.NewReader(stdin), args...)
	code := s.ends(t)
	return said{code, s.stdout.String(), s.stderr.String()}
}

// varies is what is another each time.
var varies = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?`), "TIME"},
	{regexp.MustCompile(`\d+ files? linked, [^\n]*`), "LINKED"}, // what a process has flushed by then
	{regexp.MustCompile(`dagstore-(index|verify)-\d+`), "TEMP"},
	// What the process that holds the store has seen of a shard is no part of
	// what it would have been told without it: the only difference there is.
	{regexp.MustCompile(`(?m)^event .*\n`), ""},
	{regexp.MustCompile(`,"events":\[.*?\}\]`), ""},
	{regexp.MustCompile(`,"source":"[^"]*"|(?m)^version .*\n`), ""}, // the time of a file
	{regexp.MustCompile(`[\w./-]*/(own|served)\b`), "STORE"},
}

func (s said) settled() said {
	for _, v := range varies {
		s.stdout, s.stderr = v.pattern.ReplaceAllString(s.stdout, v.with), v.pattern.ReplaceAllString(s.stderr, v.with)
	}
	return s
}

// throughCommands are run one after the other, over a store of one's own and
// over one that another process holds. "$REPO" is put in.
func throughCommands(file, folder, raw cid.Cid) [][]string {
	nowhere := cartest.Raw([]byte("nowhere")).CID.String()
	return [][]string{
		{"add", "-j", "1", "cars"},
		{"add", "-j", "1", "--json", "cars"},
		{"add", "--dry-run", "cars", "more.car"},
		{"add", "--dry-run", "--json", "more.car"},
		{"add", "cars/bad.car"},
		{"add", "missing.car"},
		{"add", "--key", "named", "--lazy", "more.car"},
		{"add", "--key", "cars/a", "more.car"},
		{"add", "--from", "list.ndjson"},
		{"add", "--from", "-"},
		{"add", "--prefix", "p/", "--verify", "more.car"},
		{"add", "--fail-fast", "-j", "1", "cars/bad.car", "more.car"},
		{"add", "--index-file", "wrong.idx", "--index", "check", "--key", "lied", "more.car"},
		{"add", "--index", "none", "cars"},
		{"add", "gopher://x/y.car"},
		{"add"},
		{"import", "list.ndjson"},
		{"ls"}, {"ls", "--json"}, {"ls", "p/"}, {"ls", "--status", "failed"}, {"ls", "--status", "fine"},
		{"stat", "a"}, {"stat", "--json", "a"}, {"stat", "none"}, {"stat", "a", "none"},
		{"find", raw.String()}, {"find", "--json", "--limit", "1", raw.String()}, {"find", nowhere}, {"find", "x"},
		{"get", "-o", "$OUT/file", file.String()}, {"get", "-o", "$OUT/folder", folder.String()}, {"get", "-o", "$OUT/file", file.String()},
		{"get", "--format", "car", "-o", "$OUT/dag", folder.String()}, {"get", nowhere},
		{"cat", file.String()}, {"cat", folder.String() + "/name"}, {"cat", folder.String() + "/none"}, {"cat", nowhere}, {"cat", folder.String()},
		{"block", "get", raw.String()}, {"block", "get", nowhere},
		{"dag", "export", folder.String()},
		{"index", "inspect", "--json", "--key", "a"}, {"index", "inspect", "none"},
		{"index", "verify", "--json", "--key", "a"},
		{"index", "export", "--key", "a", "-o", "$OUT/a.idx"}, {"index", "export", "--key", "a"}, {"index", "export", "--all", "$OUT/indices"},
		{"index", "import", "a", "$OUT/a.idx"}, {"index", "import", "a", "wrong.idx", "--policy", "check"}, {"index", "import", "none", "wrong.idx"},
		{"export"}, {"export", "-o", "$OUT/list"}, {"export", "--with-indices", "$OUT/with", "p/"},
		{"manifest", "put", "a", "m"}, {"manifest", "put", "--rule", "r", "--json", "a", "n", "members"}, {"manifest", "put", "a", "bad", "list.ndjson"},
		{"manifest", "put", "--loose", "a", "loose", "members"}, {"manifest", "put", "none", "m", "members"},
		{"manifest", "list", "a"}, {"manifest", "list", "--json", "a"}, {"manifest", "list", "none"},
		{"manifest", "show", "a", "n"}, {"manifest", "show", "a", "none"},
		{"manifest", "rm", "a", "n", "none"},
		{"pin", "a"}, {"pin", "--json", "a", "none"}, {"unpin", "a"}, {"evict", "a"}, {"evict", "none"},
		{"recover", "a"}, {"recover", "none"}, {"recover", "--match", "*"}, {"recover", "--host", "h"}, {"recover"},
		{"remount", "a", "moved/a.car"}, {"remount", "a", "more.car"}, {"remount", "--dry-run", "a", "cars/a.car"},
		{"remount", "--map", "moved", "cars"}, {"remount", "--map", "nowhere", "cars"},
		{"replace", "a", "more.car"}, {"replace", "--json", "a", "cars/a.car"}, {"replace", "a", "cars/bad.car"}, {"replace", "none", "more.car"},
		{"piece", "find", raw.String()}, {"piece", "check", "a", "deep/b"}, {"piece", "check", "--json", "a"}, {"piece", "check", "none"}, {"piece", "find", "x"},
		{"gc"}, {"gc", "--json"},
		{"rm", "--dry-run", "a"}, {"rm", "a", "none"}, {"rm", "--json", "named"}, {"rm", "../x", ""},
		{"backup", "$OUT/backup"}, {"backup", "$OUT/backup"},
		{"ls"},
	}
}

// notThrough are commands that open no store, or are about another process
// themselves.
var notThrough = []string{
	"serve", "version", "upgrade", "ui", "token add", "token list", "token rm", "watch", "jobs", "jobs show", "jobs cancel", "jobs verify", "help",
	"denylist check", "config show", "config check", "pack", "unpack", "doctor", "stats", "completion",
}

// TestThroughTheHolder: each command says and does the same, whether it has the
// store itself or another process has it.
func TestThroughTheHolder(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	file, folder, raw := throughFiles(t)
	own, served := filepath.Join(dir, "own"), filepath.Join(dir, "served")
	holder := start(t, nil, "--repo", served, "serve", "--listen", "127.0.0.1:0", "--admin", "none")
	holder.stderr.match(t, `serving http`)
	for _, args := range throughCommands(file, folder, raw) {
		var both [2]said
		for i, repo := range []string{own, served} {
			line := []string{"--repo", repo}
			for _, arg := range args {
				line = append(line, strings.ReplaceAll(arg, "$OUT", repo+"-out"))
			}
			stdin := raw.String() + "\n"
			if slices.Contains(args, "-") {
				stdin = `{"mount":"file://` + dir + `/more.car","key":"piped"}` + "\n\nnonsense\n"
			}
			both[i] = runs(t, stdin, line...).settled()
			both[i].stderr = strings.Replace(both[i].stderr, "dagstore: made a new store in STORE (--repo)\n", "", 1)
		}
		if both[0] != both[1] {
			t.Errorf("%v:\nby itself: %d\n%s%sthrough the holder: %d\n%s%s", args,
				both[0].code, both[0].stdout, both[0].stderr, both[1].code, both[1].stdout, both[1].stderr)
		}
	}
	holder.stop()
	if code := holder.ends(t); code != exitOK {
		t.Errorf("the holder ends with %d: %s", code, holder.stderr.String())
	}
	same(t, own+"-out", served+"-out")
}

// same compares what has been written.
func same(t *testing.T, a, b string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(a, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.Contains(path, "backup") || strings.Contains(path, "with") {
			return err
		}
		x, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		y, err := os.ReadFile(b + strings.TrimPrefix(path, a))
		if err != nil {
			return err
		}
		if n++; !bytes.Equal(x, y) {
			t.Errorf("%s differs", path)
		}
		return nil
	})
	if err != nil || n < 5 {
		t.Errorf("%d files, %v", n, err)
	}
}

// throughFiles makes what the commands are about.
func throughFiles(t *testing.T) (file, folder, raw cid.Cid) {
	t.Helper()
	dag := dagtest.New(t)
	text := dag.File(dagtest.Text(5 * dagtest.Chunk))
	tree := dag.Folder(false, map[string]ipld.Node{"name": text, "sub": dag.Folder(true, map[string]ipld.Node{"deep": dag.File("deep")})})
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	blocks := make([]cartest.Block, 0)
	for _, b := range dag.All() {
		blocks = append(blocks, cartest.Block{CID: b.Cid(), Data: b.RawData()})
	}
	one := cartest.Raw([]byte("one"))
	write("cars/a.car", carOf("one", "two"))
	write("moved/a.car", carOf("one", "two"))
	write("cars/deep/b.car", cartest.V1([]cid.Cid{tree.Cid()}, blocks))
	write("cars/bad.car", []byte("no CAR"))
	write("more.car", carOf("three"))
	abs, err := filepath.Abs("more.car")
	if err != nil {
		t.Fatal(err)
	}
	write("list.ndjson", []byte(`{"key":"listed","mount":"file://`+abs+`","labels":{"a":"b"}}`+"\nnonsense\n"))
	write("members", []byte(one.CID.String()+"\n"))
	write("cars/a.txt", nil)
	write("wrong.idx", bareIndex(t, recordsOf(t, carOf("x", "y"))))
	return text.Cid(), tree.Cid(), one.CID
}

// TestThroughAll: no command is forgotten above.
func TestThroughAll(t *testing.T) {
	some := cartest.Raw(nil).CID
	tried := make(map[string]bool)
	for _, args := range throughCommands(some, some, some) {
		for n := 1; n <= len(args) && n <= 2; n++ {
			tried[strings.Join(args[:n], " ")] = true
		}
	}
	for _, name := range notThrough {
		tried[name] = true
	}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		name := strings.TrimPrefix(cmd.CommandPath(), "dagstore ")
		if !cmd.HasSubCommands() && !tried[name] {
			t.Errorf("%q is not tried with a process that holds the store", name)
		}
	}
	walk((&app{}).rootCommand())
}
