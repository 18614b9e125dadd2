package local

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

func TestHandleClosesWithTheLastReference(t *testing.T) {
	h, idx := opened(t, 1)
	for range 2 {
		if !h.Pin() {
			t.Fatal("an open handle cannot be pinned")
		}
	}
	h.Drop()
	h.Drop() // the second gives nothing back
	idx.check(t, 0)
	h.Unpin()
	idx.check(t, 0)
	if _, err := h.ReadAt(t.Context(), make([]byte, 1), 0); err != nil {
		t.Fatalf("a read under a pin, after Drop: %v", err)
	}
	h.Unpin()
	idx.check(t, 1)
	if h.Pin() {
		t.Fatal("a closed handle can be pinned")
	}
	if err := h.Err(); !errors.Is(err, ErrClosed) {
		t.Fatalf("Err after close: %v", err)
	}
}

func TestUnpinWithoutPinPanics(t *testing.T) {
	h, _ := opened(t, 1)
	h.Drop()
	defer func() {
		if recover() == nil {
			t.Fatal("Unpin without Pin went through")
		}
	}()
	h.Unpin()
}

func TestSeverFailsReadsAndClosesNothing(t *testing.T) {
	h, idx := opened(t, 1)
	defer h.Drop()
	if !h.Pin() {
		t.Fatal("cannot pin")
	}
	stream, err := h.Stream(t.Context(), 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	h.Sever()
	if h.Pin() {
		t.Error("a severed handle can be pinned")
	}
	_, readErr := h.ReadAt(t.Context(), make([]byte, 1), 0)
	_, findErr := h.Find(nil, nil, 0)
	_, streamErr := stream.Read(make([]byte, 1))
	_, openErr := h.Stream(t.Context(), 0, 10)
	_, indexErr := h.Index().Find(nil, nil, 0)
	for name, err := range map[string]error{
		"ReadAt": readErr, "Find": findErr, "Read of a stream": streamErr, "Stream": openErr, "Index().Find": indexErr,
	} {
		if !errors.Is(err, shard.ErrDestroyed) {
			t.Errorf("%s of a severed handle: %v", name, err)
		}
	}
	for _, err := range h.Index().All() {
		if !errors.Is(err, shard.ErrDestroyed) {
			t.Errorf("Index().All of a severed handle: %v", err)
		}
	}
	idx.check(t, 0)
	h.Unpin()
	idx.check(t, 0)
}

func TestSeverEndsALoopOverTheIndex(t *testing.T) {
	h, idx := opened(t, 1)
	steps := 0
	for _, err := range h.Index().All() {
		if err != nil {
			if !errors.Is(err, shard.ErrDestroyed) {
				t.Fatal(err)
			}
			break
		}
		if steps++; steps == 3 {
			h.Sever()
			h.Drop()
		}
	}
	if steps != 3 {
		t.Fatalf("the loop ran %d steps", steps)
	}
	idx.check(t, 1)
}

func TestOnCloseRunsOnceAndAlsoTooLate(t *testing.T) {
	h, _ := opened(t, 1)
	var calls []int
	h.OnClose(func() { calls = append(calls, 1) })
	h.OnClose(func() { calls = append(calls, 2) })
	h.Drop()
	h.OnClose(func() { calls = append(calls, 3) })
	if len(calls) != 3 || calls[0] != 1 || calls[1] != 2 || calls[2] != 3 {
		t.Fatalf("called: %v", calls)
	}
}

func TestPinnedIndexDelegates(t *testing.T) {
	h, idx := opened(t, 1)
	idx.pos.Offset = 7
	got, err := h.Index().Find(nil, nil, 0)
	if err != nil || len(got) != 1 || got[0].Offset != 7 || h.Index().Len() != 1 {
		t.Fatalf("Find: %v, %v; Len: %d", got, err, h.Index().Len())
	}
	h.Drop()
	idx.check(t, 1)
	if n := h.Index().Len(); n != 0 {
		t.Fatalf("Len of a closed handle: %d", n)
	}
	idx.check(t, 1)
}

func TestReadAtAtTheEnds(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *Handle{"file": openFake, "ranges": openRanges} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			defer h.Drop()
			for _, c := range []struct {
				off  int64
				n    int
				want string
				err  error
			}{
				{0, 10, "0123456789", nil},
				{3, 4, "3456", nil},
				{8, 4, "89", io.EOF},
				{10, 1, "", io.EOF},
				{99, 1, "", io.EOF},
				{10, 0, "", nil},
				{-1, 1, "", shard.ErrSource},
			} {
				p := make([]byte, c.n)
				n, err := h.ReadAt(t.Context(), p, c.off)
				if string(p[:n]) != c.want || !errors.Is(err, c.err) || c.err == nil && err != nil {
					t.Errorf("ReadAt(%d bytes, %d) = %q, %v; want %q, %v", c.n, c.off, p[:n], err, c.want, c.err)
				}
			}
		})
	}
}

