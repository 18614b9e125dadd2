package engine

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// spoolMemory is how many bytes a spool keeps in memory.
const spoolMemory = 1 << 20

var (
	errTooLong  = errors.New("engine: more bytes came than are wanted")
	errUnspoken = errors.New("engine: a spooled file ended early")
)

// fromSource is a stream whose failures are told from those of a disk.
type fromSource struct{ r io.Reader }

// Read implements [io.Reader].
func (t fromSource) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = sourceError(err)
	}
	return n, err
}

// A spool is a copy of something that comes as a stream and is to be read at
// random: in memory, or, if it is longer, in a file.
type spool struct {
	folder string
	mem    bytes.Buffer
	file   *os.File
	size   int64
}

// fill copies r to its end. It is an errTooLong if that lies beyond most.
func (s *spool) fill(r io.Reader, most int64) error {
	r = io.LimitReader(r, most+1)
	n, err := s.mem.ReadFrom(io.LimitReader(r, spoolMemory))
	s.size = n
	if err == nil && n == spoolMemory {
		err = s.overflow(r)
	}
	switch {
	case err != nil:
		return err
	case s.size > most:
		return errTooLong
	}
	return nil
}

// overflow moves what is in memory to a file, and the rest of r behind it.
func (s *spool) overflow(r io.Reader) (err error) {
	if s.file, err = os.CreateTemp(s.folder, "dagstore-index-*"); err != nil {
		return err
	}
	n, err := io.Copy(s.file, io.MultiReader(&s.mem, r))
	s.size, s.mem = n, bytes.Buffer{}
	return err
}

// ReadAt implements [io.ReaderAt].
func (s *spool) ReadAt(p []byte, off int64) (int, error) {
	switch {
	case off < 0 || off >= s.size:
		return 0, io.EOF
	case s.file == nil:
		n := copy(p, s.mem.Bytes()[off:])
		if n < len(p) {
			return n, io.EOF
		}
		return n, nil
	}
	n, err := s.file.ReadAt(p, off)
	if errors.Is(err, io.EOF) && off+int64(n) < s.size {
		err = errUnspoken
	}
	return n, err
}

// close removes what was copied.
func (s *spool) close() {
	s.mem = bytes.Buffer{}
	if s.file != nil {
		_ = errors.Join(s.file.Close(), os.Remove(s.file.Name())) // what is left is removed by the next start
		s.file = nil
	}
}
