package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/dagstore/dagstore/internal/catalog"
	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// A hanging mount lies on this machine and answers nothing before its caller
// has left.
type hanging struct {
	url    string
	inside chan struct{}
	leave  chan struct{} // then it returns
}

func (m hanging) URL() string { return m.url }

func (m hanging) Stat(ctx context.Context) (mount.Stat, error) {
	m.inside <- struct{}{}
	<-ctx.Done()
	<-m.leave
	return mount.Stat{}, ctx.Err()
}

func (m hanging) Open(context.Context) (io.ReadCloser, error) { return nil, errors.ErrUnsupported }

func (m hanging) OpenFile(context.Context) (mount.File, error) { return nil, errors.ErrUnsupported }

type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// A shard whose own indexing makes work beside it end, and has to wait on disk
// for its turn, does not take the end of that work for its own.
func TestBesideIsCutWhileIndexingWaits(t *testing.T) {
	r := newWatchRig(t, false)
	r.add("a", 1, 10)
	log := &logged{}
	m := hanging{inside: make(chan struct{}, 10), leave: make(chan struct{})}
	r.cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	r.cfg.Indexings, r.cfg.Window = 1, 1
	r.cfg.Mounts["hang"] = func(url string) (mount.Mount, error) {
		m := m
		m.url = url
		return m, nil
	}
	r.reopen()
	leave := sync.OnceFunc(func() { close(m.leave) })
	defer leave()
	hold, err := r.e.Acquire(t.Context(), "a", AcquireOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h := hold.Handle()
	hold.Close()
	if err := r.e.Submit(NewRemount(t.Context(), "a", "hang:a", CompareSample, nil)); err != nil {
		t.Fatal(err)
	}
	<-m.inside
	if err := r.e.Submit(NewRegister(t.Context(), &catalog.Record{Key: "b", URL: "hang:b"}, false, nil)); err != nil {
		t.Fatal(err)
	}
	r.until("the pool is full", func() bool { return r.e.Stats().Pools[PoolDisk] == Depth{Waiting: 1, Running: 1} })
	r.e.Lost(h, shard.ErrIndex)
	r.until("it is lost", func() bool {
		s, err := r.e.Info(t.Context(), "a")
		return err == nil && s.State == shard.Recovering
	})
	done := make(chan error, 1)
	go func() { done <- r.destroy("a", lifecycle.DestroyWait) }()
	leave()
	r.until("it is destroyed", func() bool { return len(done) > 0 })
	if err := <-done; err != nil {
		t.Error(err)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if strings.Contains(log.text.String(), "impossible") {
		t.Errorf("%s", &log.text)
	}
}
