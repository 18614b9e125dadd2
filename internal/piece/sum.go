package piece

import (
	"crypto/sha256"
	"io"
)

// lastByte has the bits that the last byte of a field element may have.
const lastByte = 0x3f

type node [nodeSize]byte

// join is the node above two.
func join(pair *[2 * nodeSize]byte) (n node) {
	n = sha256.Sum256(pair[:])
	n[nodeSize-1] &= lastByte
	return n
}

func above(left, right *node) node {
	var pair [2 * nodeSize]byte
	copy(pair[:], left[:])
	copy(pair[nodeSize:], right[:])
	return join(&pair)
}

// A Sum is the commitment to bytes that were written to it. The zero value is
// that of none. It is for one goroutine.
type Sum struct {
	size  int64
	rest  [inQuad]byte
	kept  int             // of rest
	left  [MaxHeight]node // the left node of a pair that is not complete, by height
	has   [MaxHeight]bool // there is one
	zeros [MaxHeight]node // roots of trees of zeros, made when they are needed
	known int             // how many of them are there
	quads int64           // how many are in the tree
	buf   [4 * nodeSize]byte
}

// Write adds bytes. It never fails.
func (s *Sum) Write(p []byte) (int, error) {
	n := len(p)
	s.size += int64(n)
	if s.kept > 0 {
		m := copy(s.rest[s.kept:], p)
		if s.kept += m; s.kept < inQuad {
			return n, nil
		}
		s.quad(&s.rest)
		s.kept, p = 0, p[m:]
	}
	for len(p) >= inQuad {
		s.quad((*[inQuad]byte)(p))
		p = p[inQuad:]
	}
	s.kept = copy(s.rest[:], p)
	return n, nil
}

// Size is how many bytes were written.
func (s *Sum) Size() int64 { return s.size }

// quad adds 127 bytes as four leaves: of each 254 bits two more are made, zero.
func (s *Sum) quad(in *[inQuad]byte) {
	out := &s.buf
	copy(out[:32], in[:32])
	for i := 32; i < 64; i++ {
		out[i] = in[i]<<2 | in[i-1]>>6
	}
	for i := 64; i < 96; i++ {
		out[i] = in[i]<<4 | in[i-1]>>4
	}
	for i := 96; i < inQuad; i++ {
		out[i] = in[i]<<6 | in[i-1]>>2
	}
	out[127] = in[126] >> 2
	out[31] &= lastByte
	out[63] &= lastByte
	out[95] &= lastByte
	left, right := join((*[2 * nodeSize]byte)(out[:64])), join((*[2 * nodeSize]byte)(out[64:]))
	s.add(above(&left, &right))
}

// add puts a node of height 2 behind the others.
func (s *Sum) add(n node) {
	s.quads++
	h := minHeight
	for ; s.has[h]; h++ {
		n = above(&s.left[h], &n)
		s.has[h] = false
	}
	s.left[h], s.has[h] = n, true
}

// zero is the root of a tree of zeros.
func (s *Sum) zero(height int) *node {
	for ; s.known <= height; s.known++ {
		if s.known > 0 {
			z := s.zeros[s.known-1]
			s.zeros[s.known] = above(&z, &z)
		}
	}
	return &s.zeros[height]
}

// Root returns the root of the least tree over the bytes, and its height. More
// may be written afterwards.
func (s *Sum) Root() (root [nodeSize]byte, height uint8) {
	t := *s
	if t.kept > 0 || t.quads == 0 {
		clear(t.rest[t.kept:])
		t.quad(&t.rest)
	}
	least, _ := heightOf(t.quads * inQuad)
	height = least
	// Zeros stand where nothing does, from the bottom up.
	for h := minHeight; h < int(height); h++ {
		if t.has[h] {
			n := above(&t.left[h], t.zero(h))
			t.has[h] = false
			k := h + 1
			for ; t.has[k]; k++ {
				n = above(&t.left[k], &n)
				t.has[k] = false
			}
			t.left[k], t.has[k] = n, true
		}
	}
	return t.left[height], height
}

// higher returns the root of the tree of one more level: zeros stand beside.
func (s *Sum) higher(root [nodeSize]byte, height uint8) [nodeSize]byte {
	n := node(root)
	return above(&n, s.zero(int(height)))
}

// Matches reports whether a piece CID is one of the bytes, with zeros behind
// them perhaps, as they are where a piece has to be of a certain size.
func (s *Sum) Matches(id ID) bool {
	if id.Size >= 0 && id.Size < s.size {
		return false
	}
	root, height := s.Root()
	for ; height < MaxHeight; height++ {
		if root == id.Root && (id.Size < 0 || id.Height == height) {
			return true
		}
		root = s.higher(root, height)
	}
	return false
}

// Of reads all of r.
func Of(r io.Reader) (*Sum, error) {
	s := new(Sum)
	_, err := io.Copy(s, r)
	return s, err
}
