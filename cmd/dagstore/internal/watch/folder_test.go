package watch

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/longtest"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

// needsEar skips where the system does not tell of changes.
func needsEar(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("this system does not tell of changes in folders")
	}
}

// told watches with long times, so that what happens soon can have been told of
// by the file system alone.
func told(rest time.Duration) func(*Config) {
	return func(c *Config) {
		c.Rest = rest
		c.Places[0].Every = 24 * time.Hour
	}
}

// listens waits until the first look, which has the file system tell of
// changes, has come to its end.
func (r *rig) listens() {
	r.t.Helper()
	r.until("the first look", func() bool { return r.w.Status()[0].Looks > 0 })
	d := r.place.folder
	d.mu.Lock()
	distant := errors.Is(d.deaf, errDistant)
	d.mu.Unlock()
	if s := r.w.Status()[0]; distant {
		r.t.Skip("temporary folders lie in a file system that is not of this machine")
	} else if s.Told != All {
		r.t.Fatalf("the file system does not tell of changes: %+v", s)
	}
}

// What comes by a rename is taken up at once, from wherever it comes: under
// another name in the same folder, as a whole folder, or from elsewhere.
func TestRenamed(t *testing.T) {
	needsEar(t)
	r := newRig(t)
	r.watch(told(24 * time.Hour))
	r.listens()
	r.move("from elsewhere.car", car("1"))
	r.event("added from elsewhere")
	r.write(r.dir, "b.car.part", car("2"))
	r.rename(filepath.Join(r.dir, "b.car.part"), filepath.Join(r.dir, "b.car"))
	r.event("added b")
	r.write(r.aside, "folder/sub/c.car", car("3"))
	r.rename(filepath.Join(r.aside, "folder"), filepath.Join(r.dir, "folder"))
	r.event("added folder/sub/c")
	r.move("folder/sub/d.car", car("4")) // in a folder that was not there when the watch began
	r.event("added folder/sub/d")
	if err := os.MkdirAll(filepath.Join(r.dir, "new", "deep"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.looked() // it may be made faster than it is listened to
	r.move("new/deep/e.car", car("5"))
	r.event("added new/deep/e")
	if s := r.w.Status()[0]; s.Added != 5 || s.Failed != 0 || s.Waiting != 0 {
		t.Errorf("%+v; %q", s, r.happened())
	}
	// A folder that has another name has its CARs vanish and come.
	r.rename(filepath.Join(r.dir, "folder"), filepath.Join(r.dir, "other"))
	r.event("added other/sub/c")
	r.event("vanished folder/sub/c")
	r.move("other/sub/f.car", car("6"))
	r.event("added other/sub/f")
}

// What is written in place rests first, and is then found without a look.
func TestWritten(t *testing.T) {
	needsEar(t)
	r := newRig(t)
	r.watch(told(50 * time.Millisecond))
	r.listens()
	looks := r.w.Status()[0].Looks
	r.write(r.dir, "a.car", car("a"))
	r.event("added a")
	r.write(r.dir, "a.car", car("another"))
	r.event("changed a")
	r.remove("a.car")
	r.event("vanished a")
	if s := r.w.Status()[0]; s.Vanished != 1 || len(r.w.Vanished()) != 1 {
		t.Errorf("%+v", s)
	}
	r.write(r.dir, "a.car", car("another"))
	r.event("back a")
	if s := r.w.Status()[0]; s.Looks != looks || s.Vanished != 0 || len(r.w.Vanished()) != 0 {
		t.Errorf("%+v", s)
	}
}

// Ten thousand files that come at once are all added, some at a time.
func TestMany(t *testing.T) {
	needsEar(t)
	n := longtest.Runs(2000, 10_000)
	for name, renamed := range map[string]bool{"renamed": true, "written": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.watch(func(c *Config) {
				told(50 * time.Millisecond)(c)
				c.Jobs = 8 // 16 times as many, since they are lazy
				c.Places[0].Options = dagstore.RegisterOptions{Lazy: true}
			})
			r.listens()
			most, end := goroutines(t)
			to := r.dir
			if renamed {
				to = r.aside
			}
			began := time.Now()
			for i := range n {
				r.write(to, fmt.Sprintf("many/%05d.car", i), car(fmt.Sprint(i)))
			}
			if renamed {
				began = time.Now()
				r.rename(filepath.Join(r.aside, "many"), filepath.Join(r.dir, "many"))
			}
			r.until("all are added", func() bool { return r.w.Status()[0].Added == int64(n) })
			took := time.Since(began)
			end()
			if s := r.w.Status()[0]; s.Failed != 0 {
				t.Errorf("%+v", s)
			}
			if limit := 200 + 16*r.w.cfg.Jobs; most() > limit {
				t.Errorf("%d goroutines for %d files", most(), n)
			}
			longtest.Figure(t, "%d files that were %s are registered after %v; %d goroutines at most", n, name, took.Round(time.Millisecond), most())
		})
	}
}

