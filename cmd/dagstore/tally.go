package main

import (
	"errors"
	"fmt"
)

// A tally counts how the items of one command went and makes its exit code.
type tally struct {
	done   int // unchanged ones included
	failed int
	dry    bool // nothing was to be done
	cut    bool // it was ended before all were tried
	code   int  // what the failed ones agree on; exitFailed if they do not
}

func (t *tally) add(err error) {
	code := exitCode(err)
	switch {
	case code == exitOK:
		t.done++
		return
	case t.failed == 0:
		t.code = code
	case t.code != code:
		t.code = exitFailed
	}
	t.failed++
}

// err is nil if no item failed. Each failure has been reported by then.
func (t *tally) err() error {
	switch {
	case t.failed == 0:
		return nil
	case t.dry:
		return exitError(t.exit(), fmt.Errorf("%d of %d would fail", t.failed, t.done+t.failed))
	case t.cut:
		return exitError(t.exit(), fmt.Errorf("%d failed, %d done, the rest was not tried", t.failed, t.done))
	case t.done > 0:
		return exitError(t.exit(), fmt.Errorf("%d of %d failed, the rest is done", t.failed, t.done+t.failed))
	case t.failed == 1:
		return exitError(t.exit(), errors.New("nothing was done"))
	}
	return exitError(t.exit(), fmt.Errorf("all %d failed, nothing was done", t.failed))
}

// exit is the exit code of a command with a failed item.
func (t *tally) exit() int {
	if t.done > 0 {
		return exitPartial
	}
	return t.code
}
