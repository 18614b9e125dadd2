package denylist

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	maxHeader = 1 << 20 // bytes, with the line that ends it
	maxLine   = 2 << 20 // bytes, with the end of the line
)

// ErrList is about a list as a whole: it is not taken, and what was there
// before stays.
var ErrList = errors.New("denylist: it cannot be used")

// A Header is what a list says about itself.
type Header struct {
	Name, Description, Author string
	Status                    int // of answers, unless a rule has its own: 410 or 451
}

// splitHeader looks for the line that ends a header in what a list begins
// with, which is all of it or longer than a header may be.
func splitHeader(begin []byte) (header []byte, found bool) {
	begin = begin[:min(len(begin), maxHeader)]
	for at := 0; ; {
		n := bytes.IndexByte(begin[at:], '\n')
		if n < 0 {
			break
		}
		line := begin[at : at+n]
		at += n + 1
		if isEnd(line) {
			return begin[:at], true
		}
	}
	return nil, false
}

// isEnd reports whether a line ends the header.
func isEnd(line []byte) bool { return string(bytes.TrimRight(line, " \t\r")) == "---" }

// parseHeader reads a header, the line that ends it included. The error wraps
// ErrList. warning is about what is passed over.
func parseHeader(header []byte) (h Header, warning, err error) {
	h.Status = http.StatusGone
	text := bytes.TrimRight(header, " \t\r\n")
	text = bytes.TrimSuffix(text, []byte("---"))
	var fields struct {
		Version     any            `yaml:"version"`
		Name        any            `yaml:"name"`
		Description any            `yaml:"description"`
		Author      any            `yaml:"author"`
		Hints       map[string]any `yaml:"hints"`
	}
	if err := yaml.Unmarshal(text, &fields); err != nil {
		return h, nil, fmt.Errorf("%w: its header is no YAML with the fields of one: %.200s", ErrList, err.Error())
	}
	if v := fmt.Sprint(fields.Version); fields.Version != nil && v != "1" {
		return h, nil, fmt.Errorf("%w: its version is %.20q, not 1", ErrList, v)
	}
	h.Name, h.Description, h.Author = clip(fields.Name), clip(fields.Description), clip(fields.Author)
	if hint, ok := fields.Hints[hintStatus]; ok {
		status, err := parseStatus(fmt.Sprint(hint))
		if err != nil {
			return h, err, nil
		}
		h.Status = status
	}
	return h, nil, nil
}

// clip is a field as text that fits on a screen.
func clip(field any) string {
	if field == nil {
		return ""
	}
	text := strings.ToValidUTF8(fmt.Sprint(field), "�")
	if runes := []rune(text); len(runes) > 200 {
		text = string(runes[:200]) + "…"
	}
	return text
}
