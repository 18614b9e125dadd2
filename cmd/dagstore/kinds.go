package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/settings"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/mount/ftpmount"
	"github.com/dagstore/dagstore/mount/httpmount"
	"github.com/dagstore/dagstore/mount/s3mount"
	"github.com/dagstore/dagstore/mount/sftpmount"
	"github.com/dagstore/dagstore/mount/zstdmount"
)

const (
	defaultPerHost = 16 // requests that one host has at once
	mostFTP        = 4  // connections to one FTP server, which have few
)

// kinds are the kinds of sources that this program can reach. What one needs
// besides its URL is made when the first such source is opened, so that no
// secret is read that is not needed.
type kinds struct {
	settings *settings.File
	getenv   func(string) string
	s3       func() (*s3mount.Client, error) // made at its first use

	mu   sync.Mutex
	idle []func() // ends connections that nobody uses
}

func newKinds(s *settings.File, getenv func(string) string) *kinds {
	k := &kinds{settings: s, getenv: getenv}
	k.s3 = sync.OnceValues(k.buckets)
	return k
}

// registry names the kinds.
func (k *kinds) registry() (mount.Registry, error) {
	files := mount.Opener(filemount.Open)
	if roots := k.settings.Sources.Files; len(roots) > 0 {
		var err error
		if files, err = filemount.Within(roots...); err != nil {
			return nil, fmt.Errorf("configuration: sources.files: %w", err)
		}
	}
	web, bucket, ftp, sftp := lazily(k.web), lazily(k.bucket), lazily(k.ftp), lazily(k.sftp)
	r := mount.Registry{
		"file": files, "http": web, "https": web, "s3": bucket,
		"ftp": ftp, "ftpes": ftp, "ftps": ftp, "sftp": sftp,
	}
	for scheme, open := range maps.Clone(r) {
		r["zstd+"+scheme] = zstdmount.Wrap(open)
	}
	others, err := k.outside()
	if err != nil {
		return nil, fmt.Errorf("configuration: sources.files: %w", err)
	}
	maps.Copy(r, others)
	return r, nil
}

// listers are the kinds of places whose content can be listed.
func (k *kinds) listers() map[string]lister {
	return map[string]lister{"s3": k.listBuckets, "zstd+s3": packed(k.listBuckets)}
}

// lazily is an opener that is made at its first use.
func lazily(open func() (mount.Opener, error)) mount.Opener {
	once := sync.OnceValues(open)
	return func(url string) (mount.Mount, error) {
		open, err := once()
		if err != nil {
			return nil, err
		}
		return open(url)
	}
}

// close ends connections that nobody uses.
func (k *kinds) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, idle := range k.idle {
		idle()
	}
}

// ends remembers how the connections of a kind are ended.
func (k *kinds) ends(idle func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.idle = append(k.idle, idle)
}

func (k *kinds) perHost() int {
	if n := k.settings.Sources.PerHost; n != 0 {
		return n
	}
	return defaultPerHost
}

// web opens what lies behind HTTP.
func (k *kinds) web() (mount.Opener, error) {
	cfg := &httpmount.Config{PerHost: k.perHost()}
	if k.settings.Sources.Proxy {
		cfg.Proxy = http.ProxyFromEnvironment
	}
	var err error
	if cfg.TLS, err = trust(k.settings.Sources.CA); err != nil {
		return nil, err
	}
	for name, c := range k.credentials() {
		secret, err := k.secret(name, c)
		if err != nil {
			return nil, err
		}
		one := httpmount.Credential{Hosts: c.Hosts, PlainHTTP: c.Cleartext}
		switch {
		case c.Header != "":
			one.Header, one.Value = c.Header, httpmount.Secret(secret)
		case c.User != "":
			one.User, one.Password = c.User, httpmount.Secret(secret)
		default:
			one.Bearer = httpmount.Secret(secret)
		}
		cfg.Credentials = append(cfg.Credentials, one)
	}
	client, err := httpmount.New(cfg)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	k.ends(client.CloseIdle)
	return client.Open, nil
}

// bucket opens what lies in S3.
func (k *kinds) bucket() (mount.Opener, error) {
	client, err := k.s3()
	if err != nil {
		return nil, err
	}
	return client.Open, nil
}

// secret reads the secret of the credential called name.
func (k *kinds) secret(name string, c *settings.Credential) (string, error) {
	secret, err := c.Secret(k.getenv)
	if err != nil {
		return "", fmt.Errorf("configuration: [credentials.%s]: %w", name, err)
	}
	return secret, nil
}

