//go:build !unix

package local

import "os"

// A plain is a file.
type plain struct{ file *os.File }

func newPlain(f *os.File) plain { return plain{f} }

func (p *plain) can() bool { return p.file != nil }

// read fills b, or returns false.
func (p *plain) read(b []byte, off int64) bool {
	n, err := p.file.ReadAt(b, off)
	return n == len(b) && err == nil
}
