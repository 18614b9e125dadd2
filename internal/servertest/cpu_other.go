//go:build !linux

package servertest

import (
	"errors"
	"time"
)

// CPU is the processor time that the process has used. An error says that the
// system does not tell.
func (p *Process) CPU() (time.Duration, error) { return 0, errors.ErrUnsupported }

// Memory is the most memory that the process has had, in bytes.
func (p *Process) Memory() (int64, error) { return 0, errors.ErrUnsupported }
