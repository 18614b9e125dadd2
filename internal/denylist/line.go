package denylist

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// Line returns line n of the list at path, the first being 1.
func Line(path string, n int) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // it was only read
	in := bufio.NewScanner(f)
	in.Buffer(nil, maxLine+1)
	for i := 1; in.Scan(); i++ {
		if i == n {
			return strings.TrimSpace(in.Text()), nil
		}
	}
	err = in.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return "", fmt.Errorf("denylist: line %d of %s: %w", n, path, err)
}
