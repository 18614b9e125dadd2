package dagstore

import (
	"context"
	"fmt"
	"iter"

	"github.com/dagstore/dagstore/internal/engine"
	"github.com/dagstore/dagstore/shard"
)

// Reconcile compares the catalogue, the index files, the inverted index and the
// names and lengths of copies with each other and yields what does not agree. It reads every byte of them,
// and no CAR. What is changing anyway, or has changed since it was looked at, is
// not yielded.
//
// With mend it also puts right what it yields, by making anew what is derived:
// an index from its CAR, if that can be reached, the inverted index from the
// indices; and it removes what belongs to no shard, as [Store.GC] does. It
// never deletes a record, or a file that it cannot make.
//
// What could not be looked at comes as an error, and the loop goes on; after
// the error of ctx or [ErrClosed] it yields nothing more. It runs in the
// caller's goroutine, holds up nobody, and ends at once when the loop is left or
// ctx ends; the indexing of a shard that had begun by then goes on. The store may
// be used, and closed, from within the loop.
func (s *Store) Reconcile(ctx context.Context, mend bool) iter.Seq2[Discrepancy, error] {
	return func(yield func(Discrepancy, error) bool) {
		for f, err := range s.engine.Reconcile(ctx, mend) {
			if err != nil {
				if !yield(Discrepancy{}, outward(err)) {
					return
				}
				continue
			}
			d := Discrepancy{Kind: kindOf(f.Kind), Key: f.Key, What: f.What, Mended: f.Mended}
			if !yield(d, nil) {
				return
			}
		}
		if ctx.Err() == nil && !s.closed.Load() {
			s.yieldForeign(ctx, yield)
		}
	}
}

// yieldForeign yields what lies in the store's folder and is not the store's.
// The names are gathered first: no caller is asked in the midst of a visit.
func (s *Store) yieldForeign(ctx context.Context, yield func(Discrepancy, error) bool) {
	inside, leave, err := s.engine.Visit(ctx)
	if err != nil {
		yield(Discrepancy{}, err)
		return
	}
	paths, err := s.someForeign(inside)
	leave()
	for _, path := range paths {
		if !yield(Discrepancy{Kind: ForeignFile, What: fmt.Sprintf("%q was not made by the store", path)}, nil) {
			return
		}
	}
	if err != nil {
		yield(Discrepancy{}, outward(err))
	}
}

// A Discrepancy is one thing that does not agree with another.
type Discrepancy struct {
	Kind   DiscrepancyKind
	Key    shard.Key // "" where no shard is concerned
	What   string    // for people; says why too if it could not be mended
	Mended bool
}

// A DiscrepancyKind is what does not agree with what.
type DiscrepancyKind uint8

// The kinds of discrepancies. Those of records and of foreign files are never
// mended: the store has nothing from which to make a record, and what is not its
// own is not its business.
const (
	DamagedRecord   DiscrepancyKind = iota + 1 // what is remembered of a shard cannot be read
	MissingIndex                               // the index file of a shard is not there
	DamagedIndex                               // it is damaged, or another than is remembered
	IncompleteIndex                            // the inverted index does not find all that it holds
	DeadIndex                                  // it counts as that of a shard that is gone
	MissingLayer                               // a file of the inverted index is not there
	DamagedLayer                               // it is damaged, or another than is remembered
	StrayEntries                               // the inverted index knows an index that no shard has
	StrayPending                               // one that no shard has is to be added to it
	StrayFile                                  // a file of the store belongs to nothing
	ForeignFile                                // a file in its folder is not the store's; at most 100 are told of
	DamagedManifest                            // the members of a manifest cannot be read; it is never mended
	MissingCopy                                // the copy that is kept of a CAR is not there, or not whole: it is forgotten
)

var kindNames = [...]string{
	DamagedRecord: "damaged record", MissingIndex: "missing index", DamagedIndex: "damaged index",
	IncompleteIndex: "incomplete index", DeadIndex: "dead index", MissingLayer: "missing layer", DamagedLayer: "damaged layer",
	StrayEntries: "stray entries", StrayPending: "stray pending", StrayFile: "stray file", ForeignFile: "foreign file",
	DamagedManifest: "damaged manifest", MissingCopy: "missing copy",
}

// String returns a name of two words.
func (k DiscrepancyKind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("discrepancy(%d)", uint8(k))
	}
	return kindNames[k]
}

// kindOf is the kind of what the engine has found.
func kindOf(k engine.FindingKind) DiscrepancyKind {
	switch k {
	case engine.DamagedRecord:
		return DamagedRecord
	case engine.MissingIndex:
		return MissingIndex
	case engine.DamagedIndex:
		return DamagedIndex
	case engine.NotFound:
		return IncompleteIndex
	case engine.DeadIndex:
		return DeadIndex
	case engine.MissingLayer:
		return MissingLayer
	case engine.DamagedLayer:
		return DamagedLayer
	case engine.StrayEntries:
		return StrayEntries
	case engine.StrayPending:
		return StrayPending
	case engine.DamagedManifest:
		return DamagedManifest
	case engine.MissingCopy:
		return MissingCopy
	default:
		return StrayFile
	}
}
