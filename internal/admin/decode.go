package admin

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ipfs/go-unixfsnode/data"
	dagpb "github.com/ipld/go-codec-dagpb"
	"github.com/ipld/go-ipld-prime/codec/dagcbor"
	"github.com/ipld/go-ipld-prime/codec/dagjson"
	"github.com/ipld/go-ipld-prime/datamodel"
	"github.com/ipld/go-ipld-prime/node/basicnode"
	"github.com/multiformats/go-multicodec"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

// deepest is how deep a value may be nested. The decoders call themselves, and
// a block of brackets would take all of the stack.
const deepest = 512

var (
	errTooDeep = fmt.Errorf("it is nested more than %d deep", deepest)
	errNotCBOR = errors.New("it is no DAG-CBOR")
)

// decode fills in what is inside of a block. The bytes are those of the CID and
// still anybody's: they are only looked at under the limits above.
func decode(out *wire.Block, codec uint64, block []byte) error {
	switch multicodec.Code(codec) { //nolint:exhaustive // blocks of all others are not looked into
	case multicodec.Raw:
		return nil
	case multicodec.DagPb:
		return decodePB(out, block)
	case multicodec.DagCbor:
		if err := checkCBOR(block); err != nil {
			return err
		}
		b := basicnode.Prototype.Any.NewBuilder()
		if err := dagcbor.Decode(b, bytes.NewReader(block)); err != nil {
			return err
		}
		return decoded(out, b.Build())
	case multicodec.DagJson:
		if err := checkJSON(block); err != nil {
			return err
		}
		b := basicnode.Prototype.Any.NewBuilder()
		if err := dagjson.Decode(b, bytes.NewReader(block)); err != nil {
			return err
		}
		return decoded(out, b.Build())
	case multicodec.Json:
		if err := checkJSON(block); err != nil {
			return err
		}
		if !json.Valid(block) {
			return errors.New("it is no JSON")
		}
		if len(block) <= mostValue {
			out.Value = json.RawMessage(block)
		}
		return nil
	}
	return fmt.Errorf("blocks of %s are not looked into", out.Codec)
}

// decodePB reads a node of DAG-PB, and UnixFS if that is in it.
func decodePB(out *wire.Block, block []byte) error {
	b := dagpb.Type.PBNode.NewBuilder()
	if err := dagpb.DecodeBytes(b, block); err != nil {
		return err
	}
	node, ok := b.Build().(dagpb.PBNode)
	if !ok {
		return errors.New("it is no node of DAG-PB")
	}
	links := node.FieldLinks().Iterator()
	for !links.Done() {
		_, l := links.Next()
		if out.LinkCount++; len(out.Links) == mostLinks {
			continue
		}
		link := wire.Link{CID: l.FieldHash().Link().String()}
		if name := l.FieldName(); name.Exists() {
			link.Name = name.Must().String()
		}
		if size := l.FieldTsize(); size.Exists() {
			link.Size = size.Must().Int()
		}
		out.Links = append(out.Links, link)
	}
	if !node.FieldData().Exists() {
		return nil
	}
	inner, err := data.DecodeUnixFSData(node.FieldData().Must().Bytes())
	if err != nil {
		return nil //nolint:nilerr // a node of DAG-PB need not be UnixFS
	}
	out.UnixFS = &wire.UnixFS{Type: unixfsTypes[inner.FieldDataType().Int()]}
	if fanout := inner.FieldFanout(); fanout.Exists() {
		out.UnixFS.Fanout = uint64(fanout.Must().Int())
	}
	if size := inner.FieldFileSize(); size.Exists() {
		out.UnixFS.Size = uint64(size.Must().Int())
	} else if bytes := inner.FieldData(); bytes.Exists() {
		out.UnixFS.Size = uint64(len(bytes.Must().Bytes()))
	}
	return nil
}

// unixfsTypes are what a node can be.
var unixfsTypes = map[int64]string{
	data.Data_Raw: "raw", data.Data_Directory: "directory", data.Data_File: "file",
	data.Data_Metadata: "metadata", data.Data_Symlink: "symlink", data.Data_HAMTShard: "hamt-shard",
}

// decoded fills in the links of a node, and its value.
func decoded(out *wire.Block, node datamodel.Node) error {
	if err := linksOf(out, node, datamodel.Path{}); err != nil {
		return err
	}
	var text bytes.Buffer
	if err := dagjson.Encode(node, &text); err != nil {
		return err
	}
	if text.Len() <= mostValue {
		out.Value = json.RawMessage(text.Bytes())
	}
	return nil
}

// linksOf finds the links in node, which is nested no deeper than deepest.
func linksOf(out *wire.Block, node datamodel.Node, at datamodel.Path) error {
	switch node.Kind() {
	case datamodel.Kind_Link:
		link, err := node.AsLink()
		if err != nil {
			return err
		}
		if out.LinkCount++; len(out.Links) < mostLinks {
			out.Links = append(out.Links, wire.Link{CID: link.String(), Path: at.String()})
		}
	case datamodel.Kind_List:
		for it := node.ListIterator(); !it.Done(); {
			i, child, err := it.Next()
			if err != nil {
				return err
			}
			if err := linksOf(out, child, at.AppendSegment(datamodel.PathSegmentOfInt(i))); err != nil {
				return err
			}
		}
	case datamodel.Kind_Map:
		for it := node.MapIterator(); !it.Done(); {
			name, child, err := it.Next()
			if err != nil {
				return err
			}
			text, err := name.AsString()
			if err != nil {
				return err
			}
			if err := linksOf(out, child, at.AppendSegmentString(text)); err != nil {
				return err
			}
		}
	default: // it leads nowhere
	}
	return nil
}

// checkJSON refuses a text that is nested too deep, whatever else is wrong.
func checkJSON(text []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[' || c == '{':
			if depth++; depth > deepest {
				return errTooDeep
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}

// checkCBOR walks over one item without calling itself, and refuses what is
// nested too deep, cut off, or of indefinite length, which DAG-CBOR has not.
func checkCBOR(b []byte) error {
	left := []uint64{1} // items that are to come, at each depth
	for len(left) > 0 {
		last := len(left) - 1
		if left[last] == 0 {
			left = left[:last]
			continue
		}
		left[last]--
		major, n, rest, ok := headCBOR(b)
		if !ok {
			return errNotCBOR
		}
		b = rest
		switch major {
		case 2, 3: // bytes and text
			if n > uint64(len(b)) {
				return errNotCBOR
			}
			b = b[n:]
		case 4, 5, 6: // lists, maps and tags
			if major == 6 {
				n = 1
			}
			if n > uint64(len(b)) {
				return errNotCBOR // each item takes a byte at least
			}
			if major == 5 {
				n *= 2
			}
			if left = append(left, n); len(left) > deepest {
				return errTooDeep
			}
		}
	}
	if len(b) > 0 {
		return errNotCBOR
	}
	return nil
}

// headCBOR reads the head of an item: its major type and its argument.
func headCBOR(b []byte) (major byte, n uint64, rest []byte, ok bool) {
	if len(b) == 0 {
		return 0, 0, nil, false
	}
	major, n, rest = b[0]>>5, uint64(b[0]&31), b[1:]
	if n < 24 {
		return major, n, rest, true
	}
	width := 1 << (n - 24)
	if n > 27 || len(rest) < width {
		return 0, 0, nil, false
	}
	var word [8]byte
	copy(word[8-width:], rest)
	return major, binary.BigEndian.Uint64(word[:]), rest[width:], true
}
