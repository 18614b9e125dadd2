package catalog

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"
)

// A decoder takes a value apart from the front. After the first error it
// yields zeros. It allocates for bytes that are there, never for bytes that
// are claimed.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = nil
}

func (d *decoder) more() bool { return d.err == nil && len(d.rest) > 0 }

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail(errShort)
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uint32() uint32 {
	if len(d.rest) < 4 {
		d.fail(errShort)
		return 0
	}
	n := binary.LittleEndian.Uint32(d.rest)
	d.rest = d.rest[4:]
	return n
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	if n <= 0 {
		d.fail(errShort)
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

// bytes takes a length and as many bytes, without copying them.
func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.fail(errShort)
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) str() string { return string(d.bytes()) }

// all takes what is left.
func (d *decoder) all() string {
	s := string(d.rest)
	d.rest = nil
	return s
}

// clone takes what is left, as a copy.
func (d *decoder) clone() []byte {
	b := append([]byte{}, d.rest...)
	d.rest = nil
	return b
}

func (d *decoder) cid() cid.Cid {
	c, err := castCID(d.bytes())
	if err != nil {
		d.fail(fmt.Errorf("CID: %w", err))
	}
	return c
}

// time takes a time, or the zero time if nothing is left.
func (d *decoder) time() time.Time {
	if !d.more() {
		return time.Time{}
	}
	sec, nsec := d.varint(), d.uvarint()
	if nsec >= uint64(time.Second) {
		d.fail(fmt.Errorf("time has %d nanoseconds", nsec))
	}
	if d.err != nil {
		return time.Time{}
	}
	return time.Unix(sec, int64(nsec)).UTC()
}
