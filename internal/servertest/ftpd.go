package servertest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

// modules is where Debian's ProFTPD has its parts.
const modules = "/usr/lib/proftpd"

// FTP is how an FTP server shall be.
type FTP struct {
	Folder         string // what it serves
	User, Password string // who may log in; no user: anyone, as "anonymous"
	TLS            string // "", "explicit" or "implicit"; refused is what comes without
	Options        string // more lines of its configuration
}

// An FTPServer is ProFTPD, running.
type FTPServer struct {
	*Process
	Address string
	Roots   *x509.CertPool // that its certificate is of, if it has one
}

// Start starts a server. It asks for the name of nobody, and lets no user of
// this machine log in.
func (f FTP) Start(t T) *FTPServer {
	t.Helper()
	program := Need(t, "proftpd")
	dir, err := os.MkdirTemp("", "ftpd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &FTPServer{Address: Address(t)}
	conf := filepath.Join(dir, "proftpd.conf")
	text := f.base(t, dir, s.Address) + f.login(t, dir) + f.tls(t, dir, s) + f.Options
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Process = Start(t, exec.CommandContext(context.Background(), program, "-n", "-q", "-c", conf), s.Address)
	return s
}

func (f FTP) base(t T, dir, address string) string {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`
ServerType standalone
UseIPv6 off
DefaultAddress 127.0.0.1
Port %[2]s
User %[3]s
Group %[4]s
PidFile %[1]s/pid
ScoreboardFile %[1]s/scoreboard
SystemLog %[1]s/log
WtmpLog off
UseReverseDNS off
DelayTable none
DefaultRoot ~
RootLogin on
RequireValidShell off
MaxInstances 100
TimeoutLinger 1
`, dir, port, me.Username, group.Name)
}

// login is the file of who may log in. Each of them is who runs the server.
func (f FTP) login(t T, dir string) string {
	name, password := f.User, f.Password
	if name == "" {
		name, password = "guest", "unused"
	}
	cmd := exec.CommandContext(context.Background(), Need(t, "openssl"), "passwd", "-6", "-stdin")
	cmd.Stdin = strings.NewReader(password)
	hash, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	line := fmt.Sprintf("%s:%s:%d:%d::%s:/bin/false\n", name, strings.TrimSpace(string(hash)), os.Getuid(), os.Getgid(), f.Folder)
	if err := os.WriteFile(filepath.Join(dir, "passwd"), []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf("AuthOrder mod_auth_file.c\nAuthUserFile %s/passwd\n", dir)
	if f.User == "" {
		conf += fmt.Sprintf("<Anonymous %s>\nUser guest\nUserAlias anonymous guest\n</Anonymous>\n", f.Folder)
	}
	return conf
}

func (f FTP) tls(t T, dir string, s *FTPServer) string {
	if f.TLS == "" {
		return ""
	}
	if _, err := os.Stat(modules + "/mod_tls.so"); err != nil {
		t.Skipf("there is no TLS for proftpd; scripts/servers.sh installs it: %v", err)
	}
	certificate, key, roots := loopbackCertificate(t)
	s.Roots = roots
	for name, data := range map[string][]byte{"cert.pem": certificate, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	conf := fmt.Sprintf(`
ModulePath %[2]s
LoadModule mod_tls.c
TLSEngine on
TLSRequired on
TLSLog %[1]s/tls.log
TLSECCertificateFile %[1]s/cert.pem
TLSECCertificateKeyFile %[1]s/key.pem
`, dir, modules)
	if f.TLS == "implicit" {
		conf += "TLSOptions UseImplicitSSL\n"
	}
	return conf
}

// loopbackCertificate makes a certificate of 127.0.0.1, signed by itself.
func loopbackCertificate(t T) (certificate, key []byte, roots *x509.CertPool) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "a server of a test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		DNSNames:     []string{"localhost"},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	roots = x509.NewCertPool()
	roots.AppendCertsFromPEM(certificate)
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bare}), roots
}
