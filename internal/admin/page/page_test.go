package page_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// TestPage drives each view by clicks, over a store of some 1,000 shards in all
// states. The tab fails the test if its console has an error or a warning, or if
// the page asks anything of anybody else.
func TestPage(t *testing.T) {
	w := newWorld(t)
	w.fill()
	w.run(`{"kind":"verify","verify":{"prefix":"graphs/"}}`)
	tb := w.tab()
	for _, part := range []struct {
		name string
		run  func(*testing.T, *world, *tab)
	}{
		{"board", board}, {"shards", shards}, {"detail", detail}, {"actions", actions}, {"adding", adding}, {"jobs", jobs},
		{"explorer", explorer}, {"keyboard", keyboard}, {"themes", themes}, {"narrow", narrow}, {"axe", axe}, {"connection", connection}, {"sign out", signOut}, {"reader", reader},
	} {
		if !t.Run(part.name, func(t *testing.T) {
			w.t, tb.t = t, t
			tb.size(1280, 900)
			part.run(t, w, tb)
			tb.complaints()
		}) {
			break
		}
	}
	w.t, tb.t = t, t
}

func board(t *testing.T, w *world, tb *tab) {
	tb.view("#/")
	tb.shows(".attention", "shards failed")
	tb.shows(".attention", "is down")
	tb.shows(".hosts", "Down")
	tb.shows(".hosts", "Up")
	tb.wait("document.querySelectorAll('.plot canvas').length === 4")
	stats := w.store.Stats()
	for s := shard.Registered; s < shard.Gone; s++ {
		if stats.Shards[s] == 0 {
			t.Errorf("no shard is %v", s)
		}
		tb.wait(fmt.Sprintf("document.querySelector('.drawing.wide [data-state=%q] .count').textContent === '%d'", s, stats.Shards[s]))
	}
	for name, want := range map[string]string{"Shards": "1,0", "Blocks": "k", "CARs": "MiB", "Copies": "of 64.0 MiB", "Index": "KiB"} {
		tb.wait(fmt.Sprintf("[...document.querySelectorAll('.figure')].some((el) => el.innerText.includes(%q) && el.innerText.includes(%q))", name, want))
	}
	// What happens is shown by itself.
	w.register("live/new.car", w.set.Put("live/new.car", cartest.RandomV1(1, 3, 50)), nil)
	tb.shows(".events", "live/new.car")
	tb.wait(fmt.Sprintf("document.querySelector('.drawing.wide [data-state=available] .count').textContent === '%d'", stats.Shards[shard.Available]+1))
	// A state leads to its shards.
	tb.click(".drawing.wide [data-state=draining]")
	tb.shows("table", "incoming/cut.car")
	if got := tb.text("tbody"); strings.Contains(got, "broken") {
		t.Errorf("other states than the one that was clicked: %s", got)
	}
}

func shards(t *testing.T, w *world, tb *tab) {
	tb.view("#/shards")
	tb.wait("document.querySelectorAll('tbody tr').length === 50")
	first := tb.text("tbody tr .key")
	tb.press(".pager", "Next →")
	tb.wait(fmt.Sprintf("document.querySelector('tbody tr .key')?.innerText !== %q && document.querySelectorAll('tbody tr').length === 50", first))
	tb.press(".pager", "← Before")
	tb.wait(fmt.Sprintf("document.querySelector('tbody tr .key')?.innerText === %q", first))
	// Search, by key and by URL.
	tb.write("#search", "PHOTOS-0013")
	tb.wait("document.querySelectorAll('tbody tr').length === 1")
	tb.shows("tbody", "photos-0013")
	tb.write("#search", "no such thing")
	tb.shows("tbody", "No shard is like that")
	// Filters stand in the address, and stay in it.
	tb.view("#/shards?status=failed")
	tb.wait("document.querySelector('.chip.failed')?.getAttribute('aria-pressed') === 'true'")
	tb.wait("document.querySelectorAll('tbody tr').length === 28")
	tb.click(".chip.lazy")
	tb.shows("tbody", "backup/host-00")
	tb.wait("location.hash === '#/shards?status=lazy'")
	tb.view("#/shards?label=owner%3Danna")
	tb.wait("document.querySelectorAll('tbody tr').length === 50")
	tb.view("#/shards?host=" + strings.TrimPrefix(w.cars.URL, "http://"))
	tb.wait("document.querySelectorAll('tbody tr').length === 30")
	tb.view("#/shards?prefix=mirror%2Fgone")
	tb.wait("document.querySelectorAll('tbody tr').length === 4")
	tb.view("#/shards?match=broken-0*.car")
	tb.wait("document.querySelectorAll('tbody tr').length === 10")
}

// odd is a key that is text, whatever it looks like.
const odd = "odd/<img src=x onerror=alert(1)> \u202e?#%2F&.car"

