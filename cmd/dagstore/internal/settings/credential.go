package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A Credential says who we are for some hosts, and where the secret is.
type Credential struct {
	Hosts []string `toml:"hosts"` // names, with a port where it is not the usual one
	User  string   `toml:"user"`  // with it the secret is a password; an access key's id for S3
	Key   string   `toml:"key"`   // private key for SFTP, a file; then the secret is its passphrase

	Header    string `toml:"header"`    // of HTTP: the secret is its value
	Cleartext bool   `toml:"cleartext"` // show it to http: and ftp:, too, where others can read it

	// One of these is where the secret is.
	File    string `toml:"file"`    // first line of a file that nobody else can read
	Env     string `toml:"env"`     // variable of the environment
	Systemd string `toml:"systemd"` // name of a credential that systemd has loaded (LoadCredential)
}

func (c *Credential) check() error {
	var errs []error
	switch n := count(c.File != "", c.Env != "", c.Systemd != ""); {
	case n > 1:
		errs = append(errs, errors.New("file, env and systemd exclude each other"))
	case n == 0 && c.Key == "":
		errs = append(errs, errors.New("say where the secret is: file, env or systemd"))
	}
	if strings.ContainsAny(c.Systemd, `/\`) {
		errs = append(errs, fmt.Errorf("systemd = %q is a path; it is the name that LoadCredential gives", c.Systemd))
	}
	if count(c.User != "", c.Header != "") > 1 {
		errs = append(errs, errors.New("user and header exclude each other"))
	}
	for _, host := range c.Hosts {
		if name := strings.TrimPrefix(host, "*."); name == "" || strings.ContainsAny(name, "/@*? ") {
			errs = append(errs, fmt.Errorf("hosts: %q is no host", host))
		}
	}
	return errors.Join(errs...)
}

// mostSecret is how long a secret may be.
const mostSecret = 64 << 10

// Secret reads the secret: the first line of what c names. It is "" for a key
// without a passphrase. An error says where it should be and never what is there.
func (c *Credential) Secret(getenv func(string) string) (string, error) {
	path, closed := c.File, fs.FileMode(0o077)
	switch {
	case c.Env != "":
		secret := getenv(c.Env)
		if secret == "" {
			return "", fmt.Errorf("the environment has no %s", c.Env)
		}
		return secret, nil
	case c.Systemd != "":
		dir := getenv("CREDENTIALS_DIRECTORY")
		if dir == "" {
			return "", fmt.Errorf("systemd has loaded no credentials: the unit needs LoadCredential=%s:PATH", c.Systemd)
		}
		// It gives them to root and to the user of the unit, by an ACL that shows as the group's bits.
		path, closed = filepath.Join(dir, c.Systemd), 0o037
	case path == "":
		return "", nil
	}
	return readSecret(path, closed)
}

// readSecret is the first line of a file that none of the bits closed lets in.
func readSecret(path string, closed fs.FileMode) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // it was only read
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&closed != 0 && runtime.GOOS != "windows" {
		return "", fmt.Errorf("%s can be read by others (mode %v): chmod 600 it", path, info.Mode().Perm())
	}
	data, err := io.ReadAll(io.LimitReader(f, mostSecret+1))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(data), "\n")
	line = strings.TrimSuffix(line, "\r")
	switch {
	case len(data) > mostSecret:
		return "", fmt.Errorf("%s is too long for a secret", path)
	case line == "":
		return "", fmt.Errorf("%s has no secret in its first line", path)
	}
	return line, nil
}
