package cartest

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/ipfs/go-cid"
)

// prefix begins every CID of a random block: version 1, raw, SHA2-256, 32 bytes.
const prefix = "\x01\x55\x12\x20"

// RandomBlock returns block i of the random CAR with this seed: size random
// bytes under a raw CIDv1. It depends on nothing but its arguments.
func RandomBlock(seed uint64, i, size int) Block {
	data := make([]byte, size)
	fill(data, seed, i)
	return Raw(data)
}

// Random returns the first n blocks of size bytes, as [RandomBlock] makes them.
func Random(seed uint64, n, size int) []Block {
	blocks := make([]Block, n)
	for i := range blocks {
		blocks[i] = RandomBlock(seed, i, size)
	}
	return blocks
}

// RandomV1 returns a CARv1 of [Random] blocks whose root is the first of
// them; without blocks there are no roots.
func RandomV1(seed uint64, n, size int) []byte {
	blocks := Random(seed, n, size)
	return V1(rootsOf(blocks), blocks)
}

// WriteRandom writes what [RandomV1] returns to w, block by block in constant
// memory, and returns how many bytes that were.
func WriteRandom(w io.Writer, seed uint64, n, size int) (int64, error) {
	out := bufio.NewWriterSize(w, 1<<20)
	var first []Block
	if n > 0 {
		first = Random(seed, 1, size)
	}
	head := AppendHeader(nil, rootsOf(first))
	total := int64(len(head))
	if _, err := out.Write(head); err != nil {
		return 0, fmt.Errorf("cartest: %w", err)
	}

	data := make([]byte, size)
	section := make([]byte, 0, 64)
	for i := range n {
		fill(data, seed, i)
		digest := sha256.Sum256(data)
		section = AppendUvarint(section[:0], uint64(len(prefix)+len(digest)+size))
		section = append(section, prefix...)
		section = append(section, digest[:]...)
		total += int64(len(section) + size)
		// A bufio.Writer keeps its first error; Flush tells it.
		_, _ = out.Write(section)
		if _, err := out.Write(data); err != nil {
			return 0, fmt.Errorf("cartest: block %d: %w", i, err)
		}
	}
	if err := out.Flush(); err != nil {
		return 0, fmt.Errorf("cartest: %w", err)
	}
	return total, nil
}

func rootsOf(blocks []Block) []cid.Cid {
	if len(blocks) == 0 {
		return nil
	}
	return []cid.Cid{blocks[0].CID}
}

func fill(data []byte, seed uint64, i int) {
	var key [32]byte
	copy(key[:], "dagstore cartest")
	binary.LittleEndian.PutUint64(key[16:], seed)
	binary.LittleEndian.PutUint64(key[24:], uint64(i))
	_, _ = rand.NewChaCha8(key).Read(data) // it never fails
}
