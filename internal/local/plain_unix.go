//go:build unix

package local

import (
	"os"

	"golang.org/x/sys/unix"
)

// A plain is the descriptor of a file. That it is open while it is read is the
// pin's to see to, as with a mapping.
type plain struct {
	file *os.File // keeps the descriptor open; nil: there is none
	fd   int
}

func newPlain(f *os.File) plain {
	if f == nil {
		return plain{}
	}
	return plain{f, int(f.Fd())}
}

func (p *plain) can() bool { return p.file != nil }

// read fills b with one pread, or returns false.
func (p *plain) read(b []byte, off int64) bool {
	n, err := unix.Pread(p.fd, b, off)
	return n == len(b) && err == nil
}
