package front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A Monitor shows how the program is: /metrics, /healthz, /readyz, and
// /debug/pprof/. It asks nobody who they are, so it belongs on loopback.
type Monitor struct {
	Metrics http.Handler
	Alive   func(context.Context) error // nil while the program works

	// Local says that only this machine can reach it. Then it has
	// /debug/pprof/, too, and answers no pages of other sites that are open in
	// a browser here, not even under a name of theirs that leads here.
	Local bool

	ready atomic.Bool
}

// aliveTime is how long Alive may take.
const aliveTime = 5 * time.Second

// SetReady says whether requests should be sent to this program.
func (m *Monitor) SetReady(ready bool) { m.ready.Store(ready) }

// ServeHTTP implements [http.Handler].
func (m *Monitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "there is nothing to change here", http.StatusMethodNotAllowed)
		return
	}
	if m.Local && !ours(r) {
		http.Error(w, "this is for programs on this machine", http.StatusForbidden)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch path := r.URL.Path; {
	case path == "/metrics" && m.Metrics != nil:
		m.Metrics.ServeHTTP(w, r)
	case path == "/healthz":
		ctx, cancel := context.WithTimeout(r.Context(), aliveTime)
		defer cancel()
		say(w, m.Alive(ctx))
	case path == "/readyz":
		var err error
		if !m.ready.Load() {
			err = errNotReady
		}
		say(w, err)
	case strings.HasPrefix(path, profiles) && m.Local:
		serveProfile(w, r, strings.TrimPrefix(path, profiles))
	default:
		http.Error(w, "there are /metrics, /healthz, /readyz and "+profiles, http.StatusNotFound)
	}
}

// ours says whether no page of another site has made r.
func ours(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" && site != "same-origin" {
		return false
	}
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}

var errNotReady = errors.New("starting or stopping")

func say(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// profiles is where the tools of Go look for them.
const profiles = "/debug/pprof/"

// Of how long a profile or a trace may be.
const (
	usualSeconds = 30
	mostSeconds  = 300
)

// serveProfile answers as net/http/pprof does, which cannot be used: it registers
// itself with a mux of the process by being imported.
func serveProfile(w http.ResponseWriter, r *http.Request, name string) {
	switch name {
	case "":
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		names := []string{"profile?seconds=30", "trace?seconds=1"}
		for _, p := range pprof.Profiles() {
			names = append(names, p.Name()+"?debug=1")
		}
		slices.Sort(names)
		fmt.Fprintln(w, strings.Join(names, "\n"))
		return
	case "cmdline", "symbol": // the tools do without
		http.Error(w, "not served", http.StatusNotFound)
		return
	case "profile":
		during(w, r, usualSeconds, func(b *bytes.Buffer) error { return pprof.StartCPUProfile(b) }, pprof.StopCPUProfile)
		return
	case "trace":
		during(w, r, 1, func(b *bytes.Buffer) error { return trace.Start(b) }, trace.Stop)
		return
	}
	p := pprof.Lookup(name)
	if p == nil {
		http.Error(w, "there is no such profile", http.StatusNotFound)
		return
	}
	debug, _ := strconv.Atoi(r.FormValue("debug"))
	if name == "heap" && r.FormValue("gc") != "" {
		runtime.GC()
	}
	kind := "application/octet-stream"
	if debug > 0 {
		kind = "text/plain; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	_ = p.WriteTo(w, debug) // the client has left
}

// during records for as many seconds as r says.
func during(w http.ResponseWriter, r *http.Request, usual int, start func(*bytes.Buffer) error, stop func()) {
	seconds, err := strconv.Atoi(r.FormValue("seconds"))
	if err != nil || seconds <= 0 {
		seconds = usual
	}
	var b bytes.Buffer
	if err := start(&b); err != nil {
		http.Error(w, err.Error(), http.StatusConflict) // another one is under way
		return
	}
	select {
	case <-time.After(time.Duration(min(seconds, mostSeconds)) * time.Second):
	case <-r.Context().Done():
	}
	stop()
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(b.Bytes()) // likewise
}
