package watch

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dagstore/dagstore/internal/car/cartest"
	"github.com/dagstore/dagstore/shard"
)

// deaf watches by looking alone, as often as it is said.
func deaf(every time.Duration) func(*Config) {
	return func(c *Config) {
		c.deaf = true
		c.Places[0].Every = every
	}
}

// pass lets time pass, until nothing moves any more.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// A file is taken up when it has been as it is for 30 seconds, and not before.
func TestRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.write(r.dir, "a.car", car("a"))
		r.write(r.dir, "notes.txt", []byte("no CAR"))
		r.watch(deaf(time.Hour))
		pass(29 * time.Second)
		r.want()
		if s := r.w.Status()[0]; s.Waiting != 1 || s.Seen != 1 {
			t.Errorf("while it rests: %+v", s)
		}
		pass(2 * time.Second)
		r.want("added a")
		if s := r.w.Status()[0]; s.Waiting != 0 || s.Added != 1 || s.Looks != 1 {
			t.Errorf("when it has rested: %+v", s)
		}
		if !r.found("a") {
			t.Error("its block is not found")
		}
		r.stop()
	})
}

// A file that nobody has touched for an hour is taken up by the first look.
func TestOldFile(t *testing.T) {
	if changeTime(mustStat(t, ".")).IsZero() {
		t.Skip("this system does not tell when anything about a file was changed")
	}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(50 * 365 * 24 * time.Hour) // in here it is the year 2000, and files are of now
		r := newRig(t)
		r.write(r.dir, "a.car", car("a"))
		r.watch(deaf(time.Hour))
		pass(time.Second)
		r.want("added a")
		r.stop()
	})
	now := time.Now()
	for name, c := range map[string]struct {
		mod, changed time.Time
		want         bool
	}{
		"of long ago":            {now.Add(-2 * time.Hour), now.Add(-2 * time.Hour), true},
		"that brought its time":  {now.Add(-2 * time.Hour), now.Add(-time.Minute), false},
		"with a time ahead":      {now.Add(2 * time.Hour), now.Add(-2 * time.Hour), false},
		"on a system without it": {now.Add(-2 * time.Hour), time.Time{}, false},
	} {
		f := &Found{Changed: c.changed}
		f.Stat.ModTime = c.mod
		if settled(f) != c.want {
			t.Errorf("a file %s need not rest: %v", name, !c.want)
		}
	}
}

func mustStat(t *testing.T, name string) os.FileInfo {
	t.Helper()
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// A file that somebody writes for ten minutes, with pauses shorter than 30
// seconds, is not taken up before it is whole: neither by the looks meanwhile
// nor by what the file system tells.
func TestSlowWriter(t *testing.T) {
	for name, tells := range map[string]bool{"looks": false, "news": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t)
				r.watch(deaf(time.Minute))
				synctest.Wait()
				blocks := make([]cartest.Block, 40)
				for i := range blocks {
					blocks[i] = cartest.Raw([]byte{byte(i)})
				}
				whole := cartest.V1(nil, blocks)
				for i := range blocks {
					// Each part ends with a block: it is a good CAR that lacks the rest.
					r.write(r.dir, "slow.car", cartest.V1(nil, blocks[:i+1]))
					if tells {
						r.place.folder.hears("slow.car", written)
					}
					pass(15 * time.Second)
				}
				r.want()
				pass(2 * time.Minute)
				r.want("added slow")
				info, err := r.store.Info(t.Context(), "slow")
				if err != nil || info.Bytes != int64(len(whole)) || info.Sections != 40 {
					t.Errorf("it was taken up as %d bytes of %d: %v", info.Bytes, len(whole), err)
				}
				r.stop()
			})
		})
	}
}

// A folder that cannot be read is told of once, whatever is looked at
// meanwhile; nothing in it has vanished; and that it can be read again is told.
func TestFolderGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.write(r.dir, "a.car", car("a"))
		r.watch(deaf(time.Minute))
		pass(time.Minute)
		r.want("added a")
		r.rename(r.dir, r.dir+" elsewhere")
		pass(10 * time.Minute)
		r.want("added a", "trouble")
		if s := r.w.Status()[0]; s.Error == "" || s.ErrorSince.IsZero() || s.Vanished != 0 || s.Looks > 2 {
			t.Errorf("while it is away: %+v", s)
		}
		r.rename(r.dir+" elsewhere", r.dir)
		pass(2 * time.Minute)
		r.want("added a", "trouble", "well")
		if s := r.w.Status()[0]; s.Error != "" || !s.ErrorSince.IsZero() {
			t.Errorf("when it is back: %+v", s)
		}
		r.stop()
	})
}

