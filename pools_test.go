package dagstore

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A far is a scheme whose sources are not on this machine. It remembers in
// which order they are asked, and holds up those that it is told to.
type far struct {
	r *rig

	mu    sync.Mutex
	held  map[string]chan struct{} // by host and path
	waits map[string]bool          // must be made ready first
	order []string                 // of those asked how they are
	now   int
	most  int
}

// farOff gives the rig the scheme "far", whose sources are the CARs in memory.
func (r *rig) farOff() *far {
	f := &far{r: r, held: map[string]chan struct{}{}, waits: map[string]bool{}}
	r.cfg.Mounts["far"] = func(url string) (mount.Mount, error) {
		where := strings.TrimPrefix(url, "far://")
		_, name, _ := strings.Cut(where, "/")
		m, err := r.cars.Open("mem:" + name)
		if err != nil {
			return nil, err
		}
		return farMount{m.(mount.RangeOpener), f, where}, nil
	}
	return f
}

// put makes a CAR that lies at a place: its host and its path.
func (f *far) put(where string, seed uint64) mount.Mount {
	f.r.t.Helper()
	_, name, _ := strings.Cut(where, "/")
	f.r.put(name, seed, 5)
	m, err := f.r.cfg.Mounts.Open("far://" + where)
	if err != nil {
		f.r.t.Fatal(err)
	}
	return m
}

// hold has the source at a place not answer until release is called.
func (f *far) hold(where string) (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(chan struct{})
	f.held[where] = c
	return sync.OnceFunc(func() { close(c) })
}

// asked is who was asked so far.
func (f *far) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.order)
}

type farMount struct {
	mount.RangeOpener
	f     *far
	where string
}

func (m farMount) URL() string { return "far://" + m.where }

func (m farMount) Stat(ctx context.Context) (mount.Stat, error) {
	f := m.f
	f.mu.Lock()
	f.order = append(f.order, m.where)
	f.now++
	f.most = max(f.most, f.now)
	held, waits := f.held[m.where], f.waits[m.where]
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.now--
		f.mu.Unlock()
	}()
	if held != nil && !waits {
		select {
		case <-held:
		case <-ctx.Done():
			return mount.Stat{}, ctx.Err()
		}
	}
	st, err := m.RangeOpener.Stat(ctx)
	st.Waits = waits
	return st, err
}

// lazily registers a shard for each of the sources, under the name of its place.
func (f *far) lazily(places ...string) {
	f.r.t.Helper()
	for i, where := range places {
		f.r.register(shard.Key(where), f.put(where, uint64(100+i)), &RegisterOptions{Lazy: true})
	}
}

// want asks for shards, and returns when that is known.
func (f *far) want(out chan ShardResult, o *AcquireOptions, places ...string) {
	f.r.t.Helper()
	for _, where := range places {
		key := shard.Key(where)
		before := f.r.info(key).Waiting
		if err := f.r.store.AcquireShard(f.r.ctx(), key, out, o); err != nil {
			f.r.t.Fatal(err)
		}
		f.r.until("the call is known", func() bool { return f.r.info(key).Waiting == before+1 })
	}
}

// drained takes n results, which must be good, and lets go of them.
func (r *rig) drained(out <-chan ShardResult, n int) {
	r.t.Helper()
	for range n {
		res := soon(r, "a result", out)
		if res.Err != nil {
			r.t.Fatal(res.Err)
		}
		res.Accessor.Close()
	}
}

// distinct leaves out what repeats what is before it: opening asks again.
func distinct(order []string) (first []string) {
	for _, where := range order {
		if !slices.Contains(first, where) {
			first = append(first, where)
		}
	}
	return first
}

