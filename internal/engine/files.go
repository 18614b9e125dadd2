package engine

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/layers"
	"github.com/dagstore/dagstore/internal/segment"
)

// layerFiles is where the layers of the inverted index lie.
type layerFiles struct{ place segment.Place }

func layerName(n uint32) segment.Name { return segment.Name{Kind: segment.Layer, N: n} }

// Create implements [layers.Files].
func (f layerFiles) Create(ctx context.Context, n uint32) (layers.Sink, error) {
	return f.place.Create(ctx, layerName(n))
}

// Open implements [layers.Files].
func (f layerFiles) Open(ctx context.Context, n uint32) (layers.File, error) {
	return f.place.Open(ctx, layerName(n))
}

// Remove implements [layers.Files].
func (f layerFiles) Remove(ctx context.Context, n uint32) error {
	return f.place.Remove(ctx, layerName(n))
}

// A flush is the end of writing the memory table of the inverted index.
type flush struct {
	node node
	err  error
}

// flush has the memory table written if it is due, one worker at a time.
func (e *Engine) flush() {
	l := &e.loop
	if l.flushing || l.broken != nil || e.shut.Load() || Space(e.space.Load()) == Full || !e.inverted.Due() {
		return
	}
	l.flushing = true
	w := &flush{}
	w.node.what, w.node.of = whatDone, w
	e.workers.Go(func() {
		w.err = e.inverted.Sync(e.work)
		e.box.complete(&w.node)
	})
}

// merge merges layers until there are few enough of them.
func (e *Engine) merge(ctx context.Context) error {
	for e.inverted.MergeDue() && ctx.Err() == nil && e.measure() == Ample {
		known := len(e.inverted.Spoiled())
		if _, err := e.inverted.Merge(ctx); errors.Is(err, index.ErrDamaged) && len(e.inverted.Spoiled()) > known {
			continue // it is left out from now on, and made anew elsewhere
		} else if err != nil {
			return err
		}
		e.gauges.merges.Add(1)
	}
	return ctx.Err()
}

func (w *flush) finish(e *Engine) {
	e.loop.flushing = false
	if w.err != nil && e.work.Err() == nil {
		e.trouble("the inverted index could not be written: it stays in memory and is tried again", w.err)
	}
	e.tend() // merges apart: they take their time, and the next flush does not wait for them
}

func (w *flush) abandon(*Engine) {}

// damagedLayers returns the numbers of the layers that err says are lost:
// damaged or not there. It returns none if something else is wrong as well.
func damagedLayers(err error) []uint32 {
	var lost []uint32
	var one *layers.Error
	switch joined, ok := err.(interface{ Unwrap() []error }); {
	case ok:
		for _, err := range joined.Unwrap() {
			more := damagedLayers(err)
			if len(more) == 0 {
				return nil
			}
			lost = append(lost, more...)
		}
	case errors.As(err, &one) && (errors.Is(err, index.ErrDamaged) || errors.Is(err, fs.ErrNotExist)):
		lost = []uint32{one.Layer}
	}
	return lost
}

// dropLayers takes lost layers off the list. The shards that they may have
// held are pending from then on: they are added again from their own indices.
func (e *Engine) dropLayers(ctx context.Context, list []layers.Layer, lost []uint32) ([]layers.Layer, error) {
	change := &catalog.Batch{DelLayers: lost}
	var keep, gone []layers.Layer
	for _, l := range list {
		if slices.Contains(lost, l.N) {
			gone = append(gone, l)
		} else {
			keep = append(keep, l)
		}
	}
	held := func(id index.ID) bool {
		return id != 0 && slices.ContainsFunc(gone, func(l layers.Layer) bool { return l.First <= id && id <= l.Last })
	}
	for r, err := range e.cfg.Catalog.Records(ctx, catalog.Filter{}) {
		var damaged *catalog.DamagedError
		switch {
		case errors.As(err, &damaged):
		case err != nil:
			return nil, err
		case held(r.Index.ID):
			change.AddPending = append(change.AddPending, r.Index.ID)
		}
	}
	e.cfg.Log.Warn("layers of the inverted index are lost and made anew", "layers", len(lost), "shards", len(change.AddPending))
	return keep, e.cfg.Catalog.Apply(ctx, change)
}
