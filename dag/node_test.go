package dag

import (
	"bytes"
	"errors"
	"testing"
	"unsafe"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// links is a folder of n links, each as short as can be: to nothing, within
// the CID.
func links(t *testing.T, n int) (cid.Cid, []byte) {
	t.Helper()
	b := bytes.Repeat([]byte{0x12, 8, 0x0a, 4, 1, cid.Raw, 0, 0, 0x12, 0}, n)
	b = append(b, 0x0a, 2, 8, 1) // a folder
	c, err := cid.V1Builder{Codec: cid.DagProtobuf, MhType: multihash.SHA2_256}.Sum(b)
	if err != nil {
		t.Fatal(err)
	}
	return c, b
}

// TestLinksAreWeighed: a block of links has many times its length in memory.
func TestLinksAreWeighed(t *testing.T) {
	c, block := links(t, maxLinks)
	n, err := decode(c, block)
	if err != nil || len(n.links) != maxLinks {
		t.Fatal(err)
	}
	if least := maxLinks * int(unsafe.Sizeof(link{})); n.weight < least {
		t.Errorf("%d bytes of links weigh %d", least, n.weight)
	}
	c, block = links(t, maxLinks+1)
	if _, err := decode(c, block); !errors.Is(err, ErrUnixFS) {
		t.Errorf("one link more than is allowed: %v", err)
	}
}
