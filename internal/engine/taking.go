package engine

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/shard"
)

// A taking moves the entries of a claim into an index of ours. Each must lie
// within the payload, and there must be room for all of them; what was drawn
// is held against the CAR and hashed.
type taking struct {
	ctx    context.Context //nolint:containedctx // of this one taking
	claim  *claim
	at     io.ReaderAt // the CAR
	header car.Header
	limits car.Limits
	to     *intake

	entries int64
	drawn   []index.Record // by rising offset
	next    []int64        // where the next section begins that is listed after each of these
}

// run does all of it. An error that is of the claim is a [*shard.Fault], or
// one of package index.
func (t *taking) run(sample bool) (err error) {
	if sample {
		if t.drawn, err = t.claim.file.Sample(sampled); err != nil {
			return err
		}
		t.next = make([]int64, len(t.drawn))
		for i := range t.next {
			t.next[i] = t.header.DataSize
		}
	}
	if err := t.load(); err != nil {
		return err
	}
	if t.entries == 0 && sample {
		// Nothing can be drawn of it: it says that there are no blocks.
		return t.unlisted(t.header.FirstSection, t.header.DataSize, nil)
	}
	return t.holdAll()
}

// holdsAtOnce is how many entries are held against the CAR at once: elsewhere each
// is a request, and takes as long as one.
const holdsAtOnce = 4

// holdAll holds what was drawn against the CAR. Of several errors it returns that
// of the lowest offset. A panic of the mount is one of its caller.
func (t *taking) holdAll() error {
	errs, panics := make([]error, len(t.drawn)), make([]any, len(t.drawn))
	var failed atomic.Bool
	var all sync.WaitGroup
	slots := make(chan struct{}, holdsAtOnce)
	for i, r := range t.drawn {
		slots <- struct{}{}
		if failed.Load() {
			break
		}
		all.Go(func() {
			defer func() {
				panics[i] = recover()
				failed.CompareAndSwap(false, errs[i] != nil || panics[i] != nil)
				<-slots
			}()
			errs[i] = t.hold(r, t.next[i])
		})
	}
	all.Wait()
	for i, err := range errs {
		switch {
		case panics[i] != nil:
			panic(panics[i])
		case err != nil:
			return err
		}
	}
	return nil
}

// load gives every entry to the builder.
func (t *taking) load() error {
	end := t.header.DataSize
	room := end - t.header.FirstSection
	for r, err := range t.claim.file.All() {
		if err == nil && t.entries%4096 == 0 {
			err = t.ctx.Err()
		}
		if err != nil {
			return err
		}
		p := r.Position
		if p.Size < 0 || p.Head <= 0 { // without both, a read looks for itself
			p = index.Position{Offset: p.Offset, Size: -1}
		}
		least := leastSection(r.Multihash, p)
		switch {
		case p.Offset < t.header.FirstSection || p.Offset > end || least > end-p.Offset:
			return t.claim.bad("it lists a block at offset %d, the payload has sections from %d to %d", p.Offset, t.header.FirstSection, end)
		case least > room:
			return t.claim.bad("it lists more blocks than the payload has room for")
		}
		room -= least
		t.entries++
		t.pass(r.Offset)
		if err := t.to.Add(r.Multihash, p); err != nil {
			return err
		}
	}
	return nil
}

// leastSection is how many bytes a section has at least.
func leastSection(mh multihash.Multihash, p index.Position) int64 {
	switch {
	case p.Size >= 0:
		return int64(p.Head) + p.Size
	case len(mh) == 34 && mh[0] == multihash.SHA2_256:
		return 1 + 34 // a CIDv0
	default:
		return 1 + 2 + int64(len(mh))
	}
}

// pass remembers that a section is listed at off.
func (t *taking) pass(off int64) {
	i, at := slices.BinarySearchFunc(t.drawn, off, func(r index.Record, off int64) int {
		switch {
		case r.Offset < off:
			return -1
		case r.Offset > off:
			return 1
		}
		return 0
	})
	if at {
		// Another may begin where this one does; who lists both is found out
		// by holding either.
		for i > 0 && t.drawn[i-1].Offset == off {
			i--
		}
	}
	if i > 0 {
		t.next[i-1] = min(t.next[i-1], off)
	}
}