func TestStreamIsCutToWhatThereIs(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *Handle{"file": openFake, "ranges": openRanges} {
		t.Run(name, func(t *testing.T) {
			h := open(t)
			defer h.Drop()
			for _, c := range []struct {
				off, n int64
				want   string
			}{{0, 10, "0123456789"}, {4, 3, "456"}, {7, 99, "789"}, {12, 1, ""}, {2, 0, ""}} {
				r, err := h.Stream(t.Context(), c.off, c.n)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(iotestOneByte{r})
				if string(got) != c.want || err != nil {
					t.Errorf("Stream(%d, %d) = %q, %v; want %q", c.off, c.n, got, err, c.want)
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// iotestOneByte reads a byte at a time.
type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

// countFile reads nothing, and says that it has read as many bytes.
type countFile int

func (n countFile) Read([]byte) (int, error)          { return int(n), nil }
func (n countFile) ReadAt([]byte, int64) (int, error) { return int(n), nil }
func (n countFile) Close() error                      { return nil }

func TestReadErrorsAreTyped(t *testing.T) {
	errDisk := errors.New("the disk says no")
	shrink := newFakeFile([]byte("01234"))
	fails := newFakeFile(nil)
	fails.err = errDisk
	panics := newFakeFile(nil)
	panics.panics = true
	ranges := func(r io.Reader, err error) *fakeMount {
		return &fakeMount{ranges: func(context.Context, mount.Range) (io.ReadCloser, error) {
			return io.NopCloser(r), err
		}}
	}
	for name, c := range map[string]struct {
		src  source
		want []error
	}{
		"file shrank":       {&fileSource{shrink, 10}, []error{shard.ErrChanged}},
		"file fails":        {&fileSource{fails, 10}, []error{shard.ErrSource, errDisk}},
		"file panics":       {&fileSource{panics, 10}, []error{shard.ErrSource}},
		"answer too short":  {&rangeSource{ranges(strings.NewReader("01"), nil), "", 10}, []error{shard.ErrSource, io.ErrUnexpectedEOF}},
		"other version":     {&rangeSource{ranges(nil, mount.ErrChanged), "", 10}, []error{shard.ErrChanged, mount.ErrChanged}},
		"cannot be had":     {&rangeSource{ranges(nil, errDisk), "", 10}, []error{shard.ErrSource, errDisk}},
		"cancelled":         {&rangeSource{ranges(nil, context.Canceled), "", 10}, []error{context.Canceled}},
		"file counts ill":   {&fileSource{countFile(-1), 10}, []error{shard.ErrSource}},
		"file counts on":    {&fileSource{countFile(11), 10}, []error{shard.ErrSource}},
		"answer counts ill": {&rangeSource{ranges(countFile(-1), nil), "", 10}, []error{shard.ErrSource}},
		"answer counts on":  {&rangeSource{ranges(countFile(11), nil), "", 10}, []error{shard.ErrSource}},
		"answer panics":     {&rangeSource{ranges(panicReader{}, nil), "", 10}, []error{shard.ErrSource}},
	} {
		n, err := c.src.readAt(t.Context(), make([]byte, 10), 0)
		var panicked *PanicError
		if errors.As(err, &panicked) != strings.Contains(name, "panics") {
			t.Errorf("%s: PanicError in %v: %v", name, err, panicked != nil)
		}
		for _, want := range c.want {
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want one that wraps %v", name, err, want)
			}
		}
		if n < 0 || n >= 10 {
			t.Errorf("%s: %d bytes came", name, n)
		}
		if name == "cancelled" && errors.Is(err, shard.ErrSource) {
			t.Errorf("%s: the caller's own leaving is blamed on the source: %v", name, err)
		}
	}
}

type panicCloser struct{ mount.File }

func (panicCloser) Close() error { panic("the client is on fire") }

// Whoever lets go of a handle last closes its source, and is not to blame.
func TestCloseCatchesAPanic(t *testing.T) {
	var panicked *PanicError
	if err := (&fileSource{panicCloser{}, 10}).close(); !errors.As(err, &panicked) {
		t.Errorf("%v", err)
	}
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("the client is on fire") }

func TestReadAtMindsItsContext(t *testing.T) {
	h := openFake(t)
	defer h.Drop()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.ReadAt(ctx, make([]byte, 1), 0); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestBytesBeyondARangeAreNotRead(t *testing.T) {
	m := &fakeMount{ranges: func(_ context.Context, r mount.Range) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte("0123456789 and much more"))), nil
	}}
	s := &rangeSource{m, "", 10}
	r, err := s.stream(t.Context(), 0, 4)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); string(got) != "0123" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
}

// TestPinsFromManyGoroutines has readers come and go while the owner drops the
// handle: whoever has a pin reads, and the index is closed once.
func TestPinsFromManyGoroutines(t *testing.T) {
	for range 50 {
		h, idx := opened(t, 1)
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				for h.Pin() {
					if _, err := h.Find(nil, nil, 0); err != nil && !errors.Is(err, shard.ErrDestroyed) {
						t.Error(err)
					}
					h.Unpin()
				}
			})
		}
		h.Drop()
		h.Sever()
		wg.Wait()
		idx.check(t, 1)
	}
}