func detail(t *testing.T, w *world, tb *tab) {
	w.register(odd, w.set.Put("odd", cartest.RandomV1(77, 3, 50)), nil)
	tb.view("#/shards?prefix=odd")
	tb.shows("tbody", `<img src=x onerror=alert(1)> \u{202e}`)
	tb.click("tbody .key")
	tb.shows("h1", `<img src=x onerror=alert(1)> \u{202e}`)
	tb.shows(".facts", "version 1")
	tb.shows(".events", "available")
	if tb.is("document.querySelector('main img')") {
		t.Error("a key has become an element")
	}
	tb.view("#/shard/incoming%2Fbroken-00.car")
	tb.shows(".note.bad", "not a CAR")
	tb.view("#/shard/mirror%2Ffar%2F10.car")
	tb.shows(".facts", "all of it")
	tb.shows(".facts", "pinned")
	tb.view("#/shard/incoming%2Fcut.car")
	tb.shows(".state-line", "held by 1")
	tb.expect(true) // the browser complains of each 404
	tb.view("#/shard/nowhere")
	tb.shows("main", "There is no such shard")
	tb.expect(false)
}

// confirm fills in nothing and presses the button of the dialog, which shows the
// command that does the same.
func (tb *tab) confirm(name, command string) {
	tb.t.Helper()
	tb.press("main", name+"…")
	tb.wait("document.querySelector('dialog[open]')")
	tb.shows("dialog[open] .command", command)
	tb.press("dialog[open]", name)
	tb.wait("!document.querySelector('dialog[open]')")
}

func actions(t *testing.T, w *world, tb *tab) {
	const key = "archive/2019/photos-0007"
	info := func() shard.Info {
		info, err := w.store.Info(t.Context(), key)
		w.must(err)
		return info
	}
	tb.view("#/shard/archive%2F2019%2Fphotos-0007")
	tb.confirm("Pin", "dagstore pin "+key)
	w.poll("it is pinned", func() bool { return info().Local.Pinned })
	tb.confirm("Unpin", "dagstore unpin "+key)
	w.poll("it is not pinned", func() bool { return !info().Local.Pinned })
	tb.confirm("Recover", "dagstore recover "+key)
	// Where it lies now, and a place where something else lies.
	w.set.Put("moved.car", cartest.RandomV1(7, 10, 120))
	w.set.Put("other.car", cartest.RandomV1(8, 10, 120))
	tb.press("main", "Remount…")
	tb.write("dialog[open] input", "mem:other.car")
	tb.shows("dialog[open] .command", "dagstore remount "+key+" mem:other.car")
	tb.expect(true)
	tb.press("dialog[open]", "Remount")
	tb.wait("document.querySelector('dialog[open] [role=alert]:not([hidden])')")
	tb.expect(false)
	tb.write("dialog[open] input", "mem:moved.car")
	tb.press("dialog[open]", "Remount")
	w.poll("it has moved", func() bool { return info().URL == "mem:moved.car" })
	tb.wait("!document.querySelector('dialog[open]')")
	tb.press("main", "Replace…")
	tb.write("dialog[open] input", "mem:other.car")
	tb.press("dialog[open]", "Replace")
	w.poll("it is replaced", func() bool { return info().URL == "mem:other.car" })
	tb.wait("!document.querySelector('dialog[open]')")
	// To remove is not done by a slip: the dialog begins on "Cancel".
	tb.press("main", "Remove…")
	tb.wait("document.activeElement?.innerText === 'Cancel'")
	tb.keys(enter)
	tb.wait("!document.querySelector('dialog[open]')")
	info()
	tb.confirm("Remove", "dagstore rm "+key)
	w.poll("it is gone", func() bool {
		_, err := w.store.Info(t.Context(), key)
		return errors.Is(err, shard.ErrUnknown)
	})
	tb.wait("location.hash === '#/shards'")
	// A copy goes, and is made again when it is needed.
	tb.view("#/shard/mirror%2Ffar%2F01.car")
	tb.confirm("Evict", "dagstore evict mirror/far/01.car")
	tb.shows(".facts", "none")
	// A lazy shard is indexed.
	tb.view("#/shard/backup%2Fhost-00%2F0000.car")
	tb.confirm("Index now", "dagstore add --key=backup/host-00/0000.car mem:")
	tb.shows(".state-line", "Ready")
	// A failed one whose CAR is good now is recovered.
	w.set.Put("broken-3.car", cartest.RandomV1(3, 5, 50))
	tb.view("#/shard/incoming%2Fbroken-03.car")
	tb.confirm("Recover", "dagstore recover incoming/broken-03.car")
	tb.shows(".state-line", "Ready")
}

