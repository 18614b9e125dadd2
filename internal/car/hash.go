package car

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"unsafe"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	mhcore "github.com/multiformats/go-multihash/core"

	"github.com/dagstore/dagstore/shard"
)

// minDigest is the shortest digest that says anything, but for an identity:
// 160 bits, as IPFS asks for elsewhere. Other bytes with a shorter one are
// found by whoever looks for them. Checksums and MD5 are left out by this.
const minDigest = 20

// Check hashes data and compares it with c. Data that is something else gives
// a [*shard.Fault] of kind [shard.BadHash]; a CID that cannot be checked, since
// its hash function is not known or cannot have a digest of that length,
// one of kind [shard.BadCID]. offset is that of the section in the file and
// goes into the Fault. For SHA2-256 nothing is allocated.
func Check(c cid.Cid, offset int64, data []byte) error {
	id := c.KeyString()
	raw := unsafe.Slice(unsafe.StringData(id), len(id)) // only read
	p, problem, detail := parseCID(raw, int64(len(raw)))
	if problem != cidGood || p.len != len(raw) {
		return &shard.Fault{Kind: shard.BadCID, Offset: offset, CID: c, Detail: detail}
	}
	good, unsure := matchOnce(p.code, raw[p.digest:], data)
	switch {
	case unsure != hashGood:
		return &shard.Fault{Kind: shard.BadCID, Offset: offset, CID: c, Detail: unsure.detail(p.code, p.len-p.digest)}
	case !good:
		return &shard.Fault{Kind: shard.BadHash, Offset: offset, CID: c}
	}
	return nil
}

// matchOnce says whether digest is that of data, or why that cannot be said.
func matchOnce(code uint64, digest, data []byte) (bool, hashProblem) {
	if code == multihash.SHA2_256 && len(digest) == sha256.Size {
		return sha256.Sum256(data) == [sha256.Size]byte(digest), hashGood
	}
	var h hashes
	problem := h.digestProblem(code, len(digest))
	return problem == hashGood && h.match(code, digest, data), problem
}

// A hashProblem is why a digest cannot be checked.
type hashProblem uint8

const (
	hashGood hashProblem = iota
	hashUnknown
	hashLength
	hashWeak
	hashIdentity
)

func (p hashProblem) detail(code uint64, n int) string {
	switch p {
	case hashUnknown:
		return fmt.Sprintf("unknown hash function 0x%x", code)
	case hashLength:
		return fmt.Sprintf("a digest of %d bytes is none of %s", n, multihash.Codes[code])
	case hashWeak:
		return fmt.Sprintf("%s has digests of %d bytes, the least is %d", multihash.Codes[code], n, minDigest)
	case hashIdentity:
		return fmt.Sprintf("identity CID of %d bytes of data, the most is %d", n, maxDigest)
	default:
		return ""
	}
}

// hashes hashes with whatever go-multihash knows. The zero value is ready; it
// is for one goroutine. It makes each hash function once.
type hashes struct {
	sizes map[uint64]digestSize
	made  map[hashKey]hash.Hash
	sum   [maxDigest]byte
}

// digestSize is the length of a function's digests, or their longest if min
// is shorter. It is 0 for a function without an implementation.
type digestSize struct{ min, max int }

type hashKey struct {
	code uint64
	size int
}

// digestProblem says whether a digest of n bytes can be one of that function.
func (h *hashes) digestProblem(code uint64, n int) hashProblem {
	switch code {
	case multihash.SHA2_256:
		if n != sha256.Size {
			return hashLength
		}
		return hashGood
	case multihash.IDENTITY:
		if n > maxDigest {
			return hashIdentity
		}
		return hashGood
	}
	size, ok := h.sizes[code]
	if !ok {
		// Codes bounds what a CAR of invented codes can make us remember.
		if _, named := multihash.Codes[code]; !named {
			return hashUnknown
		}
		size = sizeOf(code)
		if h.sizes == nil {
			h.sizes = make(map[uint64]digestSize)
		}
		h.sizes[code] = size
	}
	switch {
	case size.max == 0:
		return hashUnknown
	case n < size.min || n > size.max:
		return hashLength
	case n < minDigest:
		return hashWeak
	default:
		return hashGood
	}
}

func sizeOf(code uint64) digestSize {
	fixed, err := mhcore.GetHasher(code)
	if err != nil || fixed.Size() == 0 || fixed.Size() > maxDigest {
		return digestSize{}
	}
	if v, err := mhcore.GetVariableHasher(code, maxDigest); err == nil && v.Size() == maxDigest {
		return digestSize{min: minDigest, max: maxDigest}
	}
	return digestSize{min: fixed.Size(), max: fixed.Size()}
}

// match says whether digest is that of data. The two must be without a
// digestProblem.
func (h *hashes) match(code uint64, digest, data []byte) bool {
	switch code {
	case multihash.SHA2_256:
		return sha256.Sum256(data) == [sha256.Size]byte(digest)
	case multihash.IDENTITY:
		return bytes.Equal(digest, data)
	}
	w := h.start(code, len(digest))
	if w == nil {
		return false
	}
	_, _ = w.Write(data) // a hash.Hash never fails
	return h.matchSum(w, digest)
}

// start returns the hash function, reset; nil if it cannot be had. It is not
// for identity.
func (h *hashes) start(code uint64, size int) hash.Hash {
	key := hashKey{code, size}
	w := h.made[key]
	if w == nil {
		if w = newHash(code, size); w == nil {
			return nil
		}
		if h.made == nil {
			h.made = make(map[hashKey]hash.Hash)
		}
		h.made[key] = w
	}
	w.Reset()
	return w
}

// newHash is start for a hash function of one use.
func newHash(code uint64, size int) hash.Hash {
	if code == multihash.SHA2_256 {
		return sha256.New()
	}
	w, err := mhcore.GetVariableHasher(code, size)
	if err != nil || w.Size() != size {
		return nil
	}
	return w
}

func (h *hashes) matchSum(w hash.Hash, digest []byte) bool {
	return bytes.Equal(w.Sum(h.sum[:0]), digest)
}
