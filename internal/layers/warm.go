package layers

import (
	"cmp"
	"context"
	"slices"
)

// warmBytes bounds what [Inverted.Warm] has read: the filters of some 200 million keys.
const warmBytes = 256 << 20

// Warm asks the system to read the filters of the layers and their fan-outs
// into its cache, those of the smallest layers first and up to 256 MiB, if
// layers are mapped. A look-up asks the filter of each layer, so one that meets
// them on the device waits for as many reads as there are layers; after Warm it waits
// for that of a row. Warm does not wait for what it asks for, and
// returns early when ctx has ended; everything may go on beside it.
func (inv *Inverted) Warm(ctx context.Context) error {
	v, err := inv.acquire()
	if err != nil {
		return err
	}
	defer v.release()
	left := int64(warmBytes)
	for _, l := range slices.SortedFunc(slices.Values(v.layers), func(a, b *layer) int { return cmp.Compare(a.Keys, b.Keys) }) {
		if left, err = l.warm(ctx, left); err != nil || left < 0 {
			return err
		}
	}
	return nil
}

// warm is Warm of one layer. It returns what it has left of so many bytes, less
// than 0 if they were too few.
func (l *layer) warm(ctx context.Context, left int64) (int64, error) {
	if l.mem == nil {
		return left, nil
	}
	for i := range l.parts {
		if ctx.Err() != nil {
			return left, context.Cause(ctx)
		}
		p := &l.parts[i]
		n := p.endPage - p.fanPage
		if n == 0 {
			continue
		}
		if left -= int64(n) * pageSize; left < 0 {
			return left, nil
		}
		l.prefetch(p.fanPage, n)
	}
	l.warmed.Store(true)
	return left, nil
}
