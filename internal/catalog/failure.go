package catalog

import (
	"context"
	"encoding/binary"
	"errors"
	"unicode/utf8"

	"github.com/dagstore/dagstore/shard"
)

// sentinels are the errors by which a failure can be matched after a restart.
// A failure is stored with a set of bits, one for each that it matches: the
// order is part of the format, and new ones come last.
var sentinels = [...]error{
	shard.ErrKey,
	shard.ErrUnknown,
	shard.ErrExists,
	shard.ErrKeyUsed,
	shard.ErrHeld,
	shard.ErrBusy,
	shard.ErrDestroying,
	shard.ErrFailed,
	shard.ErrRemote,
	shard.ErrSource,
	shard.ErrStalled,
	shard.ErrChanged,
	shard.ErrDenied,
	shard.ErrQuota,
	shard.ErrCAR,
	shard.ErrBlock,
	shard.ErrIndex,
	shard.ErrDestroyed,
	context.Canceled,
	context.DeadlineExceeded,
	shard.ErrLastCopy,
}

// A kept error is what a restart leaves of one: its text, the sentinels that
// it matched, and the fault that it held.
type kept struct {
	text  string
	bits  uint64
	fault *shard.Fault
}

// Error returns the text that the error had.
func (k *kept) Error() string { return k.text }

// Is matches the sentinels that the error matched.
func (k *kept) Is(target error) bool {
	for i, s := range sentinels {
		if k.bits&(1<<i) != 0 && s == target { // an identity is asked for, a chain is walked by errors.Is
			return true
		}
	}
	return false
}

// Unwrap returns the fault that the error held.
func (k *kept) Unwrap() error {
	if k.fault == nil {
		return nil
	}
	return k.fault
}

// bitsOf finds the sentinels that err matches. Bits of a later version that
// came with a kept error stay.
func bitsOf(err error) uint64 {
	var bits uint64
	var k *kept
	if errors.As(err, &k) {
		bits = k.bits
	}
	for i, s := range sentinels {
		if errors.Is(err, s) {
			bits |= 1 << i
		}
	}
	return bits
}

// appendFailure appends operation, attempts, sentinels, text, the fault if
// there is one, and the time.
func appendFailure(dst []byte, f *shard.Failure) []byte {
	var op, text string
	var bits uint64
	var fault *shard.Fault
	if f.Err != nil {
		op = clip(string(f.Err.Op), 255)
		if f.Err.Err != nil {
			text = clip(f.Err.Err.Error(), maxText)
			bits = bitsOf(f.Err.Err)
			errors.As(f.Err.Err, &fault)
		}
	}
	dst = appendString(dst, op)
	dst = binary.AppendVarint(dst, int64(f.Attempts))
	dst = binary.AppendUvarint(dst, bits)
	dst = appendString(dst, text)
	if fault != nil {
		dst = append(dst, 1)
		dst = appendFault(dst, fault)
	} else {
		dst = append(dst, 0)
	}
	return appendTime(dst, f.At)
}

func (d *decoder) failure(key shard.Key) *shard.Failure {
	op := d.str()
	attempts := int(d.varint())
	k := &kept{bits: d.uvarint(), text: d.str()}
	if d.byte() != 0 {
		f := d.fault()
		k.fault = &f
	}
	return &shard.Failure{
		Err:      &shard.Error{Key: key, Op: shard.Op(op), Err: k},
		At:       d.time(),
		Attempts: attempts,
	}
}

// clip cuts s to n bytes, between two characters if there are any.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for back := range min(n+1, utf8.UTFMax) {
		if utf8.RuneStart(s[n-back]) {
			return s[:n-back]
		}
	}
	return s[:n]
}
