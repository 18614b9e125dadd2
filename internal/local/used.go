package local

import "github.com/dagstore/dagstore/index"

// TakeUsed reports whether the handle of id is open and was looked up, or held,
// since the last time that this was asked or the cache itself looked.
func (c *Cache) TakeUsed(id index.ID) bool {
	h, ok := c.peek(id)
	return ok && h.used.Swap(false)
}

func (c *Cache) peek(id index.ID) (*Handle, bool) {
	h := c.table.Load().get(id)
	return h, h != nil
}
