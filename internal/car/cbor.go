package car

import (
	"encoding/binary"
	"fmt"

	"github.com/ipfs/go-cid"
)

// The major types of CBOR that a header is made of.
const (
	cborUint  = 0
	cborBytes = 2
	cborText  = 3
	cborArray = 4
	cborMap   = 5
	cborTag   = 6

	cborNull = 0xf6
	tagLink  = 42
)

// maxRoot is the length of the longest CID that is taken as a root, with the
// null byte before it.
const maxRoot = 1 + 4*9 + longestDigest

// readMap reads the map that a header is: "version", and in a CARv1 "roots".
// It knows where what may stand, so nothing in it can nest and nothing is
// stored but the roots.
func (h *headerReader) readMap() (version int, err error) {
	major, n, err := h.head()
	if err != nil {
		return 0, err
	}
	if major != cborMap || n < 1 || n > 2 {
		return 0, badHeader(h.start, "it is no CBOR map of \"roots\" and \"version\"")
	}
	var hasRoots, hasVersion bool
	for range n {
		at := h.src.off
		key, err := h.key()
		switch {
		case err != nil:
		case key == "roots" && !hasRoots:
			hasRoots = true
			err = h.readRoots()
		case key == "version" && !hasVersion:
			hasVersion = true
			version, err = h.readVersion()
		default:
			err = badHeader(at, "the key %q does not belong there", key)
		}
		if err != nil {
			return 0, err
		}
	}
	switch {
	case h.left > 0:
		return 0, badHeader(h.start, "%d bytes follow its CBOR", h.left)
	case !hasVersion:
		return 0, badHeader(h.start, "there is no version in it")
	case version == 1 && !hasRoots:
		return 0, badHeader(h.start, "there are no roots in it")
	}
	return version, nil
}

func (h *headerReader) readVersion() (int, error) {
	at := h.src.off
	major, v, err := h.head()
	switch {
	case err != nil:
		return 0, err
	case major != cborUint:
		return 0, badHeader(at, "the version is no number")
	case v != 1 && v != 2:
		return 0, badHeader(at, "version %d", v)
	}
	return int(v), nil
}

// readRoots reads the list of roots. go-car writes null for an empty one.
func (h *headerReader) readRoots() error {
	at := h.src.off
	if b, err := h.src.peek(1); err != nil {
		return err
	} else if len(b) > 0 && b[0] == cborNull {
		_, err := h.next(1)
		return err
	}
	major, n, err := h.head()
	switch {
	case err != nil:
		return err
	case major != cborArray:
		return badHeader(at, "the roots are no list")
	case h.opt.Roots > 0 && n > uint64(h.opt.Roots):
		return badHeader(at, "%d roots, the most is %d", n, h.opt.Roots)
	case n > uint64(h.left):
		return badHeader(at, "%d roots in %d bytes", n, h.left)
	}
	h.header.RootCount = int(n)
	for i := range int(n) {
		if err := h.readRoot(i); err != nil {
			return err
		}
	}
	return nil
}

// readRoot reads root i: a byte string under tag 42, which holds a null byte
// and a CID.
func (h *headerReader) readRoot(i int) error {
	at := h.src.off
	if ok, err := h.readShortRoot(i); ok || err != nil {
		return err
	}
	major, tag, err := h.head()
	if err != nil {
		return err
	}
	if major != cborTag || tag != tagLink {
		return badHeader(at, "root %d is no link", i)
	}
	major, n, err := h.head()
	switch {
	case err != nil:
		return err
	case major != cborBytes:
		return badHeader(at, "root %d is no link", i)
	case n < 2 || n > maxRoot:
		return badHeader(at, "root %d has %d bytes", i, n)
	}
	link, err := h.next(int(n))
	if err != nil {
		return err
	}
	return h.keepRoot(i, at, link)
}

// readShortRoot is readRoot for what nearly all roots look like, since there
// may be a million of them. ok is false, and nothing is read, if root i does
// not look so, whether good or bad.
func (h *headerReader) readShortRoot(i int) (ok bool, err error) {
	b, err := h.src.peek(64)
	if err != nil {
		return false, err
	}
	b = b[:min(int64(len(b)), h.left)]
	const tag, short, oneByte = "\xd8\x2a", cborBytes << 5, cborBytes<<5 | 24
	var head, n int
	switch {
	case len(b) < 4 || string(b[:2]) != tag:
		return false, nil
	case b[2] > short && b[2] < oneByte:
		head, n = 3, int(b[2]-short)
	case b[2] == oneByte && b[3] >= 24:
		head, n = 4, int(b[3])
	}
	if n < 2 || head+n > len(b) {
		return false, nil
	}
	at := h.src.off
	h.src.advance(head + n)
	h.left -= int64(head + n)
	return true, h.keepRoot(i, at, b[head:head+n])
}

func (h *headerReader) keepRoot(i int, at int64, link []byte) error {
	id := link[1:]
	p, problem, detail := parseCID(id, int64(len(id)))
	switch {
	case link[0] != 0:
		return badHeader(at, "root %d is no link: it lacks its null byte", i)
	case problem != cidGood:
		return badHeader(at, "root %d is no CID: %s", i, detail)
	case p.len != len(id):
		return badHeader(at, "root %d is no CID: %d bytes follow it", i, len(id)-p.len)
	case h.opt.KeepRoots >= 0 && i >= h.opt.KeepRoots:
		return nil
	}
	c, err := cid.Cast(id)
	if err != nil {
		return badHeader(at, "root %d is no CID: %v", i, err)
	}
	h.header.Roots = append(h.header.Roots, c)
	return nil
}

// key reads a key of the map, which is one of two short words.
func (h *headerReader) key() (string, error) {
	at := h.src.off
	major, n, err := h.head()
	if err != nil {
		return "", err
	}
	if major != cborText {
		return "", badHeader(at, "a key is no text")
	}
	if n > uint64(len("version")) {
		return "", badHeader(at, "a key of %d bytes does not belong there", n)
	}
	b, err := h.next(int(n))
	return string(b), err
}

// head reads the head of a CBOR item: its major type and its argument, which
// must be there and as short as it can be.
func (h *headerReader) head() (major byte, arg uint64, err error) {
	at := h.src.off
	b, err := h.next(1)
	if err != nil {
		return 0, 0, err
	}
	major, info := b[0]>>5, b[0]&0x1f
	if info < 24 {
		return major, uint64(info), nil
	}
	if info > 27 {
		return 0, 0, badHeader(at, "a CBOR item of indefinite or reserved length")
	}
	n := 1 << (info - 24)
	if b, err = h.next(n); err != nil {
		return 0, 0, err
	}
	var wide [8]byte
	copy(wide[8-n:], b)
	arg = binary.BigEndian.Uint64(wide[:])
	if n == 1 && arg < 24 || n > 1 && arg>>(4*n) == 0 {
		return 0, 0, badHeader(at, "a CBOR number that is not in its shortest form")
	}
	return major, arg, nil
}

// next returns the next n bytes of the header, which are valid until it is
// called again.
func (h *headerReader) next(n int) ([]byte, error) {
	if int64(n) > h.left {
		return nil, badHeader(h.start, "it ends inside its CBOR")
	}
	b, err := h.src.peek(n)
	if err != nil {
		return nil, err
	}
	if len(b) < n {
		return nil, badHeader(h.start, "%s", cutAfter(h.size-h.left+int64(len(b)), h.size))
	}
	h.src.advance(n)
	h.left -= int64(n)
	return b[:n], nil
}

func cutAfter(done, size int64) string {
	return fmt.Sprintf("it is cut short after %d of %d bytes", done, size)
}
