package engine

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// crowd is a source that has too much to do.
type crowd struct {
	after time.Duration
	asked int
}

func (c *crowd) URL() string { return "https://a.example/a.car" }

func (c *crowd) Stat(context.Context) (mount.Stat, error) { return mount.Stat{Size: -1}, nil }

func (c *crowd) Open(context.Context) (io.ReadCloser, error) {
	c.asked++
	return nil, &mount.BusyError{After: c.after, Err: errors.New("503")}
}

// A source that is busy is waited for a few times, and not at all if it wants to
// be left alone for longer than anybody waits: meanwhile the place is another's.
func TestBusyDownload(t *testing.T) {
	for after, want := range map[time.Duration]int{0: mostTries + 1, longestWait: mostTries + 1, longestWait + 1: 1, time.Hour: 1} {
		synctest.Test(t, func(t *testing.T) {
			c := &crowd{after: after}
			begun := time.Now()
			_, _, err := downloadOf(t.Context(), c, mount.Stat{Size: -1})
			took := time.Since(begun)
			if !errors.Is(err, mount.ErrBusy) || c.asked != want || (want == 1) != (took == 0) || took > mostTries*(longestWait+time.Minute) {
				t.Errorf("%v: %v after %v, asked %d times", after, err, took, c.asked)
			}
		})
	}
}
