package copies

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

// A fill that needs more than there is going to be once all that leaves has gone
// hears of that at once, however long somebody reads what leaves. One for which that
// is enough waits for it.
func TestLeavingIsNotEnough(t *testing.T) {
	for need, crowded := range map[int64]bool{2: false, 3: true} {
		k := New(Config{FS: vfstest.NewDisk(), Dir: "copies", Quota: quota, Now: time.Now})
		if _, err := k.Restore(t.Context(), list(nil)); err != nil {
			t.Fatal(err)
		}
		if err := fill(k, 1, block, true); err != nil {
			t.Fatal(err)
		}
		k.Leaving(1) // and is read still
		begin := func(id uint32, blocks int64) *Fill {
			s, err := k.Take(blocks * block)
			if err != nil || s == nil {
				t.Fatal(s, err)
			}
			f, err := k.Begin(id, Origin{}, -1, s)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		f, other := begin(2, 5), begin(3, 3)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		told := make(chan error, 1)
		go func() { told <- f.Write(ctx, make([]byte, (5+need)*block)) }()
		for k.Stats().Waiting == 0 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		k.NoMore(nil)
		if crowded {
			if err := <-told; !errors.Is(err, ErrCrowded) {
				t.Errorf("%d blocks: %v", need, err)
			}
		} else if n := k.Stats().Waiting; n != 1 {
			t.Errorf("%d blocks: %d wait", need, n)
		}
		if err := k.Remove(1); err != nil {
			t.Fatal(err)
		}
		if !crowded {
			if err := <-told; err != nil {
				t.Errorf("%d blocks: %v", need, err)
			}
		}
		if err := errors.Join(f.Drop(), other.Drop()); err != nil {
			t.Fatal(err)
		}
		if s := k.Stats(); s.Used != 0 {
			t.Errorf("%+v", s)
		}
	}
}
