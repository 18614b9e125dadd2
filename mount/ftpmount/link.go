package ftpmount

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// maxAnswer is how many bytes a server may send between two commands.
const maxAnswer = 256 << 10

var errAnswer = fmt.Errorf("%w: it does not end", mount.ErrAnswer)

// link is one connection, of commands or of data. A server that should send
// and does not for a while has gone.
type link struct {
	net.Conn
	stall    time.Duration
	commands bool
	answer   int // bytes since the last command

	mu    sync.Mutex
	fault error // of the first read that failed
}

// Read implements [io.Reader].
func (l *link) Read(p []byte) (int, error) {
	if l.commands && l.answer > maxAnswer {
		return 0, errAnswer
	}
	if err := l.SetReadDeadline(time.Now().Add(l.stall)); err != nil {
		return 0, err
	}
	n, err := l.Conn.Read(p)
	l.answer += n
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.fault == nil {
			l.fault = err
		}
	}
	return n, err
}

// broken is why nothing more comes, or nil.
func (l *link) broken() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

// Write implements [io.Writer].
func (l *link) Write(p []byte) (int, error) {
	l.answer = 0
	if err := l.SetWriteDeadline(time.Now().Add(l.stall)); err != nil {
		return 0, err
	}
	return l.Conn.Write(p)
}
