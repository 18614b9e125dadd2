package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/servertest"
)

// TestRemoteRows is TestRows for the rows that start servers.
func TestRemoteRows(t *testing.T) {
	servertest.Need(t, "nginx")
	servertest.Need(t, "versitygw")
	testRows(t, remoteRows())
}

// What the servers count is what was asked, and nothing of the counting.
func TestAsked(t *testing.T) {
	for _, kind := range kindsOfFar {
		t.Run(kind.name, func(t *testing.T) {
			servertest.Need(t, kind.name)
			e := newEnv(smallScale(), t.TempDir())
			c, err := e.car("a", 10, 100)
			if err != nil {
				t.Fatal(err)
			}
			err = onStage(func(s *stage) error {
				f := kind.start(s, e)
				if err := f.put(t.Context(), "a.car", c.path); err != nil {
					return err
				}
				var got bytes.Buffer
				if _, err := f.download(t.Context(), &got, "a.car", ""); err != nil {
					return err
				}
				want, err := os.ReadFile(c.path)
				if err != nil {
					return err
				}
				if !bytes.Equal(got.Bytes(), want) || int64(len(want)) != c.bytes {
					t.Errorf("%d bytes are offered, want %d", got.Len(), c.bytes)
				}
				if _, err := f.download(t.Context(), io.Discard, "b.car", ""); !errors.Is(err, errStatus) {
					t.Errorf("what is not there: %v", err)
				}
				before, err := f.asked(t.Context())
				if err != nil {
					return err
				}
				m, err := f.watch.Open(f.at + "a.car")
				if err != nil {
					return err
				}
				for range 3 {
					r, err := m.Open(t.Context())
					if err != nil {
						return err
					}
					if _, err := io.Copy(io.Discard, r); err != nil {
						return err
					}
					r.Close()
				}
				after, err := f.asked(t.Context())
				if n := after.since(before); n != (asked{3, 3 * c.bytes}) {
					t.Errorf("three openings are counted as %+v", n)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// What is fatal to the start of a server is the error of its row, after what
// was started has ended.
func TestStage(t *testing.T) {
	broken := errors.New("broken")
	for want, fatal := range map[string]func(s *stage){
		"broken":  func(s *stage) { s.Fatal(broken) },
		"a 1":     func(s *stage) { s.Fatalf("a %d", 1) },
		"no b":    func(s *stage) { s.Skipf("no %s", "b") },
		"broken2": func(s *stage) { s.Fatal("broken", 2) },
	} {
		var order []string
		err := onStage(func(s *stage) error {
			s.Cleanup(func() { order = append(order, "first") })
			s.Cleanup(func() {
				order = append(order, "last")
				if !s.Failed() {
					t.Error("it does not say that it has failed")
				}
			})
			fatal(s)
			return nil
		})
		if err == nil || err.Error() != want || len(order) != 2 || order[0] != "last" {
			t.Errorf("%v, ended %q", err, order)
		}
	}
	good := errors.New("a row's own")
	if err := onStage(func(*stage) error { return good }); !errors.Is(err, good) {
		t.Error(err)
	}
}

// The index that is written beside a CAR is the one that a store would make.
func TestBeside(t *testing.T) {
	servertest.Need(t, "nginx")
	e := newEnv(smallScale(), t.TempDir())
	c, err := e.car("a", 40, 200)
	if err != nil {
		t.Fatal(err)
	}
	path, err := writeBeside(t.Context(), c)
	if err != nil || path != filepath.Join(e.dir, "a.car.idx") {
		t.Fatal(path, err)
	}
	err = onStage(func(s *stage) error {
		f := startNginx(s, e)
		a, _, err := e.indexed(context.Background(), f, []*carFile{c}, func(int) string { return "copies/7/a.car" }, &dagstore.RegisterOptions{Index: dagstore.Sample})
		// 16 blocks are fetched alone: were the index wrong, all would be read at once.
		if a.requests != 19 {
			t.Errorf("%d requests", a.requests)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestGatewayRows is TestRows for the rows that are about HTTP.
func TestGatewayRows(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the processor time of another process is told by Linux alone")
	}
	servertest.Need(t, "nginx")
	var measured []row
	for _, r := range gatewayRows() {
		// What takes less than a hundredth of a second is told as nothing.
		if r.id == "gw-many" {
			measured = append(measured, r)
		}
	}
	testRows(t, measured)
	e := newEnv(smallScale(), t.TempDir())
	for _, r := range gatewayRows() {
		if _, err := r.run(t.Context(), e); err != nil {
			t.Errorf("%s: %v", r.id, err)
		}
	}
}
