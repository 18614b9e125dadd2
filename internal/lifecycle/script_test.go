package lifecycle

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/shard"
)

// A script is a history of one shard: a text file with one event in each line,
// what comes of it beside, and a comment on top. Two lines are no events of the
// table: "restart" is a new machine, of which nothing is known, and "refused
// healthy" or "refused failed" is [Machine.Refused].
const scripts = "testdata/*.txt"

// TestScripts plays every script and holds it against what is written there.
// With -rewrite it writes what came of each event.
func TestScripts(t *testing.T) {
	names, err := filepath.Glob(scripts)
	if err != nil || len(names) < 20 {
		t.Fatalf("%d scripts, %v", len(names), err)
	}
	var done Effects
	states := map[shard.State]bool{}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			have, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			p := player{m: New(), states: states}
			want, err := p.play(have)
			if err != nil {
				t.Fatal(err)
			}
			done |= p.done
			if *rewrite {
				if err := os.WriteFile(name, want, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !bytes.Equal(have, want) {
				t.Errorf("what comes of it now (go test ./internal/lifecycle -run TestScripts -rewrite writes it down):\n%s", want)
			}
		})
	}
	if missing := (Never - 1) &^ done; missing != 0 {
		t.Errorf("no script shows %v", missing)
	}
	for s := shard.Registered; s <= shard.Gone; s++ {
		if !states[s] {
			t.Errorf("no script leads to %v", s)
		}
	}
}

// A player plays one script.
type player struct {
	m      Machine
	done   Effects
	states map[shard.State]bool
}

// play returns the script with what comes of each event.
func (p *player) play(script []byte) ([]byte, error) {
	var out bytes.Buffer
	for line := range strings.Lines(string(script)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			fmt.Fprintln(&out, line)
			continue
		}
		event, _, _ := strings.Cut(line, "|")
		event = strings.TrimSpace(event)
		did, err := p.step(event)
		if err != nil {
			return nil, err
		}
		p.states[p.m.State] = true
		text := fmt.Sprintf("%-18s | %-37s | %s", event, p.standing(), did)
		fmt.Fprintln(&out, strings.TrimRight(text, " "))
	}
	return out.Bytes(), nil
}

// step does one line, and says what else came of it.
func (p *player) step(name string) (string, error) {
	switch name {
	case "restart":
		p.m = New()
		return "", nil
	case "refused healthy", "refused failed":
		p.m.Refused(name == "refused healthy")
		return "", nil
	}
	for e := range numEvents {
		if e.String() != name {
			continue
		}
		guarded := p.m.Guard(e)
		do := p.m.Step(e)
		if do.Has(Never) {
			return "", fmt.Errorf("%s cannot happen in %v", guarded, p.m.State)
		}
		p.done |= do
		did := strings.ReplaceAll(do.String(), "+", " ")
		if guarded != e {
			did = strings.TrimSpace("(" + guarded.String() + ") " + did)
		}
		return did, nil
	}
	return "", fmt.Errorf("there is no event %q", name)
}

// standing is where the machine stands.
func (p *player) standing() string {
	parts := []string{p.m.State.String()}
	for _, n := range []struct {
		count int32
		what  string
	}{{p.m.Holders, "hold"}, {p.m.Opening, "opening"}, {p.m.Parked, "parked"}} {
		if n.count != 0 {
			parts = append(parts, fmt.Sprint(n.count, " ", n.what))
		}
	}
	switch p.m.Work {
	case Index:
		parts = append(parts, "indexing")
	case Beside:
		parts = append(parts, "beside")
	case NoWork:
	}
	return strings.Join(parts, ", ")
}

// A script with an event that cannot happen, or that does not exist, is no
// script.
func TestScriptFaults(t *testing.T) {
	for _, bad := range []string{"Release", "NoSuchEvent", "LoadedAvailable\nIndexed"} {
		p := player{m: New(), states: map[shard.State]bool{}}
		if out, err := p.play([]byte(bad)); err == nil {
			t.Errorf("%q is played: %s", bad, out)
		}
	}
}
