package rclone_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/rclone/rclone/backend/local"
	_ "github.com/rclone/rclone/backend/memory"
	"github.com/rclone/rclone/fs"
	"github.com/rclone/rclone/fs/object"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/mounttest"
	"github.com/dagstore/dagstore/mount/rclone"
)

// sample is n bytes that differ from one another.
func sample(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * i >> 3)
	}
	return b
}

func newClient(t *testing.T, c rclone.Config) (*rclone.Client, mount.Registry) {
	t.Helper()
	client := rclone.New(c)
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return client, mount.Registry{"rclone": client.Open}
}

func mounted(t *testing.T, reg mount.Registry, url string) mount.Mount {
	t.Helper()
	m, err := reg.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// put writes to a place by rclone itself.
func put(t *testing.T, place, path string, data []byte) {
	t.Helper()
	f, err := fs.NewFs(t.Context(), place)
	if err != nil {
		t.Fatal(err)
	}
	info := object.NewStaticObjectInfo(path, time.Now(), int64(len(data)), true, nil, nil)
	if _, err := f.Put(t.Context(), bytes.NewReader(data), info); err != nil {
		t.Fatal(err)
	}
}

func TestLaws(t *testing.T) {
	dir := t.TempDir()
	remotes := map[string]string{"disk-1.x_": dir, "memory": ":memory:bucket/cars"}
	_, reg := newClient(t, rclone.Config{Remotes: remotes})
	for name, place := range remotes {
		for path, data := range map[string][]byte{
			"x.car": sample(3000), "d/a #?%é;~.car": sample(700_000)[:3001], "empty": nil,
		} {
			put(t, place, path, data)
			m := mounted(t, reg, "rclone://"+name+"/"+mount.EscapePath(path))
			if err := mounttest.Test(t.Context(), reg, m, data); err != nil {
				t.Errorf("%s of %s: %v", path, name, err)
			}
			st, err := m.Stat(t.Context())
			if err != nil || st.Size != int64(len(data)) || !st.Ranges || st.Version == "" {
				t.Errorf("%s of %s: %+v, %v", path, name, st, err)
			}
		}
	}
}

func TestURL(t *testing.T) {
	_, reg := newClient(t, rclone.Config{Remotes: map[string]string{"a": "/nowhere", "b:c": "/nowhere"}})
	for url, want := range map[string]error{
		"rclone://a/x%2ecar": nil, "rclone://a/d/%78": nil,
		"rclone://c/x":   mount.ErrDenied,
		"rclone://b:c/x": mount.ErrURL, "rclone://:local:/etc/passwd": mount.ErrURL, "rclone://a,opt=secret:/x": mount.ErrURL, "rclone://secret@a/x": mount.ErrURL,
		"rclone://%61/x": mount.ErrURL, "rclone://A/x": mount.ErrURL, "rclone://a": mount.ErrURL, "rclone://a/": mount.ErrURL, "rclone:///x": mount.ErrURL, "rclone:a/x": mount.ErrURL,
		"rclone://a/../x": mount.ErrURL, "rclone://a//x": mount.ErrURL, "rclone://a/x?token=secret": mount.ErrURL, "rclone://a/x%00": mount.ErrURL, "rclone://a/%2Fsecret": mount.ErrURL,
	} {
		m, err := reg.Open(url)
		switch {
		case !errors.Is(err, want), err != nil && strings.Contains(err.Error(), "secret"):
			t.Errorf("%s: %v, %v", url, m, err)
		case err == nil:
			if again, err := reg.Open(m.URL()); err != nil || again.URL() != m.URL() {
				t.Errorf("%s is spelt %s, which opens as %v, %v", url, m.URL(), again, err)
			}
		}
	}
}

func TestNotThere(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	own := errors.New("no such remote")
	client, reg := newClient(t, rclone.Config{
		Remotes: map[string]string{"a": dir, "bad": "bad"},
		Open: func(ctx context.Context, place string) (fs.Fs, error) {
			if place == "bad" {
				return nil, own
			}
			return fs.NewFs(ctx, place)
		},
	})
	for url, want := range map[string]error{
		"rclone://a/absent": iofs.ErrNotExist, "rclone://a/absent/x": iofs.ErrNotExist, "rclone://a/folder": rclone.ErrNotRegular, "rclone://bad/x": own,
	} {
		m := mounted(t, reg, url)
		_, stat := m.Stat(t.Context())
		_, open := m.Open(t.Context())
		_, part := mount.OpenRange(t.Context(), m, mount.Range{Length: 1})
		for way, err := range map[string]error{"Stat": stat, "Open": open, "OpenRange": part} {
			if !errors.Is(err, want) {
				t.Errorf("%s of %s: %v, not %v", way, url, err, want)
			}
		}
	}
	m := mounted(t, reg, "rclone://a/x")
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if _, err := m.Stat(t.Context()); err == nil || errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("a closed client: %v", err)
	}
}

