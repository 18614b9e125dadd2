package catalog

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cockroachdb/pebble/v2"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/shard"
)

const (
	maxName = 255     // bytes of the name of a manifest
	maxRule = 4 << 10 // bytes of its rule
)

// A Manifest is what is remembered of one named set of multihashes of a shard.
// What holds for records holds for it: once it was handed over it is shared
// and never changed.
type Manifest struct {
	Key  shard.Key
	Name string // 1 to 255 bytes of UTF-8 without control characters

	Rule    string // by which the members were chosen, as its maker calls it; at most 4 KiB
	Version uint64 // of the rule
	Index   index.ID
	Count   int64 // members
	Made    time.Time

	// The members are an index file of records without a place: a file of
	// its own if File is not 0, else all of it is in Data.
	File   uint32
	Length int64
	CRC    uint32 // of its footer
	Data   []byte
}

// ManifestName names a manifest.
type ManifestName struct {
	Key  shard.Key
	Name string
}

func (m *Manifest) validate() error {
	wrong := func(format string, args ...any) error {
		return fmt.Errorf("%w: manifest %q of shard %q: %s", ErrInvalid, m.Name, string(m.Key), fmt.Sprintf(format, args...))
	}
	if err := m.Key.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	switch err := CheckManifestName(m.Name); {
	case err != nil:
		return err
	case len(m.Rule) > maxRule:
		return wrong("a rule of %d bytes, the most is %d", len(m.Rule), maxRule)
	case m.Index == 0 || m.Count < 0 || m.Length < 0:
		return wrong("index %d, %d members, %d bytes", m.Index, m.Count, m.Length)
	case (m.File == 0) != (m.Data != nil) || m.Data != nil && int64(len(m.Data)) != m.Length:
		return wrong("file %08x of %d bytes, and %d bytes beside it", m.File, m.Length, len(m.Data))
	}
	return nil
}

// CheckManifestName returns an error that wraps [ErrInvalid] unless a manifest
// may have this name.
func CheckManifestName(name string) error {
	if name == "" || len(name) > maxName || !utf8.ValidString(name) {
		return fmt.Errorf("%w: the name of a manifest is 1 to %d bytes of UTF-8, not %q", ErrInvalid, maxName, name)
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return fmt.Errorf("%w: a control character in the name %q of a manifest", ErrInvalid, name)
		}
	}
	return nil
}

const manifestVersion = 1

// manifestKey is the length of the shard's key, big-endian, the key, the name.
func manifestKey(key shard.Key, name string) []byte {
	b := binary.BigEndian.AppendUint16([]byte{spaceManifest}, uint16(len(key)))
	return append(append(b, key...), name...)
}

func parseManifestKey(key []byte) (ManifestName, error) {
	const head = 3
	if len(key) < head {
		return ManifestName{}, fmt.Errorf("%w: key %x", ErrDamaged, key)
	}
	n := int(binary.BigEndian.Uint16(key[1:]))
	if len(key) <= head+n {
		return ManifestName{}, fmt.Errorf("%w: key %x", ErrDamaged, key)
	}
	return ManifestName{Key: shard.Key(key[head : head+n]), Name: string(key[head+n:])}, nil
}

// encodeManifest returns the value of m: version, index id, members, version
// and text of the rule, file, length, CRC, what lies here of it, time; then a
// checksum of its key and all that.
func encodeManifest(m *Manifest) []byte {
	dst := []byte{manifestVersion}
	dst = binary.AppendUvarint(dst, uint64(m.Index))
	dst = binary.AppendVarint(dst, m.Count)
	dst = binary.AppendUvarint(dst, m.Version)
	dst = appendString(dst, m.Rule)
	dst = binary.AppendUvarint(dst, uint64(m.File))
	dst = binary.AppendVarint(dst, m.Length)
	dst = binary.LittleEndian.AppendUint32(dst, m.CRC)
	dst = binary.AppendUvarint(dst, uint64(len(m.Data)))
	dst = append(dst, m.Data...)
	dst = appendTime(dst, m.Made)
	return binary.LittleEndian.AppendUint32(dst, checksum(shard.Key(manifestKey(m.Key, m.Name)), dst))
}

// parseManifest reads what encodeManifest made under key. It keeps nothing of
// value. All that is wrong with it wraps [ErrDamaged].
func parseManifest(key, value []byte) (*Manifest, error) {
	name, err := parseManifestKey(key)
	if err != nil {
		return nil, err
	}
	m := &Manifest{Key: name.Key, Name: name.Name}
	if err := m.parse(key, value); err != nil {
		return nil, &DamagedManifestError{ManifestName: name, Err: err}
	}
	return m, nil
}

