package local

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/shard"
)

// readRoots reads the roots from the header of the CAR. Records keep the first
// few; a CAR that has more is rare, and its header may have megabytes.
func readRoots(ctx context.Context, src source, spec Spec) ([]cid.Cid, error) {
	opt := car.Options{Limits: spec.Limits, Size: src.size(), KeepRoots: car.Unlimited}
	head, err := car.ReadHeader(ctx, &sourceReader{ctx: ctx, src: src}, opt)
	var fault *shard.Fault
	switch {
	case errors.As(err, &fault):
		// The header was good when it was indexed, so these are other bytes.
		return nil, &LostError{Err: fmt.Errorf("%w: its header was good when it was indexed: %w", shard.ErrChanged, err)}
	case err != nil:
		return nil, err
	case len(head.Roots) != spec.RootCount:
		return nil, &LostError{Err: fmt.Errorf("%w: it has %d roots and had %d when it was indexed",
			shard.ErrChanged, len(head.Roots), spec.RootCount)}
	}
	return head.Roots, nil
}

// sourceReader reads a source from its first byte, under the context that it
// was made with.
type sourceReader struct {
	ctx context.Context //nolint:containedctx // the reader is made for one use
	src source
	off int64
}

func (r *sourceReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := r.src.readAt(r.ctx, p, r.off)
	r.off += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil // the next call says so
	}
	return n, err
}
