// Package nodes says what is in a block: the links of any block whose codec is
// known, and of a dag-pb block what it is as UnixFS. It is for those who walk
// whole DAGs and stop at nothing else: it makes no nodes, copies no bytes but
// those of CIDs, and allocates nothing where there are no links.
//
//	links, err := nodes.Links(nil, c.Prefix().Codec, block)
//
// A block is not trusted. What is longer than what holds it, nested without end
// or cut short is an error, which wraps [ErrBroken]; memory grows with the bytes of
// the block and never with what they claim.
//
// The formats are those of https://ipld.io/specs/codecs/ and of
// https://specs.ipfs.tech/unixfs/.
package nodes
