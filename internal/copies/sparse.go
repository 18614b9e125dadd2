package copies

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"

	"github.com/dagstore/dagstore/internal/vfs"
)

// A sparse copy is the parts of a CAR that were read, in units of 64 KiB, in the
// order in which they came: the file of units grows at its end alone, so that its
// length is what it takes. Which unit lies where is told by the file of extents,
// whose entries follow the units, once these are synced. docs/format/copy.md
// draws both.
const (
	unit        = 64 << 10
	sparseName  = "sparse"
	extentsName = "extents"

	headLength   = 64
	entryLength  = 16
	sparseMagic  = "DSSPARSE"
	sparseLayout = 1

	mostUnits = 1 << 32  // what the number of a unit can say
	mostRun   = 16       // units that are asked for at once, unless more are read at once
	closeBy   = 2        // units that are rather read again than asked for apart from their neighbours
	syncAfter = 16 << 20 // bytes of units without an entry
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrSparse says that a sparse copy is of another CAR or version, or cannot be read.
var ErrSparse = errors.New("copies: a sparse copy cannot be used")

// A Range opens n bytes of a source from off on.
type Range = func(ctx context.Context, off, n int64) (io.ReadCloser, error)

// A Sparse is a sparse copy, open. Its methods may be called by any number of
// goroutines at once.
type Sparse struct {
	k     *Keeper
	size  int64 // of the CAR
	spare bool  // nobody has asked for it

	version string // of its source
	refs    int    // who has it open; guarded by the keeper's opening
	birth   Birth  // how it is made

	// What follows up to mu is written by the birth, before there is a unit.
	e             *entry // nil until it is made
	data, extents vfs.File

	mu      sync.Mutex
	units   map[int]extent  // that are on the disk
	flight  map[int]*flight // units that are being fetched
	next    uint32          // the first slot that is not taken
	long    int64           // how long the file of units is, or will be
	entries int64           // that the file of extents has
	pending []int           // units without an entry
	closed  bool
	failed  bool       // the disk has failed: nothing more is kept
	end     int        // the unit behind those that were fetched last
	ran     int        // how many those were
	syncing sync.Mutex // one at a time writes entries

	// What waits to be written; see later.go.
	queued   map[int]*waiting
	order    []int // their numbers
	writing  bool  // somebody is about to write them
	ending   bool  // nothing more comes
	tail     *partial
	seen     map[int]uint64 // of a spare copy: which lines of units were read that were not here
	draining sync.Mutex     // one at a time writes units
}

// An extent is a unit that is here.
type extent struct {
	slot, sum uint32 // where it lies, and its CRC
	checked   bool   // held against that since the copy was opened
}

// A flight is units that are being fetched.
type flight struct{ done chan struct{} }

// count is how many units the CAR has.
func (s *Sparse) count() int { return int((s.size-1)/unit) + 1 }

// OpenSparse opens the sparse copy c, as a record has it, of a CAR of size bytes
// whose source has the version, which must not be "". It makes one if there is
// none; fresh says so. It returns nil and no error if there is no space for one
// now. The error wraps [ErrSparse] if c is of another CAR or version, or cannot be
// read. Whoever opens a copy that is open shares it. It costs what is here, however
// large the CAR says that it is. It does I/O.
func (k *Keeper) OpenSparse(c Known, size int64, version string) (s *Sparse, fresh bool, err error) {
	id := c.ID
	if (size-1)/unit >= mostUnits {
		return nil, false, nil
	}
	s = k.newSparse(size, version, c.Spare)
	head := sparseHead(size, version)
	k.opening.Lock()
	defer k.opening.Unlock()
	if s := k.opened(id); s != nil {
		if s.version != version || s.size != size {
			return nil, false, fmt.Errorf("%w: it is open for another version", ErrSparse)
		}
		s.refs++
		return s, false, nil
	}
	e, err := k.sparseEntry(c)
	if err != nil {
		return nil, false, err
	}
	if e != nil {
		s.e = e
		if err := s.load(head, id); err != nil {
			return nil, false, fmt.Errorf("%w: %w", ErrSparse, err)
		}
		k.register(id, s)
		return s, false, nil
	}
	made, err := s.create(id)
	if !made || err != nil {
		return nil, false, err
	}
	return s, true, nil
}

func (k *Keeper) newSparse(size int64, version string, spare bool) *Sparse {
	return &Sparse{
		k: k, size: size, version: version, spare: spare, refs: 1,
		units: map[int]extent{}, flight: map[int]*flight{}, queued: map[int]*waiting{},
	}
}

// opened is the sparse copy id, if it is open.
func (k *Keeper) opened(id uint32) *Sparse {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.open[id]
}

func (k *Keeper) register(id uint32, s *Sparse) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open[id] = s
}

