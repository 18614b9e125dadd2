package page_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

// importing evaluates an expression about m, a module of the page.
func importing(path, expression string, out *string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(awaiting(fmt.Sprintf("import(%q).then((m) => String(%s))", path, expression), out))
}

// places are addresses of all views.
func (w *world) places() []string {
	return []string{
		"#/", "#/shards", "#/shards?status=failed", "#/shard/graphs%2Ftale.car", "#/shard/incoming%2Fbroken-00.car", "#/add", "#/jobs", "#/job/1",
		"#/explore", "#/explore/" + w.dags.folder.String(), "#/explore/" + w.dags.data.String(), "#/explore/" + w.dags.text.String(),
	}
}

// settled waits until nothing of a view is still asked for.
func (tb *tab) settled() {
	tb.t.Helper()
	tb.wait("document.querySelector('main h1') && !document.querySelector('main .waiting, main [aria-busy]')")
}

// narrow: a telephone shows all without being pushed sideways.
func narrow(t *testing.T, w *world, tb *tab) {
	tb.size(360, 740)
	for _, place := range w.places() {
		tb.view(place)
		tb.settled()
		var wide string
		tb.value(`(() => {
			const most = document.documentElement.clientWidth;
			if (document.documentElement.scrollWidth <= most) return '';
			return [...document.querySelectorAll('body *')].filter((el) => el.getBoundingClientRect().right > most + 1 && !el.closest('.scroll, .command, pre')).map((el) => el.outerHTML.slice(0, 120)).join('\n') || 'it scrolls';
		})()`, &wide)
		if wide != "" {
			t.Errorf("%s is wider than 360 px: %s", place, wide)
		}
	}
}

// themes: light and dark follow the system, until something is chosen.
func themes(t *testing.T, w *world, tb *tab) {
	tb.view("#/")
	background := func() (colour string) {
		tb.value("getComputedStyle(document.body.parentElement).backgroundColor", &colour)
		return colour
	}
	// The page hears of the system a moment later.
	system := func(scheme string) {
		tb.scheme(scheme)
		tb.wait(fmt.Sprintf("document.documentElement.classList.contains('dark') === %t", scheme == "dark"))
	}
	system("light")
	light := background()
	system("dark")
	dark := background()
	if light == dark {
		t.Errorf("light and dark are both %s", light)
	}
	tb.click("#theme") // light
	if got := background(); got != light {
		t.Errorf("light was chosen, and the page is %s", got)
	}
	tb.click("#theme") // dark
	tb.scheme("light")
	if got := background(); got != dark {
		t.Errorf("dark was chosen, and the page is %s", got)
	}
	tb.click("#theme") // as the system has it
	if got := background(); got != light {
		t.Errorf("the system is light, and the page is %s", got)
	}
}

// keyboard: everything is reached without a mouse.
func keyboard(t *testing.T, w *world, tb *tab) {
	tb.view("#/jobs")
	tb.settled()
	tb.run("document.activeElement.blur()")
	for _, step := range []struct{ keys, hash string }{{"gs", "#/shards"}, {"ga", "#/add"}, {"gj", "#/jobs"}, {"ge", "#/explore"}, {"gb", "#/"}, {"gs", "#/shards"}} {
		tb.keys(step.keys)
		tb.wait(fmt.Sprintf("location.hash === %q", step.hash))
		tb.wait("document.activeElement === document.getElementById('main')") // a reader begins there
	}
	tb.settled()
	tb.keys("?")
	tb.wait("document.querySelector('dialog[open]')?.contains(document.activeElement)")
	tb.keys(escape)
	tb.wait("!document.querySelector('dialog[open]')")
	tb.keys("/")
	tb.wait("document.activeElement.id === 'search'")
	tb.write("#search", "graphs/tale")
	tb.wait("document.querySelectorAll('tbody .key').length === 1")
	// From the search field on, by Tab alone.
	for range 40 {
		tb.keys(tabKey)
		if tb.is("document.activeElement.matches('tbody .key')") {
			break
		}
		if !tb.is("document.activeElement.matches(':focus-visible')") {
			t.Fatalf("the focus cannot be seen on %s", tb.evaluate("document.activeElement.outerHTML"))
		}
	}
	tb.keys(enter)
	tb.shows("h1", "graphs/tale.car")
	for range 40 {
		tb.keys(tabKey)
		if tb.is("document.activeElement.innerText === 'Recover…'") {
			break
		}
	}
	tb.keys(enter)
	tb.wait("document.querySelector('dialog[open]')?.contains(document.activeElement)")
	for range 8 { // Tab goes round in the dialog
		tb.keys(tabKey)
		if !tb.is("document.querySelector('dialog[open]').contains(document.activeElement) || document.activeElement === document.body") {
			t.Fatal("the focus has left an open dialog")
		}
	}
	tb.keys(escape)
	tb.wait("document.activeElement.innerText === 'Recover…'") // and comes back to where it was
	tb.view("#/shards?prefix=archive")
	tb.wait("document.querySelectorAll('tbody tr').length === 50")
	tb.run("document.querySelector('tbody .key').focus()")
	tb.keys("\u0301") // ArrowDown
	tb.wait("document.activeElement === document.querySelectorAll('tbody .key')[1]")
}

