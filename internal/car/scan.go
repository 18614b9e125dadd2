package car

import (
	"encoding/binary"
	"errors"

	"github.com/dagstore/dagstore/shard"
)

const (
	maxFaulty  = 16       // faults that a Result lists
	maxPadding = 64 << 20 // null padding that is looked through
)

// A scanner reads one CAR.
type scanner struct {
	src  *source
	opt  Options
	emit func(*Section) error
	res  Result

	base int64 // where the payload begins and ends in the source;
	end  int64 // -1: where the source ends, which is not known

	pipe   *pipeline // nil: bodies are hashed as they are read, if at all
	hashes hashes
	sec    Section       // what is emitted
	id     [MaxHead]byte // a CID whose place in the buffer is needed for the body
}

func (s *scanner) scan() error {
	h := headerReader{src: s.src, opt: s.opt}
	err := h.read()
	s.res.Header = h.header
	s.res.Verified = s.opt.Verify
	if err != nil {
		return err
	}
	s.base, s.end = h.header.DataOffset, h.header.DataSize
	if s.end >= 0 {
		s.end += s.base
	}
	if s.opt.Verify && s.opt.Hashers > 0 && len(s.src.buf) == bufferSize {
		s.pipe = newPipeline(s, s.opt.Hashers)
		defer s.pipe.stop()
	}
	if err := s.sections(); err != nil {
		return err
	}
	return s.tail()
}

// sections reads all sections.
func (s *scanner) sections() (err error) {
	for more := true; more && err == nil; {
		if s.pipe != nil {
			err = s.pipe.relieve()
		}
		if err == nil {
			more, err = s.section()
		}
	}
	if s.pipe != nil {
		return s.pipe.finish(err)
	}
	return err
}

// window returns what is buffered of the payload: [MaxHead] bytes or more,
// fewer only where it ends.
func (s *scanner) window(n int) ([]byte, error) {
	b, err := s.src.peek(n)
	if err == nil && s.end >= 0 && int64(len(b)) > s.end-s.src.off {
		b = b[:s.end-s.src.off]
	}
	return b, err
}

// section reads one section. more is false where there is none: at the end or
// at null padding.
func (s *scanner) section() (more bool, err error) {
	b, err := s.window(MaxHead)
	if err != nil {
		return false, err
	}
	if len(b) == 0 {
		return false, s.ended()
	}
	size, n, bad := uvarint(b)
	switch {
	case bad != "":
		return false, s.bad("length: " + bad)
	case n == 0:
		return false, s.bad("the CAR ends inside the section's length")
	case size == 0:
		return false, nil
	case size > uint64(s.opt.Section):
		return false, s.bad(overLimit(size, s.opt.Section))
	case s.end >= 0 && size > uint64(s.end-s.src.off-int64(n)):
		return false, s.bad(cutAfter(s.end-s.src.off-int64(n), int64(size)))
	}
	id := b[n:]
	if uint64(len(id)) > size {
		id = id[:size]
	}
	p, problem, detail := parseCID(id, int64(size))
	if problem == cidShort {
		return false, s.bad("it ends inside its " + detail)
	}
	s.res.Sections++
	if problem == cidBad {
		s.faulty(shard.BadCID, nil, detail)
		return true, s.skip(int64(n), int64(size))
	}
	s.res.Bytes += int64(size) - int64(p.len)
	if problem := s.hashes.digestProblem(p.code, p.len-p.digest); problem != hashGood {
		if s.listed() < maxFaulty {
			detail = problem.detail(p.code, p.len-p.digest)
		}
		s.faulty(shard.BadCID, id[:min(p.len, len(id))], detail)
		return true, s.skip(int64(n), int64(size))
	}
	if p.len > len(id) {
		return false, s.bad(cutAfter(int64(len(id)), int64(size)))
	}
	s.sec = makeSection(s.src.off-s.base, n, id[:p.len], int64(size), p)
	switch {
	case s.pipe != nil:
		return true, s.pipe.section(b, int64(n), int64(size))
	case s.opt.Verify:
		return true, s.verify(b, int64(n), int64(size))
	}
	if err := s.give(); err != nil {
		return false, err
	}
	return true, s.skip(int64(n), int64(size))
}

// ended says whether the payload may end here, where the source does.
func (s *scanner) ended() error {
	if s.end >= 0 && s.src.off < s.end {
		return badContainer(fieldSize, "the file ends %d bytes before its data does", s.end-s.src.off)
	}
	return nil
}

// verify hashes the body of s.sec, emits it if it is what its CID says, and
// passes over it. b is what is buffered of the section.
func (s *scanner) verify(b []byte, varint, size int64) error {
	sec := &s.sec
	digest := sec.Digest()
	if sec.Identity() && sec.Size == int64(len(digest)) {
		// Short, and not to be hashed piece by piece.
		id := append(s.id[:0], sec.CID...)
		var err error
		if b, err = s.window(int(varint + size)); err != nil {
			return err
		}
		sec.CID, digest = id, id[sec.digest:]
	}
	if int64(len(b)) >= varint+size {
		body := b[sec.Head : varint+size]
		if err := s.judge(s.hashes.match(sec.Code, digest, body)); err != nil {
			return err
		}
		return s.skip(varint, size)
	}
	if sec.Identity() {
		if err := s.judge(false); err != nil {
			return err
		}
		return s.skip(varint, size)
	}
	return s.verifyLong(size)
}

