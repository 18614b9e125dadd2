package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/layers"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/shard"
)

// A Finding is something that does not agree with something else.
type Finding struct {
	Kind   FindingKind
	Key    shard.Key // "" where no shard is concerned
	What   string
	Mended bool
}

// A FindingKind is what does not agree with what.
type FindingKind uint8

// The kinds of findings.
const (
	DamagedRecord   FindingKind = iota + 1 // a record cannot be read
	MissingIndex                           // the index file of a shard is not there
	DamagedIndex                           // it is not the one that the record names, or damaged
	NotFound                               // the inverted index does not find all that it holds
	DeadIndex                              // the index of a shard is listed as dead
	MissingLayer                           // the file of a layer is not there
	DamagedLayer                           // it is not the one that is listed, or damaged
	StrayEntries                           // the inverted index holds an index that no record names
	StrayPending                           // so does the list of what is to be added to it
	StrayFile                              // a file of ours that nothing names
	MissingCopy                            // the copy of a shard is not there, or not whole
	DamagedManifest                        // the members of a manifest cannot be read
)

// errStop ends a review whose caller has seen enough.
var errStop = errors.New("engine: the caller has seen enough")

// Reconcile compares the catalogue, the index files and the inverted index
// with each other, reads all of their bytes, and yields what does not agree. What is
// about to change anyway, or has changed since it was looked at, is not yielded.
// With mend it also puts it right by making anew what is derived, and never
// deletes a record or a file that it cannot make. What could not be looked at
// comes as an error, and the sequence goes on unless ctx has ended or the
// engine is closed. It runs in its caller's goroutine beside everything else,
// holds up neither loop nor Close while its caller is asked, and keeps in
// memory some bits for each index.
func (e *Engine) Reconcile(ctx context.Context, mend bool) iter.Seq2[Finding, error] {
	return func(yield func(Finding, error) bool) {
		v := &review{e: e, mend: mend, yield: yield}
		var end context.CancelFunc
		v.ctx, end = context.WithCancel(ctx)
		defer end()
		defer context.AfterFunc(e.work, end)()
		if err := v.enter(); err != nil {
			yield(Finding{}, err)
			return
		}
		defer v.exit()
		if err := v.run(); err != nil && !errors.Is(err, errStop) {
			v.exit()
			yield(Finding{}, e.why(err))
		}
	}
}

// A review is one run of Reconcile.
type review struct {
	e       *Engine
	ctx     context.Context //nolint:containedctx // of this one run; ends with the engine, too
	leave   func()          // nil while it is the caller's turn
	mend    bool
	yield   func(Finding, error) bool
	owned   *roaring.Bitmap
	mending []*cure // under way, in the order in which they are told
}

func (v *review) enter() (err error) {
	_, v.leave, err = v.e.Visit(v.ctx)
	return err
}

func (v *review) exit() {
	if v.leave != nil {
		v.leave()
		v.leave = nil
	}
}

// tell gives the caller a turn. The caller may close the engine in it.
func (v *review) tell(f Finding, err error) error {
	v.exit()
	if !v.yield(f, err) {
		return errStop
	}
	return v.enter()
}

// fault tells of something that could not be looked at.
func (v *review) fault(err error) error {
	if ended := v.ctx.Err(); ended != nil {
		return ended
	}
	if errors.Is(err, catalog.ErrClosed) || errors.Is(err, layers.ErrClosed) || errors.Is(err, segment.ErrClosed) {
		return err
	}
	return v.tell(Finding{}, err)
}

func (v *review) run() error {
	select { // what a start does by itself is no finding
	case v.e.collecting <- struct{}{}:
		<-v.e.collecting
	case <-v.ctx.Done():
		return v.ctx.Err()
	}
	// Shards come before layers, which are made anew from what they have.
	for _, part := range []func() error{v.records, v.layers, v.files, v.pending, v.entries, v.strayLayers, v.manifests, v.strayManifests, v.copies} {
		if err := part(); err != nil {
			return err
		}
	}
	return nil
}

