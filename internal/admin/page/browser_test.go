package page_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/dagstore/dagstore/internal/servertest"
)

// patience is how long a browser may take for anything.
const patience = 60 * time.Second

// A tab is one of a browser without a screen.
type tab struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp has the tab in it

	mu        sync.Mutex
	said      []string // errors and warnings of its console
	elsewhere []string // requests to anywhere but ours
	ours      string
	quiet     bool // what is said now is meant to be said
}

// newTab starts a browser; the test skips where there is none. Nothing of it is
// left when the test has ended.
func newTab(t *testing.T, ours string) *tab {
	t.Helper()
	path := servertest.Need(t, "chromium")
	profile := t.TempDir()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(profile),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"), chromedp.Flag("disable-component-update", true),
		chromedp.WindowSize(1280, 900))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	allocator, endAll := chromedp.NewExecAllocator(context.Background(), options...)
	tb := &tab{t: t, ours: ours}
	ctx, end := chromedp.NewContext(allocator)
	tb.ctx = ctx
	t.Cleanup(func() {
		tb.complaints()
		end()
		endAll()
		chromedp.FromContext(allocator).Allocator.Wait()
		ended(t, profile)
	})
	// The first call starts the browser, which must outlive it.
	if err := chromedp.Listen(ctx, tb.heard); err != nil {
		t.Fatal(err)
	}
	tb.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, network.Enable, network.EnableParams{})
		if err == nil {
			_, err = cdp.Call(ctx, target, log.Enable, cdp.Empty{})
		}
		return err
	}))
	return tb
}

// ended waits until no process is left that works on a profile: the helpers of a
// browser end after it.
func ended(t *testing.T, profile string) {
	t.Helper()
	left := func() (left []string) {
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // elsewhere than on Linux there are none
		for _, name := range lines {
			if line, err := os.ReadFile(name); err == nil && strings.Contains(string(line), profile) {
				left = append(left, strings.ReplaceAll(string(line), "\x00", " "))
			}
		}
		return left
	}
	for end := time.Now().Add(patience); len(left()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("still there: %s", left())
			return
		}
	}
}

// heard keeps what a page must not do.
func (tb *tab) heard(event any) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			words := []string{string(e.Type)}
			for _, arg := range e.Args {
				words = append(words, string(arg.Value)+arg.Description)
			}
			tb.say(strings.Join(words, " "))
		}
	case *runtime.EventExceptionThrown:
		tb.say(exceptionOf(e.ExceptionDetails))
	case *log.EventEntryAdded:
		if e.Entry.Level != log.EntryLevelInfo && e.Entry.Level != log.EntryLevelVerbose {
			tb.say(fmt.Sprintf("%s: %s %s", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	case *network.EventRequestWillBeSent:
		if url := e.Request.URL; !strings.HasPrefix(url, tb.ours+"/") && !strings.HasPrefix(url, "data:") && !strings.HasPrefix(url, "about:") {
			tb.elsewhere = append(tb.elsewhere, url)
		}
	}
}

func (tb *tab) say(text string) {
	if !tb.quiet {
		tb.said = append(tb.said, text)
	}
}

// expect lets the page complain, since something is done to it.
func (tb *tab) expect(complaints bool) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	tb.quiet = complaints
}

// complaints fails the test if the page had any.
func (tb *tab) complaints() {
	tb.t.Helper()
	tb.mu.Lock()
	defer tb.mu.Unlock()
	for _, text := range tb.said {
		tb.t.Errorf("the console says: %s", text)
	}
	for _, url := range tb.elsewhere {
		tb.t.Errorf("the page asked elsewhere: %s", url)
	}
	tb.said, tb.elsewhere = nil, nil
}

func (tb *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		tb.t.Fatal(err)
	}
}

// run has the page run a script.
func (tb *tab) run(script string) {
	tb.t.Helper()
	tb.evaluate("(() => { " + script + "; return '' })()")
}

func (tb *tab) evaluate(expression string) string {
	tb.t.Helper()
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		tb.t.Fatalf("%s: %v", expression, err)
	}
	return text
}

// value is what an expression gives.
func (tb *tab) value(expression string, out any) {
	tb.t.Helper()
	text := tb.evaluate("JSON.stringify((() => { return (" + expression + ") ?? null })())")
	if err := json.Unmarshal([]byte(text), out); err != nil {
		tb.t.Fatalf("%s: %v: %s", expression, err, text)
	}
}

func (tb *tab) is(expression string) (yes bool) {
	tb.t.Helper()
	tb.value("Boolean("+expression+")", &yes)
	return yes
}

func (tb *tab) text(selector string) (text string) {
	tb.t.Helper()
	tb.value(fmt.Sprintf("document.querySelector(%q)?.innerText", selector), &text)
	return text
}

