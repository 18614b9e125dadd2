package s3mount

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"

	"github.com/dagstore/dagstore/mount"
)

// A request is what is asked of a bucket.
type request struct {
	method string
	bucket string // as URLs call it
	key    string // "": the bucket itself
	query  url.Values
	header http.Header // may be nil
	cost   *Cost       // of this one and those like it; may be nil
}

// do sends r and returns the answer if it is 200 or 206; anything else is an
// error. It is sent once, or once more if the bucket turns out to lie in
// another region: whether to try again is for who knows what else there is to
// do. The context governs the body, too.
func (c *Client) do(ctx context.Context, r request) (*http.Response, error) {
	s := c.at(r.bucket)
	for again := false; ; again = true {
		keys, err := s.keys.get(ctx)
		if err != nil {
			return nil, err
		}
		region := s.regionOf(r.bucket)
		resp, err := c.send(ctx, s, r, region, keys)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent {
			return resp, nil
		}
		refused := readRefusal(resp)
		if !again && refused.elsewhere(region) {
			s.learn(r.bucket, refused.region)
			continue
		}
		if refused.stale() {
			s.keys.forget(keys)
		}
		return nil, refused.asError()
	}
}

// send sends r once. The answer is counted, and watched, as it is read.
func (c *Client) send(ctx context.Context, s *server, r request, region string, keys credentials.Value) (*http.Response, error) {
	inner, cancel := context.WithCancel(ctx)
	req, err := s.signed(inner, r, region, keys)
	if err != nil {
		cancel()
		return nil, err
	}
	c.count(r)
	resp, err := s.http.Do(req)
	if err != nil {
		cancel()
		return nil, unsent(ctx, err)
	}
	resp.Body = &counted{
		ReadCloser: &watched{ReadCloser: resp.Body, cancel: cancel, patience: c.patience},
		bytes:      &c.spent.bytes, cost: r.cost,
	}
	return resp, nil
}

func (c *Client) count(r request) {
	switch {
	case r.method == http.MethodHead:
		c.spent.heads.Add(1)
	case r.key == "":
		c.spent.lists.Add(1)
		if r.cost != nil {
			r.cost.Lists++
		}
	default:
		c.spent.gets.Add(1)
	}
}

// emptySHA256 is the hash of the body of every request.
const emptySHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

// signed makes the request of r for the region that is given.
func (s *server) signed(ctx context.Context, r request, region string, keys credentials.Value) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, s.target(r, region).String(), nil)
	if err != nil {
		return nil, fmt.Errorf("%w: no request can be made of it", mount.ErrURL)
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("User-Agent", "dagstore")
	if s.payer {
		req.Header.Set("X-Amz-Request-Payer", "requester")
	}
	if keys.SignerType == credentials.SignatureAnonymous {
		return req, nil
	}
	req.Header.Set("X-Amz-Content-Sha256", emptySHA256)
	return signer.SignV4(*req, keys.AccessKeyID, keys.SecretAccessKey, keys.SessionToken, region), nil
}

// target is the URL that r is sent to.
func (s *server) target(r request, region string) *url.URL {
	bucket := r.bucket
	if s.name != "" {
		bucket = s.name
	}
	u := &url.URL{Scheme: "https", RawQuery: r.query.Encode()}
	if s.endpoint != nil {
		u.Scheme, u.Host = s.endpoint.Scheme, s.endpoint.Host
	} else {
		u.Host = "s3." + region + ".amazonaws.com"
		if strings.HasPrefix(region, "cn-") {
			u.Host += ".cn"
		}
	}
	u.Path = "/" + r.key
	if s.address == InHost || s.address == Auto && s.endpoint == nil && inHost(bucket, u.Scheme == "https") {
		u.Host = bucket + "." + u.Host
	} else {
		u.Path = "/" + bucket + u.Path
	}
	u.RawPath = s3utils.EncodePath(u.Path) // as it is signed
	return u
}

// unsent is the error of a request that got no answer. What a server has sent
// that is no answer is not repeated.
func unsent(ctx context.Context, err error) error {
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if urlErr, ok := errors.AsType[*url.Error](err); ok {
		err = urlErr.Err
	}
	if netErr, ok := errors.AsType[net.Error](err); ok && netErr.Timeout() {
		// Not wrapped: it would be taken for the end of the caller's context.
		return fmt.Errorf("%w: %v", mount.ErrStalled, err) //nolint:errorlint // see above
	}
	_, network := errors.AsType[*net.OpError](err)
	_, trust := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case network, trust, errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, http.ErrSchemeMismatch):
		return err
	}
	return fmt.Errorf("%w: it is no answer of HTTP, or none of ours", mount.ErrAnswer)
}

// counted counts the bytes of a body as they are read.
type counted struct {
	io.ReadCloser
	bytes *atomic.Int64
	cost  *Cost // may be nil
}

// Read implements [io.Reader].
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.bytes.Add(int64(n))
	if c.cost != nil {
		c.cost.Bytes += int64(n)
	}
	return n, err
}