// What vanishes is told of and stays in the store; when it comes back that is
// told, too, also by a watcher that was not there when it went.
func TestVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for _, name := range []string{"a.car", "b.car", "sub/c.car"} {
			r.write(r.dir, name, car(name))
		}
		r.watch(deaf(time.Minute))
		pass(time.Minute)
		r.want("added a", "added b", "added sub/c")
		r.rename(filepath.Join(r.dir, "a.car"), filepath.Join(r.aside, "a.car"))
		pass(5 * time.Minute)
		r.want("added a", "added b", "added sub/c", "vanished a")
		r.stop()

		r.remove("sub")
		r.events = nil
		r.watch(deaf(time.Minute))
		pass(5 * time.Minute)
		r.want("vanished a", "vanished sub/c")
		if s := r.w.Status()[0]; s.Vanished != 2 || s.Added != 0 || s.Seen != 1 {
			t.Errorf("%+v", s)
		}
		var keys []shard.Key
		for _, c := range r.w.Vanished() {
			keys = append(keys, c.Key)
		}
		slices.Sort(keys)
		if !slices.Equal(keys, []shard.Key{"a", "sub/c"}) {
			t.Errorf("vanished: %v", keys)
		}
		for _, key := range keys {
			if r.state(key) != shard.Available {
				t.Errorf("%s is %v", key, r.state(key))
			}
		}

		r.rename(filepath.Join(r.aside, "a.car"), filepath.Join(r.dir, "a.car"))
		if err := r.store.Destroy(t.Context(), "sub/c", nil); err != nil {
			t.Fatal(err)
		}
		pass(5 * time.Minute)
		r.want("vanished a", "vanished sub/c", "back a")
		if s := r.w.Status()[0]; s.Vanished != 0 || len(r.w.Vanished()) != 0 {
			t.Errorf("when one is back and one was removed: %+v", s)
		}
		r.stop()
	})
}

// A CAR that has changed is told of once; with Replace, its shard gets the new
// one, unless that is bad.
func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.write(r.dir, "a.car", car("first"))
		r.watch(deaf(time.Minute))
		pass(time.Minute)
		r.write(r.dir, "a.car", car("second"))
		pass(10 * time.Minute)
		r.want("added a", "changed a")
		if s := r.w.Status()[0]; s.Changed != 1 {
			t.Errorf("%+v", s)
		}
		r.stop()

		r.events = nil
		r.watch(func(c *Config) {
			deaf(time.Minute)(c)
			c.Places[0].Replace = true
		})
		pass(10 * time.Minute)
		r.want("replaced a")
		if s := r.w.Status()[0]; s.Changed != 0 || s.Replaced != 1 || !r.found("second") || r.found("first") {
			t.Errorf("%+v", s)
		}
		r.write(r.dir, "a.car", []byte("no CAR at all"))
		pass(10 * time.Minute)
		r.want("replaced a", "failed a")
		if !r.found("second") {
			t.Error("the last good revision is not found")
		}
		r.write(r.dir, "a.car", car("third"))
		pass(10 * time.Minute)
		r.want("replaced a", "failed a", "replaced a")
		if s := r.w.Status()[0]; s.Failed != 0 || !r.found("third") {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

// A bad CAR is told of once and not read again until it changes.
func TestFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.write(r.dir, "bad.car", []byte("no CAR"))
		if err := os.Symlink(filepath.Join(r.aside, "nowhere"), filepath.Join(r.dir, "link.car")); err != nil {
			t.Skip("no links here: ", err)
		}
		r.watch(deaf(time.Minute))
		pass(3 * time.Hour)
		r.want("failed bad", "failed link")
		r.mu.Lock()
		for i, err := range r.errs {
			if r.events[i] == "failed bad" && !errors.Is(err, shard.ErrCAR) {
				t.Errorf("failed by %v", err)
			}
		}
		r.mu.Unlock()
		p := r.place
		p.mu.Lock()
		bad, link := p.table.entries[p.table.id("bad")], p.table.entries[p.table.id("link")]
		p.mu.Unlock()
		if bad.tries != 1 || link.tries < 5 || link.tries > 15 {
			t.Errorf("the bad one was tried %d times, the one that leads nowhere %d times", bad.tries, link.tries)
		}
		if s := r.w.Status()[0]; s.Failed != 2 || len(r.w.Failures()) != 2 || r.state("bad") != shard.Gone {
			t.Errorf("%+v", s)
		}
		r.write(r.dir, "bad.car", car("good"))
		r.write(r.aside, "nowhere", car("somewhere"))
		pass(2 * time.Hour)
		r.want("failed bad", "failed link", "added bad", "added link")
		if s := r.w.Status()[0]; s.Failed != 0 || len(r.w.Failures()) != 0 {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

// A change that a reader has come upon is not one of which the store does not
// know any more.
func TestChangeIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.write(r.dir, "a.car", car("first"))
		r.watch(deaf(time.Minute))
		pass(time.Minute)
		r.write(r.dir, "a.car", car("second"))
		pass(10 * time.Minute)
		r.want("added a", "changed a")
		a, err := r.store.Acquire(t.Context(), "a", nil) // it has the store look at the source
		if err != nil {
			t.Fatal(err)
		}
		a.Close()
		pass(10 * time.Minute)
		r.want("added a", "changed a")
		if s := r.w.Status()[0]; s.Changed != 0 || !r.found("second") {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

// What is there already is not registered again by the next watcher.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for _, name := range []string{"a.car", "b.car", "c.car"} {
			r.write(r.dir, name, car(name))
		}
		r.watch(deaf(time.Minute))
		pass(2 * time.Minute)
		r.stop()
		before, err := r.store.Info(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		r.watch(deaf(time.Minute))
		pass(10 * time.Minute)
		r.want("added a", "added b", "added c")
		after, err := r.store.Info(t.Context(), "b")
		if err != nil || !after.Changed.Equal(before.Changed) {
			t.Errorf("%v, %v, %v", before.Changed, after.Changed, err)
		}
		if s := r.w.Status()[0]; s.Seen != 3 || s.Added != 0 || s.Failed != 0 || s.Waiting+s.Taking != 0 {
			t.Errorf("%+v", s)
		}
		r.stop()
	})
}