func (m *Manifest) parse(key, value []byte) error {
	n := len(value) - crcSize
	if n < 1 {
		return errShort
	}
	if want, got := binary.LittleEndian.Uint32(value[n:]), checksum(shard.Key(key), value[:n]); want != got {
		return fmt.Errorf("checksum is %08x, not %08x", got, want)
	}
	if value[0] != manifestVersion {
		return fmt.Errorf("%w: version %d, ours is %d", ErrVersion, value[0], manifestVersion)
	}
	d := decoder{rest: value[1:n]}
	m.Index = d.id()
	m.Count = d.varint()
	m.Version = d.uvarint()
	m.Rule = d.str()
	m.File = uint32(d.id())
	m.Length = d.varint()
	m.CRC = d.uint32()
	if data := d.bytes(); m.File == 0 {
		m.Data = append([]byte{}, data...)
	} else if len(data) > 0 {
		d.fail(errors.New("it lies in two places"))
	}
	m.Made = d.time()
	if d.err == nil && len(d.rest) > 0 {
		d.fail(fmt.Errorf("%d bytes too many", len(d.rest)))
	}
	if d.err != nil {
		return d.err
	}
	return m.validate()
}

// A DamagedManifestError is a manifest that is there and cannot be understood.
// It is kept until it is replaced or removed. It matches [ErrDamaged] and what
// it wraps.
type DamagedManifestError struct {
	ManifestName
	Err error
}

// Error names the manifest and what is wrong with it.
func (e *DamagedManifestError) Error() string {
	return fmt.Sprintf("%v: manifest %q of shard %q: %v", ErrDamaged, e.Name, string(e.Key), e.Err)
}

// Unwrap returns [ErrDamaged] and the cause.
func (e *DamagedManifestError) Unwrap() []error { return []error{ErrDamaged, e.Err} }

// Manifest implements [Catalog].
func (e *Embedded) Manifest(ctx context.Context, name ManifestName) (m *Manifest, err error) {
	key := manifestKey(name.Key, name.Name)
	err = e.read(ctx, key, func(value []byte) error {
		m, err = parseManifest(key, value)
		return err
	})
	if err != nil {
		return nil, describe(err, "manifest %q of shard %q", name.Name, string(name.Key))
	}
	return m, nil
}

// Manifests implements [Catalog].
func (e *Embedded) Manifests(ctx context.Context, key shard.Key) iter.Seq2[*Manifest, error] {
	lower := []byte{spaceManifest}
	if key != "" {
		lower = manifestKey(key, "")
	}
	return scan(ctx, e, lower, after(lower), parseManifest)
}

// manifests puts and removes manifests, after the records of the batch.
func (s *stage) manifests(b *Batch) error {
	b.Freed = nil
	for i := range b.Deletes {
		if err := s.dropManifests(b, b.Deletes[i].Key); err != nil {
			return err
		}
	}
	for _, key := range b.DropManifests {
		if err := s.dropManifests(b, key); err != nil {
			return err
		}
	}
	for _, name := range b.DelManifests {
		if err := s.delManifest(b, manifestKey(name.Key, name.Name)); err != nil {
			return err
		}
	}
	for _, m := range b.PutManifests {
		if err := s.putManifest(b, m); err != nil {
			return err
		}
	}
	return nil
}

// putManifest stores m in place of one of the same name, if the shard has the
// index that m was made for.
func (s *stage) putManifest(b *Batch, m *Manifest) error {
	if err := m.validate(); err != nil {
		return err
	}
	if _, with := s.e.staged[string(m.Key)]; with {
		return fmt.Errorf("%w: a manifest beside a change of its shard %q", ErrInvalid, string(m.Key))
	}
	h, err := s.e.head(m.Key, recordKey(m.Key))
	if err != nil {
		return err
	}
	if h.index != m.Index {
		return &ConflictError{Key: m.Key, Have: h.revision}
	}
	key := manifestKey(m.Key, m.Name)
	if err := s.delManifest(b, key); err != nil {
		return err
	}
	s.e.listed = true
	return s.batch.Set(key, encodeManifest(m), nil)
}

// delManifest removes what is under key, which may be nothing.
func (s *stage) delManifest(b *Batch, key []byte) error {
	value, closer, err := s.e.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("catalog: read a manifest: %w", err)
	}
	b.free(key, value)
	return errors.Join(s.batch.Delete(key, nil), closer.Close())
}

// free notes the file of a manifest that goes. One that cannot be understood
// has none that is known: it is found by who looks for strays.
func (b *Batch) free(key, value []byte) {
	if m, err := parseManifest(key, value); err == nil && m.File != 0 {
		b.Freed = append(b.Freed, m.File)
	}
}

// dropManifests removes all manifests of a shard.
func (s *stage) dropManifests(b *Batch, key shard.Key) (err error) {
	if !s.e.listed {
		return nil
	}
	prefix := manifestKey(key, "")
	it, err := s.e.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return fmt.Errorf("catalog: list manifests: %w", err)
	}
	defer func() { err = errors.Join(err, it.Error(), it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return fmt.Errorf("catalog: read a manifest: %w", err)
		}
		b.free(it.Key(), value)
		if err := s.batch.Delete(it.Key(), nil); err != nil {
			return err
		}
	}
	return nil
}

// anyManifest reports whether there is one.
func (e *Embedded) anyManifest() (is bool, err error) {
	it, err := e.db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceManifest}, UpperBound: after([]byte{spaceManifest})})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	return it.First(), it.Error()
}
