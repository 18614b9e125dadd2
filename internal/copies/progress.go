package copies

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"time"

	"github.com/dagstore/dagstore/internal/vfs"
)

// The file of progress beside a copy that is not complete says what that is of, and
// how many bytes of it are on disk for sure. It is one block long; docs/format/copy.md
// draws it.
const (
	progressName   = "progress"
	progressLength = slotsAt + 2*slotStep
	progressMagic  = "DSPARTLY"
	progressLayout = 1

	keyAt    = 60
	slotsAt  = 2 << 10
	slotStep = 1 << 10
	slotSize = 24
	mostKey  = slotsAt - 4 - keyAt
)

// An Origin is what a copy is made of. If it has no version nothing is kept of a
// copy that does not become complete: what follows could be of another version.
type Origin struct {
	Key     string // of the shard
	URL     string
	Version string // by which the rest can be asked for
}

// resumable reports whether a copy of size bytes can be gone on with.
func (o Origin) resumable(size int64) bool {
	return o.Version != "" && size > 0 && len(o.Key) <= mostKey
}

// source stands for URL and version.
func (o Origin) source() [sha256.Size]byte { return sha256.Sum256([]byte(o.URL + "\x00" + o.Version)) }

// A remnant is what is known of a copy that is not complete.
type remnant struct {
	key    string
	source [sha256.Size]byte
	size   int64 // that it is to have
	known  int64 // bytes that are on disk for sure
	at     time.Time
	next   int64 // slot to be written
	wanted bool  // somebody is about to go on with it
}

// A progress writes the file of progress of one fill. It is for one goroutine at a
// time.
type progress struct {
	k    *Keeper
	e    *entry
	of   remnant
	made bool // the file is there
}

// record makes durable what w has, and then says so. Without a block of the quota
// for that it says nothing.
func (p *progress) record(w *vfs.Writer, size int64) error {
	if err := w.Sync(); err != nil {
		return err
	}
	if !p.made && !p.room() {
		return nil
	}
	return p.note(size)
}

// last is the record of a fill that ends, whose files have extent bytes. What it does
// not need of its space is room enough.
func (p *progress) last(w *vfs.Writer, size, extent int64) error {
	if !p.made {
		p.k.mu.Lock()
		fits := charged(extent)+block <= p.e.charge
		p.k.mu.Unlock()
		if !fits && !p.room() {
			return ErrCrowded
		}
	}
	if err := w.Sync(); err != nil {
		return err
	}
	return p.note(size)
}

// note says that size bytes are on disk.
func (p *progress) note(size int64) error {
	p.of.known, p.of.at = size, p.k.cfg.Now()
	if err := p.write(); err != nil {
		return err
	}
	p.of.next ^= 1
	if p.made {
		return nil
	}
	p.made = true
	return vfs.SyncDir(p.k.cfg.FS, p.k.folder(p.e.id)) // the names of both files
}

// remove removes the file, if there is one.
func (p *progress) remove() error {
	if !p.made {
		return nil
	}
	return p.k.cfg.FS.Remove(p.k.path(p.e.id, progressName))
}

// room takes the block that the file is going to need.
func (p *progress) room() bool {
	s, err := p.k.Take(block)
	if err != nil || s == nil {
		return false
	}
	p.k.mu.Lock()
	defer p.k.unlock(false)
	p.k.used -= s.bytes
	p.k.change(p.e, func() { p.e.charge += s.bytes })
	s.bytes = 0
	return true
}

func (p *progress) write() (err error) {
	f, err := p.k.cfg.FS.OpenReadWrite(p.k.path(p.e.id, progressName), "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if !p.made {
		if _, err := f.WriteAt(p.of.head(), 0); err != nil {
			return err
		}
	}
	if _, err := f.WriteAt(p.of.slot(), slotsAt+p.of.next*slotStep); err != nil {
		return err
	}
	return f.Sync()
}

// head is what it is of.
func (p *remnant) head() []byte {
	b := append(make([]byte, 0, slotsAt), progressMagic...)
	b = binary.LittleEndian.AppendUint32(b, progressLayout)
	b = binary.LittleEndian.AppendUint64(b, uint64(p.size))
	b = append(b, p.source[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p.key)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = append(b, p.key...)
	b = b[:slotsAt-4]
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// slot is how far it has come.
func (p *remnant) slot() []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(p.known))
	b = binary.LittleEndian.AppendUint64(b, uint64(p.at.Unix()))
	b = binary.LittleEndian.AppendUint32(b, 0)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// readRemnant reads the file of progress of a copy, and returns nil if there is none
// that can be believed. length is that of the copy.
func (k *Keeper) readRemnant(id uint32, length int64) (*remnant, error) {
	f, err := k.cfg.FS.Open(k.path(id, progressName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // there is none, and nothing wrong
	}
	if err != nil {
		return nil, err
	}
	b := make([]byte, progressLength)
	n, err := f.ReadAt(b, 0)
	if cerr := f.Close(); err == nil || errors.Is(err, io.EOF) {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	p := parseRemnant(b[:n])
	if p == nil || p.known > length || p.known <= 0 || p.known > p.size || length > p.size {
		return nil, nil //nolint:nilnil // it cannot be believed
	}
	return p, nil
}

// parseRemnant is what a file of progress says; nil: nothing.
func parseRemnant(b []byte) *remnant {
	if len(b) < slotsAt || string(b[:8]) != progressMagic ||
		crc32.Checksum(b[:slotsAt-4], castagnoli) != binary.LittleEndian.Uint32(b[slotsAt-4:]) ||
		binary.LittleEndian.Uint32(b[8:]) != progressLayout {
		return nil
	}
	n := binary.LittleEndian.Uint32(b[52:])
	if n > mostKey {
		return nil
	}
	p := &remnant{key: string(b[keyAt : keyAt+n]), size: int64(binary.LittleEndian.Uint64(b[12:]))}
	copy(p.source[:], b[20:])
	for n := range int64(2) {
		at := slotsAt + int(n)*slotStep
		if at+slotSize > len(b) {
			break
		}
		s := b[at : at+slotSize]
		known := int64(binary.LittleEndian.Uint64(s))
		if crc32.Checksum(s[:slotSize-4], castagnoli) != binary.LittleEndian.Uint32(s[slotSize-4:]) || known <= p.known {
			continue
		}
		p.known, p.next = known, n^1
		p.at = time.Unix(int64(binary.LittleEndian.Uint64(s[8:])), 0)
	}
	return p
}
