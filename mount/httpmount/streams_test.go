package httpmount_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/servertest"
	"github.com/dagstore/dagstore/shard"
)

// From a server that holds back each connection a CAR is copied by several ranges at
// once, each on a connection of its own; the copy is the CAR, and no byte of it was
// sent for nothing but what was on its way when the ranges began.
func TestCopyBySeveralStreams(t *testing.T) {
	const blocks, size, rate = 40, 1 << 20, 2 << 20 // bytes a second
	dir := t.TempDir()
	data := cartest.RandomV1(1, blocks, size)
	if err := os.WriteFile(filepath.Join(dir, "a.car"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	server := servertest.StartNginx(t, dir, "limit_rate 2m;")
	web := client(t, nil)
	var dials atomic.Int64 // one after the other, ranges would share a connection
	web.DialBy(func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return new(net.Dialer).DialContext(ctx, network, address)
	})
	ctx := t.Context()
	store, err := dagstore.Open(ctx, filepath.Join(dir, "store"), &dagstore.Config{Mounts: registry(web), Copies: dagstore.Copies{Quota: 1 << 30}})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	began := time.Now()
	if err := store.Register(ctx, "a", open(t, web, server.URL+"/a.car"), &dagstore.RegisterOptions{Serve: shard.Copy, Verify: true}); err != nil {
		t.Fatal(err)
	}
	took, one := time.Since(began), time.Duration(len(data))*time.Second/rate
	sent, ranges := int64(0), 0
	for _, r := range server.Requests(t, 5) {
		if r.Method == http.MethodGet {
			sent += r.Bytes
		}
		if r.Status == http.StatusPartialContent {
			ranges++
		}
	}
	t.Logf("%v; one connection takes %v; %d ranges on %d connections, %.2f of its bytes", took, one, ranges, dials.Load(), float64(sent)/float64(len(data)))
	if ranges < 5 || dials.Load() < 3 {
		t.Errorf("%d ranges on %d connections", ranges, dials.Load())
	}
	held, err := store.Acquire(ctx, "a", &dagstore.AcquireOptions{LocalOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for _, n := range []int{0, 7, blocks / 2, blocks - 1} {
		want := cartest.RandomBlock(1, n, size)
		got, err := held.Blockstore().Get(ctx, want.CID)
		if err != nil || !slices.Equal(got.RawData(), want.Data) {
			t.Errorf("block %d: %v", n, err)
		}
	}
}
