package dagstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A method of a mount.
type method string

const (
	atStat   method = "Stat"
	atOpen   method = "Open"
	atRead   method = "Read"
	atReadAt method = "ReadAt"
	atClose  method = "Close"
)

// A sleepy is what makes mounts hang in one of their methods.
type sleepy struct {
	at    method
	heeds bool                  // the end of its context, or a Close
	only  func(url string) bool // nil: all
	on    atomic.Bool
	wakes chan struct{} // closed: nothing hangs any more
	asks  atomic.Int64  // how often something hung
	still atomic.Int64  // what hangs now
}

func (s *sleepy) sleep(ctx context.Context, at method, url string) error {
	if at != s.at || !s.on.Load() || s.only != nil && !s.only(url) {
		return nil
	}
	s.asks.Add(1)
	s.still.Add(1)
	defer s.still.Add(-1)
	var done <-chan struct{}
	if s.heeds {
		done = ctx.Done()
	}
	select {
	case <-s.wakes:
	case <-done:
		return ctx.Err()
	}
	return nil
}

// sleepyMount is no FileOpener unless it is made one.
type sleepyMount struct {
	mount.RangeOpener
	s *sleepy
}

func (m sleepyMount) Stat(ctx context.Context) (mount.Stat, error) {
	if err := m.s.sleep(ctx, atStat, m.URL()); err != nil {
		return mount.Stat{}, err
	}
	return m.RangeOpener.Stat(ctx)
}

func (m sleepyMount) Open(ctx context.Context) (io.ReadCloser, error) {
	return m.stream(ctx, m.RangeOpener.Open)
}

func (m sleepyMount) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	return m.stream(ctx, func(ctx context.Context) (io.ReadCloser, error) { return m.RangeOpener.OpenRange(ctx, r) })
}

func (m sleepyMount) stream(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) (io.ReadCloser, error) {
	if err := m.s.sleep(ctx, atOpen, m.URL()); err != nil {
		return nil, err
	}
	r, err := open(ctx)
	if err != nil {
		return nil, err
	}
	return sleepyStream{r, m, ctx}, nil
}

type sleepyStream struct {
	io.ReadCloser
	m   sleepyMount
	ctx context.Context //nolint:containedctx // of the call that opened it, as mounts have it
}

func (r sleepyStream) Read(p []byte) (int, error) {
	if err := r.m.s.sleep(r.ctx, atRead, r.m.URL()); err != nil {
		return 0, err
	}
	return r.ReadCloser.Read(p)
}

func (r sleepyStream) Close() error {
	return errors.Join(r.m.s.sleep(r.ctx, atClose, r.m.URL()), r.ReadCloser.Close())
}

// sleepyFiles is a sleepy mount on this machine.
type sleepyFiles struct {
	sleepyMount
	files mount.FileOpener
}

func (m sleepyFiles) OpenFile(ctx context.Context) (mount.File, error) {
	if err := m.s.sleep(ctx, atOpen, m.URL()); err != nil {
		return nil, err
	}
	f, err := m.files.OpenFile(ctx)
	return sleepyFile{f, m, ctx}, err
}

type sleepyFile struct {
	mount.File
	m   sleepyFiles
	ctx context.Context //nolint:containedctx // as in sleepyStream
}

func (f sleepyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.m.s.sleep(f.ctx, atReadAt, f.m.URL()); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

func (f sleepyFile) Close() error {
	return errors.Join(f.m.s.sleep(f.ctx, atClose, f.m.URL()), f.File.Close())
}

// sleeps gives the rig's mounts the habits of s, and starts the store again.
func (r *rig) sleeps(s *sleepy, onDisk bool) {
	s.wakes = make(chan struct{})
	r.mounts(func(m mount.Mount) mount.Mount {
		far := sleepyMount{m.(watched).FileOpener.(mount.RangeOpener), s}
		if onDisk {
			return sleepyFiles{far, m.(mount.FileOpener)}
		}
		return far
	})
	r.reopen()
}

// inBubble runs test with a clock of its own.
func inBubble(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		test(t, r)
		if err := r.store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A source that hangs, in whatever method, is given up after the stall time,
// whether it heeds its context or not. Its slot is free again; nothing of it is left.
func TestStallWhileIndexing(t *testing.T) {
	for _, at := range []method{atStat, atOpen, atRead, atReadAt, atClose} {
		for _, heeds := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, heeds %v", at, heeds), func(t *testing.T) {
				inBubble(t, func(t *testing.T, r *rig) {
					r.cfg.Work = Work{Fetches: 1, Indexings: 1}
					s := &sleepy{at: at, heeds: heeds}
					r.sleeps(s, at == atReadAt)
					_, m := r.put("a.car", 1, 20)
					blocks, o := r.put("b.car", 2, 20)
					r.register("a", m, &RegisterOptions{Lazy: true})
					s.on.Store(true)
					began := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					_, err := r.store.Acquire(ctx, "a", nil)
					if !errors.Is(err, shard.ErrStalled) {
						t.Fatalf("acquire: %v", err)
					}
					if d := time.Since(began); d < defaultStall || d > defaultStall+5*time.Second {
						t.Errorf("it took %v", d)
					}
					in := r.info("a")
					if in.State != shard.Errored || !errors.Is(in.Failure.Err, shard.ErrStalled) {
						t.Errorf("%v, %v", in.State, in.Failure)
					}
					if n := s.still.Load(); heeds && n != 0 || !heeds && n != 1 {
						t.Errorf("%d hang still", n)
					}
					s.on.Store(false)
					r.register("b", o, nil) // in the slot that was given back
					close(s.wakes)
					synctest.Wait()
					if n := s.still.Load(); n != 0 {
						t.Errorf("%d hang for ever", n)
					}
					if n := r.files(); n != 1 {
						t.Errorf("%d index files", n)
					}
					r.has(blocks)
				})
			})
		}
	}
}