func adding(t *testing.T, w *world, tb *tab) {
	paths := make([]string, 5)
	for i := range paths {
		paths[i], _ = w.file(fmt.Sprintf("added/%d.car", i), cartest.RandomV1(uint64(300+i), 5, 100))
	}
	tb.view("#/add")
	tb.wait("document.querySelector('button[type=submit]')?.disabled")
	tb.write("#sources", strings.Join(paths, "\r")+"\rrelative\r")
	tb.press("main", "How they are added")
	tb.write(".fields input", "new/")
	tb.shows(".command", "dagstore add --prefix new/ "+paths[0])
	tb.press("main", "Add")
	tb.shows(".job", "5 of 6 done") // the last one is not there
	tb.shows(".job", "1 failed")
	tb.wait("document.querySelectorAll('.adding ~ .stack > .stack:first-child tbody tr').length === 6")
	// A list, that is sent.
	lines := make([]string, 7)
	for i := range lines {
		_, m := w.file(fmt.Sprintf("listed/l%d.car", i), cartest.RandomV1(uint64(400+i), 5, 100))
		lines[i] = fmt.Sprintf(`{"mount":%q}`, m.URL())
	}
	list, _ := w.file("list.ndjson", []byte(strings.Join(lines, "\n")))
	tb.do(chromedp.SetUploadFiles(chromedp.CSS("#list"), []string{list}))
	tb.shows(".command", "--from list.ndjson")
	tb.press("main", "Add")
	tb.shows(".job", "7 of 7 done")
	w.await("new/l6.car", shard.Available)
	w.await("new/4.car", shard.Available)
}

func jobs(t *testing.T, w *world, tb *tab) {
	tb.view("#/jobs")
	tb.confirm("Tidy up", "dagstore gc")
	tb.shows(".job", "removed")
	tb.view("#/jobs")
	tb.confirm("Verify all", "dagstore jobs verify")
	tb.shows("h1", "Job ")
	tb.shows(".badge", "Done")
	tb.shows(".told", "results")
	// One that would go on is cancelled.
	tb.view("#/shard/incoming%2Fnew-0.car")
	tb.confirm("Verify", "dagstore jobs verify --key incoming/new-0.car")
	tb.shows(".job", "Running")
	tb.press(".job", "Cancel…")
	tb.press("dialog[open]", "Cancel the job")
	tb.shows(".job", "Cancelled")
	tb.click("a[href='#/jobs']")
	tb.shows(".job", "Cancelled")
}

func explorer(t *testing.T, w *world, tb *tab) {
	tb.view("#/explore")
	tb.write("#cid", "ipfs://"+w.dags.data.String())
	tb.keys(enter)
	tb.shows(".tree", "A <b>tale</b>")
	tb.shows("table", "graphs/tale.car")
	tb.click(".tree .cid") // the folder
	tb.shows("table", "readme.txt")
	tb.press("main", "readme.txt")
	tb.shows("pre", "Not by where they lie.")
	tb.click(".crumbs a")
	tb.press("main", "picture.png")
	tb.wait("document.querySelector('img.picture')?.naturalWidth === 1")
	tb.click(".crumbs a")
	tb.press("main", "pages")
	tb.shows(".told", "500 entries so far")
	tb.press("main", "More")
	tb.shows(".told", "600 entries.")
	tb.press("main", "page 007.txt")
	tb.shows("pre", "line 000000000 of a text")
	tb.view("#/explore/" + w.dags.folder.String() + "/long.txt")
	tb.shows("pre", "line 000000000 of a text")
	tb.shows("table", "bafy")
	var open string
	tb.value("[...document.querySelectorAll('a.button')].find((a) => a.innerText === 'Open').href", &open)
	answer, err := http.Get(open)
	w.must(err)
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("%s: %s, %s", open, answer.Status, answer.Header.Get("Content-Type"))
	}
	tb.expect(true)
	tb.view("#/explore/bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy")
	tb.shows("main", "No shard has this block")
	tb.write("#cid", "nonsense")
	tb.keys(enter)
	tb.shows("[role=alert]", "no CID")
	tb.expect(false)
	// What others have made: from each root to what it links to.
	for _, name := range realCARs {
		info, err := w.store.Info(t.Context(), shard.Key("real/"+name))
		if errors.Is(err, shard.ErrUnknown) || len(info.Roots) == 0 {
			continue
		}
		tb.view("#/shard/real%2F" + name)
		tb.click(".facts .cid")
		tb.shows("main", "real/"+name)
		tb.expect(true) // some link to blocks that nobody has
		if tb.is("document.querySelector('.what a.key, .what a.cid, .tree a.cid')") {
			tb.click(".what a.key, .what a.cid, .tree a.cid")
			tb.wait("!document.querySelector('main .waiting')")
			tb.shows("main", "dagstore find")
		}
		tb.expect(false)
	}
	// What people paste.
	for pasted, want := range map[string]string{
		"bafkqaaa": "", "bafkqabtimvwgy3yk": "bafkqabtimvwgy3yk []", " /ipfs/" + w.dags.text.String() + "/a/b ": w.dags.text.String() + " [a b]",
		"https://" + w.dags.text.String() + ".ipfs.dweb.link/x%20y?q": w.dags.text.String() + " [x y]",
		"http://127.0.0.1:8447/ipfs/" + w.dags.text.String() + "#z":   w.dags.text.String() + " []", "hello": "",
	} {
		var got string
		tb.do(importing("/js/cid.js", fmt.Sprintf("((at) => at ? at.cid + ' [' + at.path.join(' ') + ']' : '')(m.parse(%q))", pasted), &got))
		if got != want {
			t.Errorf("%q is read as %q, want %q", pasted, got, want)
		}
	}
}
