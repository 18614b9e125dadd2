package engine

import (
	"runtime"
	"testing"

	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

// Space whose turn comes just as its work leaves is given back, and the loop does
// not look at it while it is being told. The race detector is the judge.
func TestSpaceForWorkThatHasLeft(t *testing.T) {
	k := copies.New(copies.Config{FS: vfstest.NewDisk(), Dir: "copies", Quota: 1 << 20})
	e := &Engine{box: newMailbox()}
	e.cfg.Copies = k
	e.loop.parked++
	p := &parking{back: func(*Engine) { t.Error("work that has left goes on") }}
	gate, told := make(chan struct{}), make(chan struct{})
	p.ask = k.Queue(100, func(s *copies.Space, err error) { // as park has it
		<-gate
		p.room, p.err = s, err
		close(told)
	})
	restored := make(chan error)
	go func() {
		_, err := k.Restore(t.Context(), func(func(copies.Known, error) bool) {})
		restored <- err
	}()
	for k.Stats().Waiting > 0 { // until its turn has come
		runtime.Gosched()
	}
	if !p.leave(e) {
		t.Error("it did not wait")
	}
	close(gate)
	p.giveRoom() // the end of the work
	<-told
	p.finish(e)
	if err := <-restored; err != nil || k.Stats().Used != 0 || e.loop.parked != 0 {
		t.Errorf("%v, %+v, %d parked", err, k.Stats(), e.loop.parked)
	}
}
