package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/segment"
)

// manifestFiles returns the numbers of all files that manifests name. They are
// not all known if there is a manifest that cannot be understood.
func (e *Engine) manifestFiles(ctx context.Context) (files *roaring.Bitmap, all bool, err error) {
	files, all = roaring.New(), true
	for m, err := range e.cfg.Catalog.Manifests(ctx, "") {
		var damaged *catalog.DamagedManifestError
		switch {
		case errors.As(err, &damaged):
			all = false
		case err != nil:
			return nil, false, err
		case m.File != 0:
			files.Add(m.File)
		}
	}
	return files, all, nil
}

// strayManifestFiles calls do for each file that no manifest names. What is
// being written is passed by: that is asked before what is named. While there is
// a manifest that cannot be understood there is none: it may be of a later
// version, which reads it, and its file, again.
func (e *Engine) strayManifestFiles(ctx context.Context, do func(segment.Entry) error) error {
	var found []segment.Entry
	for file, err := range e.cfg.Segments.List(ctx, segment.Manifest) {
		if err != nil {
			return err
		}
		if !e.ids.knows(index.ID(file.Name.N)) {
			found = append(found, file)
		}
	}
	if len(found) == 0 {
		return nil
	}
	named, all, err := e.manifestFiles(ctx)
	if err != nil || !all {
		return err
	}
	for _, file := range found {
		if named.Contains(file.Name.N) {
			continue
		}
		if err := errors.Join(ctx.Err(), do(file)); err != nil {
			return err
		}
	}
	return nil
}

// strayManifests removes the files that no manifest names.
func (g *collection) strayManifests(ctx context.Context) error {
	return g.e.strayManifestFiles(ctx, func(file segment.Entry) error { return g.remove(ctx, file) })
}

// strayManifests looks for files that no manifest names.
func (v *review) strayManifests() error {
	return v.e.strayManifestFiles(v.ctx, func(file segment.Entry) error {
		if is, err := v.e.there(v.ctx, file.Name); err != nil || !is {
			return err
		}
		f := Finding{Kind: StrayFile, What: fmt.Sprintf("no record names %v of %d bytes", file.Name, file.Size)}
		if v.mend {
			err := v.e.cfg.Segments.Remove(v.ctx, file.Name)
			f.Mended = err == nil
			f.unmended(err)
		}
		return v.tell(f, v.ctx.Err())
	})
}

// manifests looks at the members of all manifests. What is wrong with them is
// never mended: nothing says who they were.
func (v *review) manifests() error {
	for m, err := range v.e.cfg.Catalog.Manifests(v.ctx, "") {
		var damaged *catalog.DamagedManifestError
		var name catalog.ManifestName
		switch {
		case errors.As(err, &damaged):
			name = damaged.ManifestName
		case err != nil:
			return err
		default:
			name = catalog.ManifestName{Key: m.Key, Name: m.Name}
			err = v.verifyManifest(m)
		}
		if err == nil {
			continue
		}
		if !isLoss(err) && damaged == nil {
			if err := v.fault(err); err != nil {
				return err
			}
			continue
		}
		now, again := v.e.cfg.Catalog.Manifest(v.ctx, name)
		if damaged == nil && (again != nil || now.File != m.File) {
			continue // replaced or removed meanwhile
		}
		if err := v.tell(Finding{Kind: DamagedManifest, Key: name.Key, What: fmt.Sprintf("manifest %q: %v", name.Name, err)}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (v *review) verifyManifest(m *catalog.Manifest) error {
	ix, err := v.e.openMembers(v.ctx, m)
	if err != nil {
		return err
	}
	return errors.Join(ix.Verify(v.ctx), ix.Close())
}
