package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/segment"
)

// An index lies in a file of its own, or, if it is small, in the record of its
// shard: then there is nothing to be created, synced, mapped and removed, and
// the batch with the record is all that is written. The bytes are the same.

// An indexFile is an index that is open.
type indexFile struct {
	*index.File
	segment segment.Reader // nil: it lies in a record
}

// Inner returns the index itself, for reads; it is closed by f.
func (f indexFile) Inner() *index.File { return f.File }

// Close closes the index and its file.
func (f indexFile) Close() error {
	err := f.File.Close()
	if f.segment != nil {
		err = errors.Join(err, f.segment.Close())
	}
	return err
}

// openRecorded opens an index and holds it against what the catalogue says.
// The error is as that of a segment or of [index.NewFile].
func (e *Engine) openRecorded(ctx context.Context, ref catalog.IndexRef) (indexFile, error) {
	if ref.Data != nil {
		f, err := index.NewFile(inline(ref.Data), int64(len(ref.Data)))
		return indexFile{File: f}.checked(ref, int64(len(ref.Data)), err)
	}
	return e.openFile(ctx, indexName(ref.ID), ref)
}

// openFile opens an index file that must be as ref says.
func (e *Engine) openFile(ctx context.Context, name segment.Name, ref catalog.IndexRef) (indexFile, error) {
	r, err := e.cfg.Segments.Open(ctx, name)
	if err != nil {
		return indexFile{}, err
	}
	f, err := index.NewFile(r, r.Size())
	return indexFile{f, r}.checked(ref, r.Size(), err)
}

// checked returns f, or closes it and says why it is not the one to be opened.
func (f indexFile) checked(ref catalog.IndexRef, size int64, err error) (indexFile, error) {
	if err == nil && (size != ref.Length || f.CRC() != ref.CRC) {
		err = fmt.Errorf("%w: it is not the one that the catalogue names", index.ErrDamaged)
	}
	switch {
	case err == nil:
		return f, nil
	case f.segment != nil:
		err = errors.Join(err, f.segment.Close())
	}
	return indexFile{}, err
}

// openOwned opens the index that a shard has under id. If no record can tell,
// it is the file of that name which is asked for.
func (e *Engine) openOwned(ctx context.Context, id index.ID) (indexFile, error) {
	ref, err := e.recorded(ctx, id)
	if err != nil {
		return indexFile{}, err
	}
	if ref.ID != 0 {
		return e.openRecorded(ctx, ref)
	}
	r, err := e.cfg.Segments.Open(ctx, indexName(id))
	if err != nil {
		return indexFile{}, err
	}
	f, err := index.NewFile(r, r.Size())
	if err != nil {
		return indexFile{}, errors.Join(err, r.Close())
	}
	return indexFile{f, r}, nil
}

// recorded returns what a record says of id; nothing if none does.
func (e *Engine) recorded(ctx context.Context, id index.ID) (catalog.IndexRef, error) {
	key, err := e.cfg.Catalog.Owner(ctx, id)
	if errors.Is(err, catalog.ErrNotFound) {
		return catalog.IndexRef{}, nil
	}
	if err != nil {
		return catalog.IndexRef{}, err
	}
	r, err := e.cfg.Catalog.Get(ctx, key)
	var damaged *catalog.DamagedError
	switch {
	case errors.Is(err, catalog.ErrNotFound), errors.As(err, &damaged):
		return catalog.IndexRef{}, nil
	case err != nil:
		return catalog.IndexRef{}, err
	case r.Index.ID != id: // changed between the two
		return catalog.IndexRef{}, nil
	}
	return r.Index, nil
}

// removeIndex removes what there is of an index beside its record.
func (e *Engine) removeIndex(ref catalog.IndexRef) {
	if ref.InFile() {
		e.removeFiles([]index.ID{ref.ID})
	}
}

// inline is an index that lies in a record.
type inline []byte

// Bytes has lookups go straight to memory, see [index.NewFile].
func (x inline) Bytes() []byte { return x }

// ReadAt implements [io.ReaderAt].
func (x inline) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > int64(len(x)) {
		return 0, fmt.Errorf("engine: read at %d of an index of %d bytes", off, len(x))
	}
	n := copy(p, x[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// An indexSink takes an index as it is written. What is no larger than room
// stays in memory; with the first byte beyond it goes to a file.
type indexSink struct {
	ctx   context.Context //nolint:containedctx // of the one writing
	place segment.Place
	name  segment.Name
	room  int
	small []byte
	file  segment.Writer // nil while it is small
}

// Write implements [io.Writer].
func (s *indexSink) Write(p []byte) (int, error) {
	if s.file == nil && len(s.small)+len(p) <= s.room {
		s.small = append(s.small, p...)
		return len(p), nil
	}
	if s.file == nil {
		file, err := s.place.Create(s.ctx, s.name)
		if err != nil {
			return 0, err
		}
		s.file = file
		if _, err := s.file.Write(s.small); err != nil {
			return 0, err
		}
		s.small = nil
	}
	return s.file.Write(p)
}

// commit returns the index if it is small, and makes its file durable if not.
func (s *indexSink) commit() ([]byte, error) {
	if s.file == nil {
		return s.small, nil
	}
	return nil, s.file.Commit(s.ctx)
}

// abort removes what was written.
func (s *indexSink) abort() error {
	if s.file == nil {
		return nil
	}
	return s.file.Abort()
}
