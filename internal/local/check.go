package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// sampled is how many records of an index are held against a CAR. Of a CAR
// with no more blocks that is all of them.
const sampled = 16

// A doubt is that a source may not be the one that was indexed: its mount says
// of it what it did not say then.
type doubt struct {
	why string
	now mount.Stat
}

// doubts compares a source with what it was when it was indexed. Another size
// is lost at once, since no answer to anything else could be right. A version
// decides where both have one; the time is for sources that have none.
func doubts(spec Spec, now mount.Stat) (*doubt, error) {
	then := spec.Source
	var why string
	switch {
	case then.Size >= 0 && now.Size >= 0 && then.Size != now.Size:
		return nil, changed("it has %d bytes and had %d when it was indexed", now.Size, then.Size)
	case then.Version != "" && now.Version != "":
		if then.Version != now.Version {
			why = fmt.Sprintf("its version is %q and was %q when it was indexed", now.Version, then.Version)
		}
	case !then.ModTime.IsZero() && !now.ModTime.IsZero() && !then.ModTime.Equal(now.ModTime):
		why = fmt.Sprintf("it was written at %v, and at %v when it was indexed", now.ModTime, then.ModTime)
	}
	if why == "" && !spec.Moved {
		return nil, nil //nolint:nilnil // no doubt and nothing wrong
	}
	return &doubt{why, now}, nil
}

func changed(format string, args ...any) *LostError {
	return &LostError{Err: fmt.Errorf("%w: %s", shard.ErrChanged, fmt.Sprintf(format, args...))}
}

// settle reads as much of a doubted source as shows whether it is the CAR that
// was indexed: its header, and some blocks that nobody can foresee. It gives
// a [*LostError] if it is not, any other error if that cannot be said.
func (d *doubt) settle(ctx context.Context, src source, spec Spec, idx IndexFile) error {
	recs, err := idx.Sample(sampled)
	if err != nil {
		return &LostError{Err: fmt.Errorf("%w: %w", shard.ErrIndex, err)}
	}
	err = sameHeader(ctx, src, spec)
	for i := 0; err == nil && i < len(recs); i++ {
		err = sameBlock(ctx, src, spec, recs[i])
	}
	return judge(err, d.why)
}

// judge makes a [*LostError] of what shows that a source is another.
func judge(err error, why string) error {
	var fault *shard.Fault
	switch {
	case !errors.As(err, &fault) && !errors.Is(err, errDiffers):
		return err
	case why == "":
		return changed("it is not the CAR that was indexed: %v", err)
	default:
		return changed("%s, and it is another CAR: %v", why, err)
	}
}

// Check reads and hashes the block that a record of the index names. It gives
// a [*LostError] if something else lies there, any other error if that cannot
// be read. It needs a pin, or the reference that [Open] gave.
func (h *Handle) Check(ctx context.Context, r index.Record) error {
	return judge(sameBlock(ctx, h.source, Spec{Payload: h.payload, Limits: h.limits}, r), "")
}

// errDiffers is what makes a source another one, if no fault does.
var errDiffers = errors.New("it differs")

// sameHeader compares the header with what was found in it.
func sameHeader(ctx context.Context, src source, spec Spec) error {
	opt := car.Options{Limits: spec.Limits, Size: src.size(), KeepRoots: max(1, len(spec.Roots))}
	h, err := car.ReadHeader(ctx, &sourceReader{ctx: ctx, src: src}, opt)
	if err != nil {
		return err
	}
	same := h.RootCount == spec.RootCount && h.DataOffset == spec.Payload.Offset &&
		(h.DataSize < 0 || spec.Payload.Size <= 0 || h.DataSize == spec.Payload.Size)
	n := min(len(h.Roots), len(spec.Roots))
	if !same || !slices.Equal(h.Roots[:n], spec.Roots[:n]) {
		return fmt.Errorf("%w: its header is another", errDiffers)
	}
	return nil
}

// sameBlock reads the section at which a record points, and hashes its data.
func sameBlock(ctx context.Context, src source, spec Spec, r index.Record) error {
	rest := src.size() - spec.Payload.Offset
	if spec.Payload.Size > 0 {
		rest = min(rest, spec.Payload.Size)
	}
	if rest -= r.Offset; rest <= 0 {
		return fmt.Errorf("%w: the payload ends before offset %d", errDiffers, r.Offset)
	}
	ask := int64(car.MaxHead) // more is not known of a record without a size
	if r.Head > 0 && r.Size >= 0 {
		ask = int64(r.Head) + r.Size
	}
	if ask > rest && r.Head > 0 || ask > longest(spec.Limits) {
		return fmt.Errorf("%w: no block of %d bytes can lie at offset %d", errDiffers, r.Size, r.Offset)
	}
	at := spec.Payload.Offset + r.Offset
	buf := make([]byte, min(ask, rest))
	if err := readFull(ctx, src, buf, at); err != nil {
		return err
	}
	sec, err := car.ParseSection(r.Offset, buf[:min(len(buf), car.MaxHead)], spec.Limits.Section)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %w", errDiffers, err)
	case err != nil:
		return err
	case string(sec.Multihash()) != string(r.Multihash),
		r.Size >= 0 && sec.Size != r.Size, r.Head > 0 && sec.Head != r.Head,
		sec.Size > rest-int64(sec.Head):
		return fmt.Errorf("%w: another block lies at offset %d", errDiffers, r.Offset)
	}
	if whole := int64(sec.Head) + sec.Size; whole > int64(len(buf)) {
		have := len(buf)
		buf = append(buf, make([]byte, whole-int64(have))...)
		if err := readFull(ctx, src, buf[have:], at+int64(have)); err != nil {
			return err
		}
	}
	id := cid.NewCidV1(cid.Raw, r.Multihash) // the codec is no part of the hash
	return car.Check(id, at, buf[sec.Head:int64(sec.Head)+sec.Size])
}

// longest is how long a section may be, its head included.
func longest(l car.Limits) int64 {
	switch {
	case l.Section == 0:
		return car.DefaultSection + car.MaxHead
	case l.Section < 0, l.Section > math.MaxInt64-car.MaxHead:
		return math.MaxInt64
	default:
		return l.Section + car.MaxHead
	}
}

// readFull fills buf. It lies within the size of the source, so an end in
// between is one that nobody told us of.
func readFull(ctx context.Context, src source, buf []byte, at int64) error {
	n, err := src.readAt(ctx, buf, at)
	switch {
	case n == len(buf):
		return nil
	case err == nil || errors.Is(err, io.EOF):
		return fmt.Errorf("%w: %d bytes came instead of %d", shard.ErrSource, n, len(buf))
	default:
		return err
	}
}
