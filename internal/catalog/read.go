package catalog

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/shard"
)

// Pages begin small, for callers who break soon, and are bounded in number
// and in bytes.
const (
	firstPage = 32
	maxPage   = 1024
	pageBytes = 256 << 10
)

// Get implements [Catalog].
func (e *Embedded) Get(ctx context.Context, key shard.Key) (r *Record, err error) {
	err = e.read(ctx, recordKey(key), func(value []byte) error {
		r, err = decodeRecord(key, value)
		return err
	})
	if err != nil {
		return nil, describe(err, "shard %q", string(key))
	}
	return r, nil
}

// Owner implements [Catalog].
func (e *Embedded) Owner(ctx context.Context, id index.ID) (key shard.Key, err error) {
	err = e.read(ctx, key32(spaceOwner, uint32(id)), func(value []byte) error {
		key = shard.Key(value)
		return nil
	})
	if err != nil {
		return "", describe(err, "owner of index %08x", uint32(id))
	}
	return key, nil
}

// describe says what was asked for, unless the error says it.
func describe(err error, format string, args ...any) error {
	var damaged *DamagedError
	if errors.As(err, &damaged) || errors.Is(err, ErrClosed) {
		return err
	}
	return fmt.Errorf("catalog: %s: %w", fmt.Sprintf(format, args...), err)
}

// read calls use with the acknowledged value of key, or returns ErrNotFound.
func (e *Embedded) read(ctx context.Context, key []byte, use func([]byte) error) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	v, err := e.acquire()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.release(v)) }()
	value, closer, err := v.snap.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	return errors.Join(use(value), closer.Close())
}

// Records implements [Catalog].
func (e *Embedded) Records(ctx context.Context, f Filter) iter.Seq2[*Record, error] {
	lower, upper := f.bounds()
	return scan(ctx, e, lower, upper, func(key, value []byte) (*Record, error) {
		return decodeRecord(shard.Key(key[1:]), value)
	})
}

// Intents implements [Catalog].
func (e *Embedded) Intents(ctx context.Context, afterSeq uint64) iter.Seq2[Queued, error] {
	if afterSeq == math.MaxUint64 {
		return func(func(Queued, error) bool) {}
	}
	return scan(ctx, e, key64(spaceQueue, afterSeq+1), after([]byte{spaceQueue}), parseQueued)
}

// Owners implements [Catalog].
func (e *Embedded) Owners(ctx context.Context) iter.Seq2[index.ID, error] {
	return scan(ctx, e, []byte{spaceOwner}, after([]byte{spaceOwner}), parseID)
}

// CopyOf implements [Catalog].
func (e *Embedded) CopyOf(ctx context.Context, id uint32) (key shard.Key, err error) {
	err = e.read(ctx, key32(spaceKept, id), func(value []byte) error {
		key = shard.Key(value)
		return nil
	})
	if err != nil {
		return "", describe(err, "shard of copy %08x", id)
	}
	return key, nil
}

// Copies implements [Catalog].
func (e *Embedded) Copies(ctx context.Context) iter.Seq2[Copied, error] {
	return scan(ctx, e, []byte{spaceKept}, after([]byte{spaceKept}), parseCopied)
}

// Pending implements [Catalog].
func (e *Embedded) Pending(ctx context.Context) iter.Seq2[index.ID, error] {
	return scan(ctx, e, []byte{spacePending}, after([]byte{spacePending}), parseID)
}

// Dead implements [Catalog].
func (e *Embedded) Dead(ctx context.Context) iter.Seq2[index.ID, error] {
	return scan(ctx, e, []byte{spaceDead}, after([]byte{spaceDead}), parseID)
}

// Layers implements [Catalog].
func (e *Embedded) Layers(ctx context.Context) ([]Layer, error) {
	var layers []Layer
	for l, err := range scan(ctx, e, []byte{spaceLayer}, after([]byte{spaceLayer}), parseLayer) {
		if err != nil {
			return nil, err
		}
		layers = append(layers, l)
	}
	return layers, nil
}

// An item is one entry of a page, or what is wrong with it.
type item[T any] struct {
	value T
	err   error
}

// scan yields what parse makes of the keys in a range, in pages. The error of
// a damaged record does not end it, any other does.
func scan[T any](
	ctx context.Context, e *Embedded, lower, upper []byte, parse func(key, value []byte) (T, error),
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var page []item[T]
		from := lower // lower itself stays: a sequence may be ranged over twice
		for size := firstPage; from != nil; size = min(2*size, maxPage) {
			var err error
			page, from, err = readPage(ctx, e, page[:0], size, from, upper, parse)
			for _, it := range page {
				if !yield(it.value, it.err) || it.err != nil && !isDamagedRecord(it.err) {
					return
				}
			}
			if err != nil {
				var none T
				yield(none, fmt.Errorf("catalog: list: %w", err))
				return
			}
		}
	}
}

func isDamagedRecord(err error) bool {
	var damaged *DamagedError
	var manifest *DamagedManifestError
	return errors.As(err, &damaged) || errors.As(err, &manifest)
}

// readPage appends to page at most size items from lower on. next is where the
// following page begins, nil if there is none.
func readPage[T any](
	ctx context.Context, e *Embedded, page []item[T], size int, lower, upper []byte,
	parse func(key, value []byte) (T, error),
) (_ []item[T], next []byte, err error) {
	if err := ctx.Err(); err != nil {
		return page, nil, err
	}
	v, err := e.acquire()
	if err != nil {
		return page, nil, err
	}
	defer func() { err = errors.Join(err, e.release(v)) }()
	it, err := v.snap.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return page, nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	bytes := 0
	for ok := it.First(); ok; ok = it.Next() {
		if len(page) == size || bytes >= pageBytes {
			return page, append([]byte(nil), it.Key()...), nil
		}
		value, err := it.ValueAndErr()
		if err != nil {
			return page, nil, err
		}
		bytes += len(value)
		t, err := parse(it.Key(), value)
		page = append(page, item[T]{t, err})
	}
	return page, nil, it.Error()
}
