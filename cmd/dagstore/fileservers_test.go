package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/internal/servertest"
)

// TestFileServers: CARs on real servers of FTP and SFTP, packed ones too, are
// added and read where they lie, with secrets that stand in files of their own.
func TestFileServers(t *testing.T) {
	const secret = "marker-of-a-password"
	folder, dir := t.TempDir(), t.TempDir()
	ftp := servertest.FTP{Folder: folder, User: "ann", Password: secret}.Start(t)
	sftp := servertest.StartSSHD(t, "")
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "config.toml")
	for path, text := range map[string]string{
		filepath.Join(folder, "ftp.car"):        string(carOf("by FTP")),
		filepath.Join(folder, "sftp.car"):       string(carOf("by SFTP")),
		filepath.Join(folder, "packed.car.zst"): string(w.EncodeAll(carOf("packed"), nil)),
		filepath.Join(dir, "secret"):            secret + "\n",
		config: fmt.Sprintf("[sources]\nknown_hosts = [%q]\n"+
			"[credentials.ftp]\nhosts = [%q]\nuser = \"ann\"\nfile = %q\ncleartext = true\n"+
			"[credentials.ssh]\nhosts = [%q]\nuser = %q\nkey = %q\n",
			sftp.KnownHosts, ftp.Address, filepath.Join(dir, "secret"), sftp.Address, sftp.User, sftp.KeyFile),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := newReading(t)
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := r.run(append([]string{"--config", config}, args...)...)
		if code != want || strings.Contains(out+errs, secret) {
			t.Fatalf("%q: %d, %s%s", args, code, out, errs)
		}
		return out + errs
	}
	ftpURL, sftpURL := "ftp://"+ftp.Address+"/", "sftp://"+sftp.Address+folder+"/"
	run(exitOK, "add", ftpURL+"ftp.car", sftpURL+"sftp.car", "zstd+"+sftpURL+"packed.car.zst")
	for _, body := range []string{"by FTP", "by SFTP", "packed"} {
		if got := run(exitOK, "block", "get", cartest.Raw([]byte(body)).CID.String()); got != body {
			t.Errorf("the block is %q, not %q", got, body)
		}
	}
	if out := run(exitOK, "add", sftpURL+"sftp.car"); !strings.Contains(out, "unchanged") {
		t.Errorf("again, it said:\n%s", out)
	}
	run(exitFailed, "add", sftpURL+"absent.car")
	run(exitFailed, "add", "ftp://ann:"+secret+"@"+ftp.Address+"/ftp.car")
	run(exitFailed, "add", "ftpes://"+ftp.Address+"/ftp.car") // it has no TLS
}
