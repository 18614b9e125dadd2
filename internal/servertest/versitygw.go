package servertest

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/minio/minio-go/v7/pkg/s3utils"
	"github.com/minio/minio-go/v7/pkg/signer"
)

// S3 is an S3 server, and what a client has to know to use it as its owner.
type S3 struct {
	Endpoint  string // http://127.0.0.1:PORT
	Region    string
	AccessKey string
	SecretKey string

	client *http.Client
}

// VersityGW starts versitygw, an S3 server that keeps its objects as files,
// over a temporary folder. There are no buckets in it yet. Buckets are
// addressed by the path, and may have versioning turned on.
func VersityGW(t T) *S3 {
	t.Helper()
	program := Need(t, "versitygw")
	folder, err := os.MkdirTemp("", "versitygw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	for _, name := range []string{"objects", "versions"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	address := Address(t)
	pool := &http.Transport{MaxIdleConnsPerHost: 8}
	t.Cleanup(pool.CloseIdleConnections)
	s := &S3{Endpoint: "http://" + address, Region: "us-east-1", AccessKey: "owner", SecretKey: rand.Text(), client: &http.Client{Transport: pool}}
	cmd := exec.Command(program, "--port", address, "--quiet", "--keep-alive", //nolint:noctx // Start ends it with the test
		"posix", "--versioning-dir", filepath.Join(folder, "versions"), filepath.Join(folder, "objects"))
	cmd.Dir = folder
	// The keys are no arguments, which everybody on this machine could read.
	cmd.Env = []string{"HOME=" + folder, "PATH=" + os.Getenv("PATH"),
		"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey}
	Start(t, cmd, address)
	return s
}

// Put makes a bucket, at "/BUCKET", or an object, at "/BUCKET/KEY" with the key
// as it is. It returns the headers of the answer.
func (s *S3) Put(t T, path string, body []byte) http.Header {
	t.Helper()
	h, err := s.Do(http.MethodPut, path, "", body)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Do sends one request, signed by the owner. An answer that is no success is an
// error that has all of it. It may be called by many goroutines at once.
func (s *S3) Do(method, path, query string, body []byte) (http.Header, error) {
	u, err := url.Parse(s.Endpoint)
	if err != nil {
		return nil, err
	}
	u.Path, u.RawPath, u.RawQuery = path, s3utils.EncodePath(path), query
	req, err := http.NewRequest(method, u.String(), bytes.NewReader(body)) //nolint:noctx // the server ends with the test
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(body)
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	resp, err := s.client.Do(signer.SignV4(*req, s.AccessKey, s.SecretKey, "", s.Region))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return resp.Header, err
}
