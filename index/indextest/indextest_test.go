package indextest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/index/indextest"
)

func records(n int) []index.Record {
	var recs []index.Record
	for r := range indextest.Records(1, n) {
		recs = append(recs, r)
	}
	return recs
}

func TestRecords(t *testing.T) {
	recs := records(5000)
	same := func(a, b index.Record) bool {
		return bytes.Equal(a.Multihash, b.Multihash) && a.Position == b.Position
	}
	if !slices.EqualFunc(recs, records(5000), same) || !slices.EqualFunc(recs[:100], records(100), same) {
		t.Error("one seed gives two sequences")
	}
	kinds, seen, heads := map[string]bool{}, map[string]bool{}, map[string]string{}
	repeated, alike := 0, 0
	offset := int64(0)
	for _, r := range recs {
		if _, err := multihash.Decode(r.Multihash); err != nil {
			t.Fatalf("%x: %v", []byte(r.Multihash), err)
		}
		if r.Offset < offset || r.Size < 0 || r.Head <= len(r.Multihash) {
			t.Fatalf("%+v does not lie behind %d", r, offset)
		}
		offset = r.Offset + int64(r.Head) + r.Size
		kinds[string(r.Multihash[:2])] = true
		if seen[string(r.Multihash)] {
			repeated++
		}
		seen[string(r.Multihash)] = true
		if len(r.Multihash) >= 34 {
			head := string(r.Multihash[:12])
			if other, ok := heads[head]; ok && other != string(r.Multihash) {
				alike++
			}
			heads[head] = string(r.Multihash)
		}
	}
	if len(kinds) < 9 || repeated < 100 || alike < 100 {
		t.Errorf("%d kinds, %d repeated, %d alike: too few", len(kinds), repeated, alike)
	}
}

// table is an index in memory, right unless one of its faults is switched on.
type table struct {
	recs  []index.Record
	fault string
	used  atomic.Bool
}

func newTable(recs []index.Record, fault string) *table {
	recs = slices.DeleteFunc(slices.Clone(recs), func(r index.Record) bool {
		return r.Multihash[0] == multihash.IDENTITY && fault != "identity"
	})
	slices.SortFunc(recs, func(a, b index.Record) int {
		return 4*sign(bytes.Compare(key(a.Multihash), key(b.Multihash))) + sign(int(a.Offset-b.Offset))
	})
	return &table{recs: recs, fault: fault}
}

func sign(n int) int { return min(max(n, -1), 1) }

// key orders multihashes by code, length and digest.
func key(mh multihash.Multihash) []byte {
	d, err := multihash.Decode(mh)
	if err != nil {
		return nil
	}
	k := binary.BigEndian.AppendUint64(nil, d.Code)
	return append(binary.BigEndian.AppendUint64(k, uint64(d.Length)), d.Digest...)
}

func (x *table) Len() int64 {
	if x.fault == "len" {
		return int64(len(x.recs)) + 1
	}
	return int64(len(x.recs))
}

func (x *table) Find(dst []index.Position, mh multihash.Multihash, limit int) ([]index.Position, error) {
	switch x.fault {
	case "find forgets dst":
		dst = nil
	case "find ignores limit":
		limit = 0
	case "find errs":
		if len(mh) < 3 {
			return dst, errors.New("no multihash")
		}
	}
	n := 0
	for _, r := range x.recs {
		if x.fault == "prefix" && len(mh) > 12 && len(r.Multihash) > 12 && bytes.Equal(r.Multihash[:12], mh[:12]) ||
			x.fault == "code" && len(mh) > 2 && bytes.HasSuffix(r.Multihash, mh[2:]) ||
			bytes.Equal(r.Multihash, mh) {
			if n++; limit > 0 && n > limit {
				break
			}
			dst = append(dst, r.Position)
			if x.fault == "first only" {
				break
			}
			if x.fault == "size" {
				dst[len(dst)-1].Size++
			}
		}
	}
	if x.fault == "find order" {
		slices.Reverse(dst)
	}
	return dst, nil
}

