package wire

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/shard"
)

// maxListLine bounds a line of a list, so that a file that is no list at all
// is refused instead of read into memory.
const maxListLine = 1 << 20

// Untold is the trailer in which an answer with a list says how many shards are
// missing from it, since they cannot be told of; there is none if all are there.
const Untold = "Dagstore-Untold"

// An Entry is one line of a list: an object, or a bare URL, which gives an
// entry with a Mount alone.
type Entry struct {
	Key    string            `json:"key,omitempty"`
	Mount  string            `json:"mount"`
	Size   *int64            `json:"size,omitempty"`
	ETag   string            `json:"etag,omitempty"`
	Piece  string            `json:"piece,omitempty"`
	Index  string            `json:"index,omitempty"`
	Serve  string            `json:"serve,omitempty"` // inplace, sparse or copy; else as the command says
	Lazy   bool              `json:"lazy,omitempty"`
	Pin    bool              `json:"pin,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`

	Line     int        `json:"-"` // in the list that it was read from
	PieceCID cid.Cid    `json:"-"` // Piece, parsed
	Mode     shard.Mode `json:"-"` // Serve, parsed
}

// ReadList yields the entries of a list, each with its line. A bad line gives
// an error and what could be made of it, and the next line follows; an error
// of r ends the list.
func ReadList(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		scanner := bufio.NewScanner(r)
		scanner.Buffer(nil, maxListLine)
		line := 0
		for scanner.Scan() {
			line++
			text := bytes.TrimSpace(scanner.Bytes())
			if line == 1 {
				text = bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff"))) // some editors begin a file with this mark
			}
			if len(text) == 0 {
				continue
			}
			entry, err := parseEntry(text)
			entry.Line = line
			if !yield(entry, err) {
				return
			}
		}
		if err := scanner.Err(); err != nil {
			if errors.Is(err, bufio.ErrTooLong) {
				err = fmt.Errorf("it is longer than %d bytes; the rest of the list was not read", maxListLine)
			}
			yield(Entry{Line: line + 1}, err)
		}
	}
}

// parseEntry reads one line, which is not empty.
func parseEntry(text []byte) (Entry, error) {
	// The JSON decoder would replace such bytes without a word.
	if !utf8.Valid(text) {
		return Entry{}, errors.New("it is not valid UTF-8")
	}
	if text[0] != '{' {
		return Entry{Mount: string(text)}, checkURL(string(text))
	}
	if halfPair(text) {
		return Entry{}, errors.New("a \\u escape in it is half of a surrogate pair, which no text has")
	}
	var entry Entry
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&entry); err != nil {
		return entry, err // with the fields that are right
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return entry, errors.New("there is more on the line after the object")
	}
	return entry, entry.check()
}

// halfPair reports whether a JSON text has an escape of a UTF-16 surrogate
// without its other half: the decoder would replace it without a word, and two
// keys would become one. Only strings have backslashes.
func halfPair(text []byte) bool {
	for len(text) > 0 {
		r, n := escape(text)
		text = text[n:]
		if !utf16.IsSurrogate(r) {
			continue
		}
		low, n := escape(text)
		if utf16.DecodeRune(r, low) == unicode.ReplacementChar {
			return true
		}
		text = text[n:]
	}
	return false
}

// escape is the code unit of the \u escape at the beginning of text, or 0 for
// anything else, and the length of what it saw.
func escape(text []byte) (rune, int) {
	switch {
	case len(text) == 0:
		return 0, 0
	case text[0] != '\\':
		return 0, 1
	case len(text) >= 6 && text[1] == 'u':
		if unit, err := strconv.ParseUint(string(text[2:6]), 16, 16); err == nil {
			return rune(unit), 6
		}
	}
	return 0, min(2, len(text))
}

// check tells what is wrong with the fields of e, and parses its piece CID.
func (e *Entry) check() error {
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
		e.PieceCID = piece
	}
	if e.Serve != "" {
		mode, err := ParseMode(e.Serve)
		if err != nil {
			return fmt.Errorf(`"serve" is %q: it is auto, inplace, sparse or copy`, e.Serve)
		}
		e.Mode = mode
	}
	return checkURL(e.Mount)
}

// checkURL refuses what is plainly no URL, so that a list of paths is told
// apart from a list of URLs that cannot be reached.
func checkURL(s string) error {
	if !IsURL(s) {
		return fmt.Errorf("%q is no URL: a list holds one URL or one JSON object a line", s)
	}
	return nil
}

// IsURL reports whether s begins with a scheme and "://".
func IsURL(s string) bool {
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

// EntryOf is a shard as a line of a list, by which it can be added elsewhere.
func EntryOf(info shard.Info) (Entry, error) {
	e := Entry{Key: string(info.Key), Mount: info.URL, Piece: textOf(info.Piece), Pin: info.Local.Pinned, Labels: info.Labels, Lazy: info.State == shard.Registered}
	// The encoder would replace what is not UTF-8 without a word.
	for name, value := range e.Labels {
		if !utf8.ValidString(name) || !utf8.ValidString(value) {
			return e, fmt.Errorf("its label %q is not valid UTF-8, and no list can have it", name)
		}
	}
	if info.Version != 0 { // it has been read
		size := info.Bytes
		e.Size = &size
		// The version of a local file is of this machine and this disk.
		if !strings.HasPrefix(info.URL, "file:") && !strings.HasPrefix(info.URL, "zstd+file:") {
			e.ETag = info.Source
		}
	}
	if m := info.Local.Chosen; m != shard.Auto {
		e.Serve = ModeName(m)
	}
	return e, nil
}
