// Package gateway serves a store over HTTP as an IPFS gateway: raw blocks,
// CARs, and, unless told not to, files and folders out of UnixFS DAGs.
//
//	handler, err := gateway.New(store, nil)
//	if err != nil {
//		return err
//	}
//	return http.ListenAndServe("127.0.0.1:8447", handler)
//
// Paths begin with /ipfs/, followed by a CID in any base and any version, and
// perhaps by names. What is wanted is said by ?format= or an Accept header:
//
//	raw              one block, as it is
//	car              the DAG below, or the part that dag-scope and entity-bytes name
//	(nothing)        a file, a folder listing, or the index.html of a folder
//	tar              a file or a folder as an archive
//	dag-json, dag-cbor, json, cbor   a block that has this codec
//
// Names (/ipns/, DNSLink) are not resolved and answered by 501. Nothing is
// fetched from other peers or gateways: what no shard of the store has is not
// found.
//
// # What is boxo's
//
// The formats, their headers and the folder listing are those of
// github.com/ipfs/boxo/gateway, and so is the end of every request after an
// hour. Around it this package changes:
//
//   - Every block is held against its CID, whatever the options say. One that
//     is damaged in every shard gives 404 and is not to be cached.
//   - An answer that cannot be completed is broken off, so that the client
//     notices: the connection of HTTP/1.1 ends without the last chunk, the
//     stream of HTTP/2 is reset. It never ends as if it were whole.
//   - A CAR whose root no shard has is 404, and HEAD of a CAR reads its first
//     blocks and no more.
//   - entity-bytes without dag-scope means dag-scope=entity, as its
//     specification says.
//   - If-None-Match gives 304 only for a root that the store has.
//   - Errors are plain text, never immutable, and name no shard and no source.
//   - Multihashes that boxo refuses to serve (weak functions, digests under 20
//     bytes, identities over 128) are not found, instead of an internal error.
//
// It is the only package of the library that links boxo/gateway. No type of
// boxo appears in what it exports.
package gateway
