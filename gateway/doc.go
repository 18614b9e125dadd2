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
// Below /piece/, followed by a piece CID of either version, are whole CARs as the
// pieces of Filecoin that they are known to be (FRC-0066); nothing of them is held
// against a CID here. /routing/v1/providers/, followed by a CID, says whether this
// gateway has its content.
//
// Nothing is fetched from other peers or gateways: what no shard of the store has
// is not found. Names (/ipns/, DNSLink) are resolved if [Config] says how, for
// which there is [NewNames], and answered by 501 if not. Files, folders and what has been decoded are served for
// the hosts in [Config.DeserializedHosts]; others get what a client can check.
//
// # What can be relied on
//
//   - Every block is held against its CID before any of its bytes leave. One that
//     is damaged in every shard gives 404 and is not to be cached.
//   - An answer that cannot be completed is broken off, so that the client
//     notices: the connection of HTTP/1.1 ends without the last chunk, the
//     stream of HTTP/2 is reset. It never ends as if it were whole.
//   - What is not there is 404 for at most 15 seconds, for HEAD, for CARs and for
//     conditional requests as for others. A source that is out of reach is 503 or
//     504, with Retry-After.
//   - HEAD reads what leads to the content and not the content; a range reads the
//     blocks that have its bytes.
//   - Errors are plain text, never immutable, and name no shard and no source.
//   - What [Config.Refuse] refuses is not served in any form: as a path, as a step
//     of one, as a block within a CAR, a file or an archive, nor as not modified.
//   - Multihashes that prove little (weak functions, digests under 20 bytes) are
//     not found.
//
// # What is boxo's
//
// Raw blocks, CARs, records of names and files, an index.html among them, are answered
// by this package; folder listings, archives, _redirects and blocks of dag-json and the like by
// github.com/ipfs/boxo/gateway, whose handler reads through this package. It is the
// only package of the library that links that one. No type of boxo appears in what
// it exports.
package gateway
