package indextest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"

	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/index"
)

// kinds are the multihashes that Records makes: several codes, several lengths
// under one code, lengths so short that digests repeat, and identity.
var kinds = [...]struct {
	code   uint64
	length int
	share  int // of 100
}{
	{multihash.SHA2_256, 32, 58},
	{multihash.SHA2_256, 20, 4}, // cut short
	{multihash.SHA1, 20, 6},
	{multihash.SHA2_512, 64, 6},
	{multihash.BLAKE2B_MIN + 31, 32, 8},
	{multihash.BLAKE2B_MIN, 1, 2},
	{multihash.BLAKE3, 32, 6},
	{multihash.MURMUR3X64_64, 8, 4},
	{multihash.IDENTITY, -1, 6},
}

// Records yields n made records, as the sections of a CAR follow each other:
// many kinds of multihash, identity among them, digests that agree in their
// first 8 bytes, and blocks that occur more than once. The same seed gives the
// same records. There is no error among them; the type is that which
// [index.Write] takes.
func Records(seed uint64, n int) iter.Seq2[index.Record, error] {
	return func(yield func(index.Record, error) bool) {
		rng := rand.New(rand.NewPCG(seed, 0))
		var seen []multihash.Multihash // a few to come back to
		offset := int64(59)            // after a header with one root
		for range n {
			var mh multihash.Multihash
			switch what := rng.IntN(100); {
			case what < 5 && len(seen) > 0:
				mh = seen[rng.IntN(len(seen))]
			case what < 15 && len(seen) > 0:
				mh = alike(rng, seen[rng.IntN(len(seen))])
			default:
				mh = random(rng)
			}
			if len(seen) < 64 {
				seen = append(seen, mh)
			} else {
				seen[rng.IntN(len(seen))] = mh
			}
			size := rng.Int64N(1 << (1 + rng.IntN(20)))
			head := len(binary.AppendUvarint(nil, uint64(len(mh))+2+uint64(size))) + 2 + len(mh)
			r := index.Record{
				Multihash: append(multihash.Multihash(nil), mh...),
				Position:  index.Position{Offset: offset, Size: size, Head: head},
			}
			offset += int64(head) + size
			if !yield(r, nil) {
				return
			}
		}
	}
}

func random(rng *rand.Rand) multihash.Multihash {
	p := rng.IntN(100)
	for _, k := range kinds {
		if p -= k.share; p >= 0 {
			continue
		}
		length := k.length
		if length < 0 {
			length = rng.IntN(40)
		}
		mh := make([]byte, 0, 4+length)
		mh = binary.AppendUvarint(mh, k.code)
		mh = binary.AppendUvarint(mh, uint64(length))
		for range length {
			mh = append(mh, byte(rng.Uint32()))
		}
		return mh
	}
	panic("indextest: the shares of kinds do not add up to 100")
}

// alike returns a multihash of the kind of mh that differs from it as late as
// it may: somewhere after the first 8 bytes of the digest.
func alike(rng *rand.Rand, mh multihash.Multihash) multihash.Multihash {
	mh = append(multihash.Multihash(nil), mh...)
	if _, digest, ok := split(mh); ok && len(digest) > 8 {
		i := 8 + rng.IntN(len(digest)-8)
		digest[i] ^= byte(1 + rng.IntN(255))
	}
	return mh
}

// split returns the code and the digest of mh.
func split(mh multihash.Multihash) (code uint64, digest []byte, ok bool) {
	code, n := binary.Uvarint(mh)
	if n <= 0 {
		return 0, nil, false
	}
	length, m := binary.Uvarint(mh[n:])
	if m <= 0 || length != uint64(len(mh)-n-m) {
		return 0, nil, false
	}
	return code, mh[n+m:], true
}

// A report gathers broken laws. Of each law the first few are enough.
type report struct {
	errs  []error
	count map[string]int
}

const perLaw = 5

func (r *report) broken(law, format string, args ...any) {
	if r.count == nil {
		r.count = map[string]int{}
	}
	if r.count[law]++; r.count[law] <= perLaw {
		r.errs = append(r.errs, fmt.Errorf("%s: %w", law, fmt.Errorf(format, args...)))
	}
}

func (r *report) err() error { return errors.Join(r.errs...) }