func TestFetchesAreBounded(t *testing.T) {
	r := newRig(t)
	f := r.farOff()
	r.cfg.Work.Fetches = 3
	r.reopen()
	out := make(chan ShardResult, 20)
	var gates []func()
	for i := range 20 {
		where := fmt.Sprintf("host%d/%d.car", i%4, i)
		gates = append(gates, f.hold(where))
		if err := r.store.RegisterShard(r.ctx(), shard.Key(where), f.put(where, uint64(i)), out, nil); err != nil {
			t.Fatal(err)
		}
	}
	r.until("three fetch at once", func() bool { return len(f.asked()) == 3 })
	for _, g := range gates {
		g()
	}
	for range 20 {
		if res := soon(r, "a result", out); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.most > 3 {
		t.Errorf("%d fetched at once, over 3", f.most)
	}
}

// What lies on this machine, what comes from elsewhere and what must be made
// ready first do not wait for each other. Which of these a source is, the
// source itself says.
func TestPoolsAreApart(t *testing.T) {
	r := newRig(t)
	f := r.farOff()
	r.cfg.Work = Work{Fetches: 1, Waits: 1, Indexings: 1}
	h := newHang(func(url string) bool { return url == "mem:hangs.car" })
	r.mounts(h.wrap)
	r.reopen()
	register := func(key shard.Key, m mount.Mount) {
		if err := r.store.RegisterShard(r.ctx(), key, m, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	slow := func(name string) (mount.Mount, chan struct{}) {
		gate := make(chan struct{})
		where := "tape/" + name
		f.mu.Lock()
		f.waits[where], f.held[where] = true, gate
		f.mu.Unlock()
		return f.put(where, 7), gate
	}
	tape, gate := slow("tape.car")
	register("tape", tape)
	next, nextGate := slow("next.car")
	close(nextGate)
	register("next", next)
	f.r.until("both have moved, and one is asked again", func() bool { return len(f.asked()) == 3 })
	r.register("remote", f.put("host/a.car", 1), nil) // and the slow one is no hindrance

	defer f.hold("host/b.car")()
	register("hangs far", f.put("host/b.car", 2))
	_, m := r.put("near.car", 3, 5)
	r.register("near", m, nil) // nor the one that hangs elsewhere

	_, m = r.put("hangs.car", 4, 5)
	register("hangs here", m)
	soon(r, "the local one hangs", h.entered)
	close(gate)
	r.await("tape", shard.Available)
	r.await("next", shard.Available)
	if s := r.info("hangs here").State; s != shard.Initializing {
		t.Errorf("who hangs is %v", s)
	}
}

// Open waits at the place that holds a slow source up: its Stat says so at once.
func (m farMount) Open(ctx context.Context) (io.ReadCloser, error) {
	m.f.mu.Lock()
	held := m.f.held[m.where]
	m.f.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return m.RangeOpener.Open(ctx)
}

func (m farMount) OpenRange(ctx context.Context, at mount.Range) (io.ReadCloser, error) {
	if ofAll(at) {
		return m.Open(ctx)
	}
	return m.RangeOpener.OpenRange(ctx, at)
}

func TestBackgroundComesLast(t *testing.T) {
	r := newRig(t)
	f := r.farOff()
	r.cfg.Work.Fetches = 1
	r.reopen()
	release := f.hold("h/plug.car")
	f.lazily("h/plug.car", "h/b1.car", "h/b2.car", "h/b3.car", "h/f1.car", "h/f2.car")
	out := make(chan ShardResult, 10)
	f.want(out, nil, "h/plug.car")
	f.want(out, &AcquireOptions{Background: true}, "h/b1.car", "h/b2.car", "h/b3.car")
	f.want(out, nil, "h/f1.car", "h/b3.car", "h/f2.car") // one in the middle takes b3 with it
	release()
	r.drained(out, 7)
	want := []string{"h/plug.car", "h/f1.car", "h/b3.car", "h/f2.car", "h/b1.car", "h/b2.car"}
	if got := distinct(f.asked()); !slices.Equal(got, want) {
		t.Errorf("asked %v, want %v", got, want)
	}
}

// The same for openings of what is indexed already.
func TestBackgroundOpensLast(t *testing.T) {
	r := newRig(t)
	f := r.farOff()
	r.cfg.Work.Opens = 1
	r.reopen()
	f.lazily("h/plug.car", "h/b1.car", "h/b2.car", "h/f1.car")
	out := make(chan ShardResult, 10)
	for _, where := range []shard.Key{"h/plug.car", "h/b1.car", "h/b2.car", "h/f1.car"} {
		r.acquire(where).Close()
	}
	r.reopen()
	f.mu.Lock()
	f.order = nil
	f.mu.Unlock()
	release := f.hold("h/plug.car")
	f.want(out, nil, "h/plug.car")
	f.want(out, &AcquireOptions{Background: true}, "h/b1.car", "h/b2.car")
	f.want(out, nil, "h/f1.car", "h/b2.car")
	release()
	r.drained(out, 5)
	want := []string{"h/plug.car", "h/f1.car", "h/b2.car", "h/b1.car"}
	if got := distinct(f.asked()); !slices.Equal(got, want) {
		t.Errorf("asked %v, want %v", got, want)
	}
}

// What is registered in the background is indexed after what is not, and an
// acquire takes it along.
func TestBackgroundRegister(t *testing.T) {
	r := newRig(t)
	f := r.farOff()
	r.cfg.Work.Fetches = 1
	r.reopen()
	release := f.hold("h/plug.car")
	f.lazily("h/plug.car")
	out := make(chan ShardResult, 10)
	f.want(out, nil, "h/plug.car")
	for i, where := range []string{"h/b1.car", "h/b2.car", "h/f1.car"} {
		o := &RegisterOptions{Background: where != "h/f1.car"}
		if err := r.store.RegisterShard(r.ctx(), shard.Key(where), f.put(where, uint64(i)), out, o); err != nil {
			t.Fatal(err)
		}
		r.await(shard.Key(where), shard.Initializing)
	}
	f.want(out, nil, "h/b2.car")
	release()
	for range 5 {
		res := soon(r, "a result", out)
		if res.Err != nil {
			t.Fatal(res.Err)
		}
		if res.Accessor != nil {
			res.Accessor.Close()
		}
	}
	want := []string{"h/plug.car", "h/f1.car", "h/b2.car", "h/b1.car"}
	if got := distinct(f.asked()); !slices.Equal(got, want) {
		t.Errorf("asked %v, want %v", got, want)
	}
}

// A recovery in the background goes after an acquire that is not.
func TestBackgroundRecover(t *testing.T) {
	r := newRig(t)
	f := r.farOff()
	r.cfg.Work.Fetches = 1
	r.reopen()
	m := f.put("h/bad.car", 1)
	r.putBytes("bad.car", []byte("no CAR"))
	if err := r.store.Register(r.ctx(), "bad", m, nil); err == nil {
		t.Fatal("a bad CAR is taken")
	}
	r.put("bad.car", 1, 5)
	release := f.hold("h/plug.car")
	f.lazily("h/plug.car", "h/f1.car")
	out := make(chan ShardResult, 10)
	f.want(out, nil, "h/plug.car")
	if err := r.store.RecoverShard(r.ctx(), "bad", out, &RecoverOptions{Background: true}); err != nil {
		t.Fatal(err)
	}
	r.await("bad", shard.Recovering)
	f.want(out, nil, "h/f1.car")
	release()
	var order []shard.Key
	for range 3 {
		res := soon(r, "a result", out)
		if res.Err != nil {
			t.Fatal(res.Err)
		}
		if res.Accessor != nil {
			res.Accessor.Close()
		}
		order = append(order, res.Key)
	}
	if got := distinct(f.asked()); !slices.Equal(got, []string{"h/bad.car", "h/plug.car", "h/f1.car"}) || len(order) != 3 {
		t.Errorf("asked %v, answered %v", got, order)
	}
	if all := f.asked(); slices.Index(all[1:], "h/bad.car") < slices.Index(all[1:], "h/f1.car") {
		t.Errorf("the recovery goes before: %v", all)
	}
}

// Many wishes of one host hold up those of another by one each.
func TestHostsTakeTurns(t *testing.T) {
	r := newRig(t)
	f := r.farOff()
	r.cfg.Work.Fetches = 1
	r.reopen()
	release := f.hold("a/plug.car")
	f.lazily("a/plug.car", "a/1.car", "a/2.car", "a/3.car", "b/4.car", "c/5.car")
	out := make(chan ShardResult, 10)
	f.want(out, nil, "a/plug.car", "a/1.car", "a/2.car", "a/3.car", "b/4.car", "c/5.car")
	release()
	r.drained(out, 6)
	want := []string{"a/plug.car", "a/1.car", "b/4.car", "c/5.car", "a/2.car", "a/3.car"}
	if got := distinct(f.asked()); !slices.Equal(got, want) {
		t.Errorf("asked %v, want %v", got, want)
	}
}
