package servertest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
)

// An SSHServer is a server of SFTP, running.
type SSHServer struct {
	*Process
	Address    string
	User       string
	KeyFile    string // of the user who may log in; it has no passphrase
	KnownHosts string // a file that has the server's key
	Folder     string // its own, which goes with it
}

// StartSSHD starts OpenSSH, which lets the user of the test log in by key, to
// nothing but SFTP. Options are more lines of its configuration.
func StartSSHD(t T, options string) *SSHServer {
	t.Helper()
	program, sftp := Need(t, "sshd"), "internal-sftp"
	s := newSSHServer(t)
	if os.Getuid() == 0 { // where it insists on it
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	host, port := s.hostPort(t)
	conf := fmt.Sprintf(`
ListenAddress %[2]s
Port %[3]s
HostKey %[1]s/host
PidFile none
AuthorizedKeysFile %[1]s/user.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication yes
KbdInteractiveAuthentication no
Subsystem sftp %[4]s
ForceCommand %[4]s
UseDNS no
MaxStartups 100
%[5]s`, s.Folder, host, port, sftp, options)
	path := s.write(t, "sshd_config", conf)
	s.Process = Start(t, exec.CommandContext(context.Background(), program, "-D", "-e", "-f", path), s.Address)
	return s
}

// StartSFTPPassword starts the SFTP of ProFTPD, which lets a user log in by
// password, or by the key, and shows them folder.
func StartSFTPPassword(t T, folder, name, password string) *SSHServer {
	t.Helper()
	program := Need(t, "proftpd")
	if _, err := os.Stat(modules + "/mod_sftp.so"); err != nil {
		t.Skipf("there is no SFTP for proftpd; scripts/servers.sh installs it: %v", err)
	}
	s := newSSHServer(t)
	s.User = name
	f := FTP{Folder: folder, User: name, Password: password}
	conf := f.base(t, s.Folder, s.Address) + f.login(t, s.Folder) + fmt.Sprintf(`
ModulePath %[2]s
LoadModule mod_sftp.c
SFTPEngine on
SFTPLog %[1]s/sftp.log
SFTPHostKey %[1]s/host
`, s.Folder, modules)
	path := s.write(t, "proftpd.conf", conf)
	s.Process = Start(t, exec.CommandContext(context.Background(), program, "-n", "-q", "-c", path), s.Address)
	return s
}

// newSSHServer makes the keys of a server and of its user.
func newSSHServer(t T) *SSHServer {
	t.Helper()
	keygen := Need(t, "ssh-keygen")
	dir, err := os.MkdirTemp("", "sshd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for _, name := range []string{"host", "user"} {
		cmd := exec.CommandContext(context.Background(), keygen, "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", filepath.Join(dir, name))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &SSHServer{Address: Address(t), User: me.Username, KeyFile: filepath.Join(dir, "user"), Folder: dir}
	public, err := os.ReadFile(filepath.Join(dir, "host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	host, port := s.hostPort(t)
	s.KnownHosts = s.write(t, "known_hosts", fmt.Sprintf("[%s]:%s %s\n", host, port, strings.TrimSpace(string(public))))
	return s
}

func (s *SSHServer) hostPort(t T) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

func (s *SSHServer) write(t T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.Folder, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
