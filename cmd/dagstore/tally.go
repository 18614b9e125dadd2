package main

import (
	"errors"
	"fmt"
)

// A tally counts how the items of one command went and makes its exit code.
type tally struct {
	done   int // unchanged ones included
	failed int
	code   int  // what the failed ones agree on; exitFailed if they do not
	dry    bool // nothing was to be done

	stopped bool // it was ended before all were tried
	cutOff  int  // by that, while they were under way
	untried int  // that were not begun
	piped   bool // standard input was to name more, nobody knows how many
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
	case t.dry && t.stopped:
		return exitError(t.exit(), fmt.Errorf("%d of %d would fail, %s", t.failed, t.done+t.failed, t.rest()))
	case t.dry:
		return exitError(t.exit(), fmt.Errorf("%d of %d would fail", t.failed, t.done+t.failed))
	case t.stopped:
		return exitError(t.exit(), fmt.Errorf("%d failed, %d done, %s", t.failed, t.done, t.rest()))
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

// rest tells of the items that are neither done nor failed.
func (t *tally) rest() string {
	text := fmt.Sprintf("%d not tried", t.untried)
	if t.cutOff > 0 {
		text = fmt.Sprintf("%d cut off, %s", t.cutOff, text)
	}
	if t.piped {
		text += ", nor what standard input names"
	}
	return text
}
