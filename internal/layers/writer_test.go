package layers

import (
	"errors"
	"runtime"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
)

// A limitedWriter fails when it has taken so many bytes; with less than none
// left it panics.
type limitedWriter struct{ left int }

var errFull = errors.New("full")

func (w *limitedWriter) Write(p []byte) (int, error) {
	if w.left < 0 {
		panic("written to after an error")
	}
	if w.left -= len(p); w.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

// Wherever the output fails, whoever adds is told, nothing is written after it,
// and nobody waits for ever.
func TestOutputFails(t *testing.T) {
	const rows = 3 * blocksAhead * blockRows
	for left := 0; left < rows*rowSize; left += 1 << 20 {
		w := newWriter(&limitedWriter{left}, 5000, 7)
		var err error
		n := uint64(0)
		for ; n < rows && err == nil; n++ {
			err = w.add(n*spread>>20, index.ID(n)) // not always in order
			if errors.Is(err, errOrder) {
				err = w.add(w.key+1, 1)
			}
		}
		if err == nil {
			_, err = w.finish(roaring.BitmapOf(1))
		}
		w.close()
		if !errors.Is(err, errFull) {
			t.Fatalf("with %d bytes: %v after %d rows", left, err, n)
		}
	}
}

// A panic of the output in our goroutine is an error, and not the end of the
// process.
func TestOutputPanics(t *testing.T) {
	w := newWriter(&limitedWriter{-1}, 10, 7)
	defer w.close()
	const enough = 4 * blockRows // to be written, not buffered
	var err error
	for n := uint64(0); n < enough && err == nil; n++ {
		err = w.add(n, 1)
	}
	if err == nil {
		_, err = w.finish(roaring.BitmapOf(1))
	}
	if !errors.Is(err, errPanic) {
		t.Errorf("%v", err)
	}
}

// What is being written at once is bounded, however far adding is ahead.
func TestPartitionsInFlight(t *testing.T) {
	w := newWriter(&limitedWriter{1 << 30}, 10, 7)
	defer w.close()
	for n := range uint64(100_000) {
		must(t, w.add(n, 1))
	}
	if most := runtime.GOMAXPROCS(0) + 2; w.parts > most {
		t.Errorf("%d partitions at once, want at most %d", w.parts, most)
	}
	if l, err := w.finish(roaring.BitmapOf(1)); err != nil || l.Keys != 100_000 {
		t.Errorf("%+v, %v", l, err)
	}
}