// layers looks at the files of all layers that are listed.
func (v *review) layers() error {
	listed, err := v.e.cfg.Catalog.Layers(v.ctx)
	if err != nil {
		return err
	}
	for _, l := range listed {
		err := v.e.inverted.Verify(v.ctx, layers.Layer(l))
		if err == nil {
			continue
		}
		if is, lerr := v.e.listed(v.ctx, l.N); lerr != nil || !is {
			if lerr == nil {
				continue // merged meanwhile
			}
			err = lerr
		}
		if !isLoss(err) {
			if err := v.fault(err); err != nil {
				return err
			}
			continue
		}
		if err := v.layer(l.N, err); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) listed(ctx context.Context, n uint32) (bool, error) {
	listed, err := e.cfg.Catalog.Layers(ctx)
	return slices.ContainsFunc(listed, func(l catalog.Layer) bool { return l.N == n }), err
}

// layer tells of a layer that is lost, after it was made anew.
func (v *review) layer(n uint32, why error) error {
	f := Finding{Kind: DamagedLayer, What: why.Error()}
	if errors.Is(why, fs.ErrNotExist) {
		f.Kind = MissingLayer
	}
	if v.mend {
		v.e.inverted.Spoil(n)
		err := v.e.remake(v.ctx)
		if is, lerr := v.e.listed(v.ctx, n); err == nil {
			f.Mended, err = lerr == nil && !is, lerr
		}
		f.unmended(err)
	}
	return v.tell(f, v.ctx.Err())
}

// unmended says why something could not be mended.
func (f *Finding) unmended(err error) {
	if err != nil {
		f.Mended = false
		f.What = fmt.Sprintf("%s; it could not be mended: %v", f.What, err)
	}
}

// files looks for index files that are nobody's.
func (v *review) files() (err error) {
	if v.owned, err = v.e.owned(v.ctx); err != nil {
		return err
	}
	for file, err := range v.e.cfg.Segments.List(v.ctx, segment.Index) {
		if err != nil {
			return err
		}
		id := index.ID(file.Name.N)
		err := v.stray(id, Finding{Kind: StrayFile, What: fmt.Sprintf("no record names %v of %d bytes", file.Name, file.Size)}, func() (bool, error) {
			return v.e.there(v.ctx, file.Name)
		}, func() error {
			if v.e.unknown(id) {
				return v.e.cfg.Segments.Remove(v.ctx, file.Name)
			}
			return v.e.giveUp(v.ctx, []index.ID{id})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// pending looks for indices that are to be added and are nobody's.
func (v *review) pending() error {
	for id, err := range v.e.cfg.Catalog.Pending(v.ctx) {
		if err != nil {
			return err
		}
		if err := v.strayID(id, StrayPending, "index %08x is to be added to the inverted index, and no record names it", func() (bool, error) {
			return v.e.isPending(v.ctx, id)
		}); err != nil {
			return err
		}
	}
	return nil
}

// isPending reports whether id is still to be added to the inverted index.
func (e *Engine) isPending(ctx context.Context, id index.ID) (bool, error) {
	for other, err := range e.cfg.Catalog.Pending(ctx) {
		if err != nil || other == id {
			return err == nil, err
		}
	}
	return false, nil
}

// there reports whether a segment is still there.
func (e *Engine) there(ctx context.Context, name segment.Name) (bool, error) {
	r, err := e.cfg.Segments.Open(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, r.Close()
}

// entries looks for indices that the inverted index holds and are nobody's.
func (v *review) entries() error {
	for id := range v.e.inverted.IDs() {
		if err := v.strayID(id, StrayEntries, "the inverted index holds index %08x, and no record names it", func() (bool, error) {
			return v.e.inverted.Holds(id) && !v.e.inverted.Dead(id), nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (v *review) strayID(id index.ID, kind FindingKind, what string, still func() (bool, error)) error {
	return v.stray(id, Finding{Kind: kind, What: fmt.Sprintf(what, uint32(id))}, still, func() error {
		return v.e.giveUp(v.ctx, []index.ID{id})
	})
}

// stray tells of f if id is nobody's and f still holds, after what mend does.
// It may have been somebody's when it was listed, and have gone with that.
func (v *review) stray(id index.ID, f Finding, still func() (bool, error), mend func() error) error {
	if err := v.ctx.Err(); err != nil {
		return err
	}
	is, err := v.e.stray(v.ctx, id, v.owned)
	if err == nil && is {
		is, err = still()
	}
	if err != nil || !is {
		return err
	}
	if v.mend {
		err := mend()
		f.Mended = err == nil
		f.unmended(err)
	}
	return v.tell(f, v.ctx.Err())
}

// strayLayers looks for files of layers that are in no list.
func (v *review) strayLayers() error {
	for file, err := range v.e.cfg.Segments.List(v.ctx, segment.Layer) {
		if err != nil {
			return err
		}
		is, err := v.e.strayLayer(v.ctx, file.Name.N)
		if err == nil && is {
			is, err = v.e.there(v.ctx, file.Name)
		}
		if err != nil {
			return err
		}
		if !is {
			continue
		}
		f := Finding{Kind: StrayFile, What: fmt.Sprintf("no list names %v of %d bytes", file.Name, file.Size)}
		if v.mend {
			err := v.e.cfg.Segments.Remove(v.ctx, file.Name)
			f.Mended = err == nil
			f.unmended(err)
		}
		if err := v.tell(f, v.ctx.Err()); err != nil {
			return err
		}
	}
	return nil
}
