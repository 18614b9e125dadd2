package segment

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The layout; docs/format/store.md draws it:
//
//	index/5e/2b3c4d5e.idx   the index 0x2b3c4d5e, in the folder of its last byte
//	index/tmp/2b3c4d5e.idx  the same while it is written
//	top/0000002a.layer      the layer 0x2a
//	top/tmp/0000002a.layer  the same while it is written
//	manifests/5e/2b3c4d5e.set, manifests/tmp/2b3c4d5e.set  as indices
//
// Numbers are given out one after the other, so their last byte spreads them
// evenly; a million indices are 4,000 to a folder. Unfinished files have a
// folder of their own, so that a start need not look through all the others.
const (
	indexDir  = "index"
	layerDir  = "top"
	asideName = "tmp"
	indexExt  = ".idx"
	layerExt  = ".layer"
	setDir    = "manifests"
	setExt    = ".set"
	digits    = 8
)

// kinds are all there are.
var kinds = [...]Kind{Index, Layer, Manifest}

func check(kind Kind) error {
	if !slices.Contains(kinds[:], kind) {
		return fmt.Errorf("segment: no such kind: %v", kind)
	}
	return nil
}

func kindDir(kind Kind) string {
	switch kind {
	case Layer:
		return layerDir
	case Manifest:
		return setDir
	case Index:
	}
	return indexDir
}

func kindExt(kind Kind) string {
	switch kind {
	case Layer:
		return layerExt
	case Manifest:
		return setExt
	case Index:
	}
	return indexExt
}

// base is the last element of a segment's path, finished or not.
func base(name Name) string {
	return fmt.Sprintf("%08x%s", name.N, kindExt(name.Kind))
}

// parse is the inverse of base. It takes no other spelling, so that nothing
// foreign is ever taken for ours.
func parse(kind Kind, base string) (uint32, bool) {
	hex, ok := strings.CutSuffix(base, kindExt(kind))
	if !ok || len(hex) != digits || strings.ToLower(hex) != hex {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 32)
	return uint32(n), err == nil
}

// part is the sub-folder of index n.
func part(n uint32) string { return fmt.Sprintf("%02x", n&0xff) }

// isPart reports whether part ever gives name.
func isPart(name string) bool {
	n, err := strconv.ParseUint(name, 16, 8)
	return err == nil && part(uint32(n)) == name
}

func (f *Folder) path(name Name) string {
	if name.Kind == Layer {
		return f.fsys.PathJoin(f.dir, layerDir, base(name))
	}
	return f.fsys.PathJoin(f.dir, kindDir(name.Kind), part(name.N), base(name))
}

func (f *Folder) asideDir(kind Kind) string {
	return f.fsys.PathJoin(f.dir, kindDir(kind), asideName)
}

// dirs are the folders in which the segments of a kind may lie.
func (f *Folder) dirs(kind Kind) []string {
	if kind == Layer {
		return []string{f.fsys.PathJoin(f.dir, layerDir)}
	}
	dirs := make([]string, 256)
	for i := range dirs {
		dirs[i] = f.fsys.PathJoin(f.dir, kindDir(kind), part(uint32(i)))
	}
	return dirs
}
