package gateway

import (
	"context"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/shard"
)

const (
	homeShards = 100 // listed on the page
	homeRoots  = 8   // of one shard
)

// A homePage is what the page at "/" shows.
type homePage struct {
	Trustless bool
	Listed    bool // whether shards are shown at all
	Shards    []homeShard
	More      bool
	Broken    bool // the listing ended with an error
}

type homeShard struct {
	Key   shard.Key
	State string
	Roots []cid.Cid
	More  int
}

// serveHome says what this is. What the store holds is told to a browser on
// this machine only.
func (h *Handler) serveHome(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		w.Header().Set("Allow", allowed)
		return
	}
	page := homePage{Trustless: h.config.Trustless, Listed: local(r)}
	if page.Listed {
		h.list(r.Context(), &page)
	}
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	header.Set("X-Content-Type-Options", "nosniff")
	if err := homeTemplate().Execute(w, &page); err != nil {
		h.config.Logger.DebugContext(r.Context(), "gateway: home page", "error", err)
	}
}

// list fills in the first shards.
func (h *Handler) list(ctx context.Context, page *homePage) {
	for info, err := range h.shards(ctx) {
		if err != nil {
			h.config.Logger.WarnContext(ctx, "gateway: shards cannot be listed", "error", err)
			page.Broken = true
			return
		}
		if len(page.Shards) == homeShards {
			page.More = true
			return
		}
		roots := info.Roots[:min(len(info.Roots), homeRoots)]
		page.Shards = append(page.Shards, homeShard{info.Key, info.State.String(), roots, info.RootCount - len(roots)})
	}
}

// local reports whether r comes from a program on this machine that calls the
// gateway by a loopback name. The name matters: a page of another site can
// make its own name point here, and would then read what it likes. A page out
// of a CAR needs not even that, since it is served from here: where a browser
// says on whose behalf it asks, that must be the person alone.
func local(r *http.Request) bool {
	for _, forwarded := range []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip"} {
		if r.Header.Get(forwarded) != "" {
			return false
		}
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "none" {
		return false
	}
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && !loopbackHost(at.String()) {
		return false
	}
	return loopbackHost(r.RemoteAddr) && loopbackHost(r.Host)
}

// loopbackHost reports whether host, with or without a port, is this machine.
func loopbackHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

// homeTemplate is made anew each time: the page is rarely asked for.
func homeTemplate() *template.Template {
	return template.Must(template.New("home").Parse(homeHTML))
}

const homeHTML = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>dagstore gateway</title>
<style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1rem .25rem 0; border-top: 1px solid color-mix(in srgb, currentColor 25%, transparent); overflow-wrap: anywhere; }
th:nth-child(2), td:nth-child(2) { white-space: nowrap; overflow-wrap: normal; }
td a { font-size: .85rem; }
code { font-size: .9em; }
</style>
</head>
<body>
<h1>dagstore gateway</h1>
<p>This is an IPFS gateway over a store of CAR files. It serves what the store has, and looks nowhere else.</p>
<ul>
<li><code>/ipfs/<i>CID</i>?format=raw</code> is a block.</li>
<li><code>/ipfs/<i>CID</i>?format=car</code> is a DAG as a CAR.</li>
{{- if not .Trustless}}
<li><code>/ipfs/<i>CID</i>/<i>PATH</i></code> is a file or a folder.</li>
{{- end}}
</ul>
{{- if .Listed}}
<h2>Shards</h2>
{{- if .Shards}}
<table>
<thead><tr><th scope="col">Key</th><th scope="col">State</th><th scope="col">Roots</th></tr></thead>
<tbody>
{{- range .Shards}}
<tr><td>{{.Key}}</td><td>{{.State}}</td><td>
{{- range .Roots}}
<a href="/ipfs/{{.}}{{if $.Trustless}}?format=car{{end}}"><code>{{.}}</code></a><br>
{{- end}}
{{- if .More}}and {{.More}} more{{end}}</td></tr>
{{- end}}
</tbody>
</table>
{{- else if not .Broken}}
<p>The store is empty.</p>
{{- end}}
{{- if .More}}
<p>There are more: <code>dagstore ls</code> lists them all.</p>
{{- end}}
{{- if .Broken}}
<p>The list could not be read to its end.</p>
{{- end}}
{{- else}}
<p>What the store holds is listed only to who types the address of this page on this machine.</p>
{{- end}}
</body>
</html>
`
