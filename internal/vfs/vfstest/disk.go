package vfstest

import (
	"math/rand/v2"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A Disk is a file system in memory that knows what was synced.
type Disk struct{ *vfs.MemFS }

// NewDisk returns an empty disk.
func NewDisk() *Disk { return &Disk{vfs.NewCrashableMem()} }

// Crash returns what a machine would find that lost its power now: a copy of
// the disk with all that was synced and, of the rest, each block and each name
// with a chance of percent. The seed makes that repeatable. The disk itself
// goes on.
func (d *Disk) Crash(percent int, seed uint64) *Disk {
	return &Disk{d.CrashClone(vfs.CrashCloneCfg{
		UnsyncedDataPercent: percent,
		RNG:                 rand.New(rand.NewPCG(seed, uint64(percent))),
	})}
}
