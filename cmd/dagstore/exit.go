package main

import (
	"context"
	"errors"
	"syscall"

	ipld "github.com/ipfs/go-ipld-format"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// The exit codes are a contract with scripts: a number is never given another
// meaning.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitPartial     = 4
	exitNoStore     = 10
	exitInUse       = 11
	exitNoSpace     = 12
	exitVersion     = 13
	exitInterrupted = 130
)

// exitHelp is the part of the help that explains the codes.
const exitHelp = `Exit codes:
    0  done
    1  nothing was done, or it failed
    2  the command line is wrong
    3  not found
    4  some items failed, the rest is done
   10  there is no store there
   11  the store is in use by another process
   12  no space
   13  the store was written by another version
  130  interrupted`

// exitCodes gives every sentinel of the library its code. It is searched from
// the top, and the first one that the error wraps counts: what is wrong with
// the whole store goes before what is wrong with one shard.
var exitCodes = [...]struct {
	err  error
	code int
}{
	{context.Canceled, exitInterrupted},
	{context.DeadlineExceeded, exitFailed},

	{dagstore.ErrNoStore, exitNoStore},
	{dagstore.ErrInUse, exitInUse},
	{dagstore.ErrVersion, exitVersion},
	{dagstore.ErrNoSpace, exitNoSpace},
	{syscall.ENOSPC, exitNoSpace},
	{syscall.EDQUOT, exitNoSpace},
	{dagstore.ErrReadOnly, exitFailed},
	{dagstore.ErrClosed, exitFailed},
	{dagstore.ErrNoManifest, exitNotFound},
	{dagstore.ErrNotMember, exitFailed},
	{dagstore.ErrManifestName, exitUsage},

	{shard.ErrKey, exitUsage},
	{shard.ErrUnknown, exitNotFound},
	{shard.ErrExists, exitOK}, // the same source again: nothing to do
	{shard.ErrKeyUsed, exitFailed},
	{shard.ErrHeld, exitFailed},
	{shard.ErrBusy, exitFailed},
	{shard.ErrDestroying, exitFailed},
	{shard.ErrFailed, exitFailed},
	{shard.ErrRemote, exitFailed},
	{shard.ErrSource, exitFailed},
	{shard.ErrStalled, exitFailed},
	{shard.ErrChanged, exitFailed},
	{shard.ErrDenied, exitFailed},
	{shard.ErrQuota, exitNoSpace},
	{shard.ErrLastCopy, exitFailed},
	{shard.ErrCAR, exitFailed},
	{shard.ErrBlock, exitFailed},
	{shard.ErrIndex, exitFailed},
	{shard.ErrDestroyed, exitFailed},

	{mount.ErrScheme, exitFailed},
	{mount.ErrURL, exitFailed},
	{mount.ErrNoRanges, exitFailed},
	{mount.ErrNotLocal, exitFailed},
	{mount.ErrDenied, exitFailed},
	{mount.ErrRange, exitFailed},
	{mount.ErrChanged, exitFailed},
	{mount.ErrNoSiblings, exitFailed},
	{mount.ErrBusy, exitFailed},
	{mount.ErrStalled, exitFailed},
	{mount.ErrUnreachable, exitFailed},
	{mount.ErrAnswer, exitFailed},
	{mount.ErrNotReady, exitFailed},

	{index.ErrDamaged, exitFailed},
	{index.ErrVersion, exitFailed}, // of one index file; it is made anew
	{index.ErrRecord, exitFailed},
	{index.ErrSpent, exitFailed},

	{ipld.ErrNotFound{}, exitNotFound},
	{wire.ErrNoJob, exitNotFound},
}

// A codedError is an error for which a command has chosen the exit code.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string { return e.err.Error() }
func (e *codedError) Unwrap() error { return e.err }

// exitError gives err an exit code that goes before the one of [exitCodes].
func exitError(code int, err error) error { return &codedError{code, err} }

// exitCode is the exit code that err means.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if coded, ok := errors.AsType[*codedError](err); ok {
		return coded.code
	}
	for _, row := range exitCodes {
		if errors.Is(err, row.err) {
			return row.code
		}
	}
	return exitFailed
}
