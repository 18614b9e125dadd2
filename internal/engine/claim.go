package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// An index that comes with a CAR, inside of it, beside it or at a URL that was
// given, is a claim of whoever made it. How much of it is held against the CAR
// is the policy of the shard. What is wrong with it costs the index and never
// the CAR, which is read instead; see docs/rfc/0011.

// siblingSuffix is what an index beside a CAR has behind the name of that.
const siblingSuffix = ".idx"

// sampled is how many entries of a claim are held against the CAR, hashed.
const sampled = 16

// fewBytes is how long a CAR elsewhere is that is read sooner than asked about.
const fewBytes = 256 << 10

// A trust is how far a claim is believed.
type trust uint8

const (
	noTrust     trust = iota // it is not even looked for
	checkTrust               // it is compared with what the CAR was read to be
	sampleTrust              // if what is drawn of it is right
	adoptTrust               // until the CAR was read
)

// trust is how far a claim of w may be believed.
func (w *indexing) trust(o *origin) trust {
	r := w.record
	switch {
	case w.beside != nil && w.beside.confirm, r.Claim == catalog.ClaimRefuted, // it is the claim that is in doubt
		r.Verify, r.Indexer != "", // every body is read, by us or by somebody else
		o.stat.Size < 0:
		return noTrust
	case r.Policy == catalog.PolicyCheck:
		return checkTrust
	case r.Policy == catalog.PolicySample:
		return sampleTrust
	case r.Policy == catalog.PolicyAdopt:
		return adoptTrust
	case r.Policy == catalog.PolicyAuto && r.IndexURL == "" && w.copies:
		return noTrust // all of it is read anyway
	case r.Policy == catalog.PolicyAuto && r.IndexURL == "" && w.kind != onDisk && o.stat.Size <= fewBytes:
		return noTrust // to look for an index costs more than to read it
	case r.Policy == catalog.PolicyAuto && w.kind != onDisk && !o.copied && !w.copies:
		return sampleTrust // reading all of it costs more than it can bring
	case r.Policy == catalog.PolicyAuto && r.IndexURL != "":
		return checkTrust // somebody wants to know
	default:
		return noTrust
	}
}

// A claim is an index that came with a CAR, opened.
type claim struct {
	file    *index.File    // nil: it has digests only
	digests *index.Digests // nil: it has multihashes
	where   string         // in a report
	begin   int64          // in the CAR; 0 if it lies elsewhere
	close   func()
}

// index is the claim as an index, or nil if it knows digests only.
func (c *claim) index() index.Index {
	if c.file == nil {
		return nil
	}
	return c.file
}

// bad is what is reported of a claim that is wrong.
func (c *claim) bad(format string, args ...any) *shard.Fault {
	return &shard.Fault{Kind: shard.BadEntry, Offset: c.begin, Detail: "the index " + c.where + ": " + fmt.Sprintf(format, args...)}
}

// takeIn makes the index of w of one that came with the CAR, as far as that
// may be believed. It returns no intake if the CAR has to be read: there is
// none, or it proved wrong, which f then tells. The error is that of a source
// or of the disk.
func (e *Engine) takeIn(w *indexing, g *guard, o *origin, memory int64, f *found) (*intake, error) {
	how := w.trust(o)
	if how == noTrust {
		return nil, nil //nolint:nilnil // there is nothing to be taken in, and nothing wrong
	}
	at, closer, err := o.randomly(w)
	if err != nil || at == nil {
		return nil, err
	}
	defer closer()
	opt := car.Options{Limits: e.cfg.Limits, Size: o.stat.Size}
	h, err := car.ReadHeader(w.ctx, io.NewSectionReader(at, 0, o.stat.Size), opt)
	if err != nil {
		return nil, nil //nolint:nilnil // reading all of it will tell why
	}
	c, err := e.findClaim(w, g, o, h)
	if c == nil || err != nil {
		return nil, e.disbelieve(w, g, nil, err, f)
	}
	defer c.close()
	if how == checkTrust {
		f.listed, err = c.list(w.ctx, c.index())
		return nil, e.disbelieve(w, g, c, err, f)
	}
	if c.file == nil {
		e.cfg.Log.Info("an index is passed over: it does not say of which hash functions its entries are", "key", string(w.record.Key), "index", c.where)
		return nil, nil //nolint:nilnil // see above
	}
	t := taking{ctx: w.ctx, claim: c, at: at, header: h, limits: e.cfg.Limits}
	in, err := e.newIntake(w.ctx, memory).filled(func(in *intake) error {
		t.to = in
		return t.run(how == sampleTrust)
	})
	if err != nil {
		return nil, e.disbelieve(w, g, c, err, f)
	}
	f.result = car.Result{Header: h, Sections: t.entries, PayloadSize: h.DataSize}
	f.claim = catalog.ClaimAdopted
	if how == sampleTrust {
		f.claim = catalog.ClaimSampled
	}
	_, byRange := at.(ranges)
	f.pinned = byRange && o.stat.Version != ""
	return in, nil
}

