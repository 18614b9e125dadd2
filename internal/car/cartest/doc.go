// Package cartest makes CARs for tests and benchmarks: small ones as bytes,
// large ones as a stream, damaged ones out of the same parts.
//
//	blocks := cartest.Random(1, 1000, 256)
//	v1 := cartest.V1([]cid.Cid{blocks[0].CID}, blocks)
//	v2 := cartest.V2(v1, cartest.Container{Index: index})
//
// Everything is a function of its arguments: the same seed gives the same
// bytes on every machine, and block i of a stream of millions can be made
// again alone, see [RandomBlock]. A CAR is written by hand, not by the parser
// that it is to test, and damage is made by appending something else:
//
//	bad := cartest.AppendUvarint(v1, 1<<63) // a section of 2^63 bytes follows
//
// The package does not import testing, so benchmarks and programs may use it.
package cartest
