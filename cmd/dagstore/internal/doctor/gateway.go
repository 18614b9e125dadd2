package doctor

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	// probePath is a file whose bytes are its CID: every gateway has it.
	probePath = "/ipfs/bafkqabten5rxi33s"
	probeWait = 10 * time.Second
	probeMost = 1 << 20

	// listing is in the page at "/" when shards are listed on it.
	listing = "<h2>Shards</h2>"
)

// hostHelp is what to do about a proxy that hides the name.
const hostHelp = `have the proxy pass the name on: "proxy_set_header Host $host" (nginx), "ProxyPreserveHost On" (Apache)`

// Gateway asks for the gateway at a public address as anybody would, and judges
// whether a proxy before it hides the name by which it was called. Then the gateway
// takes every caller for one on its own machine, and sends browsers to names that
// lead nowhere. files are the names for which the gateway was told to serve files;
// one may begin with "*." for all below it. A nil transport is the usual one.
func Gateway(ctx context.Context, public string, files []string, transport http.RoundTripper) Finding {
	const check = "proxy"
	u, err := url.Parse(public)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return bad(check, Fault, "give the address by which others reach the gateway, such as https://gateway.example", "%q is no address of a gateway", public)
	}
	ctx, cancel := context.WithTimeout(ctx, probeWait)
	defer cancel()
	if transport == nil {
		own := &http.Transport{Proxy: http.ProxyFromEnvironment}
		defer own.CloseIdleConnections()
		transport = own
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	home, _, err := ask(ctx, client, u, "/")
	var to string
	var status int
	if err == nil {
		_, to, err = ask(ctx, client, u, probePath)
	}
	if err == nil {
		status, err = head(ctx, client, u, probePath)
	}
	if err != nil {
		return bad(check, Fault, "see whether the gateway and the proxy run, and what the proxy's log says", "%v", err)
	}
	named := !isLoopback(u.Hostname())
	target, err := url.Parse(to)
	switch {
	case named && strings.Contains(home, listing):
		return bad(check, Fault, hostHelp, "the gateway lists its shards to everybody who asks %s: it is called by a name of its own machine", public)
	case to != "" && (err != nil || !strings.HasSuffix(target.Host, "."+u.Host)):
		return bad(check, Fault, hostHelp, "who asks %s is sent to %s", public, to)
	case to != "" && target.Scheme != u.Scheme:
		return bad(check, Warning, `have the proxy pass on X-Forwarded-Proto, and the gateway trust it`, "who asks %s is sent to %s", public, to)
	case named && status == http.StatusOK && to == "" && !told(files, u.Hostname()):
		return bad(check, Warning, "unless the gateway was told to serve files under this name: "+hostHelp, "files are served under the name %s", u.Host)
	}
	return ok(check, "%s answers, under its own name", public)
}

// told reports whether a name is among those.
func told(files []string, name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	return slices.ContainsFunc(files, func(pattern string) bool {
		below, wild := strings.CutPrefix(strings.ToLower(pattern), "*.")
		return name == pattern || wild && strings.HasSuffix(name, "."+below)
	})
}

// ask returns the beginning of an answer, and where it leads.
func ask(ctx context.Context, client *http.Client, u *url.URL, path string) (body, location string, err error) {
	resp, err := get(ctx, client, http.MethodGet, u, path)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, probeMost))
	return string(text), resp.Header.Get("Location"), err
}

func head(ctx context.Context, client *http.Client, u *url.URL, path string) (status int, err error) {
	resp, err := get(ctx, client, http.MethodHead, u, path)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func get(ctx context.Context, client *http.Client, method string, u *url.URL, path string) (*http.Response, error) {
	at := *u
	at.Path, at.RawQuery, at.Fragment = path, "", ""
	req, err := http.NewRequestWithContext(ctx, method, at.String(), nil)
	if err != nil {
		return nil, err
	}
	return client.Do(req)
}

// isLoopback reports whether a name is one of this machine.
func isLoopback(name string) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	if host, _, err := net.SplitHostPort(name); err == nil {
		name = host
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}
