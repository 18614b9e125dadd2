//go:build shots

package page_test

import (
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// TestShots is no test, and part of none: "make shots" takes pictures of all views by
// it, for people to look at.
func TestShots(t *testing.T) {
	if os.Getenv("DAGSTORE_PAGE_SHOTS") == "" {
		t.Fatal("DAGSTORE_PAGE_SHOTS names no folder for pictures")
	}
	w := newWorld(t)
	w.fill()
	stop := w.busy()
	defer stop()
	tb := w.tab()
	tb.wait("document.querySelector('.plot .u-wrap')")
	time.Sleep(12 * time.Second) // for something to be seen in the plots
	for _, v := range w.views() {
		tb.expect(v.name == "explore-missing") // the browser complains of the 404
		tb.view("#/jobs")
		tb.shows("h1", "Jobs")
		tb.view(v.hash)
		tb.shows("main", v.text)
		for _, how := range []struct {
			name, scheme string
			width        int64
		}{{"light", "light", 1280}, {"dark", "dark", 1280}, {"360", "light", 360}, {"360-dark", "dark", 360}} {
			tb.size(how.width, 800)
			tb.scheme(how.scheme)
			time.Sleep(300 * time.Millisecond)
			tb.shot(v.name + "-" + how.name)
		}
	}
	tb.scheme("light")
	tb.size(1080, 1000)
	tb.view("#/")
	tb.wait("document.querySelectorAll('.plot canvas').length === 4")
	tb.shotOf("docs-board", chromedp.CaptureScreenshot()) // for docs/img
	tb.run("document.querySelector('.drawing.wide [data-state=serving]').dispatchEvent(new PointerEvent('pointerenter'))")
	tb.shot("board-pointed")
	tb.size(1280, 800)
	tb.view("#/shard/graphs%2Ftale.car")
	tb.press("main", "Remove…")
	tb.shot("dialog")
	tb.keys(escape)
	tb.expect(true)
	tb.press("header", "Sign out")
	tb.shows("h1", "Sign in")
	tb.shot("sign-in")
}

// A view is an address, and a text that is there when all is.
type view struct{ name, hash, text string }

func (w *world) views() []view {
	w.run(`{"kind":"verify","verify":{"prefix":"graphs/"}}`)
	w.run(`{"kind":"recover","recover":{"prefix":"incoming/broken-0"}}`)
	w.run(`{"kind":"gc"}`)
	return []view{
		{"board", "#/", "Shards by state"},
		{"shards", "#/shards", "archive/2019"},
		{"shards-failed", "#/shards?status=failed", "incoming/broken-00.car"},
		{"shard", "#/shard/graphs%2Ftale.car", "Where it lies"},
		{"shard-failed", "#/shard/incoming%2Fbroken-00.car", "Failed at"},
		{"shard-copy", "#/shard/mirror%2Ffar%2F10.car", "Copy here"},
		{"add", "#/add", "Sources"},
		{"jobs", "#/jobs", "verify"},
		{"job", "#/job/2", "results"},
		{"explore", "#/explore", "archive/2019"},
		{"explore-folder", "#/explore/" + w.dags.folder.String(), "readme.txt"},
		{"explore-sharded", "#/explore/" + w.dags.folder.String() + "/pages", "page 599.txt"},
		{"explore-data", "#/explore/" + w.dags.data.String(), "tale"},
		{"explore-text", "#/explore/" + w.dags.folder.String() + "/readme.txt", "Not by where"},
		{"explore-file", "#/explore/" + w.dags.folder.String() + "/long.txt", "Links"},
		{"explore-missing", "#/explore/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy", "No shard has this block"},
	}
}

// busy asks the gateway for things until it is stopped.
func (w *world) busy() (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(time.Duration(20+i%7*9) * time.Millisecond):
			}
			answer, err := w.gateway.Client().Get(fmt.Sprintf("%s/ipfs/%s/%s", w.gateway.URL, w.dags.folder, []string{"readme.txt", "long.txt", "pages/", "picture.png"}[i%4]))
			if err != nil {
				continue
			}
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
	}()
	return func() { close(done); <-ended }
}
