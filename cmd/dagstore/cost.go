package main

import (
	"strings"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/outside"
	"github.com/dagstore/dagstore/shard"
)

const (
	// fewBytes is how long a CAR elsewhere is that is read without looking for
	// an index first. The engine has the same number.
	fewBytes = 256 << 10

	// usualBlock is how large the blocks of a CAR are taken to be that is hopped
	// through: as UnixFS importers cut files. Nobody knows before.
	usualBlock = 256 << 10
)

// elsewhere reports whether what lies at url is asked for over a network.
func elsewhere(url string) bool {
	scheme, _, _ := strings.Cut(strings.ToLower(url), ":")
	return strings.TrimPrefix(strings.TrimPrefix(scheme, outside.Prefix), zstdPrefix) != "file"
}

// requests is about how many requests it takes to add o: those that have found
// it, that ask how it is, and that read it if it has to be read. It is held
// against what nginx and versitygw have counted in TestDryRunCost.
func (ad *adder) requests(o *outcome, reads bool) int64 {
	if !elsewhere(o.item.mount.URL()) {
		return o.item.listing
	}
	n := o.item.listing
	if o.item.known == nil {
		n++ // it is asked how it is
	}
	if !reads {
		return n
	}
	n++ // and again by who reads it
	if strings.HasPrefix(o.item.mount.URL(), zstdPrefix) {
		n += 4 // its last bytes and its first say how long it is, and it is asked twice more whether it has changed
	}
	copied := ad.opts.mode == shard.Copy
	if ad.looks(o, copied) {
		n += 2 // its header, and the index beside it
	}
	hops := !ad.opts.verify && (ad.opts.index == "hop" || ad.opts.index == "check")
	if !hops || copied || o.size < 0 {
		return n + 1 // all of it
	}
	return n + 3 + o.size/usualBlock // its header, its blocks, and whether it has changed
}

// looks reports whether an index is looked for that came with o.
func (ad *adder) looks(o *outcome, copied bool) bool {
	switch {
	case ad.opts.verify, o.size < 0:
		return false
	case ad.opts.index == "auto":
		return o.item.index != "" || !copied && o.size > fewBytes
	}
	return ad.opts.index != "scan" && ad.opts.index != "hop"
}
