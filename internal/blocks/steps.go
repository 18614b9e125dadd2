package blocks

import (
	"errors"
	"fmt"

	"github.com/dagstore/dagstore/index"
	"github.com/dagstore/dagstore/internal/local"
	"github.com/dagstore/dagstore/shard"
)

// More than one position of a block in one shard is rare, and many are rarer:
// they are asked for in steps.
const (
	firstPositions = 16
	positionGrowth = 16
)

// everyPosition calls try with the positions of l.mh in h, by rising offset,
// until it is done.
func everyPosition(l *lookup, h *local.Handle, c *candidate, try func(*lookup, *local.Handle, index.Position) bool) bool {
	if !c.found && !l.confirm(h, c) {
		return false
	}
	seen := 0
	if c.found {
		if try(l, h, c.pos) {
			return true
		}
		seen = 1
	}
	for limit := firstPositions; ; limit *= positionGrowth {
		var err error
		l.positions, err = h.Find(l.positions[:0], l.mh, limit)
		if err != nil {
			l.fail(h, indexError(err))
			return false
		}
		found := l.positions
		for ; seen < len(found); seen++ {
			if l.ctx.Err() != nil {
				return false
			}
			if try(l, h, found[seen]) {
				return true
			}
		}
		if len(found) < limit {
			return false
		}
	}
}

// indexError gives an error of an index its sentinel, unless the handle was
// severed or closed.
func indexError(err error) error {
	if errors.Is(err, shard.ErrDestroyed) || errors.Is(err, local.ErrClosed) {
		return err
	}
	return fmt.Errorf("%w: %w", shard.ErrIndex, err)
}

// readBlock leaves the data of the block in l.data.
func readBlock(l *lookup, h *local.Handle, c *candidate) bool {
	return everyPosition(l, h, c, func(l *lookup, h *local.Handle, pos index.Position) bool {
		var err error
		if l.data, err = l.read(h, pos); err != nil {
			l.fail(h, err)
			return false
		}
		l.r.count(len(l.data))
		return true
	})
}

// readSize leaves the position in l.pos, with its size.
func readSize(l *lookup, h *local.Handle, c *candidate) bool {
	return everyPosition(l, h, c, func(l *lookup, h *local.Handle, pos index.Position) bool {
		if pos.Size < 0 {
			sec, buf, err := l.readHead(h, pos)
			if l.again(h, err) {
				sec, buf, err = l.readHead(h, pos)
			}
			if err != nil {
				l.fail(h, err)
				return false
			}
			pos.Size, pos.Head = sec.Size, sec.Head
			buf.free()
		}
		l.pos = pos
		return true
	})
}

// confirm is over with the first shard whose index has the block.
func confirm(l *lookup, h *local.Handle, c *candidate) bool {
	return everyPosition(l, h, c, func(l *lookup, h *local.Handle, pos index.Position) bool {
		l.id, l.pos = h.ID(), pos
		return true
	})
}

// locate finds the first l.limit positions. It is never over: see deliver.
func locate(l *lookup, h *local.Handle, _ *candidate) bool {
	var err error
	l.key = h.Key()
	if l.positions, err = h.Find(l.positions[:0], l.mh, l.limit); err != nil {
		l.fail(h, indexError(err))
	}
	return false
}

// deliver yields the positions in one shard, which find finds, and reports
// whether the lookup is over. The shard is pinned while find runs and not
// while the caller's code does.
func (l *lookup) deliver(find func()) (done bool) {
	seen := 0
	for l.limit = firstPositions; ; l.limit *= positionGrowth {
		l.positions = l.positions[:0]
		find()
		found := l.positions
		for ; seen < len(found); seen++ {
			p := found[seen]
			if !l.yield(shard.Location{Shard: l.key, Offset: p.Offset, Size: p.Size, Head: p.Head}) {
				return true
			}
		}
		if len(found) < l.limit {
			return false
		}
	}
}