// mostAtOnce is how much of a section is read before its head was seen: more
// than nearly all blocks have. Where the next section is listed says how long
// one is, so an honest entry costs one read.
const mostAtOnce = 2 << 20

// hold holds an entry against the CAR: its section, and that the one after it
// is listed, too.
func (t *taking) hold(r index.Record, next int64) error {
	buf, err := t.read(r.Offset, nil, min(next-r.Offset, mostAtOnce))
	if err != nil {
		return err
	}
	sec, err := t.section(r.Offset, buf)
	if err != nil {
		return err
	}
	whole := int64(sec.Head) + sec.Size
	switch {
	case string(sec.Multihash()) != string(r.Multihash):
		return t.claim.bad("another block lies at offset %d", r.Offset)
	case r.Size >= 0 && r.Head > 0 && (sec.Size != r.Size || sec.Head != r.Head):
		return t.claim.bad("the block at offset %d has another size", r.Offset)
	case whole > next-r.Offset:
		return t.claim.bad("the section at offset %d reaches over the next one that is listed", r.Offset)
	}
	head := sec.Head // sec lies in buf
	if buf, err = t.read(r.Offset, buf, whole); err != nil {
		return err
	}
	id := cid.NewCidV1(cid.Raw, r.Multihash) // the codec is no part of the hash
	if err := car.Check(id, t.header.DataOffset+r.Offset, buf[head:whole]); err != nil {
		return err
	}
	return t.unlisted(r.Offset+whole, next, buf[whole:])
}

// mostUnlisted is how many sections in a row are looked at that need not be
// listed.
const mostUnlisted = 8

// unlisted looks for a section from off to next, where the next one is listed,
// that should be listed and is not. have is what was read from off on. Blocks
// whose CID holds their data are in no index, and repeated ones need be only once.
func (t *taking) unlisted(off, next int64, have []byte) error {
	for range mostUnlisted {
		if off >= next {
			return nil
		}
		buf, err := t.read(off, have, min(next-off, car.MaxHead))
		if err != nil {
			return err
		}
		if buf[0] == 0 && next == t.header.DataSize {
			return nil // null padding, the end
		}
		sec, err := t.section(off, buf)
		if err != nil {
			return err
		}
		whole := int64(sec.Head) + sec.Size
		if !sec.Identity() {
			listed, err := t.claim.file.Find(nil, sec.Multihash(), 1)
			if err != nil {
				return err
			}
			if len(listed) == 0 {
				return t.claim.bad("it does not list the block at offset %d", off)
			}
		}
		off += whole
		have = buf[min(whole, int64(len(buf))):]
	}
	return nil
}

// section reads the head of the section at off, of which buf has the
// beginning, and sees to it that it ends within the payload.
func (t *taking) section(off int64, buf []byte) (car.Section, error) {
	sec, err := car.ParseSection(off, buf[:min(len(buf), car.MaxHead)], t.limits.Section)
	var fault *shard.Fault
	switch {
	case errors.As(err, &fault):
		return sec, t.claim.bad("no section begins at offset %d: %s", off, fault.Detail)
	case err != nil:
		return sec, t.claim.bad("no section begins at offset %d: it has no room for one", off)
	case sec.Size > t.header.DataSize-off-int64(sec.Head):
		return sec, t.claim.bad("the section at offset %d reaches past the payload", off)
	}
	return sec, nil
}

// read returns n bytes of the payload from off on, the first of which are have,
// and more if have is longer; but [car.MaxHead] at least, as far as there are
// any. Lengths were held against the payload, or a limit, before.
func (t *taking) read(off int64, have []byte, n int64) ([]byte, error) {
	n = min(max(n, car.MaxHead), t.header.DataSize-off)
	if int64(len(have)) >= n {
		return have, nil
	}
	buf := append(slices.Grow([]byte(nil), int(n)), have...)[:n]
	got, err := t.at.ReadAt(buf[len(have):], t.header.DataOffset+off+int64(len(have)))
	if got < len(buf)-len(have) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, sourceError(err)
	}
	return buf, nil
}