// ftp opens what lies on FTP servers.
func (k *kinds) ftp() (mount.Opener, error) {
	trusted, err := trust(k.settings.Sources.CA)
	if err != nil {
		return nil, err
	}
	client := ftpmount.New(ftpmount.Config{TLS: trusted, Login: k.ftpLogin, MaxConns: min(k.perHost(), mostFTP)})
	k.ends(func() { _ = client.Close() }) // nothing was written
	return client.Open, nil
}

func (k *kinds) ftpLogin(_ context.Context, host string) (*ftpmount.Login, error) {
	name, c := k.credentialOf(host, func(c *settings.Credential) bool { return c.User != "" && c.Key == "" })
	if c == nil {
		return nil, nil //nolint:nilnil // anonymous
	}
	secret, err := k.secret(name, c)
	return &ftpmount.Login{User: c.User, Password: secret, Cleartext: c.Cleartext}, err
}

// sftp opens what lies on SSH servers.
func (k *kinds) sftp() (mount.Opener, error) {
	known := k.settings.Sources.KnownHosts
	if home := k.getenv("HOME"); len(known) == 0 && home != "" {
		known = []string{filepath.Join(home, ".ssh", "known_hosts")}
	}
	client := sftpmount.New(sftpmount.Config{KnownHosts: known, Login: k.sftpLogin, Reads: k.perHost()})
	k.ends(func() { _ = client.Close() }) // nothing was written
	return client.Open, nil
}

func (k *kinds) sftpLogin(_ context.Context, host string) (*sftpmount.Login, error) {
	name, c := k.credentialOf(host, func(c *settings.Credential) bool { return c.User != "" || c.Key != "" })
	if c == nil {
		return k.ownLogin(k.getenv("HOME")), nil
	}
	secret, err := k.secret(name, c)
	login := &sftpmount.Login{User: cmp.Or(c.User, k.user())}
	if c.Key != "" {
		login.KeyFiles, login.Passphrase = []string{c.Key}, secret
	} else {
		login.Password = secret
	}
	return login, err
}

// ownLogin is who we are for an SSH server that the configuration does not
// name: as "ssh" would have it, without its configuration.
func (k *kinds) ownLogin(home string) *sftpmount.Login {
	login := &sftpmount.Login{User: k.user(), Agent: k.getenv("SSH_AUTH_SOCK")}
	for _, name := range []string{"id_ed25519", "id_ecdsa", "id_rsa"} {
		path := filepath.Join(home, ".ssh", name)
		if info, err := os.Stat(path); home != "" && err == nil && info.Mode().IsRegular() {
			login.KeyFiles = append(login.KeyFiles, path)
		}
	}
	return login
}

// user is who runs this program.
func (k *kinds) user() string { return cmp.Or(k.getenv("USER"), k.getenv("USERNAME")) }

// credentialOf is the first credential, by name, of those that are of use that
// is for a host, as it stands in a URL. What is for HTTP, a token or a header,
// is of no use to who logs in.
func (k *kinds) credentialOf(host string, use func(*settings.Credential) bool) (string, *settings.Credential) {
	for _, name := range slices.Sorted(maps.Keys(k.settings.Credentials)) {
		c := k.settings.Credentials[name]
		if use(c) && slices.ContainsFunc(c.Hosts, func(pattern string) bool {
			below, wild := strings.CutPrefix(pattern, "*.")
			return strings.EqualFold(pattern, host) || wild && strings.HasSuffix(strings.ToLower(host), "."+strings.ToLower(below))
		}) {
			return name, c
		}
	}
	return "", nil
}

// credentials are those that are for hosts, by name, without keys of SSH.
func (k *kinds) credentials() func(yield func(string, *settings.Credential) bool) {
	return func(yield func(string, *settings.Credential) bool) {
		var names []string
		for name, c := range k.settings.Credentials {
			if len(c.Hosts) > 0 && c.Key == "" {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			if !yield(name, k.settings.Credentials[name]) {
				return
			}
		}
	}
}

// trust is a configuration that trusts the certificates in a file besides those
// of the system; nil if there is no file.
func trust(file string) (*tls.Config, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // the system's
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("configuration: ca: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, errors.New("configuration: ca: " + file + " has no certificate in PEM")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}
