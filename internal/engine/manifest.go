package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/segment"
	"github.com/dagstore/dagstore/shard"
)

// A manifest is a named set of multihashes of a shard. It is no matter of the
// lifecycle: it is written beside the loop, in its caller's goroutine, and
// goes with the batch that forgets its shard or replaces the shard's CAR.

// ErrNotMember says that a multihash is not in the index of the shard.
var ErrNotMember = errors.New("dagstore: multihash is not in the shard")

// ErrNoManifest says that a shard has no manifest of a name.
var ErrNoManifest = errors.New("dagstore: no such manifest")

// manifestMemory is what a manifest is sorted in; more is spilled.
const manifestMemory = 4 << 20

func manifestName(n uint32) segment.Name { return segment.Name{Kind: segment.Manifest, N: n} }

// PutManifest stores members under the name in m, in place of what was there.
// Of m it takes key, name, rule and version. Unless loose, each must be in the
// index of the shard. No visit is under way while it asks for members.
func (e *Engine) PutManifest(
	ctx context.Context, m catalog.Manifest, members iter.Seq2[multihash.Multihash, error], loose bool,
) (*catalog.Manifest, error) {
	ref, ix, err := e.openForManifest(ctx, m.Key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = ix.Close() }() // it was only read
	m.Index, m.Made = ref.ID, e.cfg.Now().UTC()
	b := index.NewBuilder(&index.WriteOptions{Memory: manifestMemory, Spill: e.cfg.Spill})
	defer func() { _ = b.Close() }() // what was spilled is removed if it can be
	within := ix.File
	if loose {
		within = nil
	}
	if err := gather(ctx, b, within, members); err != nil {
		return nil, err
	}
	inside, leave, err := e.Visit(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	err = e.writeManifest(inside, b, &m)
	if err != nil {
		return nil, e.why(e.refusedManifest(inside, &m, err))
	}
	return &m, nil
}

// openForManifest opens the index of a shard that is indexed.
func (e *Engine) openForManifest(ctx context.Context, key shard.Key) (catalog.IndexRef, indexFile, error) {
	inside, leave, err := e.Visit(ctx)
	if err != nil {
		return catalog.IndexRef{}, indexFile{}, err
	}
	defer leave()
	r, err := e.cfg.Catalog.Get(inside, key)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return catalog.IndexRef{}, indexFile{}, shard.ErrUnknown
	case err != nil:
		return catalog.IndexRef{}, indexFile{}, e.why(err)
	case r.Intent == catalog.Destroy:
		return catalog.IndexRef{}, indexFile{}, shard.ErrDestroying
	case r.Index.ID == 0:
		return catalog.IndexRef{}, indexFile{}, shard.ErrBusy
	}
	ix, err := e.openRecorded(inside, r.Index)
	if isLoss(err) {
		err = fmt.Errorf("%w: %w", shard.ErrIndex, err)
	}
	return r.Index, ix, e.why(err)
}

