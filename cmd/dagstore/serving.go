package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/front"
	"github.com/dagstore/dagstore/gateway"
	"github.com/dagstore/dagstore/internal/denylist"
	"github.com/dagstore/dagstore/shard"
)

const (
	// defaultListen is reached from this machine alone, on a port that is
	// not Kubo's.
	defaultListen = "127.0.0.1:8447"
	// defaultMetrics is beside it.
	defaultMetrics = "127.0.0.1:8449"
	// patience is how long answers under way may take when serve stops, and
	// standstill how long one may stand still, unless somebody says so.
	patience   = 10 * time.Second
	standstill = time.Minute
)

// A serving is what "serve" needs besides the store. It is made before that is
// opened: what is wrong with it is told at once.
type serving struct {
	a        *app
	listen   string
	metrics  address
	lists    *denylist.Follower // nil: nothing is denied
	cert     *front.Certificate // nil: no TLS
	proxies  []netip.Prefix
	names    gateway.Names
	registry *prometheus.Registry
	monitor  *front.Monitor
}

// An address is where something listens.
type address struct {
	at     string // "": nowhere
	chosen bool   // somebody has asked for just this one
}

// servingFlags are those of serve that are about the gateway.
type servingFlags struct {
	listen, metrics string
	denylists       []string
}

func (f *servingFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.listen, "listen", defaultListen, "address and port; port 0 takes any free one")
	cmd.Flags().StringVar(&f.metrics, "metrics", defaultMetrics, "address and port of /metrics, /healthz, /readyz and /debug/pprof/; none: nowhere")
	denylistFlag(cmd, &f.denylists)
}

// newServing reads what flags and the configuration name.
func (a *app) newServing(ctx context.Context, cmd *cobra.Command, f *servingFlags) (*serving, error) {
	said := &a.settings.Serve
	s := &serving{a: a, listen: f.listen, metrics: address{f.metrics, cmd.Flags().Changed("metrics")}, registry: prometheus.NewRegistry()}
	if !cmd.Flags().Changed("listen") && said.Listen != "" {
		s.listen = said.Listen
	}
	if said.Metrics != nil && !s.metrics.chosen {
		s.metrics = address{*said.Metrics, true}
	}
	if s.metrics.at == "none" || s.metrics.at == "" {
		s.metrics.at = ""
	} else if err := checkListen(ctx, "--metrics", s.metrics.at); err != nil {
		return nil, exitError(exitUsage, err)
	}
	if err := checkListen(ctx, "--listen", s.listen); err != nil {
		return nil, exitError(exitUsage, err)
	}
	var err error
	if s.proxies, err = said.Prefixes(); err != nil {
		return nil, exitError(exitUsage, err)
	}
	of := &a.settings.Gateway
	if s.names, err = gateway.NewNames(gateway.Resolving{DNSLink: of.DNSLink, DNSServer: of.DNSServer, IPNS: of.IPNS}); err != nil {
		return nil, exitError(exitUsage, err)
	}
	if said.TLSCert != "" {
		if s.cert, err = front.LoadCertificate(said.TLSCert, said.TLSKey, a.logger(slog.LevelWarn)); err != nil {
			return nil, fmt.Errorf("the certificate of the gateway: %w", err)
		}
	}
	if s.lists, err = a.denylists(f.denylists, a.logger(slog.LevelWarn)); err != nil {
		return nil, err
	}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s, nil
}

// checkListen tells what is wrong with an address before anything is opened.
func checkListen(ctx context.Context, flag, listen string) error {
	_, port, err := net.SplitHostPort(listen)
	if err == nil {
		_, err = net.DefaultResolver.LookupPort(ctx, "tcp", port)
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w", flag, listen, err)
	}
	return nil
}

// checkServing looks whether what serving needs is there, as newServing does.
func (a *app) checkServing() (errs []error) {
	said := &a.settings.Serve
	if said.TLSCert != "" {
		_, err := front.LoadCertificate(said.TLSCert, said.TLSKey, slog.New(slog.DiscardHandler))
		errs = append(errs, within("serve.tls_cert", err))
	}
	_, err := a.denylists(nil, slog.New(slog.DiscardHandler))
	return append(errs, within("gateway.denylists", err))
}

// scheme is that of the gateway's own URL.
func (s *serving) scheme() string {
	if s.cert != nil {
		return "https"
	}
	return "http"
}

// open listens, and makes the gateway.
func (s *serving) open(ctx context.Context, store *dagstore.Store) (net.Listener, *gateway.Handler, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", s.listen)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot listen on %s: %w; choose another address by --listen", s.listen, err)
	}
	of := &s.a.settings.Gateway
	cfg := &gateway.Config{
		// Its answers name no shard and no source: the log does.
		Logger:         s.a.logger(slog.LevelWarn),
		TrustedProxies: s.proxies,
		PublicURL:      of.PublicURL,
		Names:          s.names,
		Trustless:      of.Trustless, DeserializedHosts: of.DeserializedHosts, Hosts: of.Hosts,
		Limits: gateway.Limits{Requests: s.a.settings.Serve.Requests},
	}
	if s.lists != nil {
		cfg.Refuse = s.lists.Refuse
	}
	handler, err := gateway.New(store, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, listener.Close())
	}
	return listener, handler, nil
}