func (x *table) All() iter.Seq2[index.Record, error] {
	recs := x.recs
	switch x.fault {
	case "all misses":
		recs = recs[:len(recs)-1]
	case "all twice":
		recs = slices.Concat(recs, recs[len(recs)-1:])
	case "all order":
		recs = slices.Clone(recs)
		recs[0], recs[1] = recs[1], recs[0]
	}
	if x.fault == "once" && x.used.Load() {
		recs = nil
	}
	return func(yield func(index.Record, error) bool) {
		if x.fault == "all errs" {
			yield(index.Record{}, errors.New("damaged"))
			return
		}
		for _, r := range recs {
			if !yield(r, nil) {
				return
			}
		}
		x.used.Store(true)
	}
}

func TestTestIndex(t *testing.T) {
	recs := records(600)
	if err := indextest.TestIndex(newTable(recs, ""), recs); err != nil {
		t.Fatal(err)
	}
	for fault, law := range map[string]string{
		"len":                "Len is",
		"identity":           "identity multihashes",
		"find forgets dst":   "Find appends",
		"find ignores limit": "a limit",
		"find errs":          "that there are none",
		"prefix":             "Find gives",
		"code":               "that there are none",
		"first only":         "Find gives",
		"size":               "Find gives",
		"find order":         "Find gives",
		"all misses":         "All yields",
		"all twice":          "All yields",
		"all order":          "All yields",
		"all errs":           "All yields",
		"once":               "All ends",
	} {
		t.Run(fault, func(t *testing.T) {
			err := indextest.TestIndex(newTable(recs, fault), recs)
			if err == nil || !strings.Contains(err.Error(), law) {
				t.Errorf("%v, want %q broken", err, law)
			}
		})
	}
}

// A disk is an inverted index in memory, with what of it is durable. It is
// right unless one of its faults is switched on.
type disk struct {
	fault   string
	synced  map[index.ID]map[string]bool
	dropped map[index.ID]bool
}

type inverted struct {
	mu      sync.RWMutex
	disk    *disk
	shards  map[index.ID]map[string]bool
	dropped map[index.ID]bool
	newest  []index.ID // of shards, descending
}

func (d *disk) open() (index.Inverted, error) {
	if d.fault == "open" && len(d.synced) > 3 {
		return nil, errors.New("too much")
	}
	x := &inverted{disk: d, shards: maps.Clone(d.synced), dropped: maps.Clone(d.dropped)}
	x.newest = slices.Sorted(maps.Keys(x.shards))
	slices.Reverse(x.newest)
	if d.fault == "undead" {
		clear(x.dropped)
	}
	return x, nil
}

func (x *inverted) Find(dst []index.ID, mh multihash.Multihash, limit int) ([]index.ID, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	fault := x.disk.fault
	if fault == "miss" && len(mh) == 1 {
		return dst, errors.New("no multihash")
	}
	if fault == "dst" {
		dst = dst[:0]
	}
	ids := x.newest
	if fault == "oldest first" {
		ids = slices.Clone(ids)
		slices.Reverse(ids)
	}
	n := 0
	for _, id := range ids {
		if !x.shards[id][string(mh)] || x.dropped[id] && fault != "drop" {
			continue
		}
		if n++; limit > 0 && n > limit && fault != "limit" {
			break
		}
		dst = append(dst, id)
		if fault == "repeats" {
			dst = append(dst, id)
		}
		if fault == "invents" {
			dst = append(dst, id+1_000_000)
		}
	}
	return dst, nil
}

