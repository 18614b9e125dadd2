//go:build unix && !race

// The race detector would watch a process of Node here.

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestClients: what people use in browsers and in Node gets from a gateway what
// it asks for, and believes it. A folder is packed by a program that is not
// ours, served, and read back by others.
func TestClients(t *testing.T) {
	if testing.Short() {
		t.Skip("100 MB are hashed in JavaScript")
	}
	npm, err := filepath.Abs(filepath.Join("..", "..", "bin", "clients"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(npm, ".installed")); err != nil {
		t.Skip("the clients are not installed; scripts/clients.sh does that")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	clientsFolder(t, folder)
	client := func(script string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, "node", append([]string{script}, args...)...)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Join(npm, "node_modules", ".bin")+string(os.PathListSeparator)+os.Getenv("PATH"), "NO_COLOR=1")
		cmd.WaitDelay = 10 * time.Second
		var out, said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &said
		if err := cmd.Run(); err != nil {
			t.Fatalf("%s %q: %v\n%s%s", filepath.Base(script), args, err, out.String(), said.String())
		}
		return out.String()
	}
	ipfsCar := filepath.Join(npm, "node_modules", "ipfs-car", "bin.js")
	packed := filepath.Join(dir, "folder.car")
	root := strings.TrimSpace(client(ipfsCar, "pack", folder, "--no-wrap", "--output", packed))

	p := startProcess(t, "--repo", filepath.Join(dir, "store"), "serve", "--listen", "127.0.0.1:0", packed)
	defer p.signalled(t, syscall.SIGTERM)
	gateway := p.stderr.match(t, `serving (http://127\.0\.0\.1:\d+)/`)
	p.stderr.match(t, "1 added")

	cases := 0
	for line := range strings.Lines(client(filepath.Join(npm, "clients.mjs"), gateway, root, folder)) {
		var said struct {
			Name, Saw string
			OK        bool
		}
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		t.Run(said.Name, func(t *testing.T) {
			if !said.OK {
				t.Error(said.Saw)
			}
		})
		cases++
	}
	if cases != 7 {
		t.Errorf("%d cases were run", cases)
	}
	t.Run("ipfs-car: a CAR is unpacked to the same folder", func(t *testing.T) {
		got, unpacked := filepath.Join(dir, "got.car"), filepath.Join(dir, "unpacked")
		download(ctx, t, gateway+"/ipfs/"+root+"?format=car", got)
		client(ipfsCar, "unpack", got, "--output", unpacked)
		sameFolders(t, folder, unpacked)
	})
}

// clientsFolder makes what the clients read: names, depths and sizes that differ.
func clientsFolder(t *testing.T, dir string) {
	t.Helper()
	files := map[string][]byte{
		"small.txt":          []byte("small\n"),
		"a/b/c/deep.txt":     []byte("deep\n"),
		"a/ä & 100% ☂.txt":   []byte("names\n"),
		"empty.txt":          nil,
		"large.bin":          make([]byte, 100_000_000),
		"two-chunks/big.bin": make([]byte, 1<<20+1),
	}
	random := rand.NewChaCha8([32]byte{1})
	for _, name := range []string{"large.bin", "two-chunks/big.bin"} {
		random.Read(files[name])
	}
	for i := range 3000 {
		files["many/"+strconv.Itoa(i)+".txt"] = fmt.Appendln(nil, i)
	}
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func download(ctx context.Context, t *testing.T, url, to string) {
	t.Helper()
	rq, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(rq)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status)
	}
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, answer.Body); err != nil {
		t.Fatal(err)
	}
}

// sameFolders holds the files of two folders against each other.
func sameFolders(t *testing.T, want, have string) {
	t.Helper()
	list := func(dir string) map[string]bool {
		names := map[string]bool{}
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(dir, path)
			names[name] = true
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	names, there := list(want), list(have)
	for name := range there {
		if !names[name] {
			t.Errorf("%s has come up", name)
		}
	}
	for name := range names {
		a, err := os.ReadFile(filepath.Join(want, name))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(have, name)); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: %d bytes, %d of them back: %v", name, len(a), len(b), err)
		}
	}
}
