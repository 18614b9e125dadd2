package lifecycle

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/shard"
)

// A checker runs spin on one model.
type checker struct {
	t     *testing.T
	dir   string
	flags []string // for the preprocessor
}

// newChecker prints the model of r. The test is skipped where there is no spin
// or no C compiler, which spin's verifiers need.
func newChecker(t *testing.T, r *rules, flags ...string) *checker {
	t.Helper()
	for _, name := range []string{"spin", "gcc"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("LEFT OUT, since %s is not installed: the model of the lifecycle was not checked", name)
		}
	}
	c := &checker{t: t, dir: t.TempDir(), flags: flags}
	if err := os.WriteFile(filepath.Join(c.dir, "lifecycle.pml"), model(t, r), 0o644); err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs a command in the folder of the model.
func (c *checker) run(name string, args ...string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), name, args...)
	cmd.Dir = c.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

var (
	errorsOf = regexp.MustCompile(`errors: (\d+)`)
	statesOf = regexp.MustCompile(`(\d+) states, stored`)
)

// check looks at every state and every way, for assertions and for the two
// laws about what happens in the end. It returns how many states there are
// and what is wrong.
func (c *checker) check() (states int, wrong string) {
	c.t.Helper()
	c.run("spin", append(c.flags, "-a", "lifecycle.pml")...)
	c.run("gcc", "-O1", "-DNOREDUCE", "-DCOLLAPSE", "-DNFAIR=4", "-o", "pan", "pan.c")
	for _, law := range []string{"answered", "ends"} {
		out := c.run("./pan", "-a", "-f", "-m4000000", "-N", law)
		failed, stored := errorsOf.FindStringSubmatch(out), statesOf.FindStringSubmatch(out)
		if failed == nil || stored == nil || strings.Contains(out, "max search depth too small") {
			c.t.Fatalf("spin came to no end:\n%s", out)
		}
		n, err := strconv.Atoi(stored[1])
		if err != nil {
			c.t.Fatal(err)
		}
		states = max(states, n)
		if failed[1] != "0" {
			first, _, _ := strings.Cut(strings.TrimSpace(out[strings.Index(out, "pan:1:"):]), "\n")
			return states, fmt.Sprintf("%s (law %q)", first, law)
		}
	}
	return states, ""
}

// TestModelChecked has spin look at everything that can happen to one shard on
// a sound disk; in the long form also on a disk that fails and with crashes.
func TestModelChecked(t *testing.T) {
	flags := []string{"-DSOUND"}
	if longtest.Long() {
		flags = nil
	}
	c := newChecker(t, &table, flags...)
	states, wrong := c.check()
	if wrong != "" {
		t.Errorf("%s; the way there:\n%s", wrong, c.run("./pan", "-r", "-C"))
	}
	if states < 10_000 {
		t.Errorf("only %d states: the model has come to a stop", states)
	}
	longtest.Figure(t, "%d states of the model, flags %v", states, flags)
}

// mutants are tables with one fault each.
var mutants = []struct {
	name   string
	mutate func(*rules)
}{
	{"a failed indexing forgets who is parked", func(r *rules) { r[initializing][Failed].do &^= FailParked }},
	{"a forced destroy drops before it ends the holds", func(r *rules) { r[serving][DestroyForce].do &^= Sever }},
	{"the last release does not end a shard that is to go", func(r *rules) { r[destroying][ReleaseLast] = quiet }},
	{"a destroyed shard keeps its record", func(r *rules) { r[available][Destroy].do &^= Forget }},
	{"whoever waits for the end is not told", func(r *rules) { r[destroying][ReleaseLast].do &^= ReplyGone }},
	{"a loss does not start the indexing", func(r *rules) { r[available][Lost].do &^= Start }},
	{"an opening is delivered to nobody", func(r *rules) { r[serving][Opened].do &^= Deliver }},
	{"a copy is evicted under holders", func(r *rules) { r[serving][Evict] = r[available][Evict] }},
	{"an acquire leads out of an error", func(r *rules) { r[errored][AcquireRetry] = cell{serving, Open} }},
	{"openers are not parked when the index is lost", func(r *rules) { r[serving][Lost].do &^= ParkOpeners }},
	{"work beside is cut and nobody told", func(r *rules) { r[available][Destroy].do &^= FailBeside }},
	{"holders are let into a shard that is to go", func(r *rules) { r[destroying][Acquire] = cell{stay, Open} }},
}

// TestModelRefutes is the test of the test: spin finds what is wrong with a
// wrong table.
func TestModelRefutes(t *testing.T) {
	for i, m := range mutants {
		if i%6 != 0 && !longtest.Long() {
			continue
		}
		t.Run(m.name, func(t *testing.T) {
			r := table
			m.mutate(&r)
			if r == table {
				t.Fatal("this table is the right one")
			}
			states, wrong := newChecker(t, &r, "-DSOUND").check()
			if wrong == "" {
				t.Errorf("spin finds nothing wrong in %d states", states)
			}
			t.Log(wrong)
		})
	}
}

// TestModelIsTheMachine has spin draw random histories and the machine repeat
// them: the model counts as the machine does.
func TestModelIsTheMachine(t *testing.T) {
	c := newChecker(t, &table)
	runs, events := longtest.Runs(8, 2000), 0
	for i := range runs {
		seed := longtest.Seed() + uint64(i)
		args := []string{"-n" + strconv.FormatUint(seed, 10), "-u20000", "lifecycle.pml"}
		if i%4 != 0 { // a disk that may fail soon does
			args = append([]string{"-DSOUND"}, args...)
		}
		out := c.run("spin", args...)
		m := New()
		for line := range strings.Lines(out) {
			word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch word {
			case "new":
				m = New()
			case "refused":
				m.Refused(rest == "1")
			case "event":
				if strings.HasSuffix(rest, "---") {
					continue // the last one, cut off by the limit
				}
				var e, s, work, holders, opening, parked int
				if _, err := fmt.Sscan(rest, &e, &s, &work, &holders, &opening, &parked); err != nil {
					t.Fatalf("seed %d: %q: %v", seed, line, err)
				}
				before := m
				m.Step(Event(e))
				want := Machine{State: shard.State(s), Work: Work(work), Holders: int32(holders), Opening: int32(opening), Parked: int32(parked)}
				if m != want {
					t.Fatalf("seed %d: %+v on %v: the machine is %+v, the model %+v", seed, before, Event(e), m, want)
				}
				events++
			}
		}
	}
	if events < 20*runs {
		t.Errorf("only %d events in %d histories", events, runs)
	}
	longtest.Figure(t, "%d events of spin's repeated by the machine, from seed %d", events, longtest.Seed())
}
