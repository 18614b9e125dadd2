package copies

import (
	"context"
	"errors"
	"iter"
	"runtime"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

// quiet is a keeper that nobody looks after.
func quiet(t *testing.T) *Keeper {
	k := New(Config{FS: vfstest.NewDisk(), Dir: "copies", Quota: quota, High: 1, Low: 1, Now: time.Now})
	if _, err := k.Restore(t.Context(), list(nil)); err != nil {
		t.Fatal(err)
	}
	return k
}

// four makes copies of four blocks each.
func four(t *testing.T, k *Keeper, ids ...uint32) {
	for _, id := range ids {
		if err := fill(k, id, 4*block, true); err != nil {
			t.Fatal(err)
		}
	}
}

func victims(k *Keeper) (ids []uint32) {
	list, _ := k.Victims(func(uint32) bool { return false }, false)
	for _, v := range list {
		ids = append(ids, v.ID)
	}
	return ids
}

// What a fill under way needs goes before what those in line want; and while a copy
// is leaving it waits for that.
func TestFillsGoFirst(t *testing.T) {
	k := quiet(t)
	four(t, k, 1)
	s, err := k.Take(4 * block)
	if err != nil {
		t.Fatal(err)
	}
	f, err := k.Begin(2, Origin{}, -1, s)
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- f.Write(context.Background(), make([]byte, 7*block)) }()
	for k.Stats().Waiting == 0 || k.Stats().Used != 8*block {
		runtime.Gosched()
	}
	served := false
	k.Queue(block, func(s *Space, err error) { served = s != nil && err == nil }) // which is there
	if served {
		t.Error("who came later was served first")
	}
	k.Leaving(1)
	k.NoMore(nil)
	select {
	case err := <-wrote:
		t.Fatalf("the fill did not wait for a copy that leaves: %v", err)
	default:
	}
	if err := k.Remove(1); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil || !served {
		t.Errorf("in the end: %v, served: %v", err, served)
	}
	if err := errors.Join(f.Drop(), f.Drop()); err != nil {
		t.Error(err)
	}
	if err := f.Write(t.Context(), []byte{1}); !errors.Is(err, errDropped) {
		t.Errorf("a write after that: %v", err)
	}
	if used := k.Stats().Used; used != block {
		t.Errorf("%d bytes are used, %d were given", used, block)
	}
}

// What was not needed is given back, and only so many go as have to.
func TestNoMoreThanNeeded(t *testing.T) {
	k := quiet(t)
	s, err := k.Take(6 * block)
	if err != nil {
		t.Fatal(err)
	}
	f, err := k.Begin(9, Origin{}, -1, s)
	if err == nil {
		err = errors.Join(f.Write(t.Context(), make([]byte, block+1)), f.Commit())
	}
	if st := k.Stats(); err != nil || st.Used != 2*block {
		t.Errorf("%v, %+v", err, st)
	}
	four(t, k, 1, 2)
	k.Queue(3*block, func(*Space, error) {})
	if ids := victims(k); len(ids) != 1 || ids[0] != 1 {
		t.Errorf("%v are to go, 1 is enough", ids)
	}
	k.Leaving(1)
	if ids := victims(k); len(ids) > 0 {
		t.Errorf("%v are to go besides", ids)
	}
	// One that is held since before its record was on disk is held.
	k.Hold(9)
	k.Named(9, false, time.Now())
	k.Queue(shardless, func(*Space, error) {})
	k.Stays(1)
	k.Leaving(2)
	if err := k.Remove(2); err != nil {
		t.Fatal(err)
	}
	if ids := victims(k); len(ids) != 1 || ids[0] != 1 {
		t.Errorf("%v are to go, 9 is held", ids)
	}
}

const shardless = 8 * block

// A copy that is given up while it is looked for what there is stays given up.
func TestGivenUpMeanwhile(t *testing.T) {
	disk := vfstest.NewDisk()
	old, _, err := newKeeper(disk)
	if err != nil {
		t.Fatal(err)
	}
	four(t, old, 1, 2)
	k := New(Config{FS: disk, Dir: "store/copies", Quota: quota, Now: time.Now})
	var known iter.Seq2[Known, error] = func(yield func(Known, error) bool) {
		for id := range uint32(2) { // as the records were just before
			k.Leaving(1 + id)
			if err := k.Remove(1 + id); err != nil {
				t.Error(err)
			}
			if id == 0 && !yield(Known{ID: 1, Size: 4 * block}, nil) {
				return
			}
		}
	}
	if lost, err := k.Restore(t.Context(), known); err != nil || len(lost) > 0 {
		t.Errorf("%v are lost, %v", lost, err)
	}
	if st := k.Stats(); st.Used != 0 || st.Copies != 0 {
		t.Errorf("%+v", st)
	}
	if _, err := k.Take(quota); err != nil || errors.Is(err, shard.ErrQuota) {
		t.Error(err)
	}
}
