package front

import (
	"crypto/tls"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// A Certificate is a certificate with its key, in two files in PEM, which are
// read again when they change. It may be used by many goroutines.
type Certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	seen    [2]fs.FileInfo // of what was read
	refused [2]fs.FileInfo // of what could not be taken
	told    string         // what was last said to be wrong
	looked  time.Time
}

// lookAgain is how often the files are looked at, at most: by who connects.
const lookAgain = time.Second

// LoadCertificate reads both files.
func LoadCertificate(certFile, keyFile string, logger *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, logger: logger}
	seen, err := c.stat()
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	c.pair, c.seen, c.looked = &pair, seen, time.Now()
	return c, nil
}

// Get is for GetCertificate of [tls.Config]. Files that do not go together, as
// while they are replaced, leave what there is in place, and are told of once.
func (c *Certificate) Get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) >= lookAgain {
		c.looked = time.Now()
		c.look()
	}
	return c.pair, nil
}

func (c *Certificate) look() {
	now, err := c.stat()
	if err == nil && (same(now, c.seen) || same(now, c.refused)) {
		return
	}
	var pair tls.Certificate
	if err == nil {
		pair, err = tls.LoadX509KeyPair(c.certFile, c.keyFile)
	}
	if err != nil {
		c.refused = now
		if text := err.Error(); c.told != text {
			c.told = text
			c.logger.Error("the certificate cannot be read again; the one of before stays", "cert", c.certFile, "key", c.keyFile, "error", err)
		}
		return
	}
	c.pair, c.seen, c.refused, c.told = &pair, now, [2]fs.FileInfo{}, ""
	c.logger.Info("the certificate was read again", "cert", c.certFile)
}

func (c *Certificate) stat() (infos [2]fs.FileInfo, err error) {
	for i, path := range []string{c.certFile, c.keyFile} {
		if infos[i], err = os.Stat(path); err != nil {
			return [2]fs.FileInfo{}, err
		}
	}
	return infos, nil
}

func same(a, b [2]fs.FileInfo) bool {
	for i := range a {
		if a[i] == nil || b[i] == nil || !os.SameFile(a[i], b[i]) || a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) {
			return false
		}
	}
	return true
}
