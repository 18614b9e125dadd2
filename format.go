package dagstore

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/dagstore/dagstore/internal/vfs"
)

// Format is the version of the layout of a store's folder that this package
// reads and writes. docs/format/store.md describes it.
const Format = 1

// FormatOf returns the version of the layout of the store in the folder dir. It
// reads one file, opens nothing and changes nothing, so the store may be in use,
// and of a version that [Open] refuses. The error wraps [ErrNoStore] if there is no
// store, [ErrVersion] if its version cannot be told.
func FormatOf(dir string) (int, error) {
	text, err := vfs.ReadFile(vfs.Default, vfs.Default.PathJoin(dir, versionFile), 256)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("%w: %s", ErrNoStore, dir)
	case err != nil:
		return 0, err
	}
	if rest, ok := strings.CutPrefix(string(text), "dagstore "); ok {
		if n, err := strconv.Atoi(strings.TrimSuffix(rest, "\n")); err == nil && n > 0 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: %s says %q, this program writes %q", ErrVersion, dir, text, versionText)
}
