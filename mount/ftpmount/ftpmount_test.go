package ftpmount_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/servertest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/ftpmount"
	"github.com/dagstore/dagstore/mount/mounttest"
)

const (
	user   = "ann"
	secret = "marker-of-a-password"
)

// sample is n bytes that are all over the place.
func sample(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// rig is a server and a client of it, with a proxy between them.
type rig struct {
	t      *testing.T
	folder string
	server *servertest.FTPServer
	proxy  *servertest.Proxy
	client *ftpmount.Client
	reg    mount.Registry
	scheme string
}

func newRig(t *testing.T, ftp servertest.FTP, cfg ftpmount.Config) *rig {
	t.Helper()
	r := &rig{t: t, folder: t.TempDir(), scheme: map[string]string{"": "ftp", "explicit": "ftpes", "implicit": "ftps"}[ftp.TLS]}
	ftp.Folder = r.folder
	r.server = ftp.Start(t)
	r.proxy = servertest.NewProxy(t)
	cfg.Dial = r.proxy.Dial
	cfg.ConnectTime, cfg.StallTime = cmp.Or(cfg.ConnectTime, late), cmp.Or(cfg.StallTime, late)
	if r.server.Roots != nil {
		cfg.TLS = &tls.Config{RootCAs: r.server.Roots}
	}
	r.client = ftpmount.New(cfg)
	t.Cleanup(func() {
		if err := r.client.Close(); err != nil {
			t.Error(err)
		}
	})
	r.reg = mount.Registry{r.scheme: r.client.Open}
	return r
}

func login(context.Context, string) (*ftpmount.Login, error) {
	return &ftpmount.Login{User: user, Password: secret, Cleartext: true}, nil
}

// plain is a rig without encryption.
func plain(t *testing.T, cfg ftpmount.Config) *rig {
	t.Helper()
	cfg.Login = login
	return newRig(t, servertest.FTP{User: user, Password: secret}, cfg)
}

func (r *rig) write(name string, data []byte) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.folder, name), data, 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) mount(path string) mount.Mount {
	r.t.Helper()
	m, err := r.reg.Open(r.scheme + "://" + r.server.Address + "/" + mount.EscapePath(path))
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

func (r *rig) put(name string, data []byte) mount.Mount {
	r.t.Helper()
	r.write(name, data)
	return r.mount(name)
}

func read(ctx context.Context, m mount.Mount) ([]byte, error) {
	r, err := m.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestLaws(t *testing.T) {
	for name, c := range map[string]struct {
		ftp servertest.FTP
		cfg ftpmount.Config
	}{
		"plain":     {servertest.FTP{User: user, Password: secret}, ftpmount.Config{Login: login}},
		"anonymous": {servertest.FTP{}, ftpmount.Config{}},
		"explicit":  {servertest.FTP{User: user, Password: secret, TLS: "explicit"}, ftpmount.Config{Login: login}},
		"implicit":  {servertest.FTP{User: user, Password: secret, TLS: "implicit"}, ftpmount.Config{Login: login}},
		"no MLST":   {servertest.FTP{User: user, Password: secret, Options: "FactsAdvertise off\n"}, ftpmount.Config{Login: login}},
		"PASV":      {servertest.FTP{User: user, Password: secret, Options: "<Limit EPSV>\nDenyAll\n</Limit>\nMasqueradeAddress 192.0.2.1\n"}, ftpmount.Config{Login: login}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c.ftp, c.cfg)
			data := sample(3000)
			if err := mounttest.Test(t.Context(), r.reg, r.put("a #?%é;~.car", data), data); err != nil {
				t.Error(err)
			}
			st, err := r.mount("a #?%é;~.car").Stat(t.Context())
			if err != nil || st.Size != 3000 || !st.Ranges || st.Version == "" {
				t.Errorf("%+v, %v", st, err)
			}
			if n := r.proxy.Open(); n > 8 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestLawsOfAnEmptyFile(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{})
	if err := mounttest.Test(t.Context(), r.reg, r.put("empty", nil), nil); err != nil {
		t.Error(err)
	}
}

// What stands at the beginning of a path is part of it.
func TestPaths(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{})
	if err := os.Mkdir(filepath.Join(r.folder, "d d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{" x", "-x", "~x", "d d/ -x", "x ", "%41", "a\\b", "é", "\x1b[2J"} {
		if got, err := read(t.Context(), r.put(name, []byte(name))); err != nil || string(got) != name {
			t.Errorf("%q has %q, %v", name, got, err)
		}
	}
	if got, err := read(t.Context(), r.mount("/ x")); err != nil || string(got) != " x" {
		t.Errorf("from the root on: %q, %v", got, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{})
	if err := os.Mkdir(filepath.Join(r.folder, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	other := func(login *ftpmount.Login, fault error) mount.Mount {
		c := ftpmount.New(ftpmount.Config{
			Dial:  r.proxy.Dial,
			Login: func(context.Context, string) (*ftpmount.Login, error) { return login, fault },
		})
		t.Cleanup(func() { c.Close() })
		m, err := c.Open("ftp://" + r.server.Address + "/x")
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	own := errors.New("no such credential")
	r.write("x", []byte("x"))
	for name, c := range map[string]struct {
		m    mount.Mount
		want error
	}{
		"absent":         {r.mount("absent"), fs.ErrNotExist},
		"absent folder":  {r.mount("absent/x"), fs.ErrNotExist},
		"folder":         {r.mount("folder"), ftpmount.ErrNotRegular},
		"wrong password": {other(&ftpmount.Login{User: user, Password: secret + "!", Cleartext: true}, nil), fs.ErrPermission},
		"anonymous":      {other(nil, nil), fs.ErrPermission},
		"in the clear":   {other(&ftpmount.Login{User: user, Password: secret}, nil), mount.ErrDenied},
		"no credential":  {other(nil, own), own},
		"two commands":   {other(&ftpmount.Login{User: user, Password: "x\r\nDELE x", Cleartext: true}, nil), nil},
	} {
		_, stat := c.m.Stat(t.Context())
		_, open := c.m.Open(t.Context())
		_, part := mount.OpenRange(t.Context(), c.m, mount.Range{Length: 1})
		for way, err := range map[string]error{"Stat": stat, "Open": open, "OpenRange": part} {
			if err == nil || c.want != nil && !errors.Is(err, c.want) || strings.Contains(fmt.Sprint(err), secret) {
				t.Errorf("%s, %s: %v, not %v", name, way, err, c.want)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(r.folder, "x")); err != nil {
		t.Error(err)
	}
}

// A server that is not who it should be is told nothing.
func TestCertificate(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"explicit", "implicit"} {
		r := newRig(t, servertest.FTP{User: user, Password: secret, TLS: mode}, ftpmount.Config{Login: login})
		c := ftpmount.New(ftpmount.Config{Dial: r.proxy.Dial, Login: login}) // with the roots of the system
		t.Cleanup(func() { c.Close() })
		m, err := c.Open(r.put("x", []byte("x")).URL())
		if err != nil {
			t.Fatal(err)
		}
		_, err = m.Stat(t.Context())
		if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{})
	m := r.put("x", []byte("before"))
	st, err := m.Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.write("x", []byte("and after"))
	if _, err := mount.OpenRange(t.Context(), m, mount.Range{Length: 1, Version: st.Version}); !errors.Is(err, mount.ErrChanged) {
		t.Errorf("longer: %v", err)
	}
	r.write("x", []byte("BEFORE"))
	if err := os.Chtimes(filepath.Join(r.folder, "x"), time.Time{}, st.ModTime.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := mount.OpenRange(t.Context(), m, mount.Range{Length: 1, Version: st.Version}); !errors.Is(err, mount.ErrChanged) {
		t.Errorf("later: %v", err)
	}
}

func TestPrintedLogin(t *testing.T) {
	l := ftpmount.Login{User: user, Password: secret}
	for _, text := range []string{fmt.Sprint(l), fmt.Sprintf("%+v %#v %s %q %v", l, l, &l, l, &l)} {
		if strings.Contains(text, secret) {
			t.Errorf("%s", text)
		}
	}
}

func TestManyReaders(t *testing.T) {
	t.Parallel()
	r := plain(t, ftpmount.Config{MaxConns: 3})
	data := sample(200_000)
	m := r.put("x", data)
	errs := make(chan error)
	const readers = 32
	for i := range readers {
		go func() {
			errs <- func() error {
				at := int64(i * 1000)
				body, err := mount.OpenRange(t.Context(), m, mount.Range{Offset: at, Length: 50_000})
				if err != nil {
					return err
				}
				defer body.Close()
				got, err := io.ReadAll(body)
				if err == nil && !bytes.Equal(got, data[at:at+50_000]) {
					err = errors.New("other bytes")
				}
				return err
			}()
		}()
	}
	for range readers {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := r.proxy.Open(); n > 6 {
		t.Errorf("%d connections for 3 sessions", n)
	}
	// 32 ranges, and no more than 3 connections for commands.
	if n := r.proxy.Dials(); n > readers+3 {
		t.Errorf("%d connections were made", n)
	}
}
