package extsort

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
)

// A failing file fails at one operation: the creation is operation 0.
type failing struct {
	*os.File
	at, n *int
	fault fault
}

// A fault is how an operation fails.
type fault struct {
	name  string
	err   error
	short bool // some of it was done
}

var faults = []fault{
	{"no space", syscall.ENOSPC, false},
	{"no space after a part", syscall.ENOSPC, true},
	{"input or output", syscall.EIO, false},
	{"less than asked", io.ErrUnexpectedEOF, true},
}

// due counts an operation and says whether it fails.
func (f *failing) due() bool {
	*f.n++
	return *f.n-1 == *f.at
}

func (f *failing) Write(p []byte) (int, error) {
	if !f.due() {
		return f.File.Write(p)
	}
	n := 0
	if f.fault.short {
		n, _ = f.File.Write(p[:len(p)/2])
	}
	return n, f.fault.err
}

func (f *failing) ReadAt(p []byte, off int64) (int, error) {
	if !f.due() {
		return f.File.ReadAt(p, off)
	}
	n := 0
	if f.fault.short {
		n, _ = f.File.ReadAt(p[:len(p)/2], off)
	}
	return n, f.fault.err
}

// failAt makes files that fail at one operation.
func failAt(at int, fault fault) (create creator, done *int) {
	n := 0
	return func(dir string) (file, error) {
		if n++; at == 0 {
			return nil, fault.err
		}
		f, err := createTemp(dir)
		if err != nil {
			return nil, err
		}
		return &failing{f.(*os.File), &at, &n, fault}, nil
	}, &n
}

// everyFault runs a sort with each of its operations on the disk failing, and
// holds what comes of it: an error that says so, and nothing left behind.
func everyFault(t *testing.T, sort func(dir string, create creator) error) {
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			for at := 0; ; at++ {
				dir := t.TempDir()
				create, done := failAt(at, fault)
				err := sort(dir, create)
				if left, readErr := os.ReadDir(dir); readErr != nil || len(left) > 0 {
					t.Errorf("operation %d fails: %v is left, %v", at, left, readErr)
				}
				if *done <= at {
					if err != nil || at < 10 {
						t.Errorf("no operation fails of %d: %v", *done, err)
					}
					return
				}
				if !errors.Is(err, ErrSpill) || !errors.Is(err, fault.err) {
					t.Errorf("operation %d fails: %v", at, err)
				}
			}
		})
	}
}

// sortRows sorts some rows in little memory, and goes on after an error to
// see that nothing works any more.
func sortRows(dir string, create creator) (err error) {
	p := NewPool(minMemory, dir)
	p.create = create
	defer func() { err = errors.Join(err, p.Close()) }()
	s, err := p.Sorter(45)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(5, 5))
	n := 5000
	for range n {
		row, err := s.Row(0)
		if err != nil {
			if _, again := s.Row(0); !errors.Is(again, ErrSpill) {
				return fmt.Errorf("a row after %w is taken: %v", err, again)
			}
			return err
		}
		fill(rng, row)
	}
	var last [45]byte
	return s.All(context.Background(), func(row []byte) error {
		if n--; string(row) < string(last[:]) {
			return errors.New("out of order")
		}
		copy(last[:], row)
		return nil
	})
}

func sortSomeKeys(dir string, create creator) (err error) {
	k := NewKeys(4<<10, dir)
	k.create = create
	defer func() { err = errors.Join(err, k.Close()) }()
	rng := rand.New(rand.NewPCG(6, 6))
	for range 5000 {
		if err := k.Add(context.Background(), rng.Uint64()); err != nil {
			if again := k.Add(context.Background(), 1); !errors.Is(again, ErrSpill) {
				return fmt.Errorf("a key after %w is taken: %v", err, again)
			}
			return err
		}
	}
	n := 0
	if err := k.All(context.Background(), func(keys []uint64) error { n += len(keys); return nil }); err != nil {
		return err
	}
	if n != 5000 {
		return fmt.Errorf("%d keys come back", n)
	}
	return nil
}

func TestFaultsOfTheDisk(t *testing.T) {
	t.Run("rows", func(t *testing.T) { everyFault(t, sortRows) })
	t.Run("keys", func(t *testing.T) { everyFault(t, sortSomeKeys) })
}

// A spill file that cannot be removed is told of; one that is gone is not.
func TestRemovingFails(t *testing.T) {
	for _, err := range []error{nil, fs.ErrNotExist} {
		p, _ := spilled(t)
		if err != nil {
			if err := os.Remove(p.spill.f.Name()); err != nil {
				t.Fatal(err)
			}
		}
		if got := p.Close(); got != nil {
			t.Errorf("Close = %v", got)
		}
	}
	p, _ := spilled(t)
	if err := p.spill.f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); !errors.Is(err, ErrSpill) || !errors.Is(err, os.ErrClosed) {
		t.Errorf("Close of a file that cannot be closed = %v", err)
	}
}