// run answers requests until ctx ends, which is its regular end.
func (s *serving) run(ctx context.Context, h *holder, listener net.Listener, handler *gateway.Handler) error {
	s.registry.MustRegister(gatewayMetrics{handler, s.lists})
	ending, end := context.WithCancel(context.WithoutCancel(ctx)) // of what watches until the last answer
	var beside sync.WaitGroup
	defer beside.Wait()
	defer end()
	if err := s.watch(ending, h.store, &beside); err != nil {
		return errors.Join(err, listener.Close())
	}
	if s.lists != nil {
		beside.Go(func() { s.lists.Run(ending) })
	}
	said := &s.a.settings.Serve
	grace := said.Grace.Or(patience)
	s.monitor.SetReady(true)
	cut, err := front.Serve(ctx, listener, front.Config{
		Handler:     h.meter.Wrap(handler),
		Certificate: s.cert,
		Progress:    standstill,
		Logger:      s.a.logger(slog.LevelWarn),
		Drain:       said.Drain.Or(0),
		Grace:       grace,
		Leaving: func() {
			s.monitor.SetReady(false)
			s.a.notef("stopping")
		},
	})
	if cut {
		s.a.notef("answers that took longer than %v were cut off", grace)
	}
	if err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// watch serves metrics and health, until ctx ends. If the usual port is taken,
// by another store for instance, it does not, and that is told.
func (s *serving) watch(ctx context.Context, store *dagstore.Store, beside *sync.WaitGroup) error {
	s.monitor = &front.Monitor{
		Metrics: promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}),
		Alive: func(ctx context.Context) error {
			_, err := store.Info(ctx, "health")
			if errors.Is(err, shard.ErrUnknown) {
				return nil // it has answered
			}
			return err
		},
	}
	if s.metrics.at == "" {
		return nil
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", s.metrics.at)
	switch {
	case err != nil && s.metrics.chosen:
		return fmt.Errorf("cannot listen on %s: %w; choose another address by --metrics", s.metrics.at, err)
	case errors.Is(err, syscall.EADDRINUSE):
		s.a.notef("no metrics: %s is in use; choose another address by --metrics", s.metrics.at)
		return nil
	case err != nil:
		s.a.notef("no metrics: %v", err)
		return nil
	}
	if tcp, ok := listener.Addr().(*net.TCPAddr); ok {
		s.monitor.Local = tcp.IP.IsLoopback()
	}
	s.a.notef("metrics and health on http://%s/", listener.Addr())
	beside.Go(func() {
		var handler http.Handler = s.monitor
		// That it ends early is told by whoever asks it.
		_, _ = front.Serve(ctx, listener, front.Config{Handler: handler, Progress: standstill, Logger: s.a.logger(slog.LevelWarn)})
	})
	return nil
}

// gatewayMetrics show what the gateway and its denylists have done.
type gatewayMetrics struct {
	handler *gateway.Handler
	lists   *denylist.Follower
}

// What is shown, in the order of Collect.
var gatewayDescs = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}{
	{prometheus.NewDesc("dagstore_gateway_requests_total", "Requests that came to the gateway.", nil, nil), prometheus.CounterValue},
	{prometheus.NewDesc("dagstore_gateway_requests_active", "Requests under way.", nil, nil), prometheus.GaugeValue},
	{prometheus.NewDesc("dagstore_gateway_sent_bytes_total", "Bytes of bodies that were sent.", nil, nil), prometheus.CounterValue},
	{prometheus.NewDesc("dagstore_gateway_broken_total", "Answers that were broken off.", nil, nil), prometheus.CounterValue},
	{prometheus.NewDesc("dagstore_gateway_busy_total", "Requests that were one too many at once.", nil, nil), prometheus.CounterValue},
	{prometheus.NewDesc("dagstore_gateway_refused_total", "Paths and blocks that a denylist has refused.", nil, nil), prometheus.CounterValue},
	{prometheus.NewDesc("dagstore_gateway_damaged_total", "Blocks that are damaged wherever they are.", nil, nil), prometheus.CounterValue},
	{prometheus.NewDesc("dagstore_gateway_large_total", "Blocks of more than 2 MiB that were read.", nil, nil), prometheus.CounterValue},
	{prometheus.NewDesc("dagstore_denylist_rules", "Rules of all denylists.", nil, nil), prometheus.GaugeValue},
	{prometheus.NewDesc("dagstore_denylist_bad_lines", "Lines of denylists that are no rules.", nil, nil), prometheus.GaugeValue},
	{prometheus.NewDesc("dagstore_denylist_stale", "Denylists of which what is there now cannot be used, and the rules of before hold.", nil, nil), prometheus.GaugeValue},
}

// Describe implements [prometheus.Collector].
func (gatewayMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, m := range gatewayDescs {
		out <- m.desc
	}
}

// Collect implements [prometheus.Collector].
func (m gatewayMetrics) Collect(out chan<- prometheus.Metric) {
	st := m.handler.Stats()
	values := []int64{st.Requests, st.Active, st.Bytes, st.Broken, st.Busy, st.Refused, st.Damaged, st.Large, 0, 0, 0}
	if m.lists != nil {
		for _, l := range m.lists.Statuses() {
			values[8] += int64(l.Rules)
			values[9] += int64(l.Bad)
			if l.Err != nil {
				values[10]++
			}
		}
	}
	for i, d := range gatewayDescs {
		out <- prometheus.MustNewConstMetric(d.desc, d.kind, float64(values[i]))
	}
}
