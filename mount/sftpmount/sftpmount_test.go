package sftpmount_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/dagstore/dagstore/internal/servertest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/mounttest"
	"github.com/dagstore/dagstore/mount/sftpmount"
)

const secret = "marker-of-a-password"

// sample is n bytes that are all over the place.
func sample(n int) []byte {
	r := mathrand.New(mathrand.NewPCG(1, 2))
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
	server *servertest.SSHServer
	proxy  *servertest.Proxy
	client *sftpmount.Client
	reg    mount.Registry
	root   string // the folder, as the server calls it
}

func newRig(t *testing.T, cfg sftpmount.Config) *rig {
	t.Helper()
	r := &rig{t: t, folder: t.TempDir(), server: servertest.StartSSHD(t, "")}
	r.root = r.folder
	r.connect(cfg)
	return r
}

// connect makes the client; by default it logs in by key.
func (r *rig) connect(cfg sftpmount.Config) {
	r.proxy = servertest.NewProxy(r.t)
	r.client = r.another(cfg)
	r.reg = mount.Registry{"sftp": r.client.Open}
}

// another is one more client.
func (r *rig) another(cfg sftpmount.Config) *sftpmount.Client {
	cfg.Dial = r.proxy.Dial
	cfg.ConnectTime, cfg.StallTime = cmp.Or(cfg.ConnectTime, late), cmp.Or(cfg.StallTime, late)
	if cfg.KnownHosts == nil {
		cfg.KnownHosts = []string{r.server.KnownHosts}
	}
	if cfg.Login == nil {
		cfg.Login = as(&sftpmount.Login{User: r.server.User, KeyFiles: []string{r.server.KeyFile}})
	}
	c := sftpmount.New(cfg)
	r.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			r.t.Error(err)
		}
	})
	return c
}

func as(l *sftpmount.Login) func(context.Context, string) (*sftpmount.Login, error) {
	return func(context.Context, string) (*sftpmount.Login, error) { return l, nil }
}

