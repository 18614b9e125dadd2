package car

import (
	"context"
	"io"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/shard"
)

// Unlimited lifts a limit for which 0 means the default.
const Unlimited = -1

// The limits that a zero [Limits] stands for. The first two are go-car's.
const (
	DefaultHeader  = 32 << 20
	DefaultSection = 32 << 20
	DefaultRoots   = 1_000_000
)

// DefaultKeepRoots is how many roots [shard.Info] has room for.
const DefaultKeepRoots = 256

// Limits bounds what a CAR may ask for. 0 is the default, [Unlimited] none.
type Limits struct {
	Header    int64 // bytes of the header, its length apart
	Section   int64 // bytes of a section, its length apart; CID and data
	Roots     int   // in the header
	NoPadding bool  // null padding is a fault, not the end
}

// Options is how a CAR is read. The zero Options reads one of unknown size
// under the default limits and hashes nothing.
type Options struct {
	Limits

	// Verify hashes every body and compares it with its CID.
	Verify bool

	// Hashers is how many goroutines hash bodies beside the one that reads, if
	// Verify is set and the CAR is not small. Each takes some 2 MiB. 0: none does.
	// What is emitted and found is the same.
	Hashers int

	// Hop passes over bodies without reading them, however short, if r can be
	// read at random: it reads the heads, a few KiB at a time. Verify reads
	// them all the same.
	Hop bool

	// Far says that each read of r is a request, which takes as long as many KiB
	// do: a body is then jumped over from 64 KiB on, and below it is read.
	Far bool

	// Size is that of the source in bytes, if it is known: at most 0 if not.
	// A source that ends earlier or goes on longer is reported as such as far
	// as it is read: not where a CARv2 has an index, which is not read, nor
	// where Result.Unread counts. Lengths that cannot be true are refused before
	// anything is read. That the index of a CARv2 would lie behind the end is
	// noticed only with it.
	Size int64

	// KeepRoots is how many roots the Header holds at most; the others are
	// checked and counted. 0 is [DefaultKeepRoots]. [Unlimited] keeps as many
	// as Limits allow, which may take ten times the header's length in memory.
	KeepRoots int

	// Progress, if not nil, is told how far in the source the reading has
	// come: by the goroutine that reads, once in a MiB at most.
	Progress func(done int64)
}

// A Header is what a CAR says about itself before its first section.
type Header struct {
	Version   int       // 1 or 2
	Roots     []cid.Cid // see [Options.KeepRoots]
	RootCount int       // how many there are

	// The CARv1 payload in the source. DataSize is what the CARv2 header
	// says, in a CARv1 it is the size of the source; -1 while that is unknown.
	DataOffset, DataSize int64

	// IndexOffset is where the index of a CARv2 begins; 0 if there is none.
	IndexOffset int64

	// FullyIndexed is the CARv2 characteristic of this name: the index, if
	// there is one, lists every block. It is a claim.
	FullyIndexed bool

	// FirstSection is where the first section begins, in the payload.
	FirstSection int64
}

// A Section is one block of a CAR. CID and what is cut out of it are valid
// until emit returns, as is the Section.
type Section struct {
	Offset int64  // of the section in the CARv1 payload, as go-car counts it
	Head   int    // bytes of varint and CID, at most [MaxHead]
	Size   int64  // of the data, which begins at Offset + Head
	CID    []byte // as it stands in the file
	Code   uint64 // of the hash function; [multihash.IDENTITY] if the CID holds the data

	mh, digest int // where these begin in CID
}

// Multihash returns the multihash in the CID: for CIDv0 all of it.
func (s *Section) Multihash() multihash.Multihash { return multihash.Multihash(s.CID[s.mh:]) }

// Digest returns the digest in the multihash.
func (s *Section) Digest() []byte { return s.CID[s.digest:] }

// Identity says whether the CID holds the data itself.
func (s *Section) Identity() bool { return s.Code == multihash.IDENTITY }

// A Result is what a scan found.
type Result struct {
	Header

	Sections int64 // in the CAR; repeated and faulty ones count
	Bytes    int64 // of data in these, where the CID is whole enough to tell data from it
	Identity int64 // emitted sections whose CID holds the data
	Verified bool  // every emitted body was hashed

	Faults int64         // sections that were not emitted
	Faulty []shard.Fault // the first 16 of these

	// How it ended. End is where the last section ends, in the payload.
	// Padding null bytes follow it. What follows these, if Trailing says that
	// there is something, was not read as sections: the CAR ended before.
	End      int64
	Padding  int64
	Trailing bool

	// Unread is how much of the payload's end was not looked at, because
	// something follows the padding or because the padding is over 64 MiB
	// long; -1 if that is not known.
	Unread int64

	// PayloadSize is DataSize where that is known and otherwise what was
	// found; -1 if the end was not reached.
	PayloadSize int64
}

// Scan reads a CAR from where r stands, emitting its sections in the order in
// which they lie, blocks with an identity CID included. It returns when the
// payload ends, when the framing is at fault, when r fails, when emit fails
// or soon after ctx ends; the error of emit is returned as it is. What was
// emitted counts only if Scan returns no error.
//
// Unless Options.Verify is set, a section is emitted before its body is
// passed over. emit runs on the calling goroutine and must not keep s.
//
// If r is an [io.Seeker] and an [io.ReaderAt] it is read by ReadAt from where
// it stands, and its position afterwards is where it was; otherwise it stands
// somewhere behind what was read.
//
// The Result is as far as the scan came, also beside an error.
func Scan(ctx context.Context, r io.Reader, opt Options, emit func(s *Section) error) (Result, error) {
	sc := scanner{src: newSource(ctx, r, opt, bufferSize), opt: opt.withDefaults(), emit: emit}
	err := sc.scan()
	sc.src.report(true)
	return sc.res, err
}

// ReadHeader reads a CAR as far as its first section, under the rules of [Scan].
func ReadHeader(ctx context.Context, r io.Reader, opt Options) (Header, error) {
	hr := headerReader{src: newSource(ctx, r, opt, headerBufferSize), opt: opt.withDefaults()}
	err := hr.read()
	return hr.header, err
}

// unlimited is what [Unlimited] becomes: no length is over it, and adding the
// length of a head to it does not overflow.
const unlimited = 1 << 62

// withDefaults returns o with the value that each limit stands for.
func (o Options) withDefaults() Options {
	o.Header = orDefault(o.Header, DefaultHeader)
	o.Section = orDefault(o.Section, DefaultSection)
	if o.Roots == 0 {
		o.Roots = DefaultRoots
	}
	if o.KeepRoots == 0 {
		o.KeepRoots = DefaultKeepRoots
	}
	if o.Size <= 0 {
		o.Size = -1
	}
	return o
}

func orDefault(limit, def int64) int64 {
	switch {
	case limit == 0:
		return def
	case limit < 0:
		return unlimited
	default:
		return min(limit, unlimited)
	}
}