// Two files whose names make one key: the second is told of once.
func TestTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		r.write(r.dir, "a", car("one"))
		r.write(r.dir, "a.car", car("two"))
		r.watch(func(c *Config) {
			deaf(time.Minute)(c)
			source, err := NewFolder(r.dir, keyOf, nil)
			if err != nil {
				t.Fatal(err)
			}
			c.Places[0].Source = source
		})
		pass(time.Hour)
		r.want("added a", "failed a")
		r.stop()
	})
}

// What is named as something that is not finished is left alone.
func TestTemporary(t *testing.T) {
	for _, name := range []string{".a.car", "a.car.part", "a.CAR.PART", "a.car~", "a.tmp", "a.car.crdownload", ".git", "lost+found", "a.partial"} {
		if !Temporary(name) {
			t.Errorf("%q would be taken up", name)
		}
	}
	for _, name := range []string{"a.car", "part.car", "a.part.car", "a", "ä.car"} {
		if Temporary(name) {
			t.Errorf("%q would be left alone", name)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		for _, name := range []string{".hidden.car", ".folder/a.car", "b.car.part", "c.car"} {
			r.write(r.dir, name, car(name))
		}
		r.watch(func(c *Config) {
			deaf(time.Minute)(c)
			source, err := NewFolder(r.dir, keyOf, nil)
			if err != nil {
				t.Fatal(err)
			}
			c.Places[0].Source = source
		})
		pass(10 * time.Minute)
		r.want("added c")
		r.stop()
	})
}

// What is written to the log says what is wrong where something is, and nothing of it
// where nothing is.
func TestLogged(t *testing.T) {
	r := newRig(t)
	var text bytes.Buffer
	r.watch(func(c *Config) {
		c.deaf = true
		c.Logger = slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	r.stop()
	text.Reset()
	for what := Added; int(what) < len(whats); what++ {
		r.place.tell(Event{What: what, Key: "a", Name: "/a.car"})
	}
	if strings.Contains(text.String(), "err=") || strings.Count(text.String(), "\n") != len(whats)-1 {
		t.Errorf("without errors:\n%s", text.String())
	}
	for _, what := range []What{Failed, Trouble, Deaf} {
		text.Reset()
		r.place.tell(Event{What: what, Err: shard.ErrCAR})
		if !strings.Contains(text.String(), "err=\"bad CAR\"") || !strings.Contains(text.String(), what.String()) {
			t.Errorf("%v: %s", what, text.String())
		}
	}
}