// The same for opening a shard that is indexed: it stays so.
func TestStallWhileOpening(t *testing.T) {
	for _, at := range []method{atStat, atOpen} {
		for _, heeds := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, heeds %v", at, heeds), func(t *testing.T) {
				inBubble(t, func(t *testing.T, r *rig) {
					r.cfg.Work = Work{Opens: 1}
					s := &sleepy{at: at, heeds: heeds}
					r.sleeps(s, true)
					blocks, m := r.put("a.car", 1, 20)
					r.register("a", m, nil)
					s.on.Store(true)
					ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
					defer cancel()
					if _, err := r.store.Acquire(ctx, "a", nil); !errors.Is(err, shard.ErrStalled) {
						t.Fatalf("acquire: %v", err)
					}
					if in := r.info("a"); in.State != shard.Available {
						t.Errorf("it is %v", in.State)
					}
					other, n := r.put("b.car", 2, 20)
					s.on.Store(false)
					r.register("b", n, nil)
					r.has(other) // it is opened in the slot that was given back
					close(s.wakes)
					synctest.Wait()
					r.has(blocks)
				})
			})
		}
	}
}

// However often a shard is asked for, no more than one opening of it is left
// in a mount that heeds nothing; one at another place is not held up by it.
func TestOpeningsThatDoNotReturn(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		hung := func(url string) bool { return url == "mem:a.car" }
		s := &sleepy{at: atOpen, only: hung}
		r.sleeps(s, true)
		blocks, m := r.put("a.car", 1, 20)
		_, n := r.put("b.car", 1, 20)
		r.register("a", m, nil)
		s.on.Store(true)
		for i := range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			began := time.Now()
			if _, err := r.store.Acquire(ctx, "a", nil); !errors.Is(err, shard.ErrStalled) {
				t.Fatalf("acquire %d: %v", i, err)
			}
			if d := time.Since(began); i > 0 && d > 0 {
				t.Errorf("acquire %d took %v", i, d)
			}
			cancel()
		}
		if n := s.still.Load(); n != 1 {
			t.Errorf("%d hang", n)
		}
		if err := r.store.Remount(r.ctx(), "a", n, CompareNone); err != nil {
			t.Fatal(err)
		}
		r.has(blocks)
		if err := r.store.Remount(r.ctx(), "a", m, CompareNone); err != nil {
			t.Fatal(err)
		}
		close(s.wakes)
		synctest.Wait()
		r.has(blocks) // the mount has come to its senses
	})
}

// A mount that never returns holds up neither Destroy nor Close, and when it
// returns after that, nothing is left of what it was asked for.
func TestMountThatIgnoresEverything(t *testing.T) {
	for _, at := range []method{atStat, atOpen, atRead, atReadAt, atClose} {
		t.Run(string(at), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				s := &sleepy{at: at}
				r.sleeps(s, at == atReadAt)
				s.on.Store(true)
				for i := range 3 {
					_, m := r.put(fmt.Sprint(i, ".car"), uint64(i), 20)
					if err := r.store.RegisterShard(r.ctx(), shard.Key(fmt.Sprint(i)), m, nil, nil); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				began := time.Now()
				if err := r.store.Destroy(r.ctx(), "0", nil); err != nil {
					t.Error(err)
				}
				if err := r.store.Close(); err != nil {
					t.Error(err)
				}
				if d := time.Since(began); d > 5*time.Second {
					t.Errorf("it took %v", d)
				}
				if n := s.still.Load(); n == 0 {
					t.Fatal("nothing hangs")
				}
				disk := r.disk.Crash(100, 1)
				s.on.Store(false)
				close(s.wakes)
				synctest.Wait() // what hung has ended, after the store
				if n := s.still.Load(); n != 0 {
					t.Fatalf("%d hang still", n)
				}
				before, _ := disk.List(disk.PathJoin("store", "index"))
				after, _ := r.disk.List(r.disk.PathJoin("store", "index"))
				if fmt.Sprint(before) != fmt.Sprint(after) {
					t.Errorf("the folder changed after Close: %v, %v", before, after)
				}
				r.open()
				r.await("1", shard.Available)
				r.await("2", shard.Available)
				if err := r.store.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// One byte in less than the stall time is progress, however long all takes.
func TestSlowIsNoStall(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.mounts(func(m mount.Mount) mount.Mount { return drip{m.(watched).FileOpener.(mount.RangeOpener)} })
		r.reopen()
		blocks, m := r.put("a.car", 1, 3)
		began := time.Now()
		if err := r.store.Register(t.Context(), "a", m, nil); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d < 10*defaultStall {
			t.Errorf("it took only %v", d)
		}
		r.has(blocks)
	})
}

// drip streams ten bytes each 20 seconds.
type drip struct{ mount.RangeOpener }

func (m drip) Open(ctx context.Context) (io.ReadCloser, error) {
	r, err := m.RangeOpener.Open(ctx)
	return dripStream{r}, err
}

func (m drip) OpenRange(ctx context.Context, at mount.Range) (io.ReadCloser, error) {
	r, err := m.RangeOpener.OpenRange(ctx, at)
	if err != nil || !ofAll(at) {
		return r, err
	}
	return dripStream{r}, nil
}

type dripStream struct{ io.ReadCloser }

func (d dripStream) Read(p []byte) (int, error) {
	time.Sleep(20 * time.Second)
	return d.ReadCloser.Read(p[:min(10, len(p))])
}
