package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// listenerOf is the process that has made the socket at path; 0: not known.
func listenerOf(ctx context.Context, path string) (pid int) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return 0
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return 0
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	return pid
}

// isStopped reports whether a process is stopped by a signal or by a debugger.
func isStopped(pid int) bool {
	if pid <= 0 {
		return false
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	// The name before it is in brackets, and may have brackets in it.
	rest := bytes.TrimSpace(text[bytes.LastIndexByte(text, ')')+1:])
	return len(rest) > 0 && (rest[0] == 'T' || rest[0] == 't')
}