// axe looks for what keeps people out, by the rules of axe-core, in every view:
// wide and light, narrow and dark.
func axe(t *testing.T, w *world, tb *tab) {
	source, err := os.ReadFile(filepath.Join("..", "..", "..", "bin", "tools", "axe.min.js"))
	if os.IsNotExist(err) {
		t.Skip("there is no axe-core; scripts/servers.sh installs it")
	}
	w.must(err)
	tb.evaluate(string(source) + ";''")
	for scheme, width := range map[string]int64{"light": 1280, "dark": 360} {
		tb.scheme(scheme)
		tb.size(width, 800)
		for _, place := range w.places() {
			tb.view(place)
			tb.settled()
			for _, violation := range tb.violations() {
				t.Errorf("%s, %s, %d px: %s", place, scheme, width, violation)
			}
		}
	}
}

// violations are what axe finds in what is shown. That a name has the text that
// is seen is left out: of a drawing, that rule reads two texts as one word.
func (tb *tab) violations() (all []string) {
	tb.t.Helper()
	var text string
	tb.do(chromedp.Func(awaiting(`axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'], rules: {'label-content-name-mismatch': {enabled: false}}}).then((r) =>
		JSON.stringify(r.violations.map((v) => v.id + ': ' + v.help + ': ' + v.nodes.slice(0, 3).map((n) => n.html + ' ' + (n.any[0]?.message ?? '')).join('\n'))))`, &text)))
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		tb.t.Fatal(err)
	}
	return all
}

// connection: one that is lost is shown, and mended, and what was missed is told.
func connection(t *testing.T, w *world, tb *tab) {
	tb.view("#/")
	tb.shows(".link-state", "Live")
	tb.expect(true)
	w.http.CloseClientConnections()
	w.lost.Store(true)
	w.http.CloseClientConnections()
	tb.shows(".link-state", "Not connected")
	tb.wait("!document.getElementById('banner').hidden")
	for i := range 5000 { // more than are kept
		w.hub.Tell(wire.Event{Kind: wire.EventTrouble, Error: fmt.Sprintf("trouble %d", i)})
	}
	w.lost.Store(false)
	tb.press("#banner", "Try now")
	tb.shows(".link-state", "Live")
	tb.wait("document.getElementById('banner').hidden")
	w.hub.Tell(wire.Event{Kind: wire.EventTrouble, Error: "the last trouble"})
	tb.shows(".events", "the last trouble")
	tb.expect(false)
	tb.shows(".note.warn", "events were missed")
}

func signOut(t *testing.T, w *world, tb *tab) {
	tb.view("#/")
	tb.settled()
	tb.expect(true) // of the 401
	tb.press("header", "Sign out")
	tb.shows("h1", "Sign in")
	tb.shows(".command", "dagstore ui")
	if tb.is("document.querySelector('#views:not([hidden])')") {
		t.Error("the views are still offered")
	}
	tb.write("#code", "http://example.org/#code=WRONG")
	tb.keys(enter)
	tb.shows("[role=alert]", "used already")
	tb.write("#code", w.link())
	tb.keys(enter)
	tb.wait("document.querySelector('.link-state.live')")
	link := w.link()
	tb.do(chromedp.Navigate(link))
	tb.wait("document.querySelector('.link-state.live')")
	if tb.is("location.href.includes('code')") {
		t.Error("the code is still in the address")
	}
	// Used once, it is of no use.
	tb.do(chromedp.Navigate("about:blank"), chromedp.Navigate(link))
	tb.shows("[role=alert]", "used already")
	if !strings.HasPrefix(link, w.http.URL) {
		t.Errorf("the link is %s", link)
	}
	tb.expect(false)
}

// reader: who may only look is offered nothing else.
func reader(t *testing.T, w *world, tb *tab) {
	tb.do(chromedp.Navigate("about:blank"), chromedp.Navigate(w.readerLink()))
	tb.wait("document.querySelector('.link-state.live')")
	for _, place := range []string{"#/shard/graphs%2Ftale.car", "#/jobs", "#/add"} {
		tb.view(place)
		tb.settled()
		tb.wait("document.querySelectorAll('main .buttons button').length > 0")
		if tb.is("document.querySelector('main .buttons button:not(:disabled)')") {
			t.Errorf("%s offers: %s", place, tb.text("main .buttons"))
		}
	}
	tb.shows(".note", "may only look")
	tb.view("#/shards?status=failed")
	tb.wait("document.querySelectorAll('tbody .key').length > 1")
	if tb.is("[...document.querySelectorAll('button')].some((b) => b.innerText.startsWith('Recover'))") {
		t.Error("failed shards can be recovered")
	}
}