// wait waits until an expression is true.
func (tb *tab) wait(expression string) {
	tb.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if tb.is(expression) {
			return
		}
	}
	tb.t.Fatalf("waited for %v: %s; the page shows:\n%s", patience, expression, tb.text("body"))
}

// shows waits until what selector finds has a text in it.
func (tb *tab) shows(selector, text string) {
	tb.t.Helper()
	tb.wait(fmt.Sprintf("[...document.querySelectorAll(%q)].some((el) => el.innerText?.includes(%q) || el.textContent.includes(%[2]q))", selector, text))
}

// click clicks with the mouse, where the element is, once nothing lies over it.
func (tb *tab) click(selector string) {
	tb.t.Helper()
	tb.clickOn(fmt.Sprintf("document.querySelector(%q)", selector))
}

// clickOn is click for what an expression finds. It looks for it each time: the page
// may have put another in its place meanwhile.
func (tb *tab) clickOn(find string) {
	tb.t.Helper()
	tb.wait(fmt.Sprintf(`(() => {
		const el = %s;
		el?.scrollIntoView({block: 'center', behavior: 'instant'});
		const r = el?.getClientRects()[0]; // of its first line
		return r && r.width > 0 && el.contains(document.elementFromPoint(r.x + r.width / 2, r.y + r.height / 2));
	})()`, find))
	var at struct{ X, Y float64 }
	tb.value("(({x, y, width, height}) => ({X: x + width / 2, Y: y + height / 2}))("+find+".getClientRects()[0])", &at)
	tb.do(chromedp.MouseClickXY(at.X, at.Y))
}

// press clicks the button or the link that is called so.
func (tb *tab) press(within, name string) {
	tb.t.Helper()
	find := fmt.Sprintf("[...document.querySelectorAll('%s button, %[1]s a, %[1]s summary')].find((el) => el.innerText.trim() === %q && !el.disabled)", within, name)
	tb.clickOn(find)
}

// write replaces what stands in a field.
func (tb *tab) write(selector, text string) {
	tb.t.Helper()
	tb.wait(fmt.Sprintf("document.querySelector(%q)", selector))
	tb.run(fmt.Sprintf("const el = document.querySelector(%q); el.focus(); el.select()", selector))
	tb.do(chromedp.KeyEvent(text))
}

func (tb *tab) keys(keys string) {
	tb.t.Helper()
	tb.do(chromedp.KeyEvent(keys))
}

const (
	tabKey = kb.Tab
	enter  = kb.Enter
	escape = kb.Escape
)

// size makes the window so wide, as a telephone has it if it is narrow.
func (tb *tab) size(width, height int64) {
	tb.t.Helper()
	var options []chromedp.EmulateViewportOption
	if width < 500 {
		options = append(options, chromedp.EmulateMobile)
	}
	tb.do(chromedp.EmulateViewport(width, height, options...))
}

// scheme makes the system light or dark.
func (tb *tab) scheme(name string) {
	tb.t.Helper()
	tb.do(chromedp.Func(func(ctx context.Context, target *chromedp.Target) error {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		return err
	}))
}

// shot writes a picture of the whole page, if DAGSTORE_PAGE_SHOTS says where to: see "make shots".
func (tb *tab) shot(name string) {
	tb.t.Helper()
	tb.shotOf(name, chromedp.FullScreenshot(100))
}

func (tb *tab) shotOf(name string, take chromedp.Action[[]byte]) {
	tb.t.Helper()
	dir := os.Getenv("DAGSTORE_PAGE_SHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(tb.ctx, patience)
	defer cancel()
	data, err := chromedp.Run(ctx, take)
	if err != nil {
		tb.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), data, 0o666); err != nil {
		tb.t.Fatal(err)
	}
}

// open signs in by a link, and shows a view.
func (w *world) tab() *tab {
	w.t.Helper()
	tb := newTab(w.t, w.http.URL)
	tb.do(chromedp.Navigate(w.link()))
	tb.wait("document.querySelector('#views a') && document.querySelector('.link-state.live')")
	return tb
}

// view shows another view.
func (tb *tab) view(hash string) {
	tb.t.Helper()
	tb.run(fmt.Sprintf("location.hash = %q", hash))
}

// exceptionOf says what was thrown, and where.
func exceptionOf(d *runtime.ExceptionDetails) string {
	text := d.Text
	if d.Exception != nil {
		text += " " + d.Exception.Description
	}
	return fmt.Sprintf("%s (%s:%d)", text, d.URL, d.LineNumber)
}

// awaiting evaluates an expression that promises a string.
func awaiting(expression string, out *string) func(context.Context, *chromedp.Target) error {
	return func(ctx context.Context, target *chromedp.Target) (err error) {
		*out, err = chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise)(ctx, target)
		return err
	}
}