// disbelieve tells a claim that is wrong, after which the CAR is read, from
// what is wrong with the source or the disk.
func (e *Engine) disbelieve(w *indexing, g *guard, c *claim, err error, f *found) error {
	var fault *shard.Fault
	switch {
	case err == nil:
		return nil
	case w.ctx.Err() != nil:
		return w.ctx.Err()
	case g.lost():
		return errGivenUp
	case errors.As(err, &fault):
	case errors.Is(err, index.ErrDamaged), errors.Is(err, index.ErrVersion), errors.Is(err, index.ErrRecord):
		if c == nil {
			c = &claim{where: "that came with the CAR"}
		}
		fault = c.bad("%v", err)
	default:
		return err
	}
	f.lie, f.claim = fault, catalog.ClaimRefuted
	return nil
}

// randomly opens what is read for reads at random. It returns nil if it offers
// none.
func (o *origin) randomly(w *indexing) (io.ReaderAt, func(), error) {
	file, err := mount.OpenFile(w.ctx, o.mount)
	switch {
	case err == nil:
		return file, func() { _ = file.Close() }, nil // it was only read
	case !errors.Is(err, mount.ErrNotLocal):
		return nil, nil, sourceError(err)
	case w.kind == onDisk:
		return nil, nil, elsewhere{remote}
	case !o.stat.Ranges:
		return nil, nil, nil
	}
	return ranges{ctx: w.ctx, mount: o.mount, version: o.stat.Version}, func() {}, nil
}

// findClaim opens the index that came with a CAR, or returns nil if there is
// none. One that was named goes before one inside of the CAR, and that before
// one beside it.
func (e *Engine) findClaim(w *indexing, g *guard, o *origin, h car.Header) (*claim, error) {
	most := 3*o.stat.Size + 1<<20 // no entry is three times as long as the least section
	switch {
	case w.record.IndexURL != "":
		return e.namedClaim(w, g, most)
	case h.IndexOffset > 0:
		c := &claim{where: "inside of the CAR", begin: h.IndexOffset}
		return e.openClaim(w, c, o.mount, mount.Range{Offset: h.IndexOffset, Length: o.stat.Size - h.IndexOffset, Version: o.stat.Version}, most)
	}
	beside, err := mount.OpenSibling(o.mount, siblingSuffix)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // nothing lies beside it
	}
	c, err := e.openClaim(w, &claim{where: "beside the CAR"}, beside, mount.Range{Length: -1}, most)
	var fault *shard.Fault
	if err != nil && !errors.As(err, &fault) && w.ctx.Err() == nil {
		// Nobody has said that there is one: some sources call what is not
		// there forbidden.
		e.cfg.Log.Debug("nothing lies beside a CAR", "key", string(w.record.Key), "err", err)
		return nil, nil //nolint:nilnil // see above
	}
	return c, err
}

// namedClaim opens the index at the URL that was given. If that is not there,
// the CAR is read; if it cannot be reached, that is an error, as of the CAR.
func (e *Engine) namedClaim(w *indexing, g *guard, most int64) (*claim, error) {
	c := &claim{where: "at " + withoutQuery(w.record.IndexURL)}
	m, err := e.mount(w.record.IndexURL, g)
	if err != nil {
		return nil, sourceError(err)
	}
	opened, err := e.openClaim(w, c, m, mount.Range{Length: -1}, most)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, c.bad("it is not there")
	}
	return opened, err
}

// openClaim opens the index in r of m: in place where that lies on this
// machine, copied where it does not. Its errors are those of the source, or a
// fault if it is no index.
func (e *Engine) openClaim(w *indexing, c *claim, m mount.Mount, r mount.Range, most int64) (*claim, error) {
	at, size, closer, err := e.claimBytes(w, c, m, r, most)
	if err != nil {
		return nil, err
	}
	c.close = closer
	format, err := index.FormatOf(at)
	switch {
	case err != nil:
		err = sourceError(err)
	case format == index.DigestsSorted:
		c.digests, err = index.NewDigests(at, size)
	case format == index.MultihashSorted:
		c.file, err = index.NewFile(at, size)
	default:
		err = c.bad("its format is not known")
	}
	if errors.Is(err, index.ErrDamaged) || errors.Is(err, index.ErrVersion) {
		err = c.bad("%v", err)
	}
	if err != nil {
		closer()
		return nil, err
	}
	return c, nil
}

