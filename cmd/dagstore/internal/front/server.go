package front

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Limits of connections. Those of answers are the handler's.
const (
	headerTime  = 10 * time.Second
	headerBytes = 64 << 10
	idleTime    = 2 * time.Minute
	streams     = 250 // of HTTP/2, at once on one connection
)

// Config is how a handler is served.
type Config struct {
	Handler     http.Handler
	Certificate *Certificate  // nil: without TLS, HTTP/2 being spoken to those who begin with it, as proxies do
	Progress    time.Duration // until a connection of HTTP/2 that takes nothing is closed
	Logger      *slog.Logger

	Leaving func()        // called when the end begins, before anything else; may be nil
	Drain   time.Duration // how long new requests are still answered then
	Grace   time.Duration // how long answers under way may take after that
}

// Serve answers requests on listener, which it closes, until ctx ends; then it
// lets the answers under way end. cut reports that some took too long for that.
func Serve(ctx context.Context, listener net.Listener, cfg Config) (cut bool, err error) {
	server := newServer(cfg)
	served := make(chan error, 1)
	go func() {
		if cfg.Certificate != nil {
			served <- server.ServeTLS(listener, "", "")
		} else {
			served <- server.Serve(listener)
		}
	}()
	select {
	case err := <-served:
		return false, errors.Join(err, server.Close())
	case <-ctx.Done():
	}
	if cfg.Leaving != nil {
		cfg.Leaving()
	}
	if cfg.Drain > 0 {
		select {
		case err := <-served:
			return false, errors.Join(err, server.Close())
		case <-time.After(cfg.Drain):
		}
	}
	waiting, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Grace)
	defer cancel()
	err = server.Shutdown(waiting)
	if errors.Is(err, context.DeadlineExceeded) {
		cut, err = true, server.Close()
	}
	if ended := <-served; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return cut, err
}

func newServer(cfg Config) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s := &http.Server{
		Handler:           withoutBody(cfg.Handler, bodyTime),
		ReadHeaderTimeout: headerTime,
		MaxHeaderBytes:    headerBytes,
		IdleTimeout:       idleTime,
		Protocols:         protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: streams,
			SendPingTimeout:      idleTime / 2,
			WriteByteTimeout:     cfg.Progress,
		},
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn),
	}
	if cfg.Certificate != nil {
		s.TLSConfig = &tls.Config{GetCertificate: cfg.Certificate.Get, MinVersion: tls.VersionTLS12}
	}
	return s
}
