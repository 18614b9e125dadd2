package servertest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Nginx is an HTTP server that serves a folder and counts what it is asked.
type Nginx struct {
	URL string // of the folder, without a slash at its end
	*Process
	log string
}

// A Request is one line of the log of [Nginx].
type Request struct {
	Method string
	URI    string // as it was sent
	Status int
	Bytes  int64  // of the body that was sent
	Range  string // the header; "" where there was none
}

const nginxConf = `daemon off;
%s
worker_processes 1;
pid %[2]s/pid;
error_log stderr warn;
events { worker_connections 512; }
http {
	log_format asked '$request_method $request_uri $status $body_bytes_sent "$http_range"';
	access_log %[2]s/access.log asked;
	client_body_temp_path %[2]s/body;
	proxy_temp_path %[2]s/proxy;
	fastcgi_temp_path %[2]s/fastcgi;
	uwsgi_temp_path %[2]s/uwsgi;
	scgi_temp_path %[2]s/scgi;
	default_type application/vnd.ipld.car;
	server {
		listen %[3]s;
		root "%[4]s";
		%[5]s
	}
}
`

// StartNginx serves dir until the test ends. The directives are put into the
// server's block: locations, for example.
func StartNginx(t T, dir string, directives ...string) *Nginx {
	t.Helper()
	program := Need(t, "nginx")
	own, err := os.MkdirTemp("", "nginx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(own) })
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // the folders of tests are their owner's alone
	}
	address := Address(t)
	conf := filepath.Join(own, "nginx.conf")
	text := fmt.Sprintf(nginxConf, user, own, address, dir, strings.Join(directives, "\n\t\t"))
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	process := Start(t, exec.CommandContext(context.Background(), program, "-c", conf, "-p", own, "-e", "stderr"), address)
	return &Nginx{URL: "http://" + address, Process: process, log: filepath.Join(own, "access.log")}
}

// Requests waits until nginx has logged n requests since it started, and
// returns all that it has. It fails the test if they do not come: nginx logs a
// request when its answer has been sent, or given up.
func (n *Nginx) Requests(t T, count int) []Request {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		all, err := n.requests()
		if err != nil {
			t.Fatal(err)
		}
		if len(all) >= count {
			return all
		}
		if time.Now().After(deadline) {
			t.Fatalf("nginx has logged %d requests, not %d", len(all), count)
		}
	}
}

// requests parses the log.
func (n *Nginx) requests() ([]Request, error) {
	text, err := os.ReadFile(n.log)
	if err != nil {
		return nil, err
	}
	var all []Request
	for line := range strings.Lines(string(text)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 5)
		if len(fields) != 5 || !strings.HasSuffix(line, "\n") {
			continue // it is being written
		}
		status, err := strconv.Atoi(fields[2])
		if err != nil {
			return nil, fmt.Errorf("a line of the log: %q: %w", line, err)
		}
		size, err := strconv.ParseInt(fields[3], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("a line of the log: %q: %w", line, err)
		}
		asked, _ := strings.CutPrefix(strings.Trim(fields[4], `"`), "-")
		all = append(all, Request{Method: fields[0], URI: fields[1], Status: status, Bytes: size, Range: asked})
	}
	return all, nil
}