func (x *inverted) Add(_ context.Context, id index.ID, mhs iter.Seq2[multihash.Multihash, error]) error {
	set := map[string]bool{}
	var kept []multihash.Multihash
	for mh, err := range mhs {
		if err != nil {
			if x.disk.fault == "source" {
				break
			}
			return err
		}
		if x.disk.fault == "loses" && len(set) == 5 {
			break
		}
		set[string(mh)] = true
		kept = append(kept, mh)
	}
	if x.disk.fault == "keeps" {
		clear(set)
		for _, mh := range kept {
			set[string(mh)] = true
		}
	}
	if x.disk.fault == "swap" {
		x.mu.Lock()
		before := x.shards
		x.shards = map[index.ID]map[string]bool{}
		x.mu.Unlock()
		time.Sleep(time.Millisecond) // for somebody to look
		x.mu.Lock()
		maps.Copy(x.shards, before)
		x.mu.Unlock()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, there := x.shards[id]; there && x.disk.fault == "again" {
		return errors.New("it is there already")
	}
	x.shards[id] = set
	if at, there := slices.BinarySearchFunc(x.newest, id, func(a, b index.ID) int { return int(b) - int(a) }); !there {
		x.newest = slices.Insert(x.newest, at, id)
	}
	return nil
}

func (x *inverted) Drop(id index.ID) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, ok := x.shards[id]; !ok && x.disk.fault == "unknown" {
		return errors.New("unknown")
	}
	x.dropped[id] = true
	return nil
}

func (x *inverted) Sync(context.Context) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.disk.fault != "sync" {
		x.disk.synced = maps.Clone(x.shards)
	}
	x.disk.dropped = maps.Clone(x.dropped)
	return nil
}

func TestTestInverted(t *testing.T) {
	run := func(ctx context.Context, fault string) error {
		d := &disk{fault, map[index.ID]map[string]bool{}, map[index.ID]bool{}}
		return indextest.TestInverted(ctx, d.open, func() error { return nil })
	}
	if err := run(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	for fault, law := range map[string]string{
		"open":         "it always opens",
		"miss":         "that nobody holds",
		"dst":          "Find appends",
		"oldest first": "newest first",
		"repeats":      "newest first",
		"invents":      "only what was added",
		"drop":         "what was dropped",
		"limit":        "a limit",
		"source":       "an error of the source",
		"loses":        "what was added",
		"keeps":        "what was added",
		"again":        "adding again",
		"unknown":      "dropping what was never added",
		"sync":         "what Sync returned for",
		"undead":       "what Sync returned for",
	} {
		t.Run(fault, func(t *testing.T) {
			err := run(t.Context(), fault)
			if err == nil || !strings.Contains(err.Error(), law) {
				t.Errorf("%v, want %q broken", err, law)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := run(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("after the context has ended: %v", err)
	}
}

// TestParallelLaw has an index that forgets everything for a moment during Add.
// A reader may happen to look away each time, but not in several runs.
func TestParallelLaw(t *testing.T) {
	for range 5 {
		d := &disk{"swap", map[index.ID]map[string]bool{}, map[index.ID]bool{}}
		err := indextest.TestInverted(t.Context(), d.open, nil)
		if err != nil && strings.Contains(err.Error(), "a reader never misses") {
			return
		}
	}
	t.Error("nobody has seen it")
}

// A torn table gives wrong answers only while two lookups run at once.
type torn struct {
	*table
	inside atomic.Int32
}

func (x *torn) Find(dst []index.Position, mh multihash.Multihash, limit int) ([]index.Position, error) {
	defer x.inside.Add(-1)
	if x.inside.Add(1) > 1 {
		return dst, nil
	}
	time.Sleep(10 * time.Microsecond)
	return x.table.Find(dst, mh, limit)
}

func TestSharedLaw(t *testing.T) {
	recs := records(50)
	err := indextest.TestIndex(&torn{table: newTable(recs, "")}, recs)
	if err == nil || !strings.Contains(err.Error(), "many goroutines") {
		t.Errorf("%v, want the law of many goroutines broken", err)
	}
}
