package engine

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/copies"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
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

// As long as copies that nobody has asked for are about to go and make up what is
// needed, no other goes, however slow our own disk is. A source that is slow to answer
// keeps its own copy, and no other.
func TestSpareCopyThatIsAboutToGoIsEnough(t *testing.T) {
	for _, spare := range []bool{true, false} {
		e := &Engine{work: t.Context()}
		e.cfg.Log = slog.New(slog.DiscardHandler)
		e.cfg.Catalog = noCopies{}
		v := &eviction{e: e, ended: make(chan struct{}, 1), asking: map[uint32]asking{
			1: {bytes: 8192, since: time.Now().Add(-2 * slowAsk), spare: spare},
		}}
		other := []copies.Victim{{ID: 2, Bytes: 8192}}
		if began := v.begin(other, 8192, map[uint32]bool{}, map[bool]bool{}); began == spare {
			t.Errorf("spare %v: another goes: %v", spare, began)
		}
		e.workers.Wait()
	}
}

// noCopies is a catalogue that knows of no copy.
type noCopies struct{ catalog.Catalog }

func (noCopies) CopyOf(context.Context, uint32) (shard.Key, error) { return "", catalog.ErrNotFound }
