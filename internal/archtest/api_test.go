package archtest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write docs/api.txt instead of comparing it")

// public lists the packages whose exported names are a promise.
var public = []string{
	".", "shard", "mount", "mount/filemount", "mount/memmount", "mount/fsmount", "mount/httpmount", "mount/s3mount",
	"mount/ftpmount", "mount/sftpmount", "mount/zstdmount", "mount/mounttest",
	"index", "index/carindex", "index/indextest", "dag", "gateway",
}

// TestAPI compares docs/api.txt with what the public packages export. A
// difference is a change of the API: it is made on purpose, by "make api", and
// reviewed as one.
func TestAPI(t *testing.T) {
	var now bytes.Buffer
	for _, folder := range public {
		cmd := exec.CommandContext(t.Context(), "go", "doc", "-all", "./"+folder)
		cmd.Dir = top
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go doc %s: %v\n%s", folder, err, stderr.Bytes())
		}
		fmt.Fprintf(&now, "=== %s\n\n%s\n", folder, bytes.TrimRight(out, "\n"))
	}
	file := filepath.Join(top, "docs", "api.txt")
	if *rewrite {
		if err := os.WriteFile(file, now.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	then, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	then = bytes.ReplaceAll(then, []byte("\r\n"), []byte("\n"))
	if line, was, is := firstDifference(then, now.Bytes()); line > 0 {
		t.Errorf("the public API is not what docs/api.txt says, from line %d on:\n  file: %s\n  code: %s\nIf the change is meant, run \"make api\" and add a fragment to CHANGELOG.", line, was, is)
	}
}

// TestPublicPackagesAreListed: a new public package belongs in docs/api.txt.
func TestPublicPackagesAreListed(t *testing.T) {
	listed := make(map[string]bool)
	for _, folder := range public {
		listed[folder] = true
	}
	for _, p := range list(t, false, "./...") {
		folder := p.folder()
		if p.Name == "main" || covers("internal", folder) || covers("cmd", folder) || listed[folder] {
			continue
		}
		t.Errorf("package %s is public and not in docs/api.txt", folder)
	}
}

// firstDifference is the number of the first line in which a and b differ, and
// that line in both; 0 if there is none.
func firstDifference(a, b []byte) (line int, inA, inB []byte) {
	as, bs := bytes.Split(a, []byte("\n")), bytes.Split(b, []byte("\n"))
	for i := range max(len(as), len(bs)) {
		inA, inB = nil, nil
		if i < len(as) {
			inA = as[i]
		}
		if i < len(bs) {
			inB = bs[i]
		}
		if !bytes.Equal(inA, inB) {
			return i + 1, inA, inB
		}
	}
	return 0, nil, nil
}
