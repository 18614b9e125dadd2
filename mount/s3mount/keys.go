package s3mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// ErrCredentials is wrapped by the error about a request that was not made,
// since there are no credentials to sign it with.
var ErrCredentials = errors.New("s3mount: no credentials")

// fetchTime bounds one attempt at fetching credentials.
const fetchTime = 30 * time.Second

// A keyring has the credentials of a server. One goroutine fetches them,
// however many wait, and whoever waits stops when his context ends.
type keyring struct {
	provider credentials.Provider // nil: requests are not signed
	client   *http.Client         // for fetching, and for nothing else

	mu     sync.Mutex
	held   bool // value is one
	value  credentials.Value
	flight *flight // under way; the provider belongs to it then
}

type flight struct {
	done  chan struct{} // closed when it has ended
	value credentials.Value
	err   error // read after done, as the value
}

func newKeyring(c Credentials, region string, proxy func(*http.Request) (*url.URL, error)) *keyring {
	k := &keyring{client: &http.Client{
		CheckRedirect: noRedirect,
		Timeout:       10 * time.Second,
		Transport: &http.Transport{
			Proxy:                 credentialsProxy(proxy),
			DialContext:           (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			TLSHandshakeTimeout:   5 * time.Second,
			ResponseHeaderTimeout: 5 * time.Second,
			DisableKeepAlives:     true, // it is used once an hour
		},
	}}
	switch {
	case c.Anonymous:
	case c.AccessKey != "":
		k.provider = &credentials.Static{Value: credentials.Value{
			AccessKeyID: c.AccessKey, SecretAccessKey: string(c.SecretKey), SessionToken: string(c.SessionToken), SignerType: credentials.SignatureV4,
		}}
	case c.Profile != "" || c.File != "":
		k.provider = &profile{FileAWSCredentials: credentials.FileAWSCredentials{Profile: c.Profile, Filename: c.File}}
	default:
		k.provider = &chain{region: region}
	}
	return k
}

// credentialsProxy uses proxy but for what lies on this machine or in
// its cloud: a proxy would answer with credentials of its own.
func credentialsProxy(proxy func(*http.Request) (*url.URL, error)) func(*http.Request) (*url.URL, error) {
	return func(r *http.Request) (*url.URL, error) {
		ip := net.ParseIP(r.URL.Hostname())
		inside := ip != nil && (ip.IsLinkLocalUnicast() || ip.IsLoopback() || ip.IsPrivate())
		if inside || proxy == nil {
			return nil, nil
		}
		return proxy(r)
	}
}

// get returns credentials that are good now, and fetches them if need be.
func (k *keyring) get(ctx context.Context) (credentials.Value, error) {
	if k.provider == nil {
		return credentials.Value{SignerType: credentials.SignatureAnonymous}, nil
	}
	held, f := k.look()
	if f == nil {
		return held, nil
	}
	select {
	case <-ctx.Done():
		return credentials.Value{}, ctx.Err()
	case <-f.done:
		return f.value, f.err
	}
}

// look returns credentials that are good now, or the flight that brings some.
func (k *keyring) look() (credentials.Value, *flight) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.flight == nil && k.held && (k.value.Expiration.IsZero() || !k.provider.IsExpired()) {
		return k.value, nil
	}
	if k.flight == nil {
		k.flight = &flight{done: make(chan struct{})}
		go k.fetch(k.flight)
	}
	// They are renewed some time before they expire: nobody waits until then.
	if k.held && time.Until(k.value.Expiration) > time.Minute {
		return k.value, nil
	}
	return credentials.Value{}, k.flight
}

// forget has credentials fetched again that the server does not take any more.
func (k *keyring) forget(v credentials.Value) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.value == v {
		k.held = false
	}
}

