package dagstore

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/shard"
)

// A slowLook is a disk on which nobody learns what lies in the folder of the copies
// until the gate is open.
type slowLook struct {
	vfs.FS
	gate <-chan struct{}
}

func (d slowLook) Unwrap() vfs.FS { return d.FS }

func (d slowLook) List(dir string) ([]string, error) {
	if strings.HasSuffix(dir, "/copies") {
		<-d.gate
	}
	return d.FS.List(dir)
}

// slowly opens the store of a rig on such a disk. What it returns opens the gate.
func (r *rig) slowly() func() {
	r.t.Helper()
	if err := r.store.Close(); err != nil {
		r.t.Fatal(err)
	}
	gate := make(chan struct{})
	s, err := open(r.ctx(), slowLook{r.disk, gate}, "store", &r.cfg, r.bounds)
	if err != nil {
		r.t.Fatal(err)
	}
	r.store = s
	show := sync.OnceFunc(func() { close(gate) })
	r.t.Cleanup(show)
	return show
}

// A start that takes long to look at the copies it finds holds up nobody but who
// wants space for one, and these wait in nobody's way: no source is asked twice.
func TestSlowSurveyHoldsUpNoIndexing(t *testing.T) {
	const many = 60
	r := newRig(t)
	r.cfg.Work.Fetches = 1
	far := r.elsewhere()
	r.register("kept", r.putBytes("kept.car", cartest.RandomV1(1, 7, 1000)), &RegisterOptions{Serve: shard.Copy})
	r.register("indexed", r.putBytes("indexed.car", cartest.RandomV1(2, 7, 1000)), &RegisterOptions{Serve: shard.Copy})
	if err := r.store.Evict(r.ctx(), "indexed", nil); err != nil {
		t.Fatal(err)
	}
	show := r.slowly()
	far.stats.Store(0)
	out := make(chan ShardResult, many)
	for i := range many {
		m := r.putBytes(fmt.Sprint(i), cartest.RandomV1(uint64(10+i), 7, 1000))
		if err := r.store.RegisterShard(r.ctx(), shard.Key(fmt.Sprint(i)), m, out, &RegisterOptions{Serve: shard.Copy}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.store.AcquireShard(r.ctx(), "indexed", out, nil); err != nil {
		t.Fatal(err)
	}
	asked := far.stats.Load()
	r.register("in place", r.putBytes("in place.car", cartest.RandomV1(3, 7, 1000)), &RegisterOptions{Serve: shard.InPlace})
	a := r.acquire("kept") // and what is here is read
	r.holds(a, cartest.Random(1, 7, 1000))
	a.Close()
	if n := far.stats.Load() - asked; n > 2 {
		t.Errorf("sources were asked %d times", n)
	}
	if sum, files := r.copyBytes(); files != 1 {
		t.Errorf("%d files of %d bytes were written before it was known what lies there", files, sum)
	}
	show()
	for range many + 1 {
		res := soon(r, "the end of who wanted space", out)
		if res.Err != nil {
			t.Error(res.Err)
		}
		if res.Accessor != nil {
			res.Accessor.Close()
		}
	}
	r.settledCopies()
}

// What a crash brings back counts before anything is written beside it.
func TestNothingIsWrittenBeforeTheSurvey(t *testing.T) {
	r := newRig(t)
	r.cfg.Copies = Copies{Quota: 3 * 8192, High: 1, Low: 1}
	r.elsewhere()
	r.register("copy", r.putBytes("copy.car", cartest.RandomV1(1, 7, 1000)), &RegisterOptions{Serve: shard.Copy})
	r.register("sparse", r.putBytes("sparse.car", cartest.RandomV1(2, 7, 1000)), &RegisterOptions{Serve: shard.Sparse})
	r.settledCopies()
	// A file that was removed without a sync, and is back.
	stray := r.disk.PathJoin("store", "copies", "77", hex8(0x7777))
	if err := vfs.MkdirAll(r.disk, stray); err != nil {
		t.Fatal(err)
	}
	f, err := r.disk.Create(r.disk.PathJoin(stray, "data"), "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(make([]byte, 3*8192)); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	show := r.slowly()
	before, _ := r.copyBytes()
	a := r.acquire("sparse") // nobody is held up
	r.holds(a, cartest.Random(2, 7, 1000))
	a.Close()
	if after, _ := r.copyBytes(); after != before {
		t.Errorf("%d bytes of copies were %d", after, before)
	}
	show()
	r.until("what is back is gone", func() bool { _, err := r.disk.Stat(stray); return os.IsNotExist(err) })
	r.register("after", r.putBytes("after.car", cartest.RandomV1(3, 7, 1000)), &RegisterOptions{Serve: shard.Copy})
	r.kept("after", r.info("after").Bytes)
	if sum, _ := r.copyBytes(); sum > r.cfg.Copies.Quota {
		t.Errorf("%d bytes of copies", sum)
	}
}
