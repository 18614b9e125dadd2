package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/ipfs/boxo/blockservice"
	boxo "github.com/ipfs/boxo/gateway"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/gateway"
	"github.com/dagstore/dagstore/internal/servertest"
)

// gatewayEnv tells this program to be a server: which, where, and of which store.
// It is a process of its own so that what the client does is not counted.
const gatewayEnv = "DAGSTORE_BENCH_GATEWAY"

// The gateways that are compared.
const (
	kindOurs = "ours"
	kindBoxo = "boxo" // with its defaults, over the same store, which hashes nothing for it
	kindBare = "bare" // net/http with as many headers and 1 KiB from memory: what no handler can be faster than
)

// serveGateway is the server. It does not come to an end.
func serveGateway(order string) error {
	parts := strings.SplitN(order, " ", 3)
	if len(parts) != 3 {
		return fmt.Errorf("%w: %s=%q", errUsage, gatewayEnv, order)
	}
	kind, address, dir := parts[0], parts[1], parts[2]
	ctx := context.Background()
	s, err := dagstore.Open(ctx, dir, nil)
	if err != nil {
		return err
	}
	var handler http.Handler
	switch kind {
	case kindOurs:
		handler, err = gateway.New(s, nil)
	case kindBoxo:
		handler, err = boxoGateway(s)
	default:
		handler = http.HandlerFunc(headersOnly)
	}
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/profile" { // for whoever wants to know where the time goes
			if pprof.StartCPUProfile(w) == nil {
				time.Sleep(3 * time.Second)
				pprof.StopCPUProfile()
			}
			return
		}
		handler.ServeHTTP(w, r)
	})}
	return server.Serve(l)
}

func headersOnly(w http.ResponseWriter, _ *http.Request) {
	for i := range 12 {
		w.Header()["X-Header-"+string(rune('A'+i))] = []string{"a value of some length, as those of the gateway have"}
	}
	w.Header().Set("Content-Length", "1024")
	_, _ = w.Write(make([]byte, 1024)) // the client notices
}

func boxoGateway(s *dagstore.Store) (http.Handler, error) {
	blocks := s.Blockstore(&dagstore.BlockstoreOptions{Unchecked: true})
	backend, err := boxo.NewBlocksBackend(blockservice.New(blocks, nil))
	if err != nil {
		return nil, err
	}
	return boxo.NewHandler(boxo.Config{DeserializedResponses: true, NoDNSLink: true, MetricsRegistry: prometheus.NewRegistry()}, backend), nil
}

// A web is a server that is measured.
type web struct {
	url     string
	process *servertest.Process
}

// startGateway starts this program as a gateway over the store in dir, of which
// there may be one at a time.
func startGateway(t *stage, kind, dir string) *web {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	address := servertest.Address(t)
	cmd := exec.CommandContext(context.Background(), self)
	cmd.Env = append(os.Environ(), gatewayEnv+"="+kind+" "+address+" "+dir)
	return &web{"http://" + address, servertest.Start(t, cmd, address)}
}
