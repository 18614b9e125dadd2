package copies

import (
	"errors"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/dagstore/dagstore/internal/vfs/vfstest"
)

// A large copy is written to the disk while it grows; if that fails it is no copy,
// even if the disk says nothing about it at the end.
func TestDiskIsToldToWrite(t *testing.T) {
	for _, fails := range []bool{false, true} {
		faults := vfstest.Wrap(vfstest.NewDisk())
		k, _, err := newKeeper(faults)
		if err != nil {
			t.Fatal(err)
		}
		k.cfg.Quota = 4 * flushStep
		told := make(chan struct{}, 100)
		faults.Arm(func(op vfstest.Op) bool { return op.Kind == errorfs.OpFileSyncTo }, func(int, vfstest.Op) error {
			told <- struct{}{}
			if fails {
				return syscall.EIO
			}
			return nil
		})
		s, err := k.Take(3 * flushStep)
		if err != nil || s == nil {
			t.Fatal(s, err)
		}
		f, err := k.Begin(1, Origin{}, 3*flushStep, s)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if err := f.Write(t.Context(), make([]byte, flushStep)); err != nil {
				if fails && errors.Is(err, syscall.EIO) {
					break // it was noticed already
				}
				t.Fatal(err)
			}
		}
		<-told
		err = f.Commit()
		if fails && f.Size() == 3*flushStep && !errors.Is(err, syscall.EIO) || !fails && err != nil {
			t.Errorf("it fails: %v; %v", fails, err)
		}
		if fails {
			if err := f.Drop(); err != nil {
				t.Error(err)
			}
		}
		if size, serr := k.Size(1); fails == (serr == nil) || !fails && size != 3*flushStep {
			t.Errorf("it fails: %v; of the copy there are %d bytes, %v", fails, size, serr)
		}
	}
}
