package dag

import (
	"context"
)

// A listing goes through a folder, link by link: a sharded one from place to
// place, with one node of each level in memory.
type listing struct {
	fs   *FS
	root *node
	at   int // of a folder that is not sharded
	way  []level
}

// A level is a node of a HAMT and how far the listing is in it.
type level struct {
	node *node
	at   int
	hash uint64 // bits that led here, from the top
	used int    // how many
}

func newListing(f *FS, n *node) *listing {
	l := &listing{fs: f, root: n}
	if n.kind == shardedFolder {
		l.way = []level{{node: n}}
	}
	return l
}

// next returns the next entry, or false at the end. After an error the listing
// is over.
func (l *listing) next(ctx context.Context) (link, bool, error) {
	if err := ctx.Err(); err != nil {
		return link{}, false, err
	}
	if l.root.kind != shardedFolder {
		if l.at == len(l.root.links) {
			return link{}, false, nil
		}
		l.at++
		return l.root.links[l.at-1], true, nil
	}
	for len(l.way) > 0 {
		top := &l.way[len(l.way)-1]
		if top.at == len(top.node.links) {
			l.way = l.way[:len(l.way)-1]
			continue
		}
		e := top.node.links[top.at]
		top.at++
		entry, err := l.into(ctx, top, e)
		if err != nil {
			l.way = nil
			return link{}, false, err
		}
		if entry != "" {
			e.name = entry
			return e, true, nil
		}
	}
	return link{}, false, nil
}

// into goes down to a further node, or returns the name of an entry. Its hash
// has to lead there: one node in many places would be an endless folder.
func (l *listing) into(ctx context.Context, top *level, e link) (entry string, err error) {
	place, entry, _ := top.node.place(e.name)
	_, used, ok := top.node.step(0, top.used)
	if !ok {
		return "", broken(top.node.cid, "a HAMT that is too deep")
	}
	hash := top.hash | uint64(place)<<(hashBits-used)
	if entry != "" {
		if hashOf(entry)>>(hashBits-used) != hash>>(hashBits-used) {
			return "", broken(top.node.cid, "a HAMT in which %q is not where its hash is", entry)
		}
		return entry, nil
	}
	below, err := l.fs.belowShard(ctx, top.node, e)
	if err != nil {
		return "", err
	}
	l.way = append(l.way, level{node: below, hash: hash, used: used})
	return "", nil
}
