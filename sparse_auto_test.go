package dagstore

import (
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// Nobody has said how a CAR elsewhere is to be served: what is read of it once costs
// what it costs in place, what is read twice is here from then on, over restarts.
func TestAutoKeepsWhatIsReadAgain(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	const n, size = 2000, 1000
	blocks := cartest.Random(1, n, size)
	r.register("a", r.putBytes("a.car", cartest.RandomV1(1, n, size)), nil)
	asked := func(a *Accessor, of []cartest.Block) (bytes, streams int64) {
		bytes, streams = far.bytes.Load(), far.streams.Load()
		r.holds(a, of)
		return far.bytes.Load() - bytes, far.streams.Load() - streams
	}
	apart := []cartest.Block{blocks[1500], blocks[300], blocks[1200], blocks[20]}
	a := r.acquire("a")
	if bytes, streams := asked(a, apart); bytes > 4*(size+60) || streams != 4 {
		t.Errorf("the first time %d bytes in %d requests", bytes, streams)
	}
	if in := r.info("a"); in.Local.Mode != shard.InPlace || in.Local.Bytes != 0 {
		t.Errorf("%+v", in.Local)
	}
	if _, files := r.copyBytes(); files > 0 {
		t.Errorf("%d files", files)
	}
	if bytes, streams := asked(a, apart); bytes < 4*60_000 || bytes > 8*(64<<10) || streams != 4 {
		t.Errorf("the second time %d bytes in %d requests", bytes, streams)
	}
	a.Close()
	r.reopen()
	r.censused()
	a = r.acquire("a")
	if bytes, streams := asked(a, apart); bytes > 0 || streams > 0 {
		t.Errorf("after a restart %d bytes in %d requests", bytes, streams)
	}
	if in := r.info("a"); in.Local.Mode != shard.Sparse || in.Local.Bytes < 4*60_000 || in.Local.Complete {
		t.Errorf("%+v", in.Local)
	}
	// All of it, in order: a traversal goes by without a trace, the next one stays.
	// What is read ahead may end before it has come.
	for range 2 {
		asked(a, blocks)
	}
	a.Close()
	r.await("a", shard.Available)
	r.reopen()
	a = r.acquire("a")
	if bytes, _ := asked(a, blocks); bytes > n*size/2 {
		t.Errorf("%d bytes of %d were asked for once more", bytes, n*size)
	}
	a.Close()
	if found := r.discrepancies(false); len(found) > 0 {
		t.Errorf("%v", found)
	}
}

// What is kept unasked makes nothing go that somebody has asked for; a read goes on
// without it, and a quota of nothing keeps nothing.
func TestAutoLeavesCopiesAlone(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	r.cfg.Copies.Quota = 1536 << 10
	r.reopen()
	r.censused()
	const n, size = 800, 1000
	r.register("copy", r.putBytes("copy.car", cartest.RandomV1(1, n, size)), &RegisterOptions{Serve: shard.Copy})
	copied := r.info("copy").Local.Bytes
	for i := range uint64(4) {
		key := shard.Key("auto " + string('a'+rune(i)))
		r.register(key, r.putBytes(string(key), cartest.RandomV1(10+i, n, size)), nil)
		a := r.acquire(key)
		blocks := cartest.Random(10+i, n, size)
		for range 3 {
			for j := n - 1; j >= 0; j -= 40 {
				r.holds(a, blocks[j:j+1])
			}
		}
		a.Close()
	}
	if in := r.info("copy"); in.Local.Bytes != copied || !in.Local.Complete {
		t.Errorf("the copy that was asked for has gone: %+v", in.Local)
	}
	if sum := r.copyBytesNow(); sum > r.cfg.Copies.Quota {
		t.Errorf("%d bytes are on disk", sum)
	}
	// Who asks for a copy gets it: what is there unasked goes.
	r.register("more", r.putBytes("more.car", cartest.RandomV1(2, 200, size)), &RegisterOptions{Serve: shard.Copy})
	if in := r.info("copy"); !in.Local.Complete {
		t.Errorf("%+v", in.Local)
	}
	if in := r.info("more"); !in.Local.Complete {
		t.Errorf("%+v", in.Local)
	}
	r.cfg.Copies = Copies{None: true}
	r.reopen()
	a := r.acquire("auto a")
	before := far.streams.Load()
	for range 3 {
		r.holds(a, cartest.Random(10, n, size)[5:6])
	}
	if got := far.streams.Load() - before; got < 3 {
		t.Errorf("%d requests for three reads in place", got)
	}
	a.Close()
}
