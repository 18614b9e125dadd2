// Package piece knows the pieces of Filecoin: their CIDs, and the commitments
// that these are made of (CommP).
//
// A piece CID of version 1 (baga...) is the root of a Merkle tree over the
// bytes, spread to field elements of 254 bits and filled up with zeros; how many
// bytes there are it does not say. One of version 2 (bafkzcib..., FRC-0069) has
// the same root, the height of the tree, and how much of it is padding, and so
// the length of the piece to the byte.
package piece
