package local

import (
	"testing"

	"github.com/dagstore/dagstore/index"
)

// BenchmarkCacheRemoveHeld removes handles that somebody holds, as when many
// shards are destroyed by force or indexed again: the time of one must not
// depend on how many linger.
func BenchmarkCacheRemoveHeld(b *testing.B) {
	c := NewCache(CacheConfig{})
	defer c.Close()
	for i := range b.N {
		h, _ := opened(b, index.ID(i+1))
		c.Put(h)
	}
	b.ResetTimer()
	for i := range b.N {
		c.Remove(index.ID(i+1), nil)
	}
}