// goroutines counts them until end is called.
func goroutines(t *testing.T) (most func() int, end func()) {
	stop, done, n := make(chan struct{}), make(chan struct{}), 0
	go func() {
		defer close(done)
		for {
			n = max(n, runtime.NumGoroutine())
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	end = func() {
		select {
		case <-stop:
		default:
			close(stop)
		}
		<-done
	}
	t.Cleanup(end)
	return func() int { end(); return n }, end
}

// When the system has dropped what it was to tell, all is looked at.
func TestOverflow(t *testing.T) {
	r := newRig(t)
	r.watch(func(c *Config) {
		told(time.Millisecond)(c)
		c.deaf = true
	})
	r.until("the first look", func() bool { return r.w.Status()[0].Looks > 0 })
	for i := range 3 {
		r.write(r.dir, fmt.Sprintf("%d.car", i), car(fmt.Sprint(i)))
	}
	r.place.folder.hears("", written)
	r.event("overflow")
	for i := range 3 {
		r.event(fmt.Sprintf("added %d", i))
	}
}

// More news than are remembered come to one look at all.
func TestMostPending(t *testing.T) {
	source, err := NewFolder(t.TempDir(), keyOf, isCAR)
	if err != nil {
		t.Fatal(err)
	}
	d := source.(*folder)
	for i := range mostPending + 10 {
		d.hears(fmt.Sprint(i), written)
	}
	all := d.taken()
	if _, ok := all[""]; !ok || len(all) > mostPending {
		t.Errorf("%d are pending, and all of them: %v", len(all), ok)
	}
	if d.taken() != nil {
		t.Error("they are pending still")
	}
}

// What was renamed into place and is then written to must rest; the other way
// round it need not.
func TestLastNewsCount(t *testing.T) {
	source, err := NewFolder(t.TempDir(), keyOf, isCAR)
	if err != nil {
		t.Fatal(err)
	}
	d := source.(*folder)
	d.hears("a", moved)
	d.hears("a", written)
	d.hears("b", written)
	d.hears("b", moved)
	if all := d.taken(); all["a"]&moved != 0 || all["b"]&moved == 0 {
		t.Errorf("pending: %v", all)
	}
}

// What the place would not take up is not missed there.
func TestOwns(t *testing.T) {
	dir := t.TempDir()
	source, err := NewFolder(dir, keyOf, isCAR)
	if err != nil {
		t.Fatal(err)
	}
	url := source.(*folder).url
	for below, want := range map[string]bool{
		"a.car": true, "sub/%C3%A4.car": true, "a.txt": false, ".git/a.car": false, "a.car.part": false, "": false, "a.car#bytes=0-1": false,
	} {
		if source.Owns(url+below) != want {
			t.Errorf("%q is ours: %v", below, !want)
		}
	}
	if source.Owns("file:///elsewhere/a.car") || source.Owns("s3://bucket/a.car") {
		t.Error("what lies elsewhere is ours")
	}
}

// fewEars is an [ear] that hears of one folder.
type fewEars struct{ n int }

func (e *fewEars) listenTo(string, string) error {
	if e.n++; e.n > 1 {
		return errTooMany
	}
	return nil
}
func (e *fewEars) beginLook() { e.n = 0 }
func (*fewEars) endLook()     {}
func (*fewEars) close()       {}

// That the file system does not tell of all folders is told once, and what is
// in the others is found by looking.
func TestTooManyFolders(t *testing.T) {
	r := newRig(t)
	r.write(r.dir, "a/x.car", car("x"))
	r.write(r.dir, "b/y.car", car("y"))
	r.watch(func(c *Config) {
		told(time.Millisecond)(c)
		c.deaf = true
		c.Places[0].Source.(*folder).ear = &fewEars{}
	})
	r.event("added a/x")
	r.event("added b/y")
	r.event("deaf")
	for range 3 {
		r.looked()
	}
	if n := r.count("deaf"); n != 1 || r.w.Status()[0].Told != Some {
		t.Errorf("told of %d times: %+v", n, r.w.Status()[0])
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, e := range r.events {
		if e == "deaf" && !errors.Is(r.errs[i], errTooMany) {
			t.Errorf("the reason is %v", r.errs[i])
		}
	}
}

// Links are treated as "add" treats them.
func TestLinks(t *testing.T) {
	r := newRig(t)
	r.write(r.aside, "x.car", car("x"))
	r.write(r.aside, "folder/y.car", car("y"))
	for link, to := range map[string]string{"link.car": "x.car", "folder": "folder"} {
		if err := os.Symlink(filepath.Join(r.aside, to), filepath.Join(r.dir, link)); err != nil {
			t.Skip("no links here: ", err)
		}
	}
	root := filepath.Join(r.aside, "to the root")
	if err := os.Symlink(r.dir, root); err != nil {
		t.Fatal(err)
	}
	r.dir = root
	r.watch(told(time.Millisecond))
	r.event("added link")
	r.looked()
	r.want("added link")
	if info, err := r.store.Info(t.Context(), "link"); err != nil || info.State != shard.Available {
		t.Errorf("%v, %v", info.State, err)
	}
}

// A file that was told of while a look is on its way, and that the look then
// finds grown, is one file and not two of one key.
func TestHeardWhileLooking(t *testing.T) {
	r := newRig(t)
	r.watch(told(24 * time.Hour))
	r.until("the first look", func() bool { return r.w.Status()[0].Looks > 0 })
	r.stop()
	p := r.place
	f := Found{Name: filepath.Join(r.dir, "a.car"), Key: "a", Stat: mount.Stat{Size: 1}}
	p.judge(&f, byNews)
	f.Stat.Size = 2
	p.judge(&f, byLook)
	if f.Err != nil || len(p.table.entries) != 1 {
		t.Errorf("%v, %d entries", f.Err, len(p.table.entries))
	}
	f.Name, f.Stat.Size = filepath.Join(r.dir, "a"), 3
	if p.judge(&f, byLook); !errors.Is(f.Err, errTwice) || len(p.table.entries) != 2 {
		t.Errorf("another file of the key: %v, %d entries", f.Err, len(p.table.entries))
	}
}

// What a look has not come upon, since a folder could not be read, has not
// vanished while it is there.
func TestNotSeenIsNotGone(t *testing.T) {
	r := newRig(t)
	r.move("a.car", car("a"))
	r.move("b.car", car("b"))
	r.watch(told(time.Millisecond))
	r.event("added a")
	r.event("added b")
	r.until("all is added", func() bool { s := r.w.Status()[0]; return s.Looks > 0 && s.Waiting+s.Taking == 0 })
	r.stop()
	r.remove("b.car")
	r.place.look++ // and nothing was found
	if err := r.place.miss(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.want("added a", "added b", "vanished b")
	if err := r.place.miss(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.want("added a", "added b", "vanished b")
}
