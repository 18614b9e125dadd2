package client

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"
	"time"

	"github.com/multiformats/go-multihash"
)

// beat is how long nothing is sent of what is to be sent, before a sign of life.
const beat = 5 * time.Second

// longestTail is how much of a line is kept until its end comes. One that is longer
// is of no kind that is read on the other side.
const longestTail = 2 << 20

// A steadied is text that is read line by line from somebody who may have nothing
// for a long time. It has a space then, between two lines, which means nothing
// there, so that whoever reads it knows that more is to come.
type steadied struct {
	every  time.Duration
	pieces chan piece
	ended  chan struct{}
	now    piece
}

// A piece is some whole lines, and how the reading ended if it did.
type piece struct {
	text []byte
	err  error
}

// steady reads r, which may block for as long as it likes: Close does not wait for
// it.
func steady(r io.Reader, every time.Duration) *steadied {
	s := &steadied{every: every, pieces: make(chan piece), ended: make(chan struct{})}
	go s.pump(r)
	return s
}

// pump passes on whole lines.
func (s *steadied) pump(r io.Reader) {
	var tail []byte
	for buf := make([]byte, 32<<10); ; {
		n, err := r.Read(buf)
		tail = append(tail, buf[:n]...)
		whole := bytes.LastIndexByte(tail, '\n') + 1
		if err != nil || len(tail) > longestTail {
			whole = len(tail)
		}
		if whole == 0 && err == nil {
			continue
		}
		select {
		case s.pieces <- piece{tail[:whole:whole], err}:
		case <-s.ended:
			return
		}
		if err != nil {
			return
		}
		tail = append([]byte(nil), tail[whole:]...)
	}
}

// Read implements [io.Reader].
func (s *steadied) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(s.now.text) == 0 {
		if s.now.err != nil {
			return 0, s.now.err
		}
		late := time.NewTimer(s.every)
		select {
		case s.now = <-s.pieces:
			late.Stop()
		case <-late.C:
			p[0] = ' '
			return 1, nil
		case <-s.ended:
			late.Stop()
			return 0, io.ErrClosedPipe
		}
	}
	n := copy(p, s.now.text)
	s.now.text = s.now.text[n:]
	return n, nil
}

// Close ends the reading. It is called once.
func (s *steadied) Close() error {
	close(s.ended)
	return nil
}

// membersOf is what members yields as a body, until that is closed. bad is the error
// with which it has ended, if it has. It does not wait for that: members may have
// nothing to yield for as long as they like.
func membersOf(members iter.Seq2[multihash.Multihash, error]) (body *io.PipeReader, bad func() error) {
	r, w := io.Pipe()
	var ended atomic.Pointer[error]
	go func() {
		out := bufio.NewWriter(w)
		var cause error
		for mh, err := range members {
			if cause = err; err != nil {
				break
			}
			if _, err := fmt.Fprintln(out, mh.B58String()); err != nil {
				break // nobody reads any more, and knows why
			}
		}
		ended.Store(&cause)
		_ = w.CloseWithError(errors.Join(cause, out.Flush())) // it always succeeds
	}()
	return r, func() error {
		if cause := ended.Load(); cause != nil {
			return *cause
		}
		return nil
	}
}