func (r *rig) write(name string, data []byte) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.folder, name), data, 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) mountBy(c *sftpmount.Client, name string) mount.Mount {
	r.t.Helper()
	m, err := c.Open("sftp://" + r.server.Address + mount.EscapePath(r.root+"/"+name))
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

func (r *rig) mount(name string) mount.Mount {
	r.t.Helper()
	return r.mountBy(r.client, name)
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
	t.Parallel()
	r := newRig(t, sftpmount.Config{})
	for name, data := range map[string][]byte{
		"a #?%é;~ \xff\n\x1b[2J.car": sample(3000),
		"empty":                      nil,
	} {
		if err := mounttest.Test(t.Context(), r.reg, r.put(name, data), data); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if n := r.proxy.Dials(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}

// Another server than OpenSSH, which has the password checked.
func TestLawsByPassword(t *testing.T) {
	t.Parallel()
	r := &rig{t: t, folder: t.TempDir()}
	r.server = servertest.StartSFTPPassword(t, r.folder, "ann", secret)
	r.connect(sftpmount.Config{Login: as(&sftpmount.Login{User: "ann", Password: secret})})
	data := sample(3000)
	if err := mounttest.Test(t.Context(), r.reg, r.put("x.car", data), data); err != nil {
		t.Error(err)
	}
	wrong := r.another(sftpmount.Config{Login: as(&sftpmount.Login{User: "ann", Password: secret + "!"})})
	if _, err := r.mountBy(wrong, "x.car").Stat(t.Context()); !errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), secret) {
		t.Errorf("%v", err)
	}
}

// keyFile writes a key of the user that is protected, and lets it log in.
func (r *rig) keyFile(passphrase string) (path string, private ed25519.PrivateKey) {
	r.t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		r.t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	if err != nil {
		r.t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		r.t.Fatal(err)
	}
	path = filepath.Join(r.t.TempDir(), "key")
	if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.server.KeyFile+".pub", ssh.MarshalAuthorizedKey(signer.PublicKey()), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return path, private
}

func TestLogins(t *testing.T) {
	t.Parallel()
	r := newRig(t, sftpmount.Config{})
	r.write("x", []byte("x"))
	path, private := r.keyFile("marker-of-a-passphrase")
	socket := filepath.Join(t.TempDir(), "agent")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	keys := agent.NewKeyring()
	if err := keys.Add(agent.AddedKey{PrivateKey: private}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = agent.ServeAgent(keys, c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	own := errors.New("no such credential")
	me := r.server.User
	for name, c := range map[string]struct {
		login func(context.Context, string) (*sftpmount.Login, error)
		want  error
	}{
		"passphrase":                  {as(&sftpmount.Login{User: me, KeyFiles: []string{path}, Passphrase: "marker-of-a-passphrase"}), nil},
		"agent":                       {as(&sftpmount.Login{User: me, Agent: socket}), nil},
		"both":                        {as(&sftpmount.Login{User: me, Agent: socket, KeyFiles: []string{r.server.KeyFile}, Password: secret}), nil},
		"a locked key, and the agent": {as(&sftpmount.Login{User: me, Agent: socket, KeyFiles: []string{path, path + "-absent"}}), nil},
		"no agent, and the key":       {as(&sftpmount.Login{User: me, Agent: socket + "-absent", KeyFiles: []string{path}, Passphrase: "marker-of-a-passphrase"}), nil},
		"another key":                 {as(&sftpmount.Login{User: me, KeyFiles: []string{r.server.KeyFile}}), fs.ErrPermission},
		"wrong password":              {as(&sftpmount.Login{User: me, Password: secret}), fs.ErrPermission},
		"nothing":                     {as(&sftpmount.Login{User: me}), fs.ErrPermission},
		"nobody":                      {as(nil), fs.ErrPermission},
		"no key file":                 {as(&sftpmount.Login{User: me, KeyFiles: []string{path + "-absent"}}), fs.ErrNotExist},
		"no credential":               {func(context.Context, string) (*sftpmount.Login, error) { return nil, own }, own},
		"wrong passphrase":            {as(&sftpmount.Login{User: me, KeyFiles: []string{path}, Passphrase: "marker-of-a-passphrase!"}), errAny},
		"no passphrase":               {as(&sftpmount.Login{User: me, KeyFiles: []string{path}}), errAny},
		"no agent":                    {as(&sftpmount.Login{User: me, Agent: socket + "-absent"}), errAny},
	} {
		_, err := r.mountBy(r.another(sftpmount.Config{Login: c.login}), "x").Stat(t.Context())
		if c.want == errAny && err == nil || c.want != errAny && !errors.Is(err, c.want) || strings.Contains(fmt.Sprint(err), "marker") {
			t.Errorf("%s: %v, not %v", name, err, c.want)
		}
	}
}

var errAny = errors.New("any error")

// A server with another key than the one that is known is told nothing.
func TestHostKeys(t *testing.T) {
	t.Parallel()
	r := newRig(t, sftpmount.Config{})
	other := servertest.StartSSHD(t, "")
	r.write("x", []byte("x"))
	known, err := os.ReadFile(r.server.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	others, err := os.ReadFile(other.KnownHosts)
	if err != nil {
		t.Fatal(err)
	}
	host, key, _ := strings.Cut(strings.TrimSpace(string(known)), " ")
	_, otherKey, _ := strings.Cut(strings.TrimSpace(string(others)), " ")
	rsa := "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDFhKBAJMWZfZaw9oCbmBCGxTLLwWmCx8LXjXlXXlxEdaMo/qnF3PJmYLaCFhYpSM6DvZ7TBtlmp0bV/vPkCSxQ+eN/yiX5gBkzgEf1CGIs2RVBBYOlCNVkA2Hj4PhMRLCtyZvPA6eCNPdWqV+xZu4NQPZAPOXQYGmk5lEcyUzQvw=="
	for name, c := range map[string]struct {
		file string
		want string // "": it is let in
	}{
		"known":         {host + " " + key, ""},
		"one of two":    {host + " " + otherKey + "\n" + host + " " + key, ""},
		"by pattern":    {strings.Replace(host, "127.0.0.1", "127.*", 1) + " " + key, ""},
		"another":       {host + " " + otherKey, "is not the one in"},
		"another kind":  {host + " " + rsa, "none of the algorithms"},
		"unknown":       {"example.org " + key, "in none of the files"},
		"empty":         {"", "in none of the files"},
		"revoked":       {host + " " + key + "\n@revoked " + host + " " + key, "is revoked"},
		"another port":  {"127.0.0.1 " + key, "in none of the files"},
		"no such file":  {"-", "known hosts"},
		"not in format": {host + " ssh-ed25519 notakey", "known hosts"},
	} {
		path := filepath.Join(t.TempDir(), "known_hosts")
		if c.file != "-" {
			if err := os.WriteFile(path, []byte(c.file+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		asked := false
		client := r.another(sftpmount.Config{KnownHosts: []string{path}, Login: func(context.Context, string) (*sftpmount.Login, error) {
			asked = true
			return &sftpmount.Login{User: r.server.User, KeyFiles: []string{r.server.KeyFile}}, nil
		}})
		got, err := read(t.Context(), r.mountBy(client, "x"))
		switch {
		case !asked:
			t.Errorf("%s: nobody was to log in", name)
		case c.want == "" && (err != nil || string(got) != "x"):
			t.Errorf("%s: %q, %v", name, got, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %q, %v", name, got, err)
		case strings.HasPrefix(c.want, "i") && !errors.Is(err, mount.ErrDenied):
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := r.mountBy(r.another(sftpmount.Config{KnownHosts: []string{}}), "x").Stat(t.Context()); !errors.Is(err, mount.ErrDenied) {
		t.Errorf("without files: %v", err)
	}
}

func TestNotThere(t *testing.T) {
	t.Parallel()
	r := newRig(t, sftpmount.Config{})
	if err := os.Mkdir(filepath.Join(r.folder, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]error{"absent": fs.ErrNotExist, "absent/x": fs.ErrNotExist, "folder": sftpmount.ErrNotRegular} {
		m := r.mount(name)
		_, stat := m.Stat(t.Context())
		_, open := m.Open(t.Context())
		_, part := mount.OpenRange(t.Context(), m, mount.Range{Length: 1})
		for way, err := range map[string]error{"Stat": stat, "Open": open, "OpenRange": part} {
			if !errors.Is(err, want) {
				t.Errorf("%s of %s: %v, not %v", way, name, err, want)
			}
		}
	}
}

func TestChanged(t *testing.T) {
	t.Parallel()
	r := newRig(t, sftpmount.Config{})
	m := r.put("x", []byte("before"))
	st, err := m.Stat(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	// Another file takes its place: a stream that is open goes on with the first.
	r.write("y", []byte("BEFORE"))
	if err := os.Chtimes(filepath.Join(r.folder, "y"), time.Time{}, st.ModTime.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(r.folder, "y"), filepath.Join(r.folder, "x")); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(stream); string(got) != "before" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := mount.OpenRange(t.Context(), m, mount.Range{Length: 1, Version: st.Version}); !errors.Is(err, mount.ErrChanged) {
		t.Errorf("%v", err)
	}
	// One that is cut while it is read is not taken for complete.
	data := sample(3_000_000)
	m = r.put("z", data)
	cut, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer cut.Close()
	if _, err := io.ReadFull(cut, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(r.folder, "z"), 1_000_000); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(cut); !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.HasPrefix(data[10:], got) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestPrintedLogin(t *testing.T) {
	l := sftpmount.Login{User: "ann", Password: secret, Passphrase: secret}
	if text := fmt.Sprintf("%v %+v %#v %s %q", l, &l, l, &l, l); strings.Contains(text, secret) {
		t.Errorf("%s", text)
	}
}

func TestManyReaders(t *testing.T) {
	t.Parallel()
	r := newRig(t, sftpmount.Config{Reads: 3})
	data := sample(1_000_000)
	m := r.put("x", data)
	errs := make(chan error)
	const readers = 64
	for i := range readers {
		go func() {
			errs <- func() error {
				at := int64(i * 1000)
				body, err := mount.OpenRange(t.Context(), m, mount.Range{Offset: at, Length: 700_000})
				if err != nil {
					return err
				}
				defer body.Close()
				got, err := io.ReadAll(body)
				if err == nil && !bytes.Equal(got, data[at:at+700_000]) {
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
	if n := r.proxy.Dials(); n != 1 {
		t.Errorf("%d connections were made", n)
	}
}