// fetch ends f. It has no caller's context, for many may wait for it.
func (k *keyring) fetch(f *flight) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	value, err := retrieve(ctx, k.provider, k.client)
	if err == nil && (value.AccessKeyID == "" || value.SecretAccessKey == "") {
		err = errors.New("what was found has no keys")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		f.err = fmt.Errorf("%w: %w", ErrCredentials, err)
	} else {
		k.value, k.held, f.value = value, true, value
	}
	k.flight = nil
	close(f.done)
}

// retrieve turns a panic into an error, since nobody would see whose it was.
func retrieve(ctx context.Context, p credentials.Provider, client *http.Client) (v credentials.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("their provider has panicked")
		}
	}()
	return p.RetrieveWithCredContext(&credentials.CredContext{Client: client, Context: ctx})
}

// profile is one profile of the shared files.
type profile struct{ credentials.FileAWSCredentials }

// RetrieveWithCredContext implements [credentials.Provider].
func (p *profile) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	v, err := p.FileAWSCredentials.RetrieveWithCredContext(cc)
	switch {
	case err != nil:
		return v, fmt.Errorf("the profile: %w", reason(err))
	case v.AccessKeyID == "":
		return v, errors.New("the profile has neither keys nor a process nor a sign-on that gives some")
	}
	return v, nil
}

// chain looks where the AWS tools look, and stays with what it has found.
type chain struct {
	region string
	found  credentials.Provider
}

// IsExpired implements [credentials.Provider].
func (c *chain) IsExpired() bool { return c.found == nil || c.found.IsExpired() }

// Retrieve implements [credentials.Provider].
func (c *chain) Retrieve() (credentials.Value, error) {
	return c.RetrieveWithCredContext(&credentials.CredContext{Client: http.DefaultClient})
}

// RetrieveWithCredContext implements [credentials.Provider]. What was set on
// purpose and does not work is an error; what is merely absent is passed over.
func (c *chain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	env := new(credentials.EnvAWS)
	if v, err := env.RetrieveWithCredContext(cc); err == nil && v.SignerType != credentials.SignatureAnonymous {
		c.found = env
		return v, nil
	}
	if os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != "" {
		return c.role(cc, "the web identity", os.Getenv("AWS_ENDPOINT_URL_STS"))
	}
	shared := new(profile)
	v, err := shared.RetrieveWithCredContext(cc)
	switch {
	case err == nil:
		c.found = shared
		return v, nil
	case os.Getenv("AWS_PROFILE") != "":
		return credentials.Value{}, err
	case firstEnv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
		return c.role(cc, "the role of the container", "")
	case !strings.EqualFold(os.Getenv("AWS_EC2_METADATA_DISABLED"), "true"):
		v, roleErr := c.role(cc, "the role of the machine", os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT"))
		if roleErr == nil {
			return v, nil
		}
		err = errors.Join(err, roleErr)
	}
	return credentials.Value{}, fmt.Errorf("none in the environment, the shared files or the cloud's services; a bucket that is public has to be called so (anonymous): %w", err)
}

// role takes the keys of a role that the cloud gives us.
func (c *chain) role(cc *credentials.CredContext, what, endpoint string) (credentials.Value, error) {
	iam := &credentials.IAM{Client: cc.Client, Endpoint: endpoint, Region: c.region}
	v, err := iam.RetrieveWithCredContext(cc)
	if err != nil {
		return credentials.Value{}, fmt.Errorf("%s: %w", what, reason(err))
	}
	c.found = iam
	return v, nil
}

// reason is what may be said of why credentials could not be had. An error may
// repeat a line of a file, or an answer, in which they stand: all is left out
// but what is known not to.
func reason(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		if netErr, ok := errors.AsType[*net.OpError](err); ok {
			return netErr
		}
		return errors.New("it does not answer")
	}
	for _, known := range []string{"profile has ", "profile defines ", "section ", "cached SSO token is expired", "unable to determine AWS SSO region"} {
		if strings.HasPrefix(err.Error(), known) && !strings.Contains(err.Error(), "\n") {
			return err
		}
	}
	return errors.New("it cannot be used")
}
