package engine

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

// Why a copy did not go in an earlier round, in which others did, says nothing to
// those who wait now.
func TestRoundForgetsFailuresOfEarlierOnes(t *testing.T) {
	k := copies.New(copies.Config{FS: vfstest.NewDisk(), Dir: "copies", Quota: 1 << 20, Low: 1, High: 1, Now: time.Now, Need: func() {}})
	if _, err := k.Restore(t.Context(), func(func(copies.Known, error) bool) {}); err != nil {
		t.Fatal(err)
	}
	e := &Engine{work: t.Context()}
	e.cfg.Copies, e.cfg.Log = k, slog.New(slog.DiscardHandler)
	v := &eviction{e: e, ended: make(chan struct{}, 1), asking: map[uint32]asking{}}
	v.end(copies.Victim{ID: 1}, errors.New("the disk"))
	s, err := k.Take(1 << 20)
	if s == nil || err != nil {
		t.Fatal(s, err)
	}
	a := k.Queue(1, func(_ *copies.Space, err error) { t.Error("told", err) })
	v.round()
	if !a.Leave() {
		t.Error("it does not wait any more")
	}
	s.Give()
}
