package dagstore

import (
	"bytes"
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// TestAWholeCARFromElsewhereIsOneRequest. What fails in the middle fails the
// copying, which can go on from there; Seek chooses where it begins.
func TestAWholeCARFromElsewhereIsOneRequest(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	data := cartest.RandomV1(1, 60, 100_000)
	r.register("a", r.putBytes("a.car", data), &RegisterOptions{Serve: shard.InPlace})
	a := r.acquire("a")
	var opened, fails atomic.Int64
	far.set(func() {
		far.opening = func(int64) error { opened.Add(1); return nil }
		far.fault = func(at int64) (int, error) {
			if at >= 3_000_000 && fails.Load() == 1 {
				return 0, errors.New("the line is cut")
			}
			return -1, nil
		}
	})
	copied := func(in *Reader, want []byte) error {
		t.Helper()
		opened.Store(0)
		var out bytes.Buffer
		n, err := in.WriteTo(&out)
		if n != int64(out.Len()) || !bytes.HasPrefix(want, out.Bytes()) || err == nil && out.Len() != len(want) {
			t.Errorf("%d bytes of %d, told of %d, %v", out.Len(), len(want), n, err)
		}
		if opened.Load() > 1 {
			t.Errorf("%d requests", opened.Load())
		}
		return err
	}
	in := a.CAR(r.ctx())
	if err := copied(in, data); err != nil {
		t.Error(err)
	}
	if err := copied(in, nil); err != nil || opened.Load() != 0 {
		t.Errorf("at the end: %v, %d requests", err, opened.Load())
	}
	if _, err := in.Seek(-10, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if err := copied(in, data[len(data)-10:]); err != nil {
		t.Error(err)
	}

	in = a.CAR(r.ctx())
	fails.Store(1)
	var se *shard.Error
	if err := copied(in, data); !errors.Is(err, shard.ErrSource) || !errors.As(err, &se) || se.Key != "a" {
		t.Errorf("a cut line: %v", err)
	}
	at, _ := in.Seek(0, io.SeekCurrent)
	fails.Store(0)
	if err := copied(in, data[at:]); err != nil || at == 0 {
		t.Errorf("from %d on: %v", at, err)
	}

	if _, err := a.CAR(r.ctx()).WriteTo(&closes{a}); !errors.Is(err, ErrClosed) {
		t.Errorf("while it is closed: %v", err)
	}
}

// closes is a writer that closes what it comes from.
type closes struct{ a *Accessor }

func (c *closes) Write(p []byte) (int, error) { return len(p), c.a.Close() }

// TestTheStoreClosesWhileItReadsAhead: what is under way then ends, and nothing
// is left behind.
func TestTheStoreClosesWhileItReadsAhead(t *testing.T) {
	r := newRig(t)
	far := r.elsewhere()
	blocks := cartest.Random(1, 120, 50_000)
	r.register("a", r.putBytes("a.car", cartest.V1(nil, blocks)), &RegisterOptions{Serve: shard.InPlace})
	stuck, loose := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	far.set(func() {
		far.fault = func(at int64) (int, error) {
			if at > 4_000_000 && !once.Swap(true) {
				close(stuck)
				<-loose
			}
			return -1, nil
		}
	})
	bs := r.acquire("a").Blockstore()
	read := make(chan error, 1)
	go func() {
		for _, b := range blocks {
			got, err := bs.Get(r.ctx(), b.CID)
			if err == nil && !bytes.Equal(got.RawData(), b.Data) {
				err = errors.New("other bytes")
			}
			if err != nil {
				read <- err
				return
			}
		}
		read <- nil
	}()
	soon(r, "a request that gets stuck", stuck)
	closed := make(chan error, 1)
	go func() { closed <- r.store.Close() }()
	r.until("the store closes", r.store.closed.Load)
	close(loose)
	if err := soon(r, "the end of Close", closed); err != nil {
		t.Error(err)
	}
	if err := soon(r, "the end of reading", read); !errors.Is(err, ErrClosed) {
		t.Errorf("a reader was told %v", err)
	}
}
