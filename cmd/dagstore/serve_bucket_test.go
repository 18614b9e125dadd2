package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/internal/servertest"
)

// TestServeBucket: "serve" of all CARs in a bucket listens before they have
// been listed, and serves a file as soon as its CAR is indexed. How soon that
// is, is a figure: 2 s and 10 s are the limits, with 3,000 CARs.
func TestServeBucket(t *testing.T) {
	server := servertest.VersityGW(t)
	server.Put(t, "/cars", nil)
	cars := longtest.Runs(300, 3000)
	block := func(i int) cartest.Block { return cartest.Raw(fmt.Appendf(nil, "block of CAR %d", i)) }
	var putting sync.WaitGroup
	for worker := range 8 {
		putting.Go(func() {
			for i := worker; i < cars; i += 8 {
				if _, err := server.Do(http.MethodPut, fmt.Sprintf("/cars/%04d.car", i), "", cartest.V1(nil, []cartest.Block{block(i)})); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	putting.Wait()
	if t.Failed() {
		return
	}
	config := bucketConfig(t, server, server.Endpoint)

	began := time.Now()
	s := start(t, nil, "--config", config, "--repo", filepath.Join(t.TempDir(), "store"), "serve", "--listen", "127.0.0.1:0", "s3://cars/")
	address := s.stderr.match(t, `serving (http://\S+/)\n`)
	listens := time.Since(began)
	await := func(i int) time.Duration {
		url := address + "ipfs/" + block(i).CID.String() + "?format=raw"
		for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
			status, body := fetch(t, url)
			switch {
			case status == http.StatusOK && body == string(block(i).Data):
				return time.Since(began)
			case status != http.StatusNotFound, time.Now().After(deadline):
				t.Fatalf("the block of CAR %d: %d, %s", i, status, body)
			}
		}
	}
	first := await(0)
	last := await(cars - 1)
	longtest.Figure(t, "serve s3://cars/ of %d CARs: listens after %v, serves the first file after %v and the last after %v",
		cars, listens.Round(time.Millisecond), first.Round(time.Millisecond), last.Round(time.Millisecond))
	s.stop()
	if code := s.ends(t); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, s.stderr.String())
	}
}

// "serve" answers while the bucket that it is to add does not, and ends all
// the same when it is stopped.
func TestServeSilentBucket(t *testing.T) {
	asked := make(chan struct{})
	var once sync.Once
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(asked) })
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	config := bucketConfig(t, &servertest.S3{AccessKey: "owner", SecretKey: "marker-secret", Region: "here"}, silent.URL)
	s := start(t, nil, "--config", config, "--repo", filepath.Join(t.TempDir(), "store"), "serve", "--listen", "127.0.0.1:0", "s3://cars/")
	address := s.stderr.match(t, `serving (http://\S+/)\n`)
	<-asked
	if status, _ := fetch(t, address+"ipfs/"+cartest.Raw([]byte("x")).CID.String()+"?format=raw"); status != http.StatusNotFound {
		t.Errorf("a block that is not there: %d", status)
	}
	s.stop()
	if code := s.ends(t); code != exitOK {
		t.Errorf("exit code %d:\n%s", code, s.stderr.String())
	}
}