// claimBytes gives the bytes of an index.
func (e *Engine) claimBytes(w *indexing, c *claim, m mount.Mount, r mount.Range, most int64) (io.ReaderAt, int64, func(), error) {
	file, err := mount.OpenFile(w.ctx, m)
	if err == nil {
		size := r.Length
		if size < 0 {
			st, err := m.Stat(w.ctx)
			if err != nil {
				_ = file.Close() // it was only opened
				return nil, 0, nil, sourceError(err)
			}
			size = st.Size
		}
		return io.NewSectionReader(file, r.Offset, size), size, func() { _ = file.Close() }, nil
	}
	if !errors.Is(err, mount.ErrNotLocal) {
		return nil, 0, nil, sourceError(err)
	}
	var src io.ReadCloser
	if r.Offset > 0 {
		src, err = mount.OpenRange(w.ctx, m, r)
	} else {
		src, err = m.Open(w.ctx)
	}
	if err != nil {
		return nil, 0, nil, sourceError(err)
	}
	s := &spool{folder: e.cfg.Spill}
	err = s.fill(fromSource{src}, most)
	_ = src.Close() // what was to be read is read, or that it was not is known
	if errors.Is(err, errTooLong) {
		err = c.bad("it is longer than that of any CAR of this size could be")
	}
	if err != nil {
		s.close()
		return nil, 0, nil, err
	}
	return s, s.size, s.close, nil
}

// A listing is the set of what an index lists, to be held against what the CAR
// proves to have.
type listing struct {
	records
	claim   *claim
	digests bool // it knows no hash functions
}

// list gathers what a claim lists, with sizes if it has any; ix is nil if it
// has digests only.
func (c *claim) list(ctx context.Context, ix index.Index) (*listing, error) {
	sizes, ok := ix.(interface{ HasSizes() bool })
	l := &listing{records: *newRecords(ok && sizes.HasSizes()), claim: c, digests: ix == nil}
	if ix != nil {
		return l, l.gather(ctx, ix)
	}
	for d, err := range c.digests.All() {
		if err == nil && l.n%4096 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		l.add(d.Digest, index.Position{Offset: d.Offset})
	}
	return l, nil
}

// gather adds what ix lists.
func (l *listing) gather(ctx context.Context, ix index.Index) error {
	for r, err := range ix.All() {
		if err == nil && l.n%4096 == 0 {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		name := []byte(r.Multihash)
		if l.digests {
			d, err := multihash.Decode(r.Multihash)
			if err != nil {
				return err
			}
			name = d.Digest
		}
		l.add(name, r.Position)
	}
	return nil
}

// compare says what a claim has got wrong, given the index that was made from
// the CAR.
func (l *listing) compare(ctx context.Context, made index.Index) (*shard.Fault, error) {
	have := listing{records: records{key: l.key, sized: l.sized}, digests: l.digests}
	if err := have.gather(ctx, made); err != nil {
		return nil, err
	}
	switch {
	case have.records == l.records:
		return nil, nil //nolint:nilnil // it has got nothing wrong
	case have.n != l.n:
		return l.claim.bad("it lists %d blocks, the CAR has %d to be listed", l.n, have.n), nil
	default:
		return l.claim.bad("it lists %d blocks, as the CAR has, and not all are the same ones or lie where it says", l.n), nil
	}
}

// believed is what the shard of w has been believed to hold. An index that is
// lost by now lists nothing to be compared.
func (e *Engine) believed(w *indexing) *listing {
	ix, err := e.openRecorded(w.ctx, w.record.Index)
	if err != nil {
		return nil
	}
	defer func() { _ = ix.Close() }() // it was only read
	l, err := (&claim{where: "that came with the CAR"}).list(w.ctx, ix)
	if err != nil {
		return nil
	}
	return l
}

// judgeListed compares what a claim lists, if f has that, with the index of f,
// which was made from the CAR and is on disk.
func (e *Engine) judgeListed(w *indexing, f *found) {
	if f.listed == nil {
		return
	}
	made, err := e.openRecorded(w.ctx, f.ref())
	if err == nil {
		f.lie, err = f.listed.compare(w.ctx, made)
		_ = made.Close() // it was only read
	}
	switch {
	case f.lie != nil:
		f.claim = catalog.ClaimRefuted
	case err != nil && w.ctx.Err() == nil: // what is wrong with our own index, its first opening will tell
		e.cfg.Log.Warn("an index that came with a CAR could not be compared", "key", string(w.record.Key), "err", err)
	}
}
