package sftpmount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/dagstore/dagstore/mount"
)

// answered reports whether err is what a server has said of a file, after
// which the connection is as good as before.
func answered(err error) bool {
	status, ok := errors.AsType[*sftp.StatusError](err)
	if ok {
		return status.FxCode() != sftp.ErrSSHFxConnectionLost && status.FxCode() != sftp.ErrSSHFxNoConnection
	}
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)
}

// explain says what a server meant. Its own words are left out: it may write
// what it likes there, also what was sent to it as a password.
func explain(err error) error {
	status, ok := errors.AsType[*sftp.StatusError](err)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the server has no such file: %w", fs.ErrNotExist)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the server refuses the file: %w", fs.ErrPermission)
	case ok:
		return fmt.Errorf("the server answers with status %d", status.Code)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %w", mount.ErrStalled, err)
	case ours(err):
		return err
	}
	return fmt.Errorf("%w: it is not understood", mount.ErrAnswer)
}

// ours reports whether err was written on this side.
func ours(err error) bool {
	for _, plain := range []error{io.EOF, io.ErrUnexpectedEOF, context.Canceled, net.ErrClosed, errLost, errPanic} {
		if errors.Is(err, plain) {
			return true
		}
	}
	_, network := errors.AsType[net.Error](err)
	return network
}

var (
	// errLost is about a connection that has ended.
	errLost = errors.New("the connection is lost")

	// errPanic is about an answer that the library could not cope with.
	errPanic = fmt.Errorf("%w: it has no form", mount.ErrAnswer)
)

// explainLogin says why a login has failed.
func explainLogin(err error) error {
	denied, ok := errors.AsType[denial](err)
	_, algorithms := errors.AsType[*ssh.AlgorithmNegotiationError](err)
	switch {
	case ok:
		return denied.error
	case algorithms:
		return errors.New("the server knows none of the algorithms that are offered, or has no key of a kind that is known of it")
	case strings.Contains(err.Error(), "unable to authenticate"):
		return fmt.Errorf("the server refuses the login: %w", fs.ErrPermission)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("%w: %w", mount.ErrStalled, err)
	case ours(err):
		return err
	}
	return fmt.Errorf("%w: its part of the handshake is not understood", mount.ErrAnswer)
}
