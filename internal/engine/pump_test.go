package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

// brought is a source that brings data as read has it, and counts its closings.
type brought struct {
	read   func(p []byte) (int, error)
	closed int
}

func (b *brought) Read(p []byte) (int, error) { return b.read(p) }

func (b *brought) Close() error {
	b.closed++
	return nil
}

func randomBytes(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(data) // it never fails
	return data
}

// What comes out of a pump is what its source has brought, in order, and then the
// error of the source, whatever the pieces; the source is closed once.
func TestPump(t *testing.T) {
	fault := errors.New("it broke")
	for _, size := range []int{0, 1, 4095, pumpRead, pumpAhead - 1, pumpAhead, pumpAhead + 1, 3*pumpAhead + 17} {
		for _, end := range []error{io.EOF, fault} {
			data := randomBytes(size)
			rng := rand.New(rand.NewPCG(uint64(size), 1))
			from := bytes.NewReader(data)
			src := &brought{read: func(p []byte) (int, error) {
				n, err := from.Read(p[:min(len(p), 1+rng.IntN(300_000))])
				if err != nil || from.Len() == 0 && rng.IntN(2) == 0 {
					err = end
				}
				return n, err
			}}
			said := int64(size)
			if size%2 == 1 {
				said = -1
			}
			p := newPump(src, said)
			var got bytes.Buffer
			var err error
			for err == nil {
				var piece []byte
				piece, err = p.next()
				got.Write(piece)
			}
			if _, again := p.next(); err != end || again != end || !bytes.Equal(got.Bytes(), data) {
				t.Errorf("%d bytes: %d came, then %v and %v, want %v", size, got.Len(), err, again, end)
			}
			p.stop()
			if src.closed != 1 {
				t.Errorf("it was closed %d times", src.closed)
			}
		}
	}
}

// A pump reads ahead of who uses it, no further than it may, and hands on what has
// come while the source has more to bring. It can be stopped wherever it is.
func TestPumpReadsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		more := make(chan int)
		src := &brought{read: func(p []byte) (int, error) {
			select {
			case n := <-more:
				return min(n, len(p)), nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}}
		p := newPump(src, -1)
		go func() { more <- 10 }()
		if data, err := p.next(); len(data) != 10 || err != nil {
			t.Errorf("while it waits for more it hands on %d bytes, %v", len(data), err)
		}
		for range pumpAhead / pumpRead {
			more <- pumpRead // the last does not fit, as the 10 are in use
		}
		synctest.Wait()
		select {
		case more <- pumpRead:
			t.Error("it reads further than it may")
		default:
		}
		if data, err := p.next(); len(data) != pumpRead || err != nil {
			t.Errorf("%d bytes, %v", len(data), err)
		}
		cancel()
		p.stop()
		if src.closed != 1 {
			t.Errorf("it was closed %d times", src.closed)
		}
		idle := newPump(&brought{}, 100)
		idle.stop() // nobody has read it
		full := newPump(&brought{read: func(p []byte) (int, error) { return len(p), nil }}, -1)
		if _, err := full.next(); err != nil {
			t.Error(err)
		}
		synctest.Wait() // until there is no room
		full.stop()
	})
}

// A source that panics does so for who reads it, behind what it has brought; one
// that brings nothing for ever is given up.
func TestPumpOfBadSources(t *testing.T) {
	first := true
	p := newPump(&brought{read: func([]byte) (int, error) {
		if !first {
			panic("a mount")
		}
		first = false
		return 7, nil
	}}, -1)
	if data, err := p.next(); len(data) != 7 || err != nil {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	func() {
		defer func() {
			if r := recover(); r != "a mount" {
				t.Errorf("it panics with %v", r)
			}
		}()
		_, err := p.next()
		t.Errorf("it does not panic: %v", err)
	}()
	p.stop()
	p = newPump(&brought{read: func([]byte) (int, error) { return 0, nil }}, -1)
	if _, err := p.next(); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("it brings nothing: %v", err)
	}
	p.stop()
}
