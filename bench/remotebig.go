package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/dagstore/dagstore"
)

// remoteFirstBig is remote-first out of a CAR of 16 GiB, behind nginx alone. It is
// measured by name, since the CAR takes half a minute to make; on the disk it
// takes 64 MiB, being mostly hollow.
func remoteFirstBig(ctx context.Context, e *env) (r result, err error) {
	path := filepath.Join(e.dir, "hollow.car")
	c, err := writeHollow(path, e.scale.hollow, bigSize)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	err = onStage(func(t *stage) (err error) {
		r, err = e.firstOf(ctx, startNginx(t, e), c, &dagstore.RegisterOptions{Index: dagstore.Hop})
		return err
	})
	return r, err
}

// writeHollow writes n blocks of size bytes, of which all but the first eight are
// zeros that take no room on the disk.
func writeHollow(path string, n, size int) (*carFile, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c := &carFile{path: path, key: keyOf(path), blocks: n}
	data := make([]byte, size)
	for i := range n {
		binary.LittleEndian.PutUint64(data, uint64(i+1))
		digest := sha256.Sum256(data)
		id := append([]byte(cidPrefix), digest[:]...)
		var head []byte
		if i == 0 {
			head = append(append(append(head, carHead...), id...), carTail...)
		}
		head = append(binary.AppendUvarint(head, uint64(cidLength+size)), id...)
		if _, err := f.WriteAt(append(head, data[:8]...), c.bytes); err != nil {
			return nil, err
		}
		c.bytes += int64(len(head))
		c.asked = append(c.asked, block{cid.NewCidV1(cid.Raw, multihash.Multihash(id[2:])), c.bytes, size})
		c.bytes += int64(size)
	}
	return c, errors.Join(f.Truncate(c.bytes), f.Close())
}
