package car

import (
	"bytes"
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// TestBadCARs reads every made file of the framing classes in every way. Each
// must give its Fault within 100 ms and 4 MiB over the size of the file.
func TestBadCARs(t *testing.T) {
	files := cartest.Bads()
	perClass := make(map[string]int)
	for _, f := range files {
		perClass[f.Class]++
	}
	for _, class := range []string{
		"B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B9", "B10", "B11",
		"B12", "B13", "B14", "B15", "B16", "B23", "B24", "B25", "B31",
	} {
		if perClass[class] < 2 {
			t.Errorf("%s has %d made files, it must have two", class, perClass[class])
		}
	}
	for _, f := range files {
		t.Run(f.Class+"/"+f.Name, func(t *testing.T) {
			for _, verify := range []bool{false, true} {
				opt := under(f.Limits)
				opt.Verify = verify
				if verify && f.Kind == shard.BadHeader {
					continue // there is nothing to hash
				}
				for i := range readings(f.Data, opt) {
					checkBounds(t, len(f.Data), func() error {
						how := readings(f.Data, opt)[i]
						_, err := Scan(context.Background(), how.r, how.opt, func(*Section) error { return nil })
						if f.Offset > int64(len(f.Data)) {
							t.Fatalf("offset %d is not in the file", f.Offset)
						}
						checkFault(t, how.name, err, f.Kind, f.Offset)
						if !errors.Is(err, shard.ErrCAR) {
							t.Errorf("%s: %v does not wrap ErrCAR", how.name, err)
						}
						return nil
					})
				}
			}
		})
	}
}

// checkBounds runs f and checks what it costs: 4 MiB over size, and 100 ms.
// Every run allocates alike, so one of them may not be over it; but a machine
// with other work holds up many runs, so that one of them is fast must do.
func checkBounds(t *testing.T, size int, f func() error) {
	t.Helper()
	const fast = 100 * time.Millisecond
	var took time.Duration
	for range 20 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		start := time.Now()
		if err := f(); err != nil {
			t.Error(err)
			return
		}
		took = time.Since(start)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > uint64(size)+4<<20 {
			t.Errorf("%d bytes allocated for a file of %d", n, size)
			return
		}
		if took < fast || !timed {
			return
		}
	}
	t.Errorf("it took %v", took)
}

// TestFaultyBlocks: a fault of one block is counted and listed, and its
// neighbours are emitted as ever.
func TestFaultyBlocks(t *testing.T) {
	perClass := make(map[string]int)
	for _, f := range cartest.Faulties() {
		perClass[f.Class]++
		data, at := f.CAR()
		v2 := cartest.V2(data, cartest.Container{DataPadding: 5})
		t.Run(f.Class+"/"+f.Name, func(t *testing.T) {
			for _, verify := range []bool{false, true} {
				for _, how := range readings(data, Options{Verify: verify}) {
					checkFaulty(t, how, f, at)
				}
				for _, how := range readings(v2, Options{Verify: verify}) {
					checkFaulty(t, how, f, at+56)
				}
			}
			checkBounds(t, len(data), func() error {
				_, err := Scan(context.Background(), bytes.NewReader(data), Options{Verify: true}, func(*Section) error { return nil })
				return err
			})
		})
	}
	for _, class := range []string{"B17", "B18", "B19", "B20", "B21", "B22"} {
		if perClass[class] < 2 {
			t.Errorf("%s has %d made files, it must have two", class, perClass[class])
		}
	}
}

func checkFaulty(t *testing.T, how reading, f cartest.Faulty, at int64) {
	t.Helper()
	got := collect(how.r, how.opt)
	if got.err != nil {
		t.Errorf("%s: %v", how.name, got.err)
		return
	}
	faults, emitted := f.Faults, f.Emitted
	if f.Verify && !how.opt.Verify {
		faults, emitted = 0, f.Emitted+f.Faults
	}
	if got.res.Faults != int64(faults) || len(got.res.Faulty) != min(faults, 16) {
		t.Fatalf("%s: %d faults, want %d: %v", how.name, got.res.Faults, faults, got.res.Faulty)
	}
	if len(got.sections) != emitted+2 || got.res.Sections != int64(faults+emitted+2) {
		t.Fatalf("%s: %d sections emitted of %d, want %d", how.name, len(got.sections), got.res.Sections, emitted+2)
	}
	if got.res.Verified != how.opt.Verify {
		t.Errorf("%s: Verified is %v", how.name, got.res.Verified)
	}
	first, last := got.sections[0], got.sections[emitted+1]
	if !bytes.Equal(first.CID, goodBlocks[0].CID.Bytes()) || !bytes.Equal(last.CID, goodBlocks[2].CID.Bytes()) {
		t.Errorf("%s: the neighbours are %x and %x", how.name, first.CID, last.CID)
	}
	if faults == 0 {
		return
	}
	fault := &got.res.Faulty[0]
	if fault.Kind != f.Kind || !errors.Is(fault, shard.ErrBlock) {
		t.Errorf("%s: %v, want %v", how.name, fault, f.Kind)
	}
	if emitted == 0 && fault.Offset != at {
		t.Errorf("%s: %v, want offset %d", how.name, fault, at)
	}
	if f.Kind == shard.BadHash && !fault.CID.Defined() {
		t.Errorf("%s: %v does not name its block", how.name, fault)
	}
}
