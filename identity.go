package dagstore

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"

	"github.com/multiformats/go-multihash"
)

// PeerID returns a libp2p peer ID that stands for the store where providers of
// content are listed: that of an Ed25519 key which is made of a secret of the
// store, so it stays the same wherever the store lies, and a copy of the store
// has it, too. Nobody listens for libp2p by it.
func (s *Store) PeerID() string {
	secret := s.parts.catalog.Meta().HashKey
	mac := hmac.New(sha256.New, secret[:])
	mac.Write([]byte("dagstore peer id 1"))
	public, _ := ed25519.NewKeyFromSeed(mac.Sum(nil)).Public().(ed25519.PublicKey)
	// The public key as libp2p writes it, protobuf, in an identity multihash.
	key := append([]byte{0x08, 0x01, 0x12, ed25519.PublicKeySize}, public...)
	id := append([]byte{multihash.IDENTITY, byte(len(key))}, key...)
	return multihash.Multihash(id).B58String()
}
