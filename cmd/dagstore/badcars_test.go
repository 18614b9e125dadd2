package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// A hostile is a store and a folder of CARs, most of them bad, beside which
// good ones are served.
type hostile struct {
	t         *testing.T
	repo, dir string
}

func newHostile(t *testing.T) *hostile {
	t.Helper()
	return &hostile{t: t, repo: filepath.Join(t.TempDir(), "store"), dir: t.TempDir()}
}

// write lays a file into the folder.
func (h *hostile) write(name string, data []byte) (path string) {
	h.t.Helper()
	path = filepath.Join(h.dir, name)
	if err := os.WriteFile(path, data, 0o666); err != nil {
		h.t.Fatal(err)
	}
	return path
}

// neighbour adds a good CAR of its own, and returns its blocks.
func (h *hostile) neighbour(name string, seed uint64) []cartest.Block {
	h.t.Helper()
	path := h.write(name, cartest.RandomV1(seed, 3, 70))
	h.wants(exitOK, "", "add", path)
	return cartest.Random(seed, 3, 70)
}

// run carries out a command in this process.
func (h *hostile) run(args ...string) (code int, stdout, stderr string) {
	h.t.Helper()
	var out, errs bytes.Buffer
	code = run(h.t.Context(), append([]string{"--repo", h.repo}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// wants runs a command that must end with code, and say something.
func (h *hostile) wants(code int, said string, args ...string) (stdout string) {
	h.t.Helper()
	got, stdout, stderr := h.run(args...)
	if got != code || !strings.Contains(stderr, said) {
		h.t.Errorf("%q: exit code %d, want %d and %q:\n%s", args, got, code, said, stderr)
	}
	return stdout
}

// serves checks that blocks are found and read, as they are.
func (h *hostile) serves(blocks ...cartest.Block) {
	h.t.Helper()
	for i, b := range blocks {
		if got := h.wants(exitOK, "", "block", "get", b.CID.String()); got != string(b.Data) {
			h.t.Errorf("block %d: %d bytes, want %d", i, len(got), len(b.Data))
		}
	}
	if out := h.wants(exitOK, "", "find", blocks[0].CID.String()); !strings.Contains(out, fmt.Sprintf(" %d bytes at ", len(blocks[0].Data))) {
		h.t.Errorf("find says %q", out)
	}
}

// outcomeOf is what "add" makes of a CAR that is bad under limits which may not
// be those of the command: the null padding that they forbid is the end to it.
func outcomeOf(f cartest.Bad) (code int, said string) {
	if f.Limits.NoPadding || f.Limits.Header > 0 || f.Limits.Section > 0 {
		return exitOK, ""
	}
	return exitFailed, fmt.Sprintf("bad CAR: %v at offset %d", f.Kind, f.Offset)
}

// fileOf is the name of a made file.
func fileOf(i int, class string) string { return fmt.Sprintf("m%03d-%s.car", i, class) }

// TestBadCARsAlone adds each CAR with damaged framing, B1 to B16, B23 to B25 and
// B31, by a command of its own.
func TestBadCARsAlone(t *testing.T) {
	h := newHostile(t)
	before := h.neighbour("before.car", 11)
	for i, f := range cartest.Bads() {
		code, said := outcomeOf(f)
		path := h.write(fileOf(i, f.Class), f.Data)
		h.wants(code, said, "add", path)
		key := strings.TrimSuffix(filepath.Base(path), ".car")
		if out := h.wants(exitOK, "", "ls", key); (out != "") != (code == exitOK) {
			t.Errorf("%s, %s: exit code %d, and then ls says %q", f.Class, f.Name, code, out)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, f.Data) {
			t.Errorf("%s, %s: the file is another now, %v", f.Class, f.Name, err)
		}
	}
	h.serves(before...)
	h.serves(h.neighbour("later.car", 12)...)
	h.serves(before...)
}

// TestBadCARsTogether adds all of them at once, good ones among them, by the
// program itself.
func TestBadCARsTogether(t *testing.T) {
	h := newHostile(t)
	said := make(map[string]string)
	failed := 0
	for i, f := range cartest.Bads() {
		name := fileOf(i, f.Class)
		code, text := outcomeOf(f)
		if code != exitOK {
			failed++
			said[name] = text
		}
		h.write(name, f.Data)
	}
	h.write("a-first.car", cartest.RandomV1(21, 3, 70))
	h.write("m050-between.car", cartest.RandomV1(22, 3, 70))
	h.write("z-last.car", cartest.RandomV1(23, 3, 70))

	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "--repo", h.repo, "add", h.dir)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != exitPartial {
		t.Errorf("exit code %d, %v", cmd.ProcessState.ExitCode(), err)
	}
	lines := strings.Split(stderr.String(), "\n")
	for name, want := range said {
		told := 0
		for _, line := range lines {
			if strings.Contains(line, name+": ") && strings.Contains(line, want) {
				told++
			}
		}
		if told != 1 {
			t.Errorf("%s is told of %d times, and not once with %q", name, told, want)
		}
	}
	if want := fmt.Sprintf("%d of %d failed, the rest is done", failed, len(cartest.Bads())+3); !strings.Contains(stderr.String(), want) {
		t.Errorf("it does not say %q:\n%s", want, lines[len(lines)-2])
	}
	for seed := range uint64(3) {
		h.serves(cartest.Random(21+seed, 3, 70)...)
	}
	h.serves(h.neighbour("later.car", 24)...)
}

// TestFaultyBlocksOfCARs adds each CAR of which single blocks are at fault, B17
// to B22: they are told of and not served, their neighbours are.
func TestFaultyBlocksOfCARs(t *testing.T) {
	good := cartest.Good()
	for i, f := range cartest.Faulties() {
		t.Run(f.Class+"/"+f.Name, func(t *testing.T) {
			t.Parallel()
			h := newHostile(t)
			beside := h.neighbour("before.car", 11)
			data, at := f.CAR()
			path := h.write(fileOf(i, f.Class), data)
			said := ""
			if f.Faults > 0 {
				said = fmt.Sprintf("%s: not served; the first: %v at offset ", badBlocks(int64(f.Faults)), f.Kind)
			}
			if f.Faults > 0 && f.Emitted == 0 {
				said += fmt.Sprint(at)
			}
			h.wants(exitOK, said, "add", "--verify", path)
			h.serves(good[0], good[2])
			if out := h.wants(exitOK, "", "ls", "--json", strings.TrimSuffix(filepath.Base(path), ".car")); f.Faults > 0 && !strings.Contains(out, fmt.Sprintf(`"faults":%d`, f.Faults)) {
				t.Errorf("ls says %s", out)
			}
			if f.Kind == shard.BadHash && f.Emitted == 0 && f.Name == "other bytes" {
				h.wants(exitNotFound, "no shard has", "find", good[1].CID.String())
			}
			h.serves(beside...)

			// Without --verify a wrong block is met when it is read.
			h.wants(exitOK, "", "rm", strings.TrimSuffix(filepath.Base(path), ".car"))
			h.wants(exitOK, "", "add", path)
			h.serves(good[0], good[2])
			if f.Name == "other bytes" {
				code, out, stderr := h.run("block", "get", good[1].CID.String())
				if twice := f.Emitted > 0; twice != (code == exitOK) || !twice && (out != "" || !strings.Contains(stderr, "wrong hash")) {
					t.Errorf("the wrong block: exit code %d, %d bytes, %s", code, len(out), stderr)
				}
			}
			h.serves(beside...)
		})
	}
}

// B32: a CAR that is sparse and enormous.
func TestB32SparseCAR(t *testing.T) {
	h := newHostile(t)
	beside := h.neighbour("before.car", 11)
	blocks := cartest.Random(31, 40, 5000)
	whole := cartest.V1([]cid.Cid{blocks[0].CID}, blocks)
	grow := func(name string, data []byte) (path string) {
		path = h.write(name, data)
		if err := os.Truncate(path, 1<<40); err != nil {
			t.Skipf("the file system has no sparse files: %v", err)
		}
		return path
	}
	// Null padding, of which the beginning is looked at.
	h.wants(exitOK, "", "add", grow("sparse.car", whole))
	h.serves(blocks[0], blocks[39])
	h.wants(exitFailed, fmt.Sprintf("bad section at offset %d", len(whole)),
		"add", grow("claims.car", append(bytes.Clone(whole), cartest.AppendUvarint(nil, 1<<39)...)))
	h.wants(exitFailed, "bad CAR: ", "add", grow("nothing.car", nil))
	h.serves(beside...)
}

// B32: files that change under the store.
func TestB32FilesThatChange(t *testing.T) {
	h := newHostile(t)
	beside := h.neighbour("before.car", 11)
	blocks := cartest.Random(31, 40, 5000)
	whole := cartest.V1([]cid.Cid{blocks[0].CID}, blocks)
	other := cartest.RandomV1(32, 4, 50)
	for name, change := range map[string][]byte{
		"shrunk":   whole[:len(whole)/2],
		"grown":    append(bytes.Clone(whole), "and so on"...),
		"replaced": []byte("<html>no CAR any more</html>"),
		"empty":    nil,
		"renewed":  other,
	} {
		path := h.write(name+".car", whole)
		h.wants(exitOK, "", "add", path)
		h.serves(blocks[39])
		h.write(name+".car", change)
		code, out, _ := h.run("block", "get", blocks[39].CID.String())
		if code == exitOK && out != string(blocks[39].Data) || code != exitOK && out != "" {
			t.Errorf("%s: exit code %d and %d bytes that are not the block", name, code, len(out))
		}
		h.serves(beside...)
		switch name {
		case "renewed":
			h.wants(exitOK, "", "add", path)
			h.serves(cartest.Random(32, 4, 50)...)
		default:
			h.wants(exitFailed, "bad CAR: ", "add", path)
		}
		h.serves(beside...)
		h.write(name+".car", whole) // as it was
		h.wants(exitOK, "", "add", path)
		h.serves(blocks[39])
		h.wants(exitOK, "", "rm", name)
	}
}
