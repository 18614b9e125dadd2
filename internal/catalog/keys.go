package catalog

import (
	"encoding/binary"
	"fmt"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/shard"
)

// The keys; docs/format/catalog.md draws them. Numbers are big-endian, so that
// they sort.
const (
	spaceCounter = 'c' // the next number that Reserve gives out
	spaceDead    = 'd' // index id
	spaceKept    = 'k' // number of a copy → key of the shard whose copy it is
	spaceLayer   = 'l' // number of a layer
	spaceMeta    = 'm'
	// Length of the key of a shard, that, name → manifest.
	spaceManifest = 'n'
	spacePending  = 'p' // index id
	spaceQueue    = 'q' // number of an intent → key of its shard
	spaceRecord   = 'r' // key of a shard → record
	spacePiece    = 's' // length and bytes of what a piece is found by, key of a shard → that key
	spaceOwner    = 'x' // index id → key of the shard whose current index it is
)

func recordKey(key shard.Key) []byte {
	return append([]byte{spaceRecord}, key...)
}

func key32(space byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{space}, n)
}

func key64(space byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{space}, n)
}

func parse32(key []byte) (uint32, error) {
	if len(key) != 5 {
		return 0, fmt.Errorf("%w: key %x", ErrDamaged, key)
	}
	return binary.BigEndian.Uint32(key[1:]), nil
}

func parseID(key, _ []byte) (index.ID, error) {
	n, err := parse32(key)
	return index.ID(n), err
}

func parseCopied(key, value []byte) (Copied, error) {
	n, err := parse32(key)
	return Copied{ID: n, Key: shard.Key(value)}, err
}

func parseQueued(key, value []byte) (Queued, error) {
	if len(key) != 9 {
		return Queued{}, fmt.Errorf("%w: key %x", ErrDamaged, key)
	}
	return Queued{Seq: binary.BigEndian.Uint64(key[1:]), Key: shard.Key(value)}, nil
}

// after is the least key that is greater than all that begin with prefix.
func after(prefix []byte) []byte {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] != 0xff {
			end := append([]byte(nil), prefix[:i+1]...)
			end[i]++
			return end
		}
	}
	return nil
}

// bounds are the range of keys that f selects. It may be empty.
func (f Filter) bounds() (lower, upper []byte) {
	prefix := recordKey(shard.Key(f.Prefix))
	lower, upper = prefix, after(prefix)
	if string(f.After) >= f.Prefix && f.After != "" {
		lower = append(recordKey(f.After), 0)
	}
	return lower, upper
}

const layerVersion = 1

// appendLayer appends the value of a layer: version, length, CRC, entries,
// keys, first and last id, checksum.
func appendLayer(dst []byte, l Layer) []byte {
	start := len(dst)
	dst = append(dst, layerVersion)
	dst = binary.AppendVarint(dst, l.Length)
	dst = binary.LittleEndian.AppendUint32(dst, l.CRC)
	dst = binary.AppendVarint(dst, l.Entries)
	dst = binary.AppendVarint(dst, l.Keys)
	dst = binary.AppendUvarint(dst, uint64(l.First))
	dst = binary.AppendUvarint(dst, uint64(l.Last))
	return appendSum(dst, start)
}

func parseLayer(key, value []byte) (Layer, error) {
	n, err := parse32(key)
	if err != nil {
		return Layer{}, err
	}
	body, err := cutSum(value, layerVersion)
	if err != nil {
		return Layer{}, fmt.Errorf("layer %08x: %w", n, err)
	}
	d := decoder{rest: body[1:]}
	l := Layer{
		N:       n,
		Length:  d.varint(),
		CRC:     d.uint32(),
		Entries: d.varint(),
		Keys:    d.varint(),
		First:   d.id(),
		Last:    d.id(),
	}
	if d.err == nil && len(d.rest) > 0 {
		d.err = fmt.Errorf("%d bytes too many", len(d.rest))
	}
	if d.err != nil {
		return Layer{}, fmt.Errorf("%w: layer %08x: %w", ErrDamaged, n, d.err)
	}
	return l, nil
}

func (d *decoder) id() index.ID {
	n := d.uvarint()
	if n > uint64(^index.ID(0)) {
		d.fail(fmt.Errorf("index id %d is out of range", n))
	}
	return index.ID(n)
}

// appendSum ends the value that began at start with its checksum.
func appendSum(dst []byte, start int) []byte {
	return binary.LittleEndian.AppendUint32(dst, checksum("", dst[start:]))
}

// cutSum is the inverse of appendSum, and looks at the version byte.
func cutSum(value []byte, version byte) ([]byte, error) {
	n := len(value) - crcSize
	if n < 1 {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, errShort)
	}
	if sum := binary.LittleEndian.Uint32(value[n:]); sum != checksum("", value[:n]) {
		return nil, fmt.Errorf("%w: wrong checksum", ErrDamaged)
	}
	if value[0] != version {
		return nil, fmt.Errorf("%w: version %d, ours is %d", ErrVersion, value[0], version)
	}
	return value[:n], nil
}
