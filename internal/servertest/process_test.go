package servertest

import (
	"net"
	"os/exec"
	"testing"
	"time"
)

// The port of an address is free, and none that another connection or listener is
// given meanwhile.
func TestAddress(t *testing.T) {
	for range 100 {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", Address(t))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if port := l.Addr().(*net.TCPAddr).Port; port < firstPort || port >= endPort {
			t.Errorf("port %d may be given to anybody", port)
		}
	}
}

// What a server has started ends with it, also when that ignores hangups.
func TestStopEndsAll(t *testing.T) {
	address := Address(t)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	// The shell ends when it is killed; the listener below it has to be as well.
	cmd := exec.Command(Need(t, "bash"), "-c", `trap "" HUP; "$0" -c 'import http.server,sys; http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()' "$1"; exit 3`,
		Need(t, "python3"), port)
	cmd.Dir = t.TempDir()
	p := Start(t, cmd, address)
	p.Stop()
	p.Stop()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err != nil {
			return
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("something still listens")
		}
	}
}
