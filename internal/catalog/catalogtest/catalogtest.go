package catalogtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/shard"
)

// Test checks a catalogue against its contract and returns all laws that it
// breaks, or nil. open opens the catalogue, which is empty the first time, and
// is called again only after the one before was closed or lost. crash makes
// the one that is open be lost with all that was not durable, as if the power
// had failed; Test does not use it after that.
func Test(ctx context.Context, open func() (catalog.Catalog, error), crash func() error) error {
	s := &suite{ctx: ctx, open: open, crash: crash}
	if err := s.reopen(); err != nil {
		return err
	}
	laws := []struct {
		name string
		law  func() error
	}{
		{"what is put is got, whole", s.roundTrip},
		{"a record is replaced only by who knows its revision", s.compareAndSet},
		{"a batch is made whole or not at all", s.atomic},
		{"a batch that makes no sense is refused", s.invalid},
		{"records are listed by rising key, prefix and cursor", s.listing},
		{"the catalogue may change while it is listed", s.changing},
		{"intents are queued in the order in which they came", s.intents},
		{"an index id has the owner that its record says", s.owners},
		{"a copy is that of the shard whose record names it", s.copies},
		{"a piece is found by either form of its CID", s.pieces},
		{"pending, dead and layers are sets", s.sets},
		{"no number is given out twice", s.numbers},
		{"of many who change a record at once one wins", s.contention},
		{"a context that has ended stops a call", s.contexts},
		{"a manifest lives as long as its shard", s.manifests},
		{"what was acknowledged survives a crash", s.survives},
		{"a closed catalogue says so", s.closes},
	}
	var broken []error
	for _, l := range laws {
		if err := l.law(); err != nil {
			broken = append(broken, fmt.Errorf("%s: %w", l.name, err))
		}
	}
	return errors.Join(append(broken, s.c.Close(ctx))...)
}

type suite struct {
	ctx   context.Context // of one call of Test
	open  func() (catalog.Catalog, error)
	crash func() error
	c     catalog.Catalog
}

func (s *suite) reopen() (err error) {
	if s.c != nil {
		if err := s.c.Close(s.ctx); err != nil {
			return fmt.Errorf("close: %w", err)
		}
	}
	s.c, err = s.open()
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	return nil
}

func (s *suite) put(expect uint64, records ...*catalog.Record) error {
	b := &catalog.Batch{}
	for _, r := range records {
		b.Puts = append(b.Puts, catalog.Put{Record: r, Expect: expect})
	}
	return s.c.Apply(s.ctx, b)
}

// Lazy returns a small record, as a registration makes it.
func Lazy(key shard.Key) *catalog.Record {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)
	return &catalog.Record{
		Key: key, Revision: 1, State: shard.Registered,
		URL: "file:///data/" + string(key) + ".car", Registered: at, Changed: at,
	}
}

// Full returns a record in which everything is set.
func Full(key shard.Key) *catalog.Record {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	block := Block(string(key))
	fault := shard.Fault{Kind: shard.BadHash, Offset: 1 << 40, CID: block, Detail: "digest of \x00 differs"}
	return &catalog.Record{
		Key: key, Revision: 1, State: shard.Errored, Intent: catalog.Recover,
		URL: "https://example.org/a%20b.car?v=\x7f", Verify: true, Pin: true, Discard: true,
		Piece: block, PieceAt: at.Add(time.Hour),
		Labels: map[string]string{"": "empty", "dataset": "ärger", "z": ""},
		Index:  catalog.IndexRef{ID: 0xfffffffe, Length: 4096, CRC: 0xdeadbeef, Data: bytes.Repeat([]byte("index\x00\xff\x12"), 512)},
		Serve:  shard.Copy,
		Kept:   catalog.Kept{ID: 0xfffffffd, Size: 1 << 50, At: at.Add(time.Minute)},
		Facts: catalog.Facts{
			Version: 2, Roots: []cid.Cid{block, Block("other")}, RootCount: 1_000_000,
			Bytes: 1 << 50, Payload: shard.Extent{Offset: 51, Size: 1 << 49},
			Sections: 1 << 33, Multihashes: 1 << 32,
			SourceVersion: `W/"etag"`, SourceTime: at.Add(-time.Hour),
			Verified: shard.Full, VerifiedAt: at.Add(time.Hour),
			Faults: 17, Faulty: []shard.Fault{fault, {Kind: shard.BadEntry, Offset: -1}}, Trailing: true,
		},
		Failure: &shard.Failure{
			Err:      &shard.Error{Key: key, Op: shard.OpIndex, Err: fmt.Errorf("%w: block 7: %w", shard.ErrFailed, &fault)},
			At:       at,
			Attempts: 3,
		},
		Registered: at, Changed: at.Add(time.Second),
	}
}

// Block returns a CID that is made from text.
func Block(text string) cid.Cid {
	mh, err := multihash.Sum([]byte(text), multihash.SHA2_256, -1)
	if err != nil {
		panic(err) // sha2-256 of a string cannot fail
	}
	return cid.NewCidV1(cid.Raw, mh)
}

// Next returns a copy of r with the next revision.
func Next(r *catalog.Record) *catalog.Record {
	c := *r
	c.Revision++
	return &c
}

// Same returns an error unless a record that was read says what the one that
// was written said. The error of a failure is the same if it matches the same
// sentinels and has the same text and fault.
func Same(got, want *catalog.Record) error {
	if got == nil {
		return errors.New("no record")
	}
	g, w := *got, *want
	if err := sameFailure(g.Failure, w.Failure); err != nil {
		return err
	}
	g.Failure, w.Failure = nil, nil
	if !reflect.DeepEqual(g, w) {
		return fmt.Errorf("got  %+v\nwant %+v", g, w)
	}
	return nil
}

func sameFailure(got, want *shard.Failure) error {
	if got == nil || want == nil {
		if got != want {
			return fmt.Errorf("failure %v, want %v", got, want)
		}
		return nil
	}
	if !got.At.Equal(want.At) || got.Attempts != want.Attempts {
		return fmt.Errorf("failure of %v after %d attempts, want %v, %d", got.At, got.Attempts, want.At, want.Attempts)
	}
	if got.Err.Error() != want.Err.Error() || got.Err.Op != want.Err.Op || got.Err.Key != want.Err.Key {
		return fmt.Errorf("failure %q, want %q", got.Err.Error(), want.Err.Error())
	}
	for _, target := range []error{
		shard.ErrFailed, shard.ErrSource, shard.ErrCAR, shard.ErrBlock, shard.ErrIndex, shard.ErrQuota,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(got.Err, target) != errors.Is(want.Err, target) {
			return fmt.Errorf("failure matches %s: %t, want %t", target.Error(), errors.Is(got.Err, target), errors.Is(want.Err, target))
		}
	}
	var g, w *shard.Fault
	errors.As(got.Err, &g)
	errors.As(want.Err, &w)
	if !reflect.DeepEqual(g, w) {
		return fmt.Errorf("fault %+v, want %+v", g, w) //nolint:errorlint // either may be nil
	}
	return nil
}

func (s *suite) expect(want *catalog.Record) error {
	got, err := s.c.Get(s.ctx, want.Key)
	if err != nil {
		return err
	}
	return Same(got, want)
}

func (s *suite) absent(key shard.Key) error {
	if r, err := s.c.Get(s.ctx, key); !errors.Is(err, catalog.ErrNotFound) {
		return fmt.Errorf("get %q: %+v, %w, want not found", string(key), r, err)
	}
	return nil
}

func (s *suite) ids(list func(context.Context) func(func(index.ID, error) bool)) ([]index.ID, error) {
	var ids []index.ID
	for id, err := range list(s.ctx) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}
