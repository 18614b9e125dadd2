package watch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inotify is an [ear]. Of each folder the kernel remembers a number, so that
// nothing is opened.
type inotify struct {
	file  *os.File
	hears func(below string, n news)
	ended sync.WaitGroup

	mu    sync.Mutex // beside that of the folder, for the reader of events
	paths map[int32]listened
	look  uint32
	full  bool // no more folders, in this look
}

// listened is a folder that is listened to.
type listened struct {
	below string
	look  uint32 // that has come upon it last
}

// mask is what is asked for. Writes are not: a file that is written to for an
// hour would be told of all the time, and its end is.
const mask = unix.IN_CREATE | unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_DELETE |
	unix.IN_DELETE_SELF | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

func newEar(hears func(below string, n news)) (ear, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	e := &inotify{file: os.NewFile(uintptr(fd), "inotify"), hears: hears, paths: make(map[int32]listened)}
	e.ended.Go(e.read)
	return e, nil
}

func (e *inotify) close() {
	_ = e.file.Close() // nothing was written
	e.ended.Wait()
}

func (e *inotify) beginLook() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.look++
	e.full = false
}

func (e *inotify) listenTo(path, below string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.full {
		return errTooMany
	}
	number, err := e.add(path)
	switch {
	case errors.Is(err, syscall.ENOSPC):
		e.full = true
		return errTooMany
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrPermission):
		return nil // the look tells of it
	case err != nil:
		return fmt.Errorf("inotify: %w", err)
	}
	e.paths[number] = listened{below, e.look}
	if below == "" && distant(path) {
		return errDistant
	}
	return nil
}

// distantTypes are the numbers, as statfs(2) has them, of file systems that
// others may change without this kernel.
var distantTypes = map[uint32]bool{
	unix.NFS_SUPER_MAGIC: true, unix.SMB_SUPER_MAGIC: true, unix.SMB2_SUPER_MAGIC: true, unix.CIFS_SUPER_MAGIC: true,
	unix.FUSE_SUPER_MAGIC: true, unix.V9FS_MAGIC: true, unix.CEPH_SUPER_MAGIC: true, unix.AFS_SUPER_MAGIC: true,
}

// distant reports whether a folder is of such a file system.
func distant(path string) bool {
	var s unix.Statfs_t
	return unix.Statfs(path, &s) == nil && distantTypes[uint32(s.Type)]
}

func (e *inotify) add(path string) (number int32, err error) {
	raw, err := e.file.SyscallConn()
	if err != nil {
		return 0, err
	}
	control := raw.Control(func(fd uintptr) {
		var n int
		n, err = unix.InotifyAddWatch(int(fd), path, mask)
		number = int32(n)
	})
	return number, errors.Join(err, control)
}

// endLook gives up the folders that the look has not come upon: they went
// elsewhere, and would be told of under names that they do not have.
func (e *inotify) endLook() {
	e.mu.Lock()
	defer e.mu.Unlock()
	raw, err := e.file.SyscallConn()
	if err != nil {
		return // it is closed
	}
	for number, l := range e.paths {
		if l.look == e.look {
			continue
		}
		delete(e.paths, number)
		_ = raw.Control(func(fd uintptr) {
			_, _ = unix.InotifyRmWatch(int(fd), uint32(number)) // the kernel may have been faster
		})
	}
}

// read hears until the file is closed.
func (e *inotify) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := e.file.Read(buf)
		if err != nil {
			return
		}
		e.parse(buf[:n])
	}
}

// parse takes apart what inotify(7) has written.
func (e *inotify) parse(buf []byte) {
	const head = int(unsafe.Sizeof(unix.InotifyEvent{}))
	for len(buf) >= head {
		number := int32(binary.NativeEndian.Uint32(buf))
		what := binary.NativeEndian.Uint32(buf[4:])
		length := int(binary.NativeEndian.Uint32(buf[12:]))
		if len(buf) < head+length {
			return
		}
		name, _, _ := bytes.Cut(buf[head:head+length], []byte{0})
		buf = buf[head+length:]
		e.event(number, what, string(name))
	}
}

func (e *inotify) event(number int32, what uint32, name string) {
	if what&unix.IN_Q_OVERFLOW != 0 {
		e.hears("", written)
		return
	}
	e.mu.Lock()
	in, ok := e.paths[number]
	if what&unix.IN_IGNORED != 0 {
		delete(e.paths, number)
	}
	e.mu.Unlock()
	if !ok || name == "" || Temporary(name) {
		return
	}
	below := path.Join(in.below, name)
	switch dir := what&unix.IN_ISDIR != 0; {
	case dir && what&unix.IN_MOVED_TO != 0:
		e.hears(below, opened|moved)
	case dir && what&unix.IN_CREATE != 0:
		e.hears(below, opened)
	case dir && what&(unix.IN_MOVED_FROM|unix.IN_DELETE) != 0:
		e.hears(below, opened) // to be looked for in vain, and for what was in it
	case dir:
	case what&unix.IN_MOVED_TO != 0:
		e.hears(below, moved)
	default:
		e.hears(below, written)
	}
}

// changeTime is when anything about the file was changed last.
func changeTime(info fs.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Ctim.Unix())
	}
	return time.Time{}
}
