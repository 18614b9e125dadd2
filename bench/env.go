package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// A scale says how much each row measures.
type scale struct {
	name   string
	rounds int // pairs of figure and limit

	mid   int // blocks of 1 KiB in one CAR
	tiny  int // blocks of 100 B in one CAR
	big   int // blocks of 1 MiB in one CAR
	large int // blocks of 100 B in the CAR of acquire-100k
	many  int // CARs of 1,000 blocks of 100 B
	apart int // CARs that the blocks of mid are spread over for get-all

	perCAR      int // blocks of each of many
	gets        int // in a round
	acquires    int // in a round
	callers     int // of acquire-64, and of the registrations beside register-lazy
	lazy        int // registrations in a round
	outstanding int // registrations under way at once
	syncs       int // fdatasyncs that are timed
	start       int // shards in the store that is started
	cold        int // CARs of acquire-cold
	vast        int // shards of lazy-10m
	crowd       int // indexed shards of acquire-gc
	small       int // CARs of register-small and disk-per-shard

	vastCAR    int64 // blocks of 100 B in the CAR of index-memory
	vastMemory int64 // bytes for building its index; 0: as by default

	hollow           int // blocks of 1 MiB in the CAR of remote-first-16g
	attach, attachS3 int // CARs of attach-20k, behind nginx and behind versitygw
	remoteSmall      int // CARs of remote-small

	file       int64 // bytes of the file of gw-car, gw-file and gw-range
	clients    int   // of gw-many
	eachClient int   // requests
	abusers    int   // of gw-abuse

	finds entries // of find-hit and find-miss
	adds  entries // of inverted-add and read-merge

	sharing int // shards of shared-block

	giga     entries       // of inverted-1g
	gigaTime time.Duration // for adding them
}

// shortScale fits in five minutes. The sizes that decide which way the store
// goes (a layer of its own, more than the caches hold) are those of the full
// form; there are fewer rounds, and fewer operations in each.
func shortScale() scale {
	s := fullScale()
	s.name = "short"
	s.rounds = 5
	s.gets, s.acquires = 50_000, 20_000
	s.lazy = 100_000
	s.cold, s.small = 4_096, 10_000
	s.big = 256
	s.vastCAR, s.vastMemory = 3_000_000, 32<<20 // enough to spill some ten times
	s.finds = entries{shards: 1_000, each: 4_000}
	s.adds = entries{shards: 200, each: 10_000}
	s.sharing = 100_000
	s.attach, s.attachS3, s.remoteSmall = 500, 100, 1_000
	s.eachClient = 10
	return s
}

// fullScale is as the numbers are written down.
func fullScale() scale {
	return scale{
		name: "full", rounds: 11,
		big: 1_024, mid: 262_144, tiny: 2_000_000, large: 100_000, many: 1_000, apart: 256,
		perCAR: 1_000, gets: 200_000, acquires: 100_000, callers: 64,
		lazy: 200_000, outstanding: 1_024, syncs: 200, start: 1_000_000,
		cold: 100_000, vast: 10_000_000,
		crowd: 100_000, small: 100_000, vastCAR: 50_000_000,
		finds: entries{shards: 1_000, each: 100_000},
		adds:  entries{shards: 1_000, each: 10_000}, sharing: 1_000_000,
		hollow: 16 << 10, attach: 20_000, attachS3: 1_000, remoteSmall: 10_000,
		file: 100_000_000, clients: 1_000, eachClient: 40, abusers: 64,
		giga: entries{shards: 10_000, each: 100_000},
	}
}

// An env is what the rows share: CARs and stores that were made once. Nothing
// in it is open.
type env struct {
	scale  scale
	dir    string
	cars   map[string]*carFile
	stores map[string]string // name to folder
	next   int

	finds  map[int]findTimes // by the number of layers
	served *site             // of the gateway

	progress io.Writer // of rows that take long
}

func newEnv(s scale, dir string) *env {
	return &env{scale: s, dir: dir, cars: map[string]*carFile{}, stores: map[string]string{}, progress: io.Discard}
}

// fresh returns a folder that is not there yet.
func (e *env) fresh() string {
	e.next++
	return filepath.Join(e.dir, fmt.Sprintf("store-%d", e.next))
}

// car returns the CAR of n blocks of size bytes that has this name.
func (e *env) car(name string, n, size int) (*carFile, error) {
	if c, ok := e.cars[name]; ok {
		return c, nil
	}
	c, err := writeCAR(filepath.Join(e.dir, name+".car"), uint64(len(e.cars)), n, size)
	if err != nil {
		return nil, err
	}
	e.cars[name] = c
	return c, nil
}

// several returns count CARs.
func (e *env) several(name string, count, n, size int) ([]*carFile, error) {
	cars := make([]*carFile, count)
	for i := range cars {
		var err error
		if cars[i], err = e.car(fmt.Sprintf("%s-%d", name, i), n, size); err != nil {
			return nil, err
		}
	}
	return cars, nil
}

// store opens a store that has cars. It is made once for each name, and was
// closed since, so its inverted index is on disk and not in the table that
// gathers what is new.
func (e *env) store(ctx context.Context, name string, cars []*carFile) (*dagstore.Store, error) {
	dir, ok := e.stores[name]
	if !ok {
		dir = e.fresh()
		s, err := dagstore.Open(ctx, dir, nil)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(register(ctx, s, cars), s.Close()); err != nil {
			return nil, err
		}
		e.stores[name] = dir
	}
	return dagstore.Open(ctx, dir, nil)
}

// register registers cars, many at once, and waits until all are indexed.
func register(ctx context.Context, s *dagstore.Store, cars []*carFile) error {
	results := make(chan dagstore.ShardResult, len(cars))
	for _, c := range cars {
		m, err := filemount.New(c.path)
		if err != nil {
			return err
		}
		if err := s.RegisterShard(ctx, c.key, m, results, nil); err != nil {
			return err
		}
	}
	return collected(ctx, results, len(cars))
}

// collected waits for n results, and returns what went wrong with any of them.
func collected(ctx context.Context, results <-chan dagstore.ShardResult, n int) error {
	var errs []error
	for range n {
		select {
		case r := <-results:
			errs = append(errs, r.Err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.Join(errs...)
}

// acquireAll holds every shard of cars, which opens it.
func acquireAll(ctx context.Context, s *dagstore.Store, cars []*carFile) (release func(), err error) {
	var held []*dagstore.Accessor
	release = func() {
		for _, a := range held {
			_ = a.Close() // it gives no error
		}
	}
	for _, c := range cars {
		a, err := s.Acquire(ctx, c.key, nil)
		if err != nil {
			release()
			return nil, err
		}
		held = append(held, a)
	}
	return release, nil
}

// folderSize is how many bytes the files below dir have.
func folderSize(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		total += info.Size()
		return nil
	})
	return total, err
}

func keyOf(path string) shard.Key { return shard.Key(filepath.Base(path)) }
