package car

import (
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car/cartest"
)

var (
	goodBlocks = cartest.Good()
	goodHeader = cartest.AppendHeader(nil, []cid.Cid{goodBlocks[0].CID})
	goodV1     = cartest.V1([]cid.Cid{goodBlocks[0].CID}, goodBlocks)
)

const noHeader = "\xa2\x65roots\x80\x67version\x01" // a header without its length

// header returns a CARv1 header with this CBOR.
func header(parts ...string) []byte {
	cbor := strings.Join(parts, "")
	return append(cartest.AppendUvarint(nil, uint64(len(cbor))), cbor...)
}

// under are options with the limits under which a file is bad.
func under(l cartest.Limits) Options {
	return Options{Limits: Limits{Header: l.Header, Section: l.Section, NoPadding: l.NoPadding}}
}
