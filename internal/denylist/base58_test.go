package denylist

import (
	"math/rand/v2"
	"testing"

	"github.com/multiformats/go-multihash"
)

func TestBase58(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for n := range 150 {
		for range 20 {
			data := make([]byte, n)
			for i := rng.IntN(4); i < n; i++ {
				data[i] = byte(rng.Uint32())
			}
			if rng.IntN(4) == 0 {
				for i := n / 2; i < n; i++ {
					data[i] = 0
				}
			}
			if got, want := string(appendBase58(nil, string(data))), multihash.Multihash(data).B58String(); got != want {
				t.Fatalf("%x: %s, want %s", data, got, want)
			}
		}
	}
	if got := string(appendBase58([]byte("x"), "\x00\x01")); got != "x12" {
		t.Error(got)
	}
}
