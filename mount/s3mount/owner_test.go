package s3mount_test

import (
	"io"
	"testing"

	"github.com/dagstore/dagstore/internal/servertest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/s3mount"
)

// owner is a server, and its owner.
type owner struct{ *servertest.S3 }

func newOwner(t *testing.T) *owner {
	t.Helper()
	return &owner{servertest.VersityGW(t)}
}

// service is how o's server is reached.
func (o *owner) service() s3mount.Service {
	return s3mount.Service{Endpoint: o.Endpoint, Region: o.Region,
		Credentials: s3mount.Credentials{AccessKey: o.AccessKey, SecretKey: s3mount.Secret(o.SecretKey)}}
}

func newClient(t *testing.T, cfg *s3mount.Config) *s3mount.Client {
	t.Helper()
	c, err := s3mount.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.CloseIdle() })
	return c
}

func open(t *testing.T, c *s3mount.Client, url string) mount.Mount {
	t.Helper()
	m, err := c.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// read reads all that a call has opened.
func read(r io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return string(b), err
}
