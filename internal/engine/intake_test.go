package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"testing"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/layers"
	"github.com/dagstore/dagstore/shard"
)

// noFiles is where no layer ever lies.
type noFiles struct{}

func (noFiles) Create(context.Context, uint32) (layers.Sink, error) { return nil, os.ErrPermission }
func (noFiles) Open(context.Context, uint32) (layers.File, error)   { return nil, os.ErrNotExist }
func (noFiles) Remove(context.Context, uint32) error                { return nil }

// testIntake returns an intake of an engine that has nothing else, and its
// folder for sorted runs.
func testIntake(ctx context.Context, t *testing.T) (in *intake, spill string) {
	t.Helper()
	spill = t.TempDir()
	inverted, err := layers.Open(t.Context(), layers.Config{
		Files:  noFiles{},
		Next:   func(context.Context) (uint32, error) { return 0, os.ErrPermission },
		Commit: func(context.Context, layers.Change) error { return os.ErrPermission },
		Spill:  spill,
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := &Engine{cfg: Config{Spill: spill, Log: slog.New(slog.DiscardHandler)}, inverted: inverted}
	in = e.newIntake(ctx, 1<<20)
	t.Cleanup(func() {
		in.close()
		if left, err := os.ReadDir(spill); err != nil || len(left) > 0 {
			t.Errorf("%v is left, %v", left, err)
		}
		if err := inverted.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	})
	return in, spill
}

func multihashOf(n int) multihash.Multihash {
	mh := make([]byte, 34)
	mh[0], mh[1] = multihash.SHA2_256, 32
	binary.BigEndian.PutUint64(mh[2:], uint64(n)*0x9e3779b97f4a7c15)
	return mh
}

// What is added comes into both, in batches or all at once, spilled or not,
// although one buffer is used for all multihashes.
func TestIntakeTakesAll(t *testing.T) {
	for _, n := range []int{0, 1, intakeRecords - 1, intakeRecords, intakeRecords + 1, 60_000} {
		in, spill := testIntake(t.Context(), t)
		buf := make(multihash.Multihash, 34)
		for i := range n {
			copy(buf, multihashOf(i))
			if err := in.Add(buf, index.Position{Offset: int64(i), Size: 7, Head: 40}); err != nil {
				t.Fatal(err)
			}
		}
		if err := in.end(); err != nil {
			t.Fatal(err)
		}
		if got := in.keys.Len(); got != int64(n) {
			t.Errorf("%d keys of %d", got, n)
		}
		if left, err := os.ReadDir(spill); err != nil || (len(left) == 2) != (n == 60_000) {
			t.Errorf("%d records: %v is spilled, %v", n, left, err)
		}
		f, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		stats, err := in.index.WriteTo(t.Context(), f, [16]byte{})
		if err != nil || stats.Records != int64(n) {
			t.Errorf("%d records of %d, %v", stats.Records, n, err)
		}
		ix, err := index.NewFile(f, stats.Length)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			pos, err := ix.Find(nil, multihashOf(i), 0)
			if err != nil || len(pos) != 1 || pos[0] != (index.Position{Offset: int64(i), Size: 7, Head: 40}) {
				t.Fatalf("record %d of %d is %v, %v", i, n, pos, err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// addUntil adds records until that fails, and returns how many were taken.
func addUntil(in *intake, most int) (n int, err error) {
	for n < most && err == nil {
		if err = in.Add(multihashOf(n), index.Position{Offset: int64(n)}); err == nil {
			n++
		}
	}
	return n, err
}

// An intake ends within a few batches of its context.
func TestIntakeIsCancelled(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	in, _ := testIntake(ctx, t)
	if _, err := addUntil(in, 50_000); err != nil {
		t.Fatal(err)
	}
	cancel(stop)
	n, err := addUntil(in, 50_000)
	if !errors.Is(err, stop) || n > (intakeBatches+2)*intakeRecords {
		t.Errorf("%d records are taken after the end of the context, then %v", n, err)
	}
	if err := in.end(); !errors.Is(err, stop) {
		t.Errorf("end = %v", err)
	}
}

// What the index refuses is an error of the index, however late it shows.
func TestIntakeRefuses(t *testing.T) {
	for _, n := range []int{0, 3 * intakeRecords} {
		in, _ := testIntake(t.Context(), t)
		if _, err := addUntil(in, n); err != nil {
			t.Fatal(err)
		}
		err := in.Add(multihashOf(0), index.Position{Offset: -1})
		if err == nil {
			err = in.end()
		}
		if !errors.Is(err, shard.ErrIndex) || !errors.Is(err, index.ErrRecord) {
			t.Errorf("a bad record after %d: %v", n, err)
		}
	}
}

// R23: a panic on the goroutine beside the one that reads is an error.
func TestR23IntakePanics(t *testing.T) {
	for _, n := range []int{1, 5 * intakeRecords} {
		in, _ := testIntake(t.Context(), t)
		builder := in.index
		in.index = nil
		_, err := addUntil(in, n)
		if err == nil {
			err = in.end()
		}
		if !errors.Is(err, shard.ErrIndex) {
			t.Errorf("a panic among %d records: %v", n, err)
		}
		in.stop()
		in.index = builder
	}
}