// verifyLong is verify for a body that is not in the buffer as a whole.
func (s *scanner) verifyLong(size int64) error {
	sec := &s.sec
	start := s.src.off
	sec.CID = append(s.id[:0], sec.CID...)
	w := s.hashes.start(sec.Code, len(sec.Digest()))
	s.src.advance(sec.Head)
	for left := sec.Size; left > 0; {
		b, err := s.window(1)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return badSection(start, cutAfter(size-left, size))
		}
		step := min(left, int64(len(b)))
		if w != nil {
			_, _ = w.Write(b[:step]) // a hash.Hash never fails
		}
		s.src.advance(int(step))
		left -= step
	}
	return s.judge(w != nil && s.hashes.matchSum(w, sec.Digest()))
}

// judge emits the section if it was found good and lists it otherwise.
func (s *scanner) judge(good bool) error {
	if good {
		return s.give()
	}
	s.faultyAt(s.base+s.sec.Offset, shard.BadHash, s.sec.CID, "")
	return nil
}

func (s *scanner) give() error {
	if s.sec.Identity() {
		s.res.Identity++
	}
	return s.emit(&s.sec)
}

// skip passes over the section that begins here.
func (s *scanner) skip(varint, size int64) error {
	start := s.src.off
	err := s.src.skip(varint + size)
	if errors.Is(err, errCut) {
		return badSection(start, cutAfter(s.src.off-start-varint, size))
	}
	return err
}

// listed is how many faults are listed already, or surely will be.
func (s *scanner) listed() int {
	if s.pipe != nil {
		return s.pipe.faulty
	}
	return len(s.res.Faulty)
}

// faulty is for a section whose fault shows before its body is read.
func (s *scanner) faulty(kind shard.FaultKind, id []byte, detail string) {
	if s.pipe == nil {
		s.faultyAt(s.src.off, kind, id, detail)
		return
	}
	var f *shard.Fault
	if s.listed() < maxFaulty {
		f = &shard.Fault{Kind: kind, Offset: s.src.off, CID: toCID(id), Detail: detail}
	}
	s.pipe.fault(f)
}

// faultyAt counts a section that is not emitted, and lists it if there is room.
func (s *scanner) faultyAt(offset int64, kind shard.FaultKind, id []byte, detail string) {
	s.res.Faults++
	if len(s.res.Faulty) < maxFaulty {
		f := shard.Fault{Kind: kind, Offset: offset, CID: toCID(id), Detail: detail}
		s.res.Faulty = append(s.res.Faulty, f)
	}
}

// bad returns a Fault of the framing of the section that begins here.
func (s *scanner) bad(detail string) error { return badSection(s.src.off, detail) }

func badSection(offset int64, detail string) error {
	return &shard.Fault{Kind: shard.BadSection, Offset: offset, Detail: detail}
}

// tail looks at what follows the last section.
func (s *scanner) tail() error {
	s.res.End = s.src.off - s.base
	b, err := s.window(1)
	if err != nil {
		return err
	}
	if len(b) > 0 {
		if s.opt.NoPadding {
			return badEnd(s.src.off, "null padding, which is not allowed here")
		}
		if s.res.Padding, s.res.Trailing, err = s.zeros(); err != nil {
			return err
		}
	}
	switch {
	case s.end >= 0:
		s.res.Unread = s.end - s.src.off
	case !s.src.eof || s.src.lo < s.src.hi:
		s.res.Unread = -1
	}
	s.res.PayloadSize = s.res.DataSize
	if s.end < 0 && s.res.Unread == 0 {
		s.res.PayloadSize = s.src.off - s.base
	}
	if s.res.Version == 2 {
		if err := s.afterPayload(); err != nil {
			return err
		}
	}
	return s.src.ended()
}

// afterPayload checks that the payload of a CARv2 is there as a whole, and if
// there is no index, that nothing but padding follows it.
func (s *scanner) afterPayload() error {
	if s.src.size >= 0 && (s.end == s.src.size || s.res.IndexOffset != 0) {
		return nil // its header was checked against the size
	}
	if err := s.src.skip(s.end - s.src.off); errors.Is(err, errCut) {
		return s.ended()
	} else if err != nil {
		return err
	}
	if s.res.IndexOffset != 0 {
		return nil
	}
	s.end = s.src.size
	at := s.src.off
	n, garbage, err := s.zeros()
	switch {
	case err != nil:
		return err
	case garbage:
		return badEnd(s.src.off, "garbage after the data")
	case n > 0 && s.opt.NoPadding:
		return badEnd(at, "null padding, which is not allowed here")
	}
	return nil
}

// zeros passes over null bytes, as far as the payload goes but not over
// maxPadding by much, and says whether others follow.
func (s *scanner) zeros() (n int64, others bool, err error) {
	for n < maxPadding {
		b, err := s.window(1)
		if err != nil || len(b) == 0 {
			return n, false, err
		}
		i := nulls(b)
		s.src.advance(i)
		n += int64(i)
		if i < len(b) {
			return n, true, nil
		}
	}
	return n, false, nil
}

// nulls returns how many null bytes b begins with.
func nulls(b []byte) int {
	i := 0
	for i+8 <= len(b) && binary.LittleEndian.Uint64(b[i:]) == 0 {
		i += 8
	}
	for i < len(b) && b[i] == 0 {
		i++
	}
	return i
}

func badEnd(offset int64, detail string) error {
	return &shard.Fault{Kind: shard.BadEnd, Offset: offset, Detail: detail}
}
