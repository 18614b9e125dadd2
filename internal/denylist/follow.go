package denylist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
)

// Config says which lists are followed, and how.
type Config struct {
	// Paths are files, or folders of which every *.deny counts, by name.
	// Rules of later ones go before those of earlier ones.
	Paths []string
	// Every is how often the files are looked at. Default: 2 s.
	Every time.Duration
	// Logger hears of what is wrong with lists. Default: discards.
	Logger *slog.Logger
}

// A Follower keeps a set in step with files. It may be used by many
// goroutines at once; only one calls Run.
type Follower struct {
	cfg     Config
	files   []*file      // in their order
	folders map[int]bool // which of Config.Paths are some
	now     atomic.Pointer[state]
}

// A state is what is to be seen at a time.
type state struct {
	set      *Set
	statuses []Status
}

// Status is how it stands with one list.
type Status struct {
	Path       string
	Name       string    // as the list says
	Rules, Bad int       // lines
	Loaded     time.Time // when it was last read
	Err        error     // why what is there now is not taken; nil: it is
}

// A file is what is known of a list between two looks.
type file struct {
	path   string
	place  int // in Config.Paths
	list   *List
	seen   fs.FileInfo // when it was read
	new    fs.FileInfo // a replacement, met in the last look
	bad    fs.FileInfo // what could not be taken, when it was tried
	loaded time.Time
	err    error
	told   map[string]struct{} // problems that are in the log
}

// Open reads all lists. An error, that of one of them, means that none is
// followed.
func Open(cfg Config) (*Follower, error) {
	if cfg.Every <= 0 {
		cfg.Every = 2 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	f := &Follower{cfg: cfg, folders: make(map[int]bool)}
	if err := f.find(); err != nil {
		return nil, fmt.Errorf("denylist: %w", err)
	}
	var errs []error
	for _, fl := range f.files {
		if err := f.read(fl); err != nil {
			errs = append(errs, fmt.Errorf("denylist: %w", err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	f.publish()
	return f, nil
}

// find notes the files that there are, besides those that are known: who is
// no longer in a folder keeps its place.
func (f *Follower) find() error {
	var errs []error
	for place, path := range f.cfg.Paths {
		info, err := os.Stat(path)
		switch {
		case err == nil && info.IsDir():
			f.folders[place] = true
		case f.folders[place]:
			errs = append(errs, err)
			continue // the lists that were in it say so
		default:
			f.note(place, path) // if it cannot be read, reading it says why
			continue
		}
		found, err := os.ReadDir(path)
		before := len(f.files)
		for _, entry := range found {
			if filepath.Ext(entry.Name()) == ".deny" {
				f.note(place, filepath.Join(path, entry.Name()))
			}
		}
		if err == nil && len(f.files) == before {
			err = fmt.Errorf("%w: folder %s has no *.deny", ErrList, path)
		}
		errs = append(errs, err)
	}
	slices.SortFunc(f.files, func(a, b *file) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.path, b.path))
	})
	return errors.Join(errs...)
}

func (f *Follower) note(place int, path string) {
	if !slices.ContainsFunc(f.files, func(fl *file) bool { return fl.path == path }) {
		f.files = append(f.files, &file{path: path, place: place, told: make(map[string]struct{})})
	}
}

// Set returns the rules of now.
func (f *Follower) Set() *Set { return f.now.Load().set }

// Statuses returns how it stands with each list, in their order.
func (f *Follower) Statuses() []Status { return slices.Clone(f.now.Load().statuses) }

// Refuse returns the status by which a gateway refuses something, or 0: the
// block of c wherever it is met, or, if there is a path, what that leads to,
// which begins with /ipfs/ or /ipns/.
func (f *Follower) Refuse(c cid.Cid, path string) int {
	set := f.Set()
	if path == "" {
		return statusOf(set.Block(c))
	}
	return statusOf(set.Content(path))
}

func statusOf(m Match) int {
	if !m.Denies() {
		return 0
	}
	return m.Status
}

// Run follows the files until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	ticker := time.NewTicker(f.cfg.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.Look()
		}
	}
}

