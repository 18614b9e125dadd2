package longtest

import (
	"fmt"
	"testing"
)

func TestEnvironment(t *testing.T) {
	t.Setenv(LongName, "")
	t.Setenv(SeedName, "")
	if Long() || Runs(3, 9) != 3 || Seed() != defaultSeed {
		t.Errorf("without anything: long %v, %d runs, seed %d", Long(), Runs(3, 9), Seed())
	}
	t.Setenv(LongName, "1")
	t.Setenv(SeedName, "18446744073709551615")
	if !Long() || Runs(3, 9) != 9 || Seed() != 1<<64-1 {
		t.Errorf("long, with a seed: long %v, %d runs, seed %d", Long(), Runs(3, 9), Seed())
	}
	t.Setenv(SeedName, "-1")
	defer func() {
		if recover() == nil {
			t.Error("a seed that is no number is taken for one")
		}
	}()
	Seed()
}

type lines []string

func (*lines) Helper() {}

func (l *lines) Logf(format string, args ...any) { *l = append(*l, fmt.Sprintf(format, args...)) }

func TestFigure(t *testing.T) {
	var l lines
	Figure(&l, "%d%% of %s", 7, "it")
	if len(l) != 1 || l[0] != "figure: 7% of it" {
		t.Errorf("%q", l)
	}
}
