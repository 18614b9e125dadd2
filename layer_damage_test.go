package dagstore

import (
	"fmt"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/internal/vfs/vfstest"
	"github.com/dagstore/dagstore/shard"
)

// layerFiles lists the paths of all layers.
func (r *rig) layerFiles() (paths []string) {
	top := r.disk.PathJoin("store", "top")
	names, _ := r.disk.List(top)
	for _, name := range names {
		if strings.HasSuffix(name, ".layer") {
			paths = append(paths, r.disk.PathJoin(top, name))
		}
	}
	return paths
}

// flip changes a byte of a file, counted from its end if at is negative.
func (r *rig) flip(path string, at int) {
	r.t.Helper()
	data, err := vfs.ReadFile(r.disk, path, 1<<30)
	if err != nil {
		r.t.Fatal(err)
	}
	if at < 0 {
		at += len(data)
	}
	data[at] ^= 1
	if err := vfs.WriteFile(r.disk, path, data); err != nil {
		r.t.Fatal(err)
	}
}

// spoil makes a store of two shards whose only layer has a damaged page.
func (r *rig) spoil() (all []cartest.Block) {
	for i := range uint64(2) {
		key := shard.Key(fmt.Sprint(i))
		blocks, m := r.put(string(key), 10+i, 20)
		r.register(key, m, nil)
		all = append(all, blocks...)
	}
	if err := r.store.Close(); err != nil {
		r.t.Fatal(err)
	}
	layers := r.layerFiles()
	if len(layers) != 1 {
		r.t.Fatalf("layers: %v", layers)
	}
	r.flip(layers[0], 0)
	r.disk = r.disk.Crash(100, 1)
	return all
}

// found waits until every block is read as it is.
func (r *rig) found(blocks []cartest.Block) {
	r.t.Helper()
	r.until("all blocks are found", func() bool {
		for _, b := range blocks {
			if has, err := r.store.Blockstore(nil).Has(r.ctx(), b.CID); !has || err != nil {
				return false
			}
		}
		return true
	})
	r.has(blocks)
}

// A layer of which a page is damaged is made anew while the store runs, from
// the indices of the shards, as soon as somebody meets the damage.
func TestDamagedPageOfALayer(t *testing.T) {
	r := newRig(t)
	blocks := r.spoil()
	old := r.layerFiles()[0]
	r.open()
	// Whoever looks first meets the damage; it may be made anew before he has
	// done looking, so that he is told of nothing.
	_, _ = r.store.Blockstore(nil).Has(r.ctx(), blocks[0].CID)
	r.found(blocks)
	r.until("the damaged file is gone", func() bool { return !r.exists(old) })
	before := r.reads.Load()
	for range 2 {
		r.reopen()
		r.has(blocks)
	}
	if n := r.reads.Load(); n != before {
		t.Errorf("%d CARs were read again", n-before)
	}
}

// Each operation on the disk fails while a layer is made anew, and then the
// power goes: the blocks are found again in the end.
func TestDamagedPageAndEveryFault(t *testing.T) {
	for n, more := 0, true; more; n++ {
		sticky := n%2 == 1
		r := newRig(t)
		blocks := r.spoil()
		old := r.layerFiles()[0]
		r.open()
		r.gc()
		var count atomic.Int64
		r.faults.Arm(vfstest.Op.Changes, func(i int, _ vfstest.Op) error {
			count.Store(int64(i) + 1)
			if i == n || sticky && i > n {
				return syscall.EIO
			}
			return nil
		})
		bs := r.store.Blockstore(nil)
		// The blocks are found before the new layer is written; only when the
		// damaged file has gone is there nothing more that could fail.
		r.until("it failed, or was made anew", func() bool {
			anew := true
			for _, b := range blocks {
				has, err := bs.Has(r.ctx(), b.CID)
				anew = anew && has && err == nil
			}
			return anew && !r.exists(old) || count.Load() > int64(n)
		})
		more = r.faults.Disarm() > n
		r.crash([]int{0, 50, 100}[n%3], uint64(n))
		r.found(blocks)
		r.store.Close()
		if !more && n < 5 {
			t.Errorf("%d operations", n)
		}
	}
}
