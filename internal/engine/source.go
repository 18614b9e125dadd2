package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// maxVersion is the length in bytes of the longest version of a source that
// is remembered. It comes from the source, which may be hostile.
const maxVersion = 4 << 10

// rememberable returns an error unless what a source says of itself may be
// written into a record.
func rememberable(st mount.Stat) error {
	if len(st.Version) > maxVersion {
		return fmt.Errorf("%w: its version has %d bytes, the most is %d", shard.ErrSource, len(st.Version), maxVersion)
	}
	return nil
}

// streamOf opens a CAR for a reading from end to end. One on this machine is
// opened as a file, so that the bodies of large blocks can be jumped over. One
// that only seemed to be on this machine is an elsewhere error. One that lies
// elsewhere is read as a [download].
//
// What is pinned is of the version in st, or gives an error: nobody has to be
// asked afterwards whether it has changed.
func streamOf(ctx context.Context, m mount.Mount, st mount.Stat, k kind) (src io.ReadCloser, pinned bool, err error) {
	if st.Size < 0 {
		return downloadOf(ctx, m, st)
	}
	f, err := mount.OpenFile(ctx, m)
	switch {
	case errors.Is(err, mount.ErrNotLocal) && k == onDisk:
		return nil, false, elsewhere{remote}
	case errors.Is(err, mount.ErrNotLocal):
		return downloadOf(ctx, m, st)
	case err != nil:
		return nil, false, err
	}
	return fileSource{io.NewSectionReader(f, 0, st.Size), f}, false, nil
}

// openWhole streams a source from its first byte, in the version of st if it
// can be asked for one.
func openWhole(ctx context.Context, m mount.Mount, st mount.Stat) (src io.ReadCloser, pinned bool, err error) {
	if st.Ranges && st.Version != "" && st.Size > 0 {
		src, err = mount.OpenRange(ctx, m, mount.Range{Length: -1, Version: st.Version})
		if !errors.Is(err, mount.ErrNoRanges) { // it may turn out so only now
			return src, err == nil, err
		}
	}
	src, err = m.Open(ctx)
	return src, false, err
}

// fileSource is a file that is read from its beginning.
type fileSource struct {
	*io.SectionReader
	io.Closer
}

// unchanged holds how the source is after it was read against how it was
// before, so that an index of two versions mixed is never believed.
func unchanged(ctx context.Context, m mount.Mount, before mount.Stat) error {
	if before.Version == "" {
		return nil
	}
	after, err := m.Stat(ctx)
	if err != nil {
		return sourceError(err)
	}
	if after.Version != before.Version {
		return fmt.Errorf("%w while it was read", shard.ErrChanged)
	}
	return nil
}

// sourceError says in the words of package shard what a mount has said.
func sourceError(err error) error {
	kind := shard.ErrSource
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, mount.ErrChanged):
		kind = shard.ErrChanged
	case errors.Is(err, mount.ErrDenied):
		kind = shard.ErrDenied
	}
	return fmt.Errorf("%w: %w", kind, err)
}
