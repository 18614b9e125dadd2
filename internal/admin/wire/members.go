package wire

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// A LineError says which line of a text is wrong, and why.
type LineError struct {
	Line int
	Err  error
}

// Error says both.
func (e *LineError) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns why.
func (e *LineError) Unwrap() error { return e.Err }

// ReadMembers yields the members of a manifest: one a line, as a CID of any version
// or as a multihash in base58 or hexadecimal. Empty lines are passed over. A line
// that is none gives a [LineError], which ends it, as an error of r does.
func ReadMembers(r io.Reader) iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		lines, n := bufio.NewScanner(r), 0
		for lines.Scan() {
			n++
			text := strings.TrimSpace(lines.Text())
			if text == "" {
				continue
			}
			mh, err := parseMember(text)
			if err != nil {
				err = &LineError{n, err}
			}
			if !yield(mh, err) || err != nil {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, fmt.Errorf("after line %d: %w", n, err))
		}
	}
}

// parseMember reads a CID or a multihash.
func parseMember(text string) (multihash.Multihash, error) {
	if c, err := cid.Decode(text); err == nil {
		return c.Hash(), nil
	}
	if mh, err := multihash.FromB58String(text); err == nil {
		return mh, nil
	}
	if mh, err := multihash.FromHexString(text); err == nil {
		return mh, nil
	}
	return nil, fmt.Errorf("%q is neither a CID nor a multihash", text)
}
