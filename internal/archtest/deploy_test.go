package archtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestUnit has systemd read the unit, and say how much harm it could do.
func TestUnit(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("systemd is of Linux")
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed; scripts/servers.sh does that on a Debian")
	}
	// The unit with a program that is there: that it is there is looked at, too.
	text := string(readProject(t, "deploy/systemd/dagstore.service"))
	program := "ExecStart=/usr/local/bin/dagstore "
	if !strings.Contains(text, program) {
		t.Fatalf("the unit has no %s", program)
	}
	unit := filepath.Join(t.TempDir(), "dagstore.service")
	if err := os.WriteFile(unit, []byte(strings.ReplaceAll(text, program, "ExecStart=/bin/true ")), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nType=notify\n", "\nWatchdogSec=", "\nRestart=on-failure\n", "\nRestartPreventExitStatus=2 13\n", "\nLimitNOFILE=", "\nUMask=0077\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("the unit has no %q", want)
		}
	}
	for _, args := range [][]string{
		{"verify", "--man=no", unit},
		{"security", "--offline=true", "--threshold=30", "--no-pager", unit},
	} {
		if out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput(); err != nil {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		} else if args[0] == "verify" && bytes.Contains(out, []byte("dagstore.service:")) {
			t.Errorf("systemd-analyze %s:\n%s", args[0], out)
		}
	}
}

// TestImage: the image is built by the Go version of the project, without cgo,
// runs as nobody, and listens where the command does.
func TestImage(t *testing.T) {
	file := string(readProject(t, "deploy/docker/Dockerfile"))
	mod := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(readProject(t, "go.mod"))
	if mod == nil || !strings.Contains(file, "FROM golang:"+string(mod[1])+"-") {
		t.Errorf("the image is not built by Go %s", mod[1])
	}
	for _, want := range []string{"CGO_ENABLED=0 go build", "FROM scratch", "\nUSER 65532:65532\n", "\nCMD [\"serve\"]\n", "DAGSTORE_PATH=/var/lib/dagstore"} {
		if !strings.Contains(file, want) {
			t.Errorf("the image has no %q", want)
		}
	}
}

// TestAlertsAreExplained: what an alert sends one to is there.
func TestAlertsAreExplained(t *testing.T) {
	rules := string(readProject(t, "deploy/prometheus/dagstore.rules.yml"))
	page := string(readProject(t, "docs/operations.md"))
	headings := regexp.MustCompile(`\\"([^"\\]+)\\"`).FindAllStringSubmatch(rules, -1)
	if alerts := strings.Count(rules, "- alert:"); alerts == 0 || len(headings) != alerts {
		t.Errorf("%d alerts send to %d headings", alerts, len(headings))
	}
	for _, h := range headings {
		if !strings.Contains(page, "\n### "+h[1]+"\n") {
			t.Errorf("docs/operations.md has no %q", h[1])
		}
	}
}

func readProject(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
}
