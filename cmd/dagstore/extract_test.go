package main

import (
	"bytes"
	"errors"
	"testing"
)

func TestTextOnly(t *testing.T) {
	for text, fine := range map[string]bool{
		"":                        true,
		"plain\ttext\r\n":         true,
		"Grüße, 日本 🚀":             true,
		"\x00":                    false,
		"a\x1b[31mred":            false,
		"bell\a":                  false,
		"delete\x7f":              false,
		"\u009b31m":               false, // the same as ESC [
		"\xff\xfe":                false,
		"latin caf\xe9 au lait":   false,
		"cut \xe6\x97 character":  false,
		"cut at the end \xe6\x97": false,
	} {
		// All at once and byte by byte: a character may come in parts.
		for _, step := range []int{len(text), 1} {
			var out bytes.Buffer
			w := &textOnly{w: &out}
			var err error
			for rest := []byte(text); len(rest) > 0 && err == nil; rest = rest[min(step, len(rest)):] {
				_, err = w.Write(rest[:min(step, len(rest))])
			}
			if err == nil {
				err = w.end()
			}
			if fine && (err != nil || out.String() != text) {
				t.Errorf("%q by %d: %q, %v", text, step, out.String(), err)
			}
			if !fine && !errors.Is(err, errBinary) {
				t.Errorf("%q by %d: %v, passed on %q", text, step, err, out.String())
			}
		}
	}
}
