package mount

import "errors"

// The errors of mounts. They arrive wrapped, with the place and the reason.
// What the system says about a local file (absent, not permitted) is matched
// with the sentinels of [io/fs].
var (
	// Making a mount of a URL.
	ErrScheme = errors.New("mount: no opener for this scheme")
	ErrURL    = errors.New("mount: bad URL")
	ErrDenied = errors.New("mount: source is not allowed")

	// Reaching the source.
	ErrNoRanges = errors.New("mount: source offers no ranges")
	ErrNotLocal = errors.New("mount: source is not on this machine")
	ErrRange    = errors.New("mount: range is not in the source")
	ErrChanged  = errors.New("mount: source has changed")
)
