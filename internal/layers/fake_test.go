package layers

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
)

var errIO = errors.New("fake: input/output error")

// A disk stands for the file system and the catalogue under an inverted index.
// It survives a crash as real ones do: what was committed stays, the rest is gone.
type disk struct {
	mu      sync.Mutex
	files   map[uint32][]byte
	list    map[uint32]Layer
	pending map[index.ID]bool
	dead    map[index.ID]bool
	next    uint32
	open    int // files
	reads   int
	failAt  int  // the operation that fails, counted from 1; 0: none
	torn    bool // a commit that fails is done nevertheless
	broken  bool // one was: as in a catalogue, there is none after it until a start
	ops     int
}

func newDisk() *disk {
	return &disk{
		files: map[uint32][]byte{}, list: map[uint32]Layer{},
		pending: map[index.ID]bool{}, dead: map[index.ID]bool{},
	}
}

// op counts an operation and fails it if it is its turn. The caller holds mu.
func (d *disk) op() error {
	if d.ops++; d.ops == d.failAt {
		return fmt.Errorf("operation %d: %w", d.ops, errIO)
	}
	return nil
}

func (d *disk) Create(_ context.Context, n uint32) (Sink, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.files[n]; ok {
		return nil, fmt.Errorf("layer %d is created twice", n)
	}
	return &fakeSink{disk: d, n: n}, d.op()
}

func (d *disk) Open(_ context.Context, n uint32) (File, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	b, ok := d.files[n]
	if !ok {
		return nil, fmt.Errorf("no layer %d", n)
	}
	if err := d.op(); err != nil {
		return nil, err
	}
	d.open++
	return &fakeFile{disk: d, Reader: bytes.NewReader(b)}, nil
}

func (d *disk) Remove(_ context.Context, n uint32) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.list[n]; ok {
		return fmt.Errorf("layer %d is removed while it is listed", n)
	}
	if err := d.op(); err != nil {
		return err
	}
	delete(d.files, n)
	return nil
}

func (d *disk) number(context.Context) (uint32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.next++
	return d.next, d.op()
}

// commit fails before the change is done or, if the disk is torn, after. Then
// nobody knows what is on disk, and nothing more is committed.
func (d *disk) commit(_ context.Context, c Change) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.op()
	if err == nil && d.broken {
		err = fmt.Errorf("after a commit that failed: %w", errIO)
	}
	if err != nil && (d.broken || !d.torn) {
		return err
	}
	d.broken = err != nil
	for _, l := range c.Add {
		if _, ok := d.files[l.N]; !ok {
			return fmt.Errorf("layer %d is listed and not there", l.N)
		}
		d.list[l.N] = l
	}
	for _, n := range c.Remove {
		if _, ok := d.list[n]; !ok {
			return fmt.Errorf("layer %d is taken off the list twice", n)
		}
		delete(d.list, n)
	}
	for _, id := range c.Settled {
		delete(d.pending, id)
	}
	for _, id := range c.Purged {
		if d.pending[id] {
			return fmt.Errorf("%d is purged while it is pending", id)
		}
		delete(d.dead, id)
	}
	return err
}

type fakeSink struct {
	disk *disk
	n    uint32
	buf  []byte
	done bool
}

func (s *fakeSink) Write(p []byte) (int, error) {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	if err := s.disk.op(); err != nil {
		return len(p) / 2, err
	}
	s.buf = append(s.buf, p...)
	return len(p), nil
}

func (s *fakeSink) Commit(context.Context) error {
	s.disk.mu.Lock()
	defer s.disk.mu.Unlock()
	if s.done {
		return errors.New("sink is ended twice")
	}
	if err := s.disk.op(); err != nil {
		return err
	}
	s.done = true
	s.disk.files[s.n] = s.buf
	return nil
}

func (s *fakeSink) Abort() error {
	if s.done {
		return errors.New("sink is aborted after its commit")
	}
	s.done = true
	return nil
}

type fakeFile struct {
	disk *disk
	*bytes.Reader
	closed bool
}

func (f *fakeFile) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return 0, errors.New("read of a closed file")
	}
	f.disk.reads++
	if err := f.disk.op(); err != nil {
		return 0, err
	}
	return f.Reader.ReadAt(p, off)
}

func (f *fakeFile) Close() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.closed {
		return errors.New("file is closed twice")
	}
	f.closed = true
	f.disk.open--
	return nil
}

var (
	_ Files = (*disk)(nil)
	_ File  = (*fakeFile)(nil)
)

// config returns one in which everything happens early.
func (d *disk) config() Config {
	return Config{
		Key: [16]byte{1, 2, 3}, Files: d, Next: d.number, Commit: d.commit,
		MemEntries: 400, MemShards: 8, partKeys: 1000, runKeys: 300,
	}
}

// start opens the index as the engine does: with what is listed and dead, and
// adding what is pending.
func (d *disk) start(cfg Config, content map[index.ID][]int) (*Inverted, error) {
	d.mu.Lock()
	list := slices.Collect(maps.Values(d.list))
	dead := slices.Collect(maps.Keys(d.dead))
	pending := slices.Sorted(maps.Keys(d.pending))
	d.mu.Unlock()
	inv, err := Open(context.Background(), cfg, list, dead)
	if err != nil {
		return nil, err
	}
	for _, id := range pending {
		if err := inv.Add(context.Background(), id, blocks(content[id])); err != nil {
			return nil, errors.Join(err, inv.Close(context.Background()))
		}
	}
	return inv, nil
}

// register does what is durable before Add, and then Add.
func (d *disk) register(inv *Inverted, id index.ID, content []int) error {
	d.mu.Lock()
	d.pending[id] = true
	d.mu.Unlock()
	return inv.Add(context.Background(), id, blocks(content))
}

// destroy does what is durable before Drop, and then Drop.
func (d *disk) destroy(inv *Inverted, id index.ID) error {
	d.mu.Lock()
	d.dead[id] = true
	d.mu.Unlock()
	return inv.Drop(id)
}

// block returns the multihash with number n: of a made digest.
func block(n int) multihash.Multihash {
	mh := make([]byte, 34)
	mh[0], mh[1] = multihash.SHA2_256, 32
	binary.LittleEndian.PutUint64(mh[2:], uint64(n))
	return mh
}

func blocks(ns []int) iter.Seq2[multihash.Multihash, error] {
	return func(yield func(multihash.Multihash, error) bool) {
		for _, n := range ns {
			if !yield(block(n), nil) {
				return
			}
		}
	}
}

func span(from, to int) []int {
	var ns []int
	for n := from; n < to; n++ {
		ns = append(ns, n)
	}
	return ns
}

// holders returns who has block n, newest first.
func holders(content map[index.ID][]int, n int) []index.ID {
	var ids []index.ID
	for id, ns := range content {
		if slices.Contains(ns, n) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	slices.Reverse(ids)
	return ids
}

func mustOpen(t testing.TB, d *disk, cfg Config) *Inverted {
	t.Helper()
	inv, err := d.start(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := inv.Close(context.Background()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if d.open != 0 {
			t.Errorf("%d files are still open", d.open)
		}
	})
	return inv
}

func mustFind(t testing.TB, inv *Inverted, n int, want ...index.ID) {
	t.Helper()
	got, err := inv.Find(nil, block(n), 0)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("block %d is found in %v, %v; want %v", n, got, err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is a time that is set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var _ io.ReaderAt = (*fakeFile)(nil)
