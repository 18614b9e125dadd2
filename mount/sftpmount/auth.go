package sftpmount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/dagstore/dagstore/mount"
)

// clientConfig says who logs in at a host and which host is the right one.
// Done is called when the login is over.
func (h *host) clientConfig(ctx context.Context) (config *ssh.ClientConfig, done func(), err error) {
	if h.cfg.Login == nil {
		return nil, nil, h.noLogin()
	}
	login, err := h.cfg.Login(ctx, h.name)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("the login for %s: %w", h.name, err)
	case login == nil:
		return nil, nil, h.noLogin()
	}
	check, algorithms, err := h.known()
	if err != nil {
		return nil, nil, err
	}
	auth, done, err := login.methods(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("the login for %s: %w", h.name, err)
	}
	return &ssh.ClientConfig{User: login.User, Auth: auth, HostKeyCallback: check, HostKeyAlgorithms: algorithms}, done, nil
}

func (h *host) noLogin() error {
	return fmt.Errorf("%w: there is no login for %s", fs.ErrPermission, h.name)
}

// methods are the ways in which l can log in. What cannot be used, as a key
// whose passphrase is missing or an agent that is gone, is an error only if
// nothing else is left.
func (l *Login) methods(ctx context.Context) (auth []ssh.AuthMethod, done func(), err error) {
	var (
		signers []ssh.Signer
		faults  []error
	)
	for _, path := range l.KeyFiles {
		s, err := l.signer(path)
		if err != nil {
			faults = append(faults, fmt.Errorf("the key in %q: %w", path, err))
			continue
		}
		signers = append(signers, s)
	}
	done = func() {}
	if l.Agent != "" {
		more, end, err := askAgent(ctx, l.Agent)
		if err != nil {
			faults = append(faults, fmt.Errorf("the agent: %w", err))
		} else {
			signers, done = append(signers, more...), end
		}
	}
	if len(signers) > 0 {
		auth = append(auth, ssh.PublicKeys(signers...))
	}
	if l.Password != "" {
		auth = append(auth, ssh.Password(l.Password), ssh.KeyboardInteractive(l.answer))
	}
	if len(auth) == 0 && len(faults) > 0 {
		done()
		return nil, nil, errors.Join(faults...)
	}
	return auth, done, nil
}

// askAgent returns the keys of the agent at a socket, which sign until end is
// called.
func askAgent(ctx context.Context, socket string) (signers []ssh.Signer, end func(), err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // so that nobody waits for it
	end = func() { stop(); _ = conn.Close() }
	if signers, err = agent.NewClient(conn).Signers(); err != nil {
		end()
		return nil, nil, err
	}
	return signers, end, nil
}

// signer reads a private key.
func (l *Login) signer(path string) (ssh.Signer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = pe.Err
		}
		return nil, err
	}
	s, err := ssh.ParsePrivateKey(text)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); locked && l.Passphrase != "" {
		return ssh.ParsePrivateKeyWithPassphrase(text, []byte(l.Passphrase))
	}
	return s, err
}

// answer gives the password to a server that asks for one thing that is not
// shown, and nothing to one that asks for anything else.
func (l *Login) answer(_, _ string, questions []string, echos []bool) ([]string, error) {
	switch {
	case len(questions) == 0:
		return nil, nil
	case len(questions) == 1 && !echos[0]:
		return []string{l.Password}, nil
	}
	return nil, errors.New("it asks for more than a password")
}

// certificates are kinds of host keys that an authority has signed.
var certificates = []string{
	ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
	ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
}

// known returns the check of the host's key, and the kinds of keys to ask for:
// a server has several, and may not begin with the one that is known.
func (h *host) known() (ssh.HostKeyCallback, []string, error) {
	inFiles, err := knownhosts.New(h.cfg.KnownHosts...)
	if err != nil {
		return nil, nil, fmt.Errorf("the files of known hosts: %w", err)
	}
	check := func(address string, remote net.Addr, key ssh.PublicKey) error {
		return h.refusal(inFiles(address, remote, key), key)
	}
	var algorithms []string
	wrong, _ := errors.AsType[*knownhosts.KeyError](inFiles(h.address, &net.TCPAddr{}, noKey{}))
	if wrong == nil || len(wrong.Want) == 0 {
		return check, nil, nil
	}
	for _, want := range wrong.Want {
		kinds := []string{want.Key.Type()}
		if kinds[0] == ssh.KeyAlgoRSA {
			kinds = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
		}
		for _, kind := range kinds {
			if !slices.Contains(algorithms, kind) {
				algorithms = append(algorithms, kind)
			}
		}
	}
	return check, append(algorithms, certificates...), nil
}

// refusal says why a key is not taken.
func (h *host) refusal(err error, key ssh.PublicKey) error {
	if err == nil {
		return nil
	}
	wrong, ok := errors.AsType[*knownhosts.KeyError](err)
	_, revoked := errors.AsType[*knownhosts.RevokedError](err)
	print := ssh.FingerprintSHA256(key)
	switch {
	case revoked:
		return denial{fmt.Errorf("%w: its key %s is revoked", mount.ErrDenied, print)}
	case ok && len(wrong.Want) == 0:
		return denial{fmt.Errorf("%w: it is in none of the files of known hosts, and says that its key is %s (%s)", mount.ErrDenied, print, key.Type())}
	case ok:
		first := wrong.Want[0]
		return denial{fmt.Errorf("%w: its key %s (%s) is not the one in %s:%d; somebody else may answer in its place", mount.ErrDenied, print, key.Type(), first.Filename, first.Line)}
	}
	return denial{fmt.Errorf("%w: its key %s (%s) is not accepted", mount.ErrDenied, print, key.Type())}
}

// A denial is an error of ours about a host's key.
type denial struct{ error }

func (d denial) Unwrap() error { return d.error }

// noKey is a key that no host has.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }
