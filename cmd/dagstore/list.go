package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
)

// maxListLine bounds a line of a list, so that a file that is no list at all
// is refused instead of read into memory.
const maxListLine = 1 << 20

// A listEntry is one line of a list: an object, or a bare URL, which gives an
// entry with a Mount alone.
type listEntry struct {
	Key    string            `json:"key"`
	Mount  string            `json:"mount"`
	Size   *int64            `json:"size"`
	ETag   string            `json:"etag"`
	Piece  string            `json:"piece"`
	Index  string            `json:"index"`
	Pin    bool              `json:"pin"`
	Labels map[string]string `json:"labels"`

	line  int
	piece cid.Cid
}

// readList yields the entries of a list. A bad line gives an error with its
// number, and the next line follows; an error of r ends the list.
func readList(name string, r io.Reader) iter.Seq2[listEntry, error] {
	return func(yield func(listEntry, error) bool) {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, maxListLine)
		line := 0
		for scanner.Scan() {
			line++
			text := bytes.TrimSpace(scanner.Bytes())
			if len(text) == 0 {
				continue
			}
			entry, err := parseEntry(text)
			entry.line = line
			if err != nil {
				err = fmt.Errorf("%s, line %d: %w", name, line, err)
			}
			if !yield(entry, err) {
				return
			}
		}
		if err := scanner.Err(); err != nil {
			if errors.Is(err, bufio.ErrTooLong) {
				err = fmt.Errorf("it is longer than %d bytes; the rest of the list was not read", maxListLine)
			}
			yield(listEntry{line: line + 1}, fmt.Errorf("%s, line %d: %w", name, line+1, err))
		}
	}
}

// parseEntry reads one line, which is not empty.
func parseEntry(text []byte) (listEntry, error) {
	// The JSON decoder would replace such bytes without a word.
	if !utf8.Valid(text) {
		return listEntry{}, errors.New("it is not valid UTF-8")
	}
	if text[0] != '{' {
		return listEntry{Mount: string(text)}, checkURL(string(text))
	}
	var entry listEntry
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&entry); err != nil {
		return listEntry{}, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return entry, errors.New("there is more on the line after the object")
	}
	return entry, entry.check()
}

// check tells what is wrong with the fields of e, and parses its piece CID.
func (e *listEntry) check() error {
	if e.Mount == "" {
		return errors.New(`it has no "mount"`)
	}
	if e.Size != nil && *e.Size < 0 {
		return fmt.Errorf(`"size" is %d`, *e.Size)
	}
	if e.Piece != "" {
		piece, err := cid.Decode(e.Piece)
		if err != nil {
			return fmt.Errorf(`"piece" is no CID: %w`, err)
		}
		e.piece = piece
	}
	return checkURL(e.Mount)
}

// checkURL refuses what is plainly no URL, so that a list of paths is told
// apart from a list of URLs that cannot be reached.
func checkURL(s string) error {
	if !isURL(s) {
		return fmt.Errorf("%q is no URL: a list holds one URL or one JSON object a line", s)
	}
	return nil
}

// isURL reports whether s begins with a scheme and "://".
func isURL(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		case i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.'):
		case i > 1 && c == ':':
			return len(s) > i+2 && s[i+1:i+3] == "//"
		default:
			return false
		}
	}
	return false
}