func openFake(tb testing.TB) *Handle {
	tb.Helper()
	return openOver(tb, &fakeMount{stat: mount.Stat{Size: 10}, file: newFakeFile([]byte("0123456789"))})
}

func openRanges(tb testing.TB) *Handle {
	tb.Helper()
	data := []byte("0123456789")
	return openOver(tb, &fakeMount{
		stat: mount.Stat{Size: 10, Version: "v1", Ranges: true},
		ranges: func(_ context.Context, r mount.Range) (io.ReadCloser, error) {
			if r.Version != "v1" {
				return nil, mount.ErrChanged
			}
			return io.NopCloser(bytes.NewReader(data[r.Offset : r.Offset+r.Length])), nil
		},
	})
}

func openOver(tb testing.TB, m mount.Mount) *Handle {
	tb.Helper()
	h, err := Open(tb.Context(), Spec{
		Mount:     m,
		Source:    mount.Stat{Size: 10},
		Payload:   shard.Extent{Size: 10},
		OpenIndex: func(context.Context) (IndexFile, error) { return &fakeIndex{}, nil },
	})
	if err != nil {
		tb.Fatal(err)
	}
	if !h.Pin() {
		tb.Fatal("cannot pin")
	}
	tb.Cleanup(h.Unpin)
	return h
}

// idleStream gives neither bytes nor an error.
type idleStream struct{}

func (idleStream) Read([]byte) (int, error) { return 0, nil }
func (idleStream) Close() error             { return nil }

func TestAStreamThatGivesNothingIsNotReadForEver(t *testing.T) {
	m := &fakeMount{
		stat:   mount.Stat{Size: 10, Ranges: true},
		ranges: func(context.Context, mount.Range) (io.ReadCloser, error) { return idleStream{}, nil },
	}
	h, err := Open(t.Context(), Spec{
		Key: "k", ID: 1, Mount: m, Source: m.stat, Payload: shard.Extent{Size: 10},
		OpenIndex: func(context.Context) (IndexFile, error) { return &fakeIndex{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Drop()
	failed := make(chan error, 1)
	go func() {
		_, err := h.ReadAt(t.Context(), make([]byte, 4), 0)
		failed <- err
	}()
	select {
	case err := <-failed:
		if !errors.Is(err, shard.ErrSource) || !errors.Is(err, io.ErrNoProgress) {
			t.Errorf("%v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it is read for ever")
	}
}