// create makes s the sparse copy id, which is empty. It is false if there is no
// space for it now.
func (s *Sparse) create(id uint32) (made bool, err error) {
	k := s.k
	space, err := k.takeFor(headLength, s.spare)
	if space == nil || err != nil {
		return false, err
	}
	k.mu.Lock()
	e := &entry{id: id, state: whole, spare: s.spare}
	k.entries[id] = e
	k.used -= space.bytes
	k.change(e, func() { e.charge = space.bytes })
	space.bytes = 0
	k.mu.Unlock()
	if err := s.make(sparseHead(s.size, s.version), id); err != nil {
		return false, errors.Join(err, s.closeFiles(), k.Remove(id))
	}
	s.mu.Lock()
	s.e = e
	s.mu.Unlock()
	k.register(id, s)
	return true, nil
}

// sparseEntry returns the entry of the sparse copy c; nil if there is none. Before
// Restore has ended it looks for itself.
func (k *Keeper) sparseEntry(c Known) (*entry, error) {
	k.mu.Lock()
	e, restored := k.entries[c.ID], k.restored
	k.mu.Unlock()
	if e != nil || restored || c.Size != Ranges {
		return e, nil
	}
	f, err := k.look(c.ID)
	if err != nil || !f.is(c) {
		return nil, err
	}
	k.take(c, f)
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.entries[c.ID], nil
}

// sparseHead is the beginning of the file of extents: what it is of.
func sparseHead(size int64, version string) []byte {
	head := append(make([]byte, 0, headLength), sparseMagic...)
	head = binary.LittleEndian.AppendUint32(head, sparseLayout)
	head = binary.LittleEndian.AppendUint32(head, unit)
	head = binary.LittleEndian.AppendUint64(head, uint64(size))
	sum := sha256.Sum256([]byte(version))
	head = append(head, sum[:]...)
	head = append(head, make([]byte, headLength-4-len(head))...)
	return binary.LittleEndian.AppendUint32(head, crc32.Checksum(head, castagnoli))
}

// make makes the files, which are empty and durable then.
func (s *Sparse) make(head []byte, id uint32) (err error) {
	fsys, dir := s.k.cfg.FS, s.k.folder(id)
	if err := vfs.MkdirAll(fsys, dir); err != nil {
		return err
	}
	if err := s.open(id); err != nil {
		return err
	}
	if _, err := s.extents.WriteAt(head, 0); err != nil {
		return err
	}
	return errors.Join(s.extents.Sync(), s.data.Sync(), vfs.SyncDir(fsys, dir))
}

func (s *Sparse) open(id uint32) error {
	const category = "" // Pebble counts our writes under it, and we do not
	data, err := s.k.cfg.FS.OpenReadWrite(s.k.path(id, sparseName), category)
	if err != nil {
		return err
	}
	s.data = data
	extents, err := s.k.cfg.FS.OpenReadWrite(s.k.path(id, extentsName), category)
	if err == nil {
		s.extents = extents
	}
	return err
}

// load reads the file of extents. An entry that is damaged ends it: what follows
// was never synced, or is no matter.
func (s *Sparse) load(head []byte, id uint32) (err error) {
	for _, name := range []string{sparseName, extentsName} {
		if _, err := s.k.cfg.FS.Stat(s.k.path(id, name)); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeFiles())
		}
	}()
	if err := s.open(id); err != nil {
		return err
	}
	info, err := s.extents.Stat()
	if err != nil {
		return err
	}
	units, err := s.data.Stat()
	if err != nil {
		return err
	}
	s.long = units.Size()
	all := make([]byte, min(info.Size(), headLength+int64(s.count())*entryLength))
	if _, err := s.extents.ReadAt(all, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if len(all) < headLength || string(all[:headLength]) != string(head) {
		return errors.New("it is of another CAR, or of another version")
	}
	for at := all[headLength:]; len(at) >= entryLength; at = at[entryLength:] {
		n, slot, sum := binary.LittleEndian.Uint32(at), binary.LittleEndian.Uint32(at[4:]), binary.LittleEndian.Uint32(at[8:])
		if crc32.Checksum(at[:12], castagnoli) != binary.LittleEndian.Uint32(at[12:]) || int(n) >= s.count() || int(slot) >= s.count() {
			break
		}
		s.units[int(n)] = extent{slot: slot, sum: sum}
		s.next = max(s.next, slot+1)
		s.entries++
	}
	return nil
}

func (s *Sparse) closeFiles() error {
	var errs []error
	for _, f := range []vfs.File{s.data, s.extents} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	s.data, s.extents = nil, nil
	return errors.Join(errs...)
}

// Close is called once for each OpenSparse and NewSparse. The last one writes what
// waits for that, and the entries that are missing, and closes the files.
func (s *Sparse) Close() error {
	s.drain() // before others have to wait for it
	err := s.writeEntries()
	s.k.opening.Lock()
	defer s.k.opening.Unlock()
	if s.refs--; s.refs > 0 {
		return err
	}
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.drain()
	err = errors.Join(err, s.writeEntries())
	s.mu.Lock()
	s.closed = true
	s.forget()
	s.mu.Unlock()
	if s.e != nil {
		s.k.mu.Lock()
		if s.k.open[s.e.id] == s {
			delete(s.k.open, s.e.id)
		}
		s.k.mu.Unlock()
	}
	return errors.Join(err, s.closeFiles())
}

