package layers

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"slices"
)

// errSpool says that the keys read back are not those that were written.
var errSpool = errors.New("layers: the file of sorted keys was changed while it was used")

// A spool sorts keys in bounded memory: runs of them are sorted and written to
// a temporary file, and merged when they are read.
type spool struct {
	dir     string
	limit   int // keys of a run
	run     []uint64
	scratch []uint64
	file    *os.File // nil while one run is enough
	runs    []extent
}

// An extent is where a run lies in the file, and its checksum.
type extent struct {
	offset, size int64
	crc          uint32
}

// runBuffer is how much of each run is in memory while runs are merged.
const runBuffer = 64 << 10

func newSpool(dir string, limit int) *spool { return &spool{dir: dir, limit: limit} }

// close removes the file.
func (s *spool) close() {
	if s.file != nil {
		// It held a copy: no error here can lose anything.
		_ = s.file.Close()
		_ = os.Remove(s.file.Name())
	}
}

func (s *spool) add(key uint64) error {
	if len(s.run) == s.limit {
		if err := s.spill(); err != nil {
			return err
		}
	}
	s.run = append(s.run, key)
	return nil
}

// sort sorts the run and takes out what is repeated.
func (s *spool) sort() {
	if len(s.scratch) < len(s.run) {
		s.scratch = make([]uint64, cap(s.run))
	}
	sortKeys(s.run, s.scratch)
	s.run = slices.Compact(s.run)
}

func (s *spool) spill() error {
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "dagstore-keys-*")
		if err != nil {
			return err
		}
		s.file = f
	}
	s.sort()
	var at int64
	if n := len(s.runs); n > 0 {
		at = s.runs[n-1].offset + s.runs[n-1].size
	}
	crc := crc32.New(castagnoli)
	out := bufio.NewWriterSize(io.MultiWriter(s.file, crc), 1<<20)
	var b [8]byte
	for _, key := range s.run {
		binary.LittleEndian.PutUint64(b[:], key)
		if _, err := out.Write(b[:]); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	s.runs = append(s.runs, extent{at, int64(len(s.run)) * 8, crc.Sum32()})
	s.run = s.run[:0]
	return nil
}

// sorted calls do with every key once, rising.
func (s *spool) sorted(do func(key uint64) error) error {
	if s.file == nil {
		s.sort()
		for _, key := range s.run {
			if err := do(key); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.spill(); err != nil {
		return err
	}
	s.run, s.scratch = nil, nil
	return s.merge(do)
}

// A runReader reads one run.
type runReader struct {
	key  uint64 // where it stands
	in   *bufio.Reader
	left int64 // bytes after key
	sum  hash.Hash32
	want uint32
}

func (s *spool) reader(run extent) *runReader {
	sum := crc32.New(castagnoli)
	file := io.TeeReader(io.NewSectionReader(s.file, run.offset, run.size), sum)
	return &runReader{in: bufio.NewReaderSize(file, runBuffer), left: run.size, sum: sum, want: run.crc}
}

// next moves to the next key, or returns false after the last.
func (r *runReader) next() (bool, error) {
	if r.left == 0 {
		if r.sum.Sum32() != r.want {
			return false, errSpool
		}
		return false, nil
	}
	var b [8]byte
	if _, err := io.ReadFull(r.in, b[:]); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false, fmt.Errorf("%w: %w", errSpool, err)
	} else if err != nil {
		return false, err
	}
	r.key = binary.LittleEndian.Uint64(b[:])
	r.left -= int64(len(b))
	return true, nil
}

func (s *spool) merge(do func(key uint64) error) error {
	var heads []*runReader
	for _, run := range s.runs {
		r := s.reader(run)
		if _, err := r.next(); err != nil { // a run is never empty
			return err
		}
		heads = append(heads, r)
	}
	var last uint64
	for first := true; len(heads) > 0; first = false {
		low := 0
		for i := range heads {
			if heads[i].key < heads[low].key {
				low = i
			}
		}
		key := heads[low].key
		if first || key != last {
			if err := do(key); err != nil {
				return err
			}
		}
		last = key
		if more, err := heads[low].next(); err != nil {
			return err
		} else if !more {
			heads = slices.Delete(heads, low, low+1)
		}
	}
	return nil
}

// sortKeys sorts keys with the help of as much scratch. Keys are hashes under a
// secret: two passes of a radix sort over the top bits leave few out of order,
// and what is left is in short runs of the same top bits.
func sortKeys(keys, scratch []uint64) {
	const digit = 11
	if len(keys) < 1<<digit {
		slices.Sort(keys)
		return
	}
	scratch = scratch[:len(keys)]
	from, to := keys, scratch
	for _, shift := range [...]uint{64 - 2*digit, 64 - digit} {
		var at [1 << digit]int
		for _, key := range from {
			at[key>>shift&(1<<digit-1)]++
		}
		sum := 0
		for i, n := range at {
			at[i], sum = sum, sum+n
		}
		for _, key := range from {
			slot := &at[key>>shift&(1<<digit-1)]
			to[*slot] = key
			*slot++
		}
		from, to = to, from
	}
	for begin := 0; begin < len(keys); {
		end := begin + 1
		for end < len(keys) && keys[end]>>(64-2*digit) == keys[begin]>>(64-2*digit) {
			end++
		}
		if end-begin > 1 {
			slices.Sort(keys[begin:end])
		}
		begin = end
	}
}
