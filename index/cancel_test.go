package index

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/multiformats/go-multihash"
)

// endsAfter ends its context at one of its writes, and counts those after it.
type endsAfter struct {
	at, n  int
	cancel context.CancelCauseFunc
	cause  error
}

func (w *endsAfter) Write(p []byte) (int, error) {
	if w.n++; w.n == w.at {
		w.cancel(w.cause)
	}
	return len(p), nil
}

func addMany(t *testing.T, b *Builder, n int) error {
	t.Helper()
	mh := make(multihash.Multihash, 34)
	mh[0], mh[1] = multihash.SHA2_256, 32
	for i := range n {
		binary.BigEndian.PutUint64(mh[2:], uint64(i)*0x9e3779b97f4a7c15)
		if err := b.Add(mh, Position{Offset: int64(i), Size: 1, Head: 38}); err != nil {
			return err
		}
	}
	return nil
}

// WriteTo ends within the records of one look at its context, sorted in memory
// or merged, and leaves nothing behind.
func TestWriteIsCancelled(t *testing.T) {
	const records = 150_000
	for _, memory := range []int64{64 << 10, 64 << 20} {
		dir := t.TempDir()
		b := NewBuilder(&WriteOptions{Memory: memory, Spill: dir})
		if err := addMany(t, b, records); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		w := &endsAfter{at: 3, cancel: cancel, cause: errors.New("stop")}
		if _, err := b.WriteTo(ctx, w, [16]byte{}); !errors.Is(err, w.cause) {
			t.Errorf("memory of %d: %v", memory, err)
		}
		if w.n > w.at+1 {
			t.Errorf("memory of %d: %d writes after the end of the context", memory, w.n-w.at)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%v is left, %v", left, err)
		}
	}
}

// A spill ends when it is told to, and with it the use of the Builder.
func TestSpillIsStopped(t *testing.T) {
	stop := errors.New("stop")
	dir := t.TempDir()
	asked := 0
	b := NewBuilder(&WriteOptions{Memory: 1 << 20, Spill: dir, Stop: func() error {
		if asked++; asked > 3 {
			return stop
		}
		return nil
	}})
	if err := addMany(t, b, 200_000); !errors.Is(err, stop) {
		t.Errorf("Add = %v", err)
	}
	if asked != 4 {
		t.Errorf("asked %d times, once after the error", asked)
	}
	if _, err := b.WriteTo(t.Context(), &endsAfter{}, [16]byte{}); !errors.Is(err, stop) {
		t.Errorf("WriteTo = %v", err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}
