package mmap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
	"unsafe"
)

// ErrUnsupported says that a file cannot be mapped: the platform has no
// mappings, or the file has no descriptor. Reading it with ReadAt still works.
var ErrUnsupported = fmt.Errorf("mmap: %w", errors.ErrUnsupported)

// A Fault is a page of a mapping that could not be read: the file is shorter
// than it was, or the device failed.
type Fault struct {
	Offset int64 // of the first byte of the page, in the file
	Err    error // what the runtime reported
}

// Error names the offset and the runtime's report.
func (f *Fault) Error() string {
	return fmt.Sprintf("mmap: page fault at offset %d: %v", f.Offset, f.Err)
}

// Unwrap returns what the runtime reported.
func (f *Fault) Unwrap() error { return f.Err }

// A Descriptor is an open file. Both *os.File and the files of Pebble's vfs are.
type Descriptor interface{ Fd() uintptr }

// noDescriptor is what Pebble's vfs returns for a file that lives in memory.
const noDescriptor = ^uintptr(0)

// A Mapping is the content of a file as it was mapped. It may be used by many
// goroutines at once.
type Mapping struct {
	data []byte
	size int64
	file *os.File // only where the platform has no mappings; then data is nil
}

// Open maps the file at path and closes it again. Where the platform has no
// mappings the file is kept open, and ReadAt reads it. What is no regular file
// is refused with [fs.ErrInvalid], a pipe too: nobody waits for its writer.
func Open(path string) (*Mapping, error) {
	f, err := os.OpenFile(path, openFlags, 0)
	if err != nil {
		return nil, err
	}
	m, err := openFile(f)
	if err != nil || m.file == nil {
		// Nothing was written, so closing has nothing to say.
		_ = f.Close()
	}
	return m, err
}

func openFile(f *os.File) (*Mapping, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &fs.PathError{Op: "mmap", Path: f.Name(), Err: fs.ErrInvalid}
	}
	m, err := Map(f, info.Size())
	if errors.Is(err, errors.ErrUnsupported) {
		return &Mapping{size: info.Size(), file: f}, nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	return m, nil
}

// Map maps the first size bytes of f. The mapping does not need f any more
// once Map has returned; f stays its caller's to close. The error wraps
// [ErrUnsupported] if f cannot be mapped and should be read with ReadAt.
func Map(f Descriptor, size int64) (*Mapping, error) {
	switch fd := f.Fd(); {
	case fd == noDescriptor:
		return nil, ErrUnsupported
	case size < 0:
		return nil, fmt.Errorf("mmap: size %d: %w", size, fs.ErrInvalid)
	case size != int64(int(size)):
		return nil, fmt.Errorf("%w: %d bytes do not fit the address space", ErrUnsupported, size)
	case size == 0:
		return &Mapping{data: []byte{}}, nil // the kernel refuses empty mappings
	default:
		data, err := mapFile(fd, int(size))
		if err != nil {
			return nil, err
		}
		return &Mapping{data: data, size: size}, nil
	}
}

// Bytes returns the mapped memory, or nil where the platform has no mappings.
// It must not be written to, not be used after Close, and be read only under
// [Mapping.Guard].
func (m *Mapping) Bytes() []byte { return m.data }

// Size is the length of the file when it was mapped.
func (m *Mapping) Size() int64 { return m.size }

// ReadAt copies from the mapping. An unreadable page is a [*Fault].
func (m *Mapping) ReadAt(p []byte, off int64) (n int, err error) {
	if m.file != nil {
		return m.file.ReadAt(p, off)
	}
	switch {
	case m.data == nil:
		return 0, fs.ErrClosed
	case off < 0:
		return 0, fmt.Errorf("mmap: offset %d: %w", off, fs.ErrInvalid)
	case off >= m.size:
		return 0, io.EOF
	}
	return m.copyAt(p, int(off))
}

func (m *Mapping) copyAt(p []byte, off int) (n int, err error) {
	defer m.Guard(debug.SetPanicOnFault(true), &err)
	n = copy(p, m.data[off:])
	if n < len(p) {
		err = io.EOF
	}
	return n, err
}

// Prefetch tells the kernel that n bytes from off will be read soon. A mapping
// is otherwise treated as read at random, without read-ahead. It is advice: it
// does not wait, and cannot fail.
func (m *Mapping) Prefetch(off, n int64) {
	if off < 0 || n <= 0 || off >= int64(len(m.data)) {
		return
	}
	page := int64(os.Getpagesize())
	from := off / page * page // advice is given for whole pages
	prefetch(m.data[from:min(off+n, int64(len(m.data)))])
}

// Guard is deferred by a function that reads [Mapping.Bytes]; see the package
// comment. If the function faulted on a page of m, Guard ends the panic and
// sets *err to a [*Fault]; other panics go on. It puts back how faults were
// treated before, which is what debug.SetPanicOnFault returned.
func (m *Mapping) Guard(before bool, err *error) {
	debug.SetPanicOnFault(before)
	// recover works only in the deferred function itself.
	if r := recover(); r != nil {
		*err = fault(m.data, r)
	}
}

// Guard is [Mapping.Guard] for those who hold the bytes of a mapping and not
// the mapping itself. data is all of them.
func Guard(data []byte, before bool, err *error) {
	debug.SetPanicOnFault(before)
	if r := recover(); r != nil {
		*err = fault(data, r)
	}
}

// fault turns what was recovered into a Fault, or panics with it again if it
// is no fault of this mapping.
func fault(data []byte, recovered any) error {
	re, ok := recovered.(interface {
		error
		Addr() uintptr
	})
	if !ok || len(data) == 0 {
		panic(recovered)
	}
	// The address may lie anywhere in the last page, beyond the file's end.
	page := uintptr(os.Getpagesize())
	base := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	size := (uintptr(len(data)) + page - 1) / page * page
	if addr := re.Addr(); addr >= base && addr < base+size {
		return &Fault{Offset: int64((addr - base) / page * page), Err: re}
	}
	panic(recovered)
}

// Close unmaps m. It must not be called while another goroutine reads m, and
// what [Mapping.Bytes] returned must not be read after it. A second Close does
// nothing.
func (m *Mapping) Close() error {
	if m.file != nil {
		if err := m.file.Close(); err != nil && !errors.Is(err, fs.ErrClosed) {
			return err
		}
		return nil
	}
	data := m.data
	m.data, m.size = nil, 0
	if len(data) == 0 {
		return nil
	}
	return unmap(data)
}