func TestChanged(t *testing.T) {
	const place = ":memory:changing"
	_, reg := newClient(t, rclone.Config{Remotes: map[string]string{"m": place}})
	put(t, place, "x", []byte("before"))
	m := mounted(t, reg, "rclone://m/x")
	st, err := m.Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	put(t, place, "x", []byte("BEFORE"))
	if _, err := mount.OpenRange(t.Context(), m, mount.Range{Length: 1, Version: st.Version}); !errors.Is(err, mount.ErrChanged) {
		t.Errorf("%v", err)
	}
}

// hanging is a place whose objects hang, wherever they are told to, without a
// look at any context; or panic.
type hanging struct {
	fs.Fs
	at      string
	release chan struct{}
}

func (h *hanging) strike(at string) {
	switch h.at {
	case at:
		<-h.release
	case at + " panics":
		panic(at)
	}
}

func (h *hanging) NewObject(ctx context.Context, path string) (fs.Object, error) {
	h.strike("NewObject")
	o, err := h.Fs.NewObject(context.WithoutCancel(ctx), path)
	return hangingObject{o, h}, err
}

type hangingObject struct {
	fs.Object
	h *hanging
}

func (o hangingObject) Open(ctx context.Context, options ...fs.OpenOption) (io.ReadCloser, error) {
	o.h.strike("Open")
	r, err := o.Object.Open(context.WithoutCancel(ctx), options...)
	return hangingBody{r, o.h}, err
}

type hangingBody struct {
	io.ReadCloser
	h *hanging
}

func (b hangingBody) Read(p []byte) (int, error) {
	b.h.strike("Read")
	return b.ReadCloser.Read(p)
}

// Whatever a service does, nobody waits beyond the end of their context, and a
// panic is an error.
func TestHangsAndPanics(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "x", sample(1000))
	for _, at := range []string{"NewFs", "NewObject", "Open", "Read", "NewFs panics", "NewObject panics", "Open panics", "Read panics"} {
		h := &hanging{at: at, release: make(chan struct{})}
		client := rclone.New(rclone.Config{Remotes: map[string]string{"a": dir}, Open: func(ctx context.Context, place string) (fs.Fs, error) {
			h.strike("NewFs")
			var err error
			h.Fs, err = fs.NewFs(ctx, place)
			return h, err
		}})
		m, err := client.Open("rclone://a/x")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		panics := strings.HasSuffix(at, "panics")
		if panics {
			ctx = t.Context()
		}
		err = func() error {
			r, err := m.Open(ctx)
			if err != nil {
				return err
			}
			defer r.Close()
			_, err = io.ReadAll(r)
			return err
		}()
		cancel()
		if err == nil || errors.Is(err, context.DeadlineExceeded) == panics {
			t.Errorf("%s: %v", at, err)
		}
		close(h.release)
		if err := client.Close(); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
}