// gather puts members into b, once each is found in ix, if that is not nil.
func gather(ctx context.Context, b *index.Builder, ix *index.File, members iter.Seq2[multihash.Multihash, error]) error {
	n := 0
	var at []index.Position
	for mh, err := range members {
		if n++; err == nil && n%1024 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		decoded, err := multihash.Decode(mh)
		if err != nil {
			return fmt.Errorf("%w: %w", index.ErrRecord, err)
		}
		if decoded.Code == multihash.IDENTITY { // its data is in it: it is in no index
			return fmt.Errorf("%w: %s", ErrNotMember, mh.HexString())
		}
		if ix != nil {
			if at, err = ix.Find(at[:0], mh, 1); err != nil {
				return fmt.Errorf("%w: %w", shard.ErrIndex, err)
			}
			if len(at) == 0 {
				return fmt.Errorf("%w: %s", ErrNotMember, mh.HexString())
			}
		}
		if err := b.Add(mh, index.Position{Size: -1}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// writeManifest makes the members durable, and then the one batch that names
// them. A crash between the two leaves a file that nothing names.
func (e *Engine) writeManifest(ctx context.Context, b *index.Builder, m *catalog.Manifest) error {
	if err := e.roomy(); err != nil {
		return err
	}
	id, err := e.ids.index(ctx)
	if err != nil {
		return err
	}
	defer e.ids.written(id) // a record names it, or it was given up
	to := indexSink{ctx: ctx, place: e.cfg.Segments, name: manifestName(uint32(id)), room: e.cfg.Inline}
	stats, err := b.WriteTo(ctx, &to, [16]byte{})
	if err != nil {
		return errors.Join(e.noSpace(err), to.abort())
	}
	if m.Data, err = to.commit(); err != nil {
		return e.noSpace(err)
	}
	m.Count, m.Length, m.CRC = stats.Multihashes, stats.Length, stats.CRC
	if m.Data == nil {
		m.File = uint32(id)
	}
	batch := &catalog.Batch{PutManifests: []*catalog.Manifest{m}}
	if err := e.cfg.Catalog.Apply(ctx, batch); err != nil {
		if m.File != 0 && !errors.Is(err, catalog.ErrBroken) { // else it may be there after a restart
			e.removeManifests([]uint32{m.File})
		}
		return err
	}
	e.removeManifests(batch.Freed)
	return nil
}

// refusedManifest says why a manifest was not stored.
func (e *Engine) refusedManifest(ctx context.Context, m *catalog.Manifest, err error) error {
	if errors.Is(err, catalog.ErrConflict) {
		if _, err := e.cfg.Catalog.Get(ctx, m.Key); errors.Is(err, catalog.ErrNotFound) {
			return shard.ErrUnknown
		}
		return shard.ErrBusy // it was indexed again meanwhile
	}
	return e.unwritable(err)
}

// unwritable is err, as a store says it that takes no more writes.
func (e *Engine) unwritable(err error) error {
	if errors.Is(err, catalog.ErrBroken) {
		return errors.Join(e.cfg.ReadOnly, err)
	}
	return err
}

// RemoveManifest forgets a manifest. Who iterates over it goes on.
func (e *Engine) RemoveManifest(ctx context.Context, name catalog.ManifestName) error {
	inside, leave, err := e.Visit(ctx)
	if err != nil {
		return err
	}
	defer leave()
	_, err = e.cfg.Catalog.Manifest(inside, name)
	var damaged *catalog.DamagedManifestError
	if err != nil && !errors.As(err, &damaged) {
		return e.why(e.noManifest(inside, name, err))
	}
	batch := &catalog.Batch{DelManifests: []catalog.ManifestName{name}}
	if err := e.cfg.Catalog.Apply(inside, batch); err != nil {
		return e.why(e.unwritable(err))
	}
	e.removeManifests(batch.Freed)
	return nil
}

// noManifest tells a shard that is not there from one without that manifest.
func (e *Engine) noManifest(ctx context.Context, name catalog.ManifestName, err error) error {
	if !errors.Is(err, catalog.ErrNotFound) {
		return err
	}
	if _, err := e.cfg.Catalog.Get(ctx, name.Key); errors.Is(err, catalog.ErrNotFound) {
		return shard.ErrUnknown
	}
	return fmt.Errorf("%w: %q", ErrNoManifest, name.Name)
}

// removeManifests removes files that no batch names any more. What cannot be
// removed is left to GC.
func (e *Engine) removeManifests(files []uint32) {
	for _, n := range files {
		if err := e.cfg.Segments.Remove(context.WithoutCancel(e.work), manifestName(n)); err != nil {
			e.cfg.Log.Warn("a manifest's file could not be removed", "file", manifestName(n).String(), "err", err)
		}
	}
}

// Manifests yields the manifests of a shard by name. It asks its caller in no
// visit.
func (e *Engine) Manifests(ctx context.Context, key shard.Key) iter.Seq2[*catalog.Manifest, error] {
	return func(yield func(*catalog.Manifest, error) bool) {
		if _, err := e.cfg.Catalog.Get(ctx, key); errors.Is(err, catalog.ErrNotFound) {
			yield(nil, e.why(shard.ErrUnknown))
			return
		}
		for m, err := range e.cfg.Catalog.Manifests(ctx, key) {
			if err != nil {
				err = e.closedCatalog(err)
			}
			if !yield(m, err) {
				return
			}
		}
	}
}

// closedCatalog is err, as the engine says that it is closed.
func (e *Engine) closedCatalog(err error) error {
	if errors.Is(err, catalog.ErrClosed) {
		return e.cfg.Closed
	}
	return e.why(err)
}

// A Manifest is the members of one, open: a snapshot that stays whatever
// becomes of the manifest, the shard and the store. It must be closed.
type Manifest struct {
	*catalog.Manifest
	ix indexFile
}

// OpenManifest opens a manifest.
func (e *Engine) OpenManifest(ctx context.Context, name catalog.ManifestName) (*Manifest, error) {
	inside, leave, err := e.Visit(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	for {
		m, err := e.cfg.Catalog.Manifest(inside, name)
		if err != nil {
			return nil, e.why(e.noManifest(inside, name, err))
		}
		ix, err := e.openMembers(inside, m)
		if err == nil {
			return &Manifest{m, ix}, nil
		}
		if now, again := e.cfg.Catalog.Manifest(inside, name); errors.Is(err, fs.ErrNotExist) && (again != nil || now.File != m.File) {
			continue // replaced or removed between the two
		}
		return nil, e.why(damagedManifest(name.Name, err))
	}
}

func (e *Engine) openMembers(ctx context.Context, m *catalog.Manifest) (indexFile, error) {
	ref := catalog.IndexRef{ID: m.Index, Length: m.Length, CRC: m.CRC, Data: m.Data}
	if m.Data != nil {
		return e.openRecorded(ctx, ref)
	}
	return e.openFile(ctx, manifestName(m.File), ref)
}

// damagedManifest gives an error of a manifest's file its sentinel.
func damagedManifest(name string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("manifest %q: %w: its file is not there: %w", name, index.ErrDamaged, err)
	case isLoss(err):
		return fmt.Errorf("manifest %q: %w", name, err)
	}
	return err
}

// Has reports whether mh is a member.
func (m *Manifest) Has(mh multihash.Multihash) (bool, error) {
	at, err := m.ix.Find(nil, mh, 1)
	if err != nil {
		return false, damagedManifest(m.Name, err)
	}
	return len(at) > 0, nil
}

// All yields the members, each once, in the order of code, length and digest.
// A multihash is good until the next one.
func (m *Manifest) All() iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		var last multihash.Multihash
		for r, err := range m.ix.All() {
			if err == nil && string(last) == string(r.Multihash) {
				continue // it was given twice
			}
			if err != nil {
				err = damagedManifest(m.Name, err)
			}
			if !yield(r.Multihash, err) || err != nil {
				return
			}
			last = append(last[:0], r.Multihash...)
		}
	}
}

// Close lets go of the file.
func (m *Manifest) Close() error { return m.ix.Close() }
