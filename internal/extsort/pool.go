package extsort

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"runtime"
)

const (
	// slabSize holds 256 rows of 45 bytes, the row of an index of SHA-256
	// multihashes. With 256 buckets half of 256 slabs is unused: 1.4 MiB.
	slabSize = slabRows * 45

	// slabRows is the most rows of one chunk: a row is named by the number of
	// its chunk and 8 bits.
	slabRows = 256

	// maxRow is the widest row; a slab holds at least two.
	maxRow = slabSize / 2

	// minMemory is the smallest budget. Less would spill runs of a few rows.
	minMemory = 64 << 10

	// bucketMemory is the budget from which on rows are put into buckets as
	// they come: with less, slabs that are half empty would be most of it.
	bucketMemory = 16 << 20

	// bucketRows is how many rows one Sorter gathers before it makes buckets:
	// a small set of rows is sorted in the cache as it is.
	bucketRows = 4096

	// collectMemory is the budget from which on what is let go is collected at
	// once. Who has spilled as much has worked for a second or more.
	collectMemory = 32 << 20

	// pairCost is the memory that sorting takes for each row of the largest
	// bucket, in bytes: a pair, twice.
	pairCost = 2 * 16
)

var (
	// ErrSpill says that sorted runs could not be written or read back.
	ErrSpill = errors.New("extsort: spill file")

	// ErrClosed says that the pool was closed.
	ErrClosed = errors.New("extsort: closed")
)

// castagnoli is a constant: the table is made once, by the package itself.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Pool is the memory and the spill file that several Sorters share. A Pool
// and its Sorters are for one goroutine.
type Pool struct {
	// Stop, if not nil, is asked now and then while rows are spilled. Its error
	// ends that, and so the use of the pool. It is set before the first row.
	Stop func() error

	memory  int64
	dir     string
	create  creator
	used    int64    // bytes in slabs and small chunks
	largest int64    // rows in the largest bucket of any Sorter
	free    [][]byte // slabs to use again
	sorters []*Sorter
	spill   *spillFile
	scratch scratch
	failed  error // of spilling: what came of it is not known, so it is not tried again
	closed  bool
}

// NewPool returns a pool that uses about memory bytes (at least 64 KiB) and
// spills to a file in dir, or in os.TempDir() if dir is "". The file is made
// when it is needed and removed by Close.
func NewPool(memory int64, dir string) *Pool {
	return &Pool{memory: max(memory, minMemory), dir: dir, create: createTemp}
}

// Sorter returns a new Sorter of rows of width bytes.
func (p *Pool) Sorter(width int) (*Sorter, error) {
	if p.closed {
		return nil, ErrClosed
	}
	if width < 1 || width > maxRow {
		return nil, fmt.Errorf("extsort: rows of %d bytes: %w", width, errors.ErrUnsupported)
	}
	s := &Sorter{pool: p, width: width, perSlab: min(slabRows, slabSize/width), buckets: make([]bucket, 1)}
	p.sorters = append(p.sorters, s)
	return s, nil
}

// Spilled says whether anything was written to the spill file.
func (p *Pool) Spilled() bool { return p.spill != nil }

// Close removes the spill file and lets go of the memory. A second Close does
// nothing.
func (p *Pool) Close() error {
	if p.closed {
		return nil
	}
	p.closed = true
	p.free, p.scratch = nil, scratch{}
	for _, s := range p.sorters {
		s.buckets, s.runs = nil, nil
	}
	p.sorters = nil
	if p.spill == nil {
		return nil
	}
	return p.spill.remove()
}

// release lets go of the memory for rows, which the merge wants. Much of it is
// collected at once: it would count towards the next collection otherwise, and
// the process would come to hold it twice.
func (p *Pool) release() {
	if p.free == nil {
		return
	}
	p.free, p.scratch = nil, scratch{}
	if p.memory >= collectMemory {
		runtime.GC()
	}
}

// usable returns why the pool cannot be used any more, or nil.
func (p *Pool) usable() error {
	if p.closed {
		return ErrClosed
	}
	return p.failed
}

// reserve makes room for want more bytes: if they would exceed the budget,
// everything is spilled, and every bucket is empty afterwards.
func (p *Pool) reserve(want int64) error {
	if err := p.usable(); err != nil {
		return err
	}
	if p.used == 0 || p.used+want+p.largest*pairCost <= p.memory {
		return nil
	}
	return p.spillAll()
}

// take returns size bytes to be filled, and counts them.
func (p *Pool) take(size int) []byte {
	p.used += int64(size)
	if n := len(p.free); n > 0 && size == slabSize {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		return c
	}
	return make([]byte, size)
}

// give takes back what take gave.
func (p *Pool) give(c []byte) {
	p.used -= int64(len(c))
	if len(c) == slabSize {
		p.free = append(p.free, c)
	}
}

// spillAll writes what every Sorter holds to the spill file, as a sorted run
// of each.
func (p *Pool) spillAll() error {
	if p.failed != nil {
		return p.failed
	}
	if p.spill == nil {
		if p.spill, p.failed = newSpillFile(p.dir, p.create); p.failed != nil {
			return p.failed
		}
	}
	for _, s := range p.sorters {
		if p.failed = s.spill(); p.failed != nil {
			return p.failed
		}
	}
	p.largest = 0
	return nil
}

// A run is a sorted sequence of rows in the spill file.
type run struct {
	off, size int64
	crc       uint32
}

// A file is what is spilled to.
type file interface {
	io.WriteCloser
	io.ReaderAt
	Name() string
}

// A creator makes a file in dir.
type creator func(dir string) (file, error)

func createTemp(dir string) (file, error) { return os.CreateTemp(dir, "dagstore-sort-*") }

// A spillFile is written at its end and read anywhere.
type spillFile struct {
	f    file
	size int64
	buf  []byte
	crc  uint32
}

// spillBuffer is what goes to the disk in one write.
const spillBuffer = 256 << 10

func newSpillFile(dir string, create creator) (*spillFile, error) {
	f, err := create(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSpill, err)
	}
	return &spillFile{f: f, buf: make([]byte, 0, spillBuffer)}, nil
}

// write adds one row.
func (f *spillFile) write(row []byte) error {
	if len(f.buf)+len(row) > cap(f.buf) {
		if err := f.flush(); err != nil {
			return err
		}
	}
	f.buf = append(f.buf, row...)
	return nil
}

func (f *spillFile) flush() error {
	n, err := f.f.Write(f.buf)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSpill, err)
	}
	f.crc = crc32.Update(f.crc, castagnoli, f.buf[:n])
	f.size += int64(n)
	f.buf = f.buf[:0]
	return nil
}

// end flushes and returns the run that began at off.
func (f *spillFile) end(off int64) (run, error) {
	if err := f.flush(); err != nil {
		return run{}, err
	}
	r := run{off: off, size: f.size - off, crc: f.crc}
	f.crc = 0
	return r, nil
}

func (f *spillFile) remove() error {
	err := f.f.Close()
	if rmErr := os.Remove(f.f.Name()); !errors.Is(rmErr, fs.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSpill, err)
	}
	return nil
}
