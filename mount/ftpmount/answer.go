package ftpmount

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/textproto"
	"os"
	"strings"

	"github.com/jlaffaye/ftp"

	"github.com/dagstore/dagstore/mount"
)

// answered reports whether err is what a server has said, after which the
// connection is as good as before.
func answered(err error) bool {
	said, ok := errors.AsType[*textproto.Error](err)
	return ok && said.Code != ftp.StatusNotAvailable && said.Code >= 400
}

// lost reports whether err means that there is nobody to ask any more.
func lost(err error) bool {
	said, ok := errors.AsType[*textproto.Error](err)
	return ok && said.Code == ftp.StatusNotAvailable || !ok && ours(err)
}

// unknown reports whether a server has said that it does not know a command.
func unknown(err error) bool {
	said, ok := errors.AsType[*textproto.Error](err)
	return ok && said.Code >= 500 && said.Code <= 504
}

// errPanic is about an answer that the library could not cope with.
var errPanic = fmt.Errorf("%w: it has no form", mount.ErrAnswer)

// explain says what a server meant. Its own words are left out: it may write
// what it likes there, also what was sent to it as a password.
func explain(err error) error {
	said, ok := errors.AsType[*textproto.Error](err)
	if !ok {
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("%w: %w", mount.ErrStalled, err)
		case ours(err):
			return err
		}
		return fmt.Errorf("%w: it is not understood", mount.ErrAnswer)
	}
	text := strings.ToLower(said.Msg)
	switch {
	case said.Code == ftp.StatusNotAvailable:
		return &mount.BusyError{Err: fmt.Errorf("the server is not available, or has too many connections (%d)", said.Code)}
	case said.Code == ftp.StatusNotLoggedIn:
		return fmt.Errorf("the server refuses the login (%d): %w", said.Code, fs.ErrPermission)
	case said.Code == ftp.StatusFileUnavailable && (strings.Contains(text, "permission") || strings.Contains(text, "denied")):
		return fmt.Errorf("the server refuses the file (%d): %w", said.Code, fs.ErrPermission)
	case said.Code == ftp.StatusFileUnavailable && (strings.Contains(text, "regular") || strings.Contains(text, "plain file") || strings.Contains(text, "is a directory")):
		return fmt.Errorf("%w (%d)", ErrNotRegular, said.Code)
	case said.Code == ftp.StatusFileUnavailable:
		return fmt.Errorf("the server has no such file, or does not show it (%d): %w", said.Code, fs.ErrNotExist)
	}
	return fmt.Errorf("the server answers with code %d", said.Code)
}

// ours reports whether err was written on this side.
func ours(err error) bool {
	for _, plain := range []error{io.EOF, io.ErrUnexpectedEOF, errAnswer, errPanic, context.Canceled, net.ErrClosed} {
		if errors.Is(err, plain) {
			return true
		}
	}
	_, network := errors.AsType[net.Error](err)
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	return network || certificate || alert || record
}