// length is how long unit n is.
func (s *Sparse) length(n int) int64 { return min(unit, s.size-int64(n)*unit) }

// ReadAt fills p from off in the CAR, with what is here, and with what open
// brings, which is kept if there is space. p must lie within the CAR. Several who
// want the same units wait for one of them, each under its context.
func (s *Sparse) ReadAt(ctx context.Context, p []byte, off int64, open Range) error {
	for len(p) > 0 {
		n := int(off / unit)
		in := off - int64(n)*unit
		want := p[:min(int64(len(p)), s.length(n)-in)]
		if !s.here(want, n, in) {
			var err error
			last := int((off + int64(len(p)) - 1) / unit)
			if want, err = s.fetch(ctx, p, off, n, last, open); err != nil {
				return err
			}
		}
		p, off = p[len(want):], off+int64(len(want))
	}
	return nil
}

// here fills p from in in unit n, if that is here and good.
func (s *Sparse) here(p []byte, n int, in int64) bool {
	s.mu.Lock()
	if w := s.queued[n]; w != nil {
		copy(p, w.data[in:])
		s.mu.Unlock()
		return true
	}
	have, ok := s.units[n]
	ok = ok && !s.closed
	s.mu.Unlock()
	if !ok {
		return false
	}
	at := int64(have.slot) * unit
	if have.checked {
		_, err := s.data.ReadAt(p, at+in)
		if err == nil || errors.Is(err, io.EOF) && in+int64(len(p)) == s.length(n) {
			return true
		}
		s.lost(n)
		return false
	}
	whole := make([]byte, s.length(n))
	if k, err := s.data.ReadAt(whole, at); k < len(whole) || crc32.Checksum(whole, castagnoli) != have.sum {
		_ = err // what cannot be read is as good as not there
		s.lost(n)
		return false
	}
	s.mu.Lock()
	if now, ok := s.units[n]; ok && now.slot == have.slot {
		now.checked = true
		s.units[n] = now
	}
	s.mu.Unlock()
	copy(p, whole[in:])
	return true
}

// lost forgets unit n, which is damaged. It is fetched again, into another slot.
func (s *Sparse) lost(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.units, n)
}

// fetch fetches the units from first on that are not here, up to last and what
// is close by, and fills p, which begins at off in first, as far as it has come.
// If somebody else fetches the first, it waits for that and fills nothing.
func (s *Sparse) fetch(ctx context.Context, p []byte, off int64, first, last int, open Range) ([]byte, error) {
	s.mu.Lock()
	if f := s.flight[first]; f != nil {
		s.mu.Unlock()
		select {
		case <-f.done:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	f := &flight{make(chan struct{})}
	most := max(mostRun, last-first+1) // one block is one request
	if !s.keeps() || !s.again(off, int64(len(p))) {
		end := s.run(first, last, most)
		s.mu.Unlock()
		p = p[:min(int64(len(p)), int64(end)*unit-off)]
		return p, readRange(ctx, p, off, open)
	}
	if first == s.end { // who reads on is going to read on
		last = max(last, first+2*s.ran-1)
	}
	end := s.run(first, min(last, s.count()-1), most)
	s.end, s.ran = end, end-first
	for n := first; n < end; n++ {
		s.flight[n] = f
	}
	s.mu.Unlock()
	defer s.landed(f, first, end) // also if the mount panics: others wait for it
	buf := make([]byte, min(int64(end)*unit, s.size)-int64(first)*unit)
	if err := readRange(ctx, buf, int64(first)*unit, open); err != nil {
		return nil, err
	}
	for n := first; n < end; n++ {
		s.offer(n, buf[int64(n-first)*unit:][:s.length(n)], false)
	}
	return p[:copy(p, buf[off-int64(first)*unit:])], nil
}

// landed ends a flight, well or not.
func (s *Sparse) landed(f *flight, first, end int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := first; n < end; n++ {
		delete(s.flight, n)
	}
	close(f.done)
}

// run is where the units end that are fetched together from first on. Units that
// are here and lie between others that are not are fetched again: that costs less
// than another request. There are no more than most. The lock is held.
func (s *Sparse) run(first, last, most int) int {
	end := first + 1
	gap := 0
	for n := end; n <= last && n-first < most && s.flight[n] == nil; n++ {
		if s.has(n) {
			if gap++; gap > closeBy {
				break
			}
			continue
		}
		end, gap = n+1, 0
	}
	return end
}

func readRange(ctx context.Context, buf []byte, off int64, open Range) error {
	r, err := open(ctx, off, int64(len(buf)))
	if err != nil {
		return err
	}
	_, err = io.ReadFull(r, buf)
	_ = r.Close() // what was to be read is read, or that it was not is known
	return err
}

// ID returns the number of the copy; 0: it has none yet.
func (s *Sparse) ID() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.e == nil {
		return 0
	}
	return s.e.id
}

// Has returns how many bytes of the CAR are here.
func (s *Sparse) Has() (n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.units {
		n += s.length(i)
	}
	for i := range s.queued {
		if _, twice := s.units[i]; !twice {
			n += s.length(i)
		}
	}
	return n
}
