package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"os"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore/shard"
)

const (
	// cidPrefix begins every CID of a workload: version 1, raw, SHA2-256, 32 bytes.
	cidPrefix = "\x01\x55\x12\x20"
	cidLength = len(cidPrefix) + sha256.Size

	// carHead is the header of a CARv1 up to the CID of its one root, in
	// DAG-CBOR: {"roots": [link], "version": 1}.
	carHead = "\x3a\xa2\x65roots\x81\xd8\x2a\x58\x25\x00"
	carTail = "\x67version\x01"

	// maxAsked is how many blocks of a CAR are remembered to be asked for.
	maxAsked = 1 << 16
)

// A carFile is a CAR of random blocks, one of the workloads.
type carFile struct {
	path   string
	key    shard.Key
	bytes  int64
	blocks int
	asked  []block // some of them, spread evenly
}

// A block is where the bytes of a CID lie in the file.
type block struct {
	cid  cid.Cid
	off  int64
	size int
}

// writeCAR writes n blocks of size random bytes; the first is the root.
func writeCAR(path string, seed uint64, n, size int) (*carFile, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := &carFile{path: path, key: keyOf(path), blocks: n}
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	random := rand.NewChaCha8(key)
	out := bufio.NewWriterSize(f, 1<<20)
	data := make([]byte, size)
	section := binary.AppendUvarint(nil, uint64(cidLength+size))
	varint := len(section)
	stride := max(1, n/maxAsked)
	var off int64
	for i := range n {
		_, _ = random.Read(data) // it never fails
		digest := sha256.Sum256(data)
		section = append(append(section[:varint], cidPrefix...), digest[:]...)
		if i == 0 {
			// A bufio.Writer keeps its first error; Flush tells it.
			_, _ = out.WriteString(carHead)
			_, _ = out.Write(section[varint:])
			_, _ = out.WriteString(carTail)
			off = int64(len(carHead) + cidLength + len(carTail))
		}
		_, _ = out.Write(section)
		_, _ = out.Write(data)
		off += int64(len(section))
		if i%stride == 0 {
			mh := append(multihash.Multihash(nil), section[varint+2:]...)
			c.asked = append(c.asked, block{cid.NewCidV1(cid.Raw, mh), off, size})
		}
		off += int64(size)
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	c.bytes = off
	return c, f.Close()
}

// A question is a block of one of several CARs.
type question struct {
	block
	key  shard.Key
	file *os.File // for the limit, which reads it by itself
}

// A quiz is questions in random order.
type quiz struct {
	ask   []question
	files []*os.File
}

// newQuiz opens cars and asks for n blocks, uniformly over all that they
// remember. The CIDs lie in memory in the order in which they are asked for: a
// caller has just read, or been sent, what it asks with.
func newQuiz(cars []*carFile, n int) (*quiz, error) {
	q := &quiz{ask: make([]question, n)}
	for _, c := range cars {
		f, err := os.Open(c.path)
		if err != nil {
			q.close()
			return nil, err
		}
		q.files = append(q.files, f)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range q.ask {
		at := random.IntN(len(cars))
		c := cars[at]
		b := c.asked[random.IntN(len(c.asked))]
		var err error
		if b.cid, err = cid.Cast(bytes.Clone(b.cid.Bytes())); err != nil {
			q.close()
			return nil, err
		}
		q.ask[i] = question{b, c.key, q.files[at]}
	}
	return q, nil
}

func (q *quiz) close() {
	for _, f := range q.files {
		_ = f.Close() // read only
	}
}

// read is the least that a checked Get does: a read into a fresh buffer, and
// its hash. It reports whether the block is the right one.
func (q *question) read(check bool) (bool, error) {
	buf := make([]byte, q.size)
	if _, err := q.file.ReadAt(buf, q.off); err != nil {
		return false, err
	}
	if !check {
		return true, nil
	}
	digest := sha256.Sum256(buf)
	hash := q.cid.Hash()
	return string(digest[:]) == string(hash[2:]), nil
}
