//go:build unix

package servertest

import (
	"os/exec"
	"syscall"
)

// ownGroup makes cmd lead a process group, so that what it starts can be ended
// together with it.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills the process and its group. A process that has ended is no
// error.
func killGroup(cmd *exec.Cmd) { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
