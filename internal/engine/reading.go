package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// scan reads the CAR of w from o into in, through t if it is copied.
func (e *Engine) scan(w *indexing, g *guard, o origin, in *intake, t *tee) (car.Result, error) {
	if w.record.Indexer != "" {
		return e.scanBy(w, g, o, in, t)
	}
	opt := car.Options{Limits: e.cfg.Limits, Verify: w.record.Verify, Hashers: in.hashers, Size: o.stat.Size, Progress: w.told(e, g)}
	src, err := openBy(w, o, &opt, t)
	if err != nil {
		return car.Result{}, fail(w.record.Key, shard.OpFetch, sourceError(err))
	}
	defer src.Close()
	res, err := car.Scan(w.ctx, src, opt, func(s *car.Section) error {
		return in.Add(s.Multihash(), index.Position{Offset: s.Offset, Size: s.Size, Head: s.Head})
	})
	if err != nil {
		return res, fail(w.record.Key, shard.OpIndex, e.noSpace(err))
	}
	return res, nil
}

// openBy opens the source of w as its policy wants it read. What is copied is
// read as one stream.
func openBy(w *indexing, o origin, opt *car.Options, t *tee) (io.ReadCloser, error) {
	if t != nil {
		return stream{t, io.NopCloser(nil)}, nil
	}
	m, st := o.mount, o.stat
	policy := w.record.Policy
	switch {
	case w.record.Verify: // every body is read
		policy = catalog.PolicyAuto
	case policy == catalog.PolicyCheck && w.kind != onDisk && !o.copied && st.Ranges && st.Size >= 0:
		policy = catalog.PolicyHop
	}
	if policy == catalog.PolicyHop && st.Size < 0 {
		return nil, errors.New("it cannot be hopped through: nobody knows its size")
	}
	opt.Hop = policy == catalog.PolicyHop
	if opt.Hop && w.kind != onDisk && !o.copied {
		if !st.Ranges {
			return nil, fmt.Errorf("it cannot be hopped through: %w", mount.ErrNoRanges)
		}
		opt.Far = true
		at := ranges{ctx: w.ctx, mount: m, version: st.Version}
		return fileSource{io.NewSectionReader(at, 0, st.Size), io.NopCloser(nil)}, nil
	}
	src, pinned, err := streamOf(w.ctx, m, st, w.kind)
	w.pinned = pinned
	if err == nil && policy == catalog.PolicyScan {
		src = stream{src, src}
	}
	return src, err
}

// A stream can be read from its first byte on, and in no other way.
type stream struct {
	io.Reader
	io.Closer
}

// ranges reads a source by ranges, each of the version that was asked about.
type ranges struct {
	ctx     context.Context //nolint:containedctx // of the one reading
	mount   mount.Mount
	version string
}

// ReadAt implements [io.ReaderAt]. It is never asked for more than there is.
func (r ranges) ReadAt(p []byte, off int64) (int, error) {
	src, err := mount.OpenRange(r.ctx, r.mount, mount.Range{Offset: off, Length: int64(len(p)), Version: r.version})
	if err != nil {
		return 0, sourceError(err)
	}
	defer src.Close()
	return io.ReadFull(src, p)
}

// scanBy has an indexer of the configuration read the CAR. Its header is read
// by us: it says where the payload lies.
func (e *Engine) scanBy(w *indexing, g *guard, o origin, to *intake, t *tee) (res car.Result, err error) {
	key, name := w.record.Key, w.record.Indexer
	m, st := o.mount, o.stat
	if e.cfg.Indexers[name] == nil {
		return res, fail(key, shard.OpIndex, fmt.Errorf("%w: no indexer is called %q", shard.ErrIndex, name))
	}
	res.Header, err = e.header(w, m, st)
	if err != nil {
		return res, fail(key, shard.OpIndex, err)
	}
	res.PayloadSize = res.DataSize
	src := io.ReadCloser(stream{t, io.NopCloser(nil)})
	if t == nil {
		if src, w.pinned, err = streamOf(w.ctx, m, st, w.kind); err != nil {
			return res, fail(key, shard.OpFetch, sourceError(err))
		}
	}
	defer src.Close()
	in := &observed{r: src, told: w.told(e, g)}
	err = e.indexBy(w.ctx, name, in, func(r index.Record) error {
		p := r.Position
		if p.Head <= 0 { // without both, a read looks for itself
			p.Head, p.Size = 0, -1
		}
		res.Sections++
		return to.Add(r.Multihash, p)
	})
	switch {
	case in.err != nil: // whatever the indexer made of it
		return res, fail(key, shard.OpFetch, sourceError(in.err))
	case err == nil:
		err = in.short(st.Size)
	}
	if err != nil {
		return res, fail(key, shard.OpIndex, e.noSpace(err))
	}
	return res, nil
}

func (e *Engine) header(w *indexing, m mount.Mount, st mount.Stat) (car.Header, error) {
	src, _, err := streamOf(w.ctx, m, st, w.kind)
	if err != nil {
		return car.Header{}, sourceError(err)
	}
	defer src.Close()
	return car.ReadHeader(w.ctx, src, car.Options{Limits: e.cfg.Limits, Size: st.Size})
}

// indexBy calls an indexer, which is code of somebody else.
func (e *Engine) indexBy(ctx context.Context, name string, in io.Reader, emit func(index.Record) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			e.cfg.Log.Error("an indexer panicked", "indexer", name, "panic", p, "stack", string(debug.Stack()))
			err = fmt.Errorf("%w: indexer %q: panic: %v", shard.ErrIndex, name, p)
		}
	}()
	if err := e.cfg.Indexers[name](ctx, in, emit); err != nil {
		return fmt.Errorf("%w: indexer %q: %w", shard.ErrIndex, name, err)
	}
	return nil
}

// observed is a source that somebody else reads: what went wrong with it is
// known even if the reader keeps silent about it.
type observed struct {
	r     io.Reader
	n     int64
	ended bool
	err   error
	told  func(done int64)
}

// Read implements [io.Reader].
func (o *observed) Read(p []byte) (int, error) {
	n, err := o.r.Read(p)
	o.n += int64(n)
	o.told(o.n)
	switch {
	case errors.Is(err, io.EOF):
		o.ended = true
	case err != nil:
		o.err = err
	}
	return n, err
}

// short returns an error if the source ended before its size.
func (o *observed) short(size int64) error {
	if o.ended && size >= 0 && o.n < size {
		return fmt.Errorf("%w: it ends after %d of %d bytes", shard.ErrSource, o.n, size)
	}
	return nil
}
