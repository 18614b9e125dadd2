//go:build !unix

package servertest

import "os/exec"

func ownGroup(*exec.Cmd) {}

// killGroup kills the process. A process that has ended is no error.
func killGroup(cmd *exec.Cmd) { _ = cmd.Process.Kill() }
