package gateway

import (
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/dagstore/dagstore/internal/car/dagtest"
)

// TestContentLocation wants what was sent to have a place of its own where the URL, or
// the URL and Accept together, leave open what that is.
func TestContentLocation(t *testing.T) {
	m := dagtest.New(t)
	h := handlerOver(t, m, Config{})
	at := "/ipfs/" + m.Block(cid.Raw, 0x12, []byte("x")).String()
	const raw, car = "application/vnd.ipld.raw", "application/vnd.ipld.car"
	for _, row := range []struct{ path, accept, want string }{
		{at, "", ""},
		{at, "text/html", ""},
		{at, raw, at + "?format=raw"},
		{at + "?filename=a", raw, at + "?filename=a&format=raw"},
		{at, car, at + "?car-dups=n&car-order=dfs&car-version=1&format=car"},
		{at, car + ";dups=y", at + "?car-dups=y&car-order=dfs&car-version=1&format=car"},
		// The query beats Accept.
		{at + "?format=raw", "", ""},
		{at + "?format=raw", raw, ""},
		{at + "?format=raw", "*/*", ""},
		{at + "?format=raw", "text/html, */*;q=0.1", ""},
		{at + "?format=raw", car, at + "?format=raw"},
		{at + "?format=raw", "text/html;q=0.1, " + car, at + "?format=raw"},
		{at + "?format=car", car + ";dups=y", ""},
		{at + "?format=car&car-dups=n", car, ""},
		{at + "?format=car&car-dups=n", car + ";dups=y", at + "?car-dups=n&car-order=dfs&car-version=1&format=car"},
		{at + "?format=car", raw, at + "?car-dups=n&car-order=dfs&car-version=1&format=car"},
		{at + "?format=raw", "application/vnd.ipld.raw;;;=", ""},
	} {
		a := visit(t, h, "localhost", row.path, "Accept", row.accept)
		if got := a.header.Get("Content-Location"); a.status != 200 || got != row.want {
			t.Errorf("%s, Accept %q: %d, %q, want %q", row.path, row.accept, a.status, got, row.want)
		}
	}
}
