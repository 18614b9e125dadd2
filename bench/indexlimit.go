package main

import (
	"bufio"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

const (
	offsetSize = 8
	lengthSize = 5 // u32 size, u8 head: kept beside the record, as in the index file
	recordSize = sha256.Size + offsetSize
	rowSize    = recordSize + lengthSize
)

// indexLimit is the least that indexing does: it walks the CAR through a
// buffer of 1 MiB, sorts a record for each block, and writes and syncs a file
// of length bytes. It returns the seconds that took. It checks nothing, and
// knows beforehand that there are n blocks and all CIDs are alike.
func indexLimit(c *carFile, to string, length int64) (float64, error) {
	began := time.Now()
	buckets, err := walk(c)
	if err != nil {
		return 0, err
	}
	for i := range buckets {
		sortBucket(&buckets[i])
	}
	if err := writeBuckets(to, buckets, length); err != nil {
		return 0, err
	}
	took := time.Since(began).Seconds()
	return took, os.Remove(to)
}

// A bucket has the rows whose digests begin with one byte.
type bucket struct {
	rows  []byte
	order []place
}

// A place is where a row lies, under what of its digest follows the byte
// that all of its bucket share.
type place struct {
	head uint64
	row  uint32
}

// walk reads the CAR and puts its records into 256 buckets by first byte.
func walk(c *carFile) (buckets [256]bucket, err error) {
	f, err := os.Open(c.path)
	if err != nil {
		return buckets, err
	}
	defer f.Close()
	room := (c.blocks/256 + c.blocks/2048 + 16) * rowSize
	for i := range buckets {
		buckets[i].rows = make([]byte, 0, room)
	}
	in := bufio.NewReaderSize(f, 1<<20)
	off, err := in.Discard(len(carHead) + cidLength + len(carTail))
	for at := int64(off); err == nil; {
		var peek []byte
		peek, err = in.Peek(binary.MaxVarintLen64 + cidLength)
		if len(peek) == 0 && errors.Is(err, io.EOF) {
			return buckets, nil
		}
		length, n := binary.Uvarint(peek)
		if n <= 0 || len(peek) < n+cidLength || length < uint64(cidLength) {
			return buckets, fmt.Errorf("%s: no section at %d", c.path, at)
		}
		digest := peek[n+len(cidPrefix) : n+cidLength]
		b := &buckets[digest[0]]
		b.rows = append(b.rows, digest...)
		b.rows = binary.LittleEndian.AppendUint64(b.rows, uint64(at))
		b.rows = binary.LittleEndian.AppendUint32(b.rows, uint32(length)-uint32(cidLength))
		b.rows = append(b.rows, byte(n+cidLength))
		at += int64(n) + int64(length)
		_, err = in.Discard(n + int(length))
	}
	return buckets, fmt.Errorf("%s: %w", c.path, err)
}

// sortBucket orders the rows: a counting sort by the next 12 bits leaves a
// few rows for each of their values, and those are compared.
func sortBucket(b *bucket) {
	const bits = 12
	var starts [1<<bits + 1]uint32
	n := len(b.rows) / rowSize
	from := make([]place, n)
	for i := range from {
		from[i] = place{binary.BigEndian.Uint64(b.rows[i*rowSize+1:]), uint32(i)}
		starts[from[i].head>>(64-bits)+1]++
	}
	for i := range starts[1:] {
		starts[i+1] += starts[i]
	}
	b.order = make([]place, n)
	for _, p := range from {
		at := &starts[p.head>>(64-bits)]
		b.order[*at] = p
		*at++
	}
	// starts[v] is now where the places of v end.
	first := uint32(0)
	for _, end := range starts[:1<<bits] {
		if end-first > 1 {
			slices.SortFunc(b.order[first:end], func(x, y place) int { return cmp.Compare(x.head, y.head) })
		}
		first = end
	}
}

// writeBuckets writes the records, then their lengths, then zeros up to the
// length of the index file.
func writeBuckets(to string, buckets [256]bucket, length int64) error {
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	out := bufio.NewWriterSize(f, 1<<20)
	for _, part := range [][2]int{{0, recordSize}, {recordSize, rowSize}} {
		for i := range buckets {
			b := &buckets[i]
			for _, p := range b.order {
				row := b.rows[int(p.row)*rowSize:]
				_, _ = out.Write(row[part[0]:part[1]]) // the first error stays
			}
			length -= int64(len(b.order) * (part[1] - part[0]))
		}
	}
	for zeros := make([]byte, 4096); length > 0; {
		n, err := out.Write(zeros[:min(length, int64(len(zeros)))])
		if err != nil {
			return err
		}
		length -= int64(n)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}
