package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/extract"
)

// pathHelp is the part of the help that says what the reading commands take.
const pathHelp = `A CID may be of any version and in any base, bare or as /ipfs/CID or
ipfs://CID.`

// outBuffer makes few large writes of the many small ones of a CAR.
const outBuffer = 64 << 10

// resolved opens the store, follows arg to a block, and calls f with it.
func (a *app) resolved(ctx context.Context, arg string, f func(r *extract.Reader, p extract.Path, c cid.Cid) error) error {
	p, err := extract.ParsePath(arg)
	if err != nil {
		return exitError(exitUsage, err)
	}
	return a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
		r := extract.New(store.Blocks())
		c, err := r.Resolve(ctx, p)
		if err == nil {
			err = f(r, p, c)
		}
		if err = readError(err); exitCode(err) == exitNotFound {
			err = exitError(exitNotFound, fmt.Errorf("%w%s", err, unread(ctx, store)))
		}
		return err
	})
}

// readError gives the errors of package extract their exit codes. A missing
// root is "not found"; a root with something missing below it has failed.
func readError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, extract.ErrPath):
		return exitError(exitUsage, err)
	case errors.Is(err, extract.ErrNotFound):
		return exitError(exitNotFound, err)
	case errors.Is(err, extract.ErrMissing), errors.Is(err, extract.ErrKind),
		errors.Is(err, extract.ErrName), errors.Is(err, extract.ErrExists):
		return exitError(exitFailed, err)
	}
	return err
}

// toStdout lets write write to standard output, which may be a terminal only
// if force is set or what comes is text.
func (a *app) toStdout(force bool, write func(io.Writer) error) error {
	out := bufio.NewWriterSize(a.stdout, outBuffer)
	var err error
	if isTerminal(a.stdout) && !force {
		w := &textOnly{w: out}
		if err = write(w); err == nil {
			err = w.end()
		}
	} else {
		err = write(out)
	}
	if errors.Is(err, errBinary) {
		return err // and show no part of it
	}
	// What has come is passed on even if more should have: the exit code and
	// the message say so.
	return errors.Join(err, out.Flush())
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

var errBinary = errors.New("this is binary data and standard output is a terminal: redirect it to a file or a pipe, or use --force")

// forceFlag adds --force to a command that writes bytes to standard output.
func forceFlag(cmd *cobra.Command, force *bool) {
	cmd.Flags().BoolVar(force, "force", false, "write binary data even to a terminal")
}

// A textOnly writer passes on UTF-8 text without control characters, which
// can do more to a terminal than to disfigure it, and gives errBinary for
// everything else.
type textOnly struct {
	w    io.Writer
	part []byte // the first bytes of a character of which more is to come
}

func (t *textOnly) Write(p []byte) (int, error) {
	text := append(t.part, p...)
	end := 0
	for end < len(text) {
		r, size := utf8.DecodeRune(text[end:])
		if r == utf8.RuneError && size == 1 {
			if !utf8.FullRune(text[end:]) {
				break
			}
			return 0, errBinary
		}
		if !printable(r) {
			return 0, errBinary
		}
		end += size
	}
	if _, err := t.w.Write(text[:end]); err != nil {
		return 0, err
	}
	t.part = append([]byte(nil), text[end:]...)
	return len(p), nil
}

// end is called behind the last Write: a character of which the rest has not
// come is no text either.
func (t *textOnly) end() error {
	if len(t.part) > 0 {
		return errBinary
	}
	return nil
}

// printable reports whether r does nothing to a terminal but show itself. The
// control characters of Latin-1 (0x80–0x9f) are as powerful as those of ASCII.
func printable(r rune) bool {
	switch r {
	case '\t', '\n', '\r':
		return true
	}
	return r >= 0x20 && (r < 0x7f || r > 0x9f)
}

// A savedObject is what "get --json" and "unpack --json" print.
type savedObject struct {
	File    string   `json:"file"`               // or folder
	LeftOut []string `json:"left_out,omitempty"` // symlinks, by their paths in it
}

// savedAs says where the result went.
func (a *app) savedAs(dst string, leftOut []string) error {
	if a.jsonOut {
		if err := printJSON(a.stdout, savedObject{dst, leftOut}); err != nil {
			return err
		}
	} else {
		a.notef("wrote %s", dst)
	}
	const most = 20
	for i, at := range leftOut {
		if i == most {
			a.notef("and %d more symlinks", len(leftOut)-most)
			break
		}
		a.notef("left out the symlink %q: it leads out of the folder, or this system does not allow it", at)
	}
	if len(leftOut) > 0 {
		return exitError(exitPartial, fmt.Errorf("left out %d symlinks; the rest is in %s", len(leftOut), dst))
	}
	return nil
}
