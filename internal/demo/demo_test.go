package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestDemo runs the demonstration as "DEMO_ONCE=1 make demo" does.
func TestDemo(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("its commands are for a POSIX shell")
	}
	t.Setenv("TMPDIR", t.TempDir())
	binary := filepath.Join(t.TempDir(), "dagstore")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/dagstore")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var out bytes.Buffer
	d := demo{
		dagstore: binary,
		project:  "../..",
		cars:     "../../../shared/cars",
		listen:   "127.0.0.1:0",
		admin:    "127.0.0.1:0",
		once:     true,
		out:      &out,
	}
	if _, err := os.Stat(d.cars); err != nil {
		t.Logf("no CARs of others: %v; the demonstration has its own", err)
	}
	if err := d.run(t.Context()); err != nil {
		t.Fatalf("%v\n%s", err, out.Bytes())
	}
	if n := strings.Count(out.String(), "\nok      "); n < 15 {
		t.Errorf("%d commands were checked, want at least 15:\n%s", n, out.Bytes())
	}
	if _, err := os.Stat(d.folder); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", d.folder, err)
	}
}
