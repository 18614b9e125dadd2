package layers

import (
	"cmp"
	"slices"
)

const (
	// fanIn is how many layers of about one size are merged into one: four of
	// a tier make one of the next, so that an entry is written once for each
	// tier, and there are at most three layers in each.
	fanIn = 4

	// tierBase is where the second tier begins. All that is smaller is of the
	// first: its layers cost next to nothing to write again.
	tierBase = 1 << 14

	// maxGroup bounds the layers merged at once, and with them the memory.
	maxGroup = 32

	// maxLayers bounds the layers of all tiers together.
	maxLayers = 15

	// rottenPart: a layer of which more than one part in so many of its
	// shards is dead is rewritten.
	rottenPart = 4
)

// A size is what the policy knows of a layer.
type size struct {
	entries int64
	rotten  bool // enough of it is dead
}

func (s size) tier() int {
	tier := 0
	for limit := int64(tierBase); s.entries >= limit && limit > 0; limit *= fanIn {
		tier++
	}
	return tier
}

// pick returns which layers to merge into one, or nil: the smallest tier that
// is full, the smallest layers if there are too many of all tiers, or one
// alone that is rotten.
func pick(layers []size) []int {
	order := bySize(layers)
	for begin := 0; begin < len(order); {
		end := begin
		for end < len(order) && layers[order[end]].tier() == layers[order[begin]].tier() {
			end++
		}
		if end-begin >= fanIn {
			return order[begin:min(end, begin+maxGroup)]
		}
		begin = end
	}
	if len(order) > maxLayers {
		return order[:fanIn]
	}
	for _, i := range order {
		if layers[i].rotten {
			return []int{i}
		}
	}
	return nil
}

// idleGain: in idle time layers are merged if the largest of them has not more
// than so many times the entries of the others. So an entry is written again
// only when its layer grows by half, and what is left more than doubles from
// one layer to the next.
const idleGain = 2

// pickIdle returns which layers to merge when there is nothing else to do, or
// nil: as many of the smallest as are worth it.
func pickIdle(layers []size) []int {
	order := bySize(layers)
	most := 0
	sum := int64(0)
	for i, at := range order[:min(len(order), maxGroup)] {
		n := layers[at].entries
		if i > 0 && sum*idleGain >= n {
			most = i + 1
		}
		sum += n
	}
	if most == 0 {
		return nil
	}
	return order[:most]
}

// bySize returns the numbers of layers, the smallest first.
func bySize(layers []size) []int {
	order := make([]int, len(layers))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(layers[a].entries, layers[b].entries) })
	return order
}