// Look looks at the files now. What was appended to a list counts at once; a
// list that was replaced counts when it has not changed between two looks, so
// that one that is being written does not allow what it still denies.
func (f *Follower) Look() {
	// A folder that has gone is told of by the lists that were in it.
	_ = f.find()
	changed := false
	for _, fl := range f.files {
		changed = f.look(fl) || changed
	}
	if changed {
		f.publish()
	}
}

// look reads fl again if it has changed, and reports whether anything is new.
func (f *Follower) look(fl *file) bool {
	info, err := os.Stat(fl.path)
	if err != nil {
		return f.tell(fl, err)
	}
	if fl.list == nil { // it is new in its folder
		if err := f.read(fl); err != nil {
			return f.tell(fl, err)
		}
		return true
	}
	if same(info, fl.seen) {
		healed := fl.err != nil
		fl.new, fl.bad, fl.err = nil, nil, nil
		return healed
	}
	if fl.bad != nil && same(info, fl.bad) {
		return false
	}
	if os.SameFile(info, fl.seen) && info.Size() >= fl.list.size {
		if err := f.append(fl); err == nil {
			return true
		} else if !errors.Is(err, errReplaced) {
			fl.bad = info
			return f.tell(fl, err)
		}
	}
	if fl.new == nil || !same(info, fl.new) {
		fl.new = info
		return false
	}
	if err := f.read(fl); err != nil {
		fl.bad = info
		return f.tell(fl, err)
	}
	return true
}

// tell keeps err as the state of fl, and logs what is new.
func (f *Follower) tell(fl *file, err error) bool {
	if fl.err != nil && fl.err.Error() == err.Error() {
		return false
	}
	fl.err = err
	f.cfg.Logger.Error("denylist cannot be read again; its rules of before stay", "list", fl.path, "error", err)
	return true
}

func same(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// read reads all of a file.
func (f *Follower) read(fl *file) error {
	in, info, err := open(fl.path)
	if err != nil {
		return err
	}
	defer in.Close() // it was only read
	if info.Size() == 0 && fl.list != nil && fl.list.Rules > 0 {
		return fmt.Errorf("%w: %s has become empty; a comment in it would say that this is meant", ErrList, fl.path)
	}
	list, problems, err := Parse(fl.path, in)
	if err != nil {
		return err
	}
	f.took(fl, list, problems, info)
	return nil
}

// append reads what was appended to a file.
func (f *Follower) append(fl *file) error {
	in, info, err := open(fl.path)
	if err != nil {
		return err
	}
	defer in.Close() // it was only read
	list, problems, err := fl.list.Append(in)
	if err != nil {
		return err
	}
	f.took(fl, list, problems, info)
	return nil
}

func (f *Follower) took(fl *file, list *List, problems []Problem, info fs.FileInfo) {
	fl.list, fl.seen, fl.loaded = list, info, time.Now()
	fl.new, fl.bad, fl.err = nil, nil, nil
	f.problems(fl, problems)
}

func open(path string) (*os.File, fs.FileInfo, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := in.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is no regular file", ErrList, path)
	}
	if err != nil {
		return nil, nil, errors.Join(err, in.Close())
	}
	return in, info, nil
}

// problems logs bad lines that are not in the log yet.
func (f *Follower) problems(fl *file, problems []Problem) {
	const most = 10 // of one reading; of all, a hundred times that
	more := 0
	for _, p := range problems {
		text := p.Err.Error()
		if _, ok := fl.told[text]; ok {
			continue
		}
		if more++; more <= most {
			f.cfg.Logger.Warn("denylist has a bad line", "list", fl.path, "line", p.Line, "error", text)
		}
		if len(fl.told) < 100*most {
			fl.told[text] = struct{}{}
		}
	}
	if more > most {
		f.cfg.Logger.Warn("denylist has more bad lines", "list", fl.path, "bad", fl.list.Bad, "rules", fl.list.Rules)
	}
}

// publish makes everybody see what the files say.
func (f *Follower) publish() {
	s := &state{set: new(Set)}
	for _, fl := range f.files {
		status := Status{Path: fl.path, Loaded: fl.loaded, Err: fl.err}
		if l := fl.list; l != nil {
			status.Name, status.Rules, status.Bad = l.Header.Name, l.Rules, l.Bad
			s.set.lists = append(s.set.lists, l)
		}
		s.statuses = append(s.statuses, status)
	}
	f.now.Store(s)
}
