package mmap

import (
	"os"
	"unsafe"

	"golang.org/x/sys/windows"
)

const openFlags = os.O_RDONLY

func mapFile(fd uintptr, size int) ([]byte, error) {
	section, err := windows.CreateFileMapping(windows.Handle(fd), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, os.NewSyscallError("CreateFileMapping", err)
	}
	// The view keeps the section alive.
	defer windows.CloseHandle(section)
	addr, err := windows.MapViewOfFile(section, windows.FILE_MAP_READ, 0, 0, uintptr(size))
	if err != nil {
		return nil, os.NewSyscallError("MapViewOfFile", err)
	}
	// Not unsafe.Pointer(addr): vet cannot know that addr is no Go memory.
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), size), nil
}

func unmap(data []byte) error {
	addr := uintptr(unsafe.Pointer(unsafe.SliceData(data)))
	return os.NewSyscallError("UnmapViewOfFile", windows.UnmapViewOfFile(addr))
}

func prefetch([]byte) {}
