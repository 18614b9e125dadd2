package zstdmount

import (
	"context"
	"encoding/binary"
	"sort"

	"github.com/dagstore/dagstore/mount"
)

// The seek table is a skippable frame at the end of a source, as described in
// contrib/seekable_format of Zstandard, version 0.1.1. All numbers are
// little-endian:
//
//	u32 magic, u32 size of what follows,
//	for each frame: u32 compressed size, u32 decompressed size, [u32 checksum],
//	u32 number of frames, u8 descriptor, u32 magic of the table
const (
	tableFrameMagic = 0x184D2A5E
	tableMagic      = 0x8F92EAB1
	frameHead       = 8
	tableFoot       = 9

	hasChecksums = 1 << 7
	reservedBits = 0x7c

	maxFrames = 1 << 20  // a table of 8 or 12 MiB
	maxFrame  = 64 << 20 // decompressed bytes of one; a read may have to decode all of it
)

// table says where each frame begins, compressed and decompressed, and where
// the last one ends.
type table struct {
	packed, plain []int64
	largest       int64 // decompressed
}

// readTable reads the seek table of a source. Found and nil is one that does
// not fit the source.
func (f file) readTable(ctx context.Context, st mount.Stat) (t *table, found bool, err error) {
	if st.Size < frameHead+tableFoot {
		return nil, false, nil
	}
	var foot [tableFoot]byte
	if err := f.readAt(ctx, st, foot[:], st.Size-tableFoot); err != nil {
		return nil, false, err
	}
	if binary.LittleEndian.Uint32(foot[5:]) != tableMagic {
		return nil, false, nil
	}
	frames, width := int64(binary.LittleEndian.Uint32(foot[:])), int64(8)
	if foot[4]&hasChecksums != 0 {
		width = 12
	}
	size := frameHead + frames*width + tableFoot
	if frames > maxFrames || foot[4]&reservedBits != 0 || size > st.Size {
		return nil, true, nil
	}
	raw := make([]byte, size-tableFoot)
	if err := f.readAt(ctx, st, raw, st.Size-size); err != nil {
		return nil, false, err
	}
	if binary.LittleEndian.Uint32(raw) != tableFrameMagic || int64(binary.LittleEndian.Uint32(raw[4:])) != size-frameHead {
		return nil, true, nil
	}
	t = parseTable(raw[frameHead:], int(frames), int(width))
	if packed, _ := t.end(); packed != st.Size-size {
		return nil, true, nil
	}
	return t, true, nil
}

// parseTable adds up the sizes of frames, which cannot overflow: there are at
// most 2^20 of them, of at most 2^32 bytes each.
func parseTable(raw []byte, frames, width int) *table {
	t := &table{packed: make([]int64, frames+1), plain: make([]int64, frames+1)}
	for i := range frames {
		entry := raw[i*width:]
		plain := int64(binary.LittleEndian.Uint32(entry[4:]))
		t.packed[i+1] = t.packed[i] + int64(binary.LittleEndian.Uint32(entry))
		t.plain[i+1] = t.plain[i] + plain
		t.largest = max(t.largest, plain)
	}
	return t
}

func (t *table) frames() int { return len(t.packed) - 1 }

// at is where frame i begins.
func (t *table) at(i int) (packed, plain int64) { return t.packed[i], t.plain[i] }

// end is where the last frame ends.
func (t *table) end() (packed, plain int64) {
	if t == nil {
		return 0, 0
	}
	return t.at(t.frames())
}

// find returns the frame that byte off of the CAR lies in.
func (t *table) find(off int64) int {
	return sort.Search(t.frames(), func(i int) bool { return t.plain[i+1] > off })
}

// fitsRanges reports whether ranges can be read at a bounded cost.
func (t *table) fitsRanges() bool { return t != nil && t.largest <= maxFrame }

func (t *table) cost() int64 {
	if t == nil {
		return 0
	}
	return int64(len(t.packed)) * 16
}
