package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// A folder is the files below a folder.
type folder struct {
	root  string // absolute
	url   string // of what lies below it: it ends with a slash
	key   func(below string) shard.Key
	wants func(below string) bool

	mu      sync.Mutex
	ear     ear             // nil: there is none
	deaf    error           // why not all is told of
	said    string          // the last of these that was told of
	pending map[string]news // by path below root; "" is all
	woken   chan struct{}
}

// NewFolder is the files below the folder at root, which need not be there yet.
// key makes the key of a file of its path below root, with slashes; wants says
// which files are CARs, nil: all. Links to files are files, links to folders
// are not followed, but for root itself. What [Temporary] says is left alone.
func NewFolder(root string, key func(below string) shard.Key, wants func(below string) bool) (Source, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	m, err := filemount.New(filepath.Join(abs, "x"))
	if err != nil {
		return nil, err
	}
	if wants == nil {
		wants = func(string) bool { return true }
	}
	return &folder{
		root: abs, url: strings.TrimSuffix(m.URL(), "x"), key: key, wants: wants,
		pending: make(map[string]news), woken: make(chan struct{}, 1),
	}, nil
}

// unfinished are the ends of names of files that somebody is still writing.
var unfinished = []string{
	".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", ".aria2", ".swp", "~",
}

// Temporary reports whether a name, without a path, is one of a file or folder
// that is never taken up: it begins with a dot, or has an end that says that it
// is not finished.
func Temporary(name string) bool {
	if strings.HasPrefix(name, ".") || name == "lost+found" {
		return true
	}
	lower := strings.ToLower(name)
	for _, end := range unfinished {
		if strings.HasSuffix(lower, end) {
			return true
		}
	}
	return false
}

// at is the path of what lies below root.
func (d *folder) at(below string) string { return filepath.Join(d.root, filepath.FromSlash(below)) }

// below is the inverse of at.
func (d *folder) below(name string) string {
	rel, err := filepath.Rel(d.root, name)
	if err != nil {
		return name
	}
	return filepath.ToSlash(rel)
}

// Look implements [Source].
func (d *folder) Look(ctx context.Context) iter.Seq2[Found, error] {
	return func(yield func(Found, error) bool) {
		d.beginLook()
		if d.walk(ctx, "", yield) {
			d.endLook()
		}
	}
}

// walk yields what lies below a folder; false: not to the end. That the folder
// itself cannot be read is an error of the look if it is the root, else of one
// thing that was found.
func (d *folder) walk(ctx context.Context, from string, yield func(Found, error) bool) bool {
	stack := []string{from}
	for len(stack) > 0 {
		dir := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		d.listenTo(dir)
		more, err := d.read(ctx, dir, &stack, yield)
		switch {
		case !more:
			return false
		case err == nil, dir != "" && errors.Is(err, fs.ErrNotExist): // it went while we were on the way
		case dir == "":
			yield(Found{}, err)
			return false
		default:
			if !yield(Found{Name: d.at(dir), Err: err}, nil) {
				return false
			}
		}
	}
	return true
}

// page is how many names are read of a folder at a time.
const page = 1024

// read yields the files of one folder and puts its folders on the stack.
func (d *folder) read(ctx context.Context, dir string, stack *[]string, yield func(Found, error) bool) (more bool, err error) {
	f, err := os.Open(d.at(dir))
	if err != nil {
		return true, err
	}
	defer f.Close() // it was only read
	for {
		entries, err := f.ReadDir(page)
		for _, e := range entries {
			if Temporary(e.Name()) {
				continue
			}
			below := path.Join(dir, e.Name())
			if e.IsDir() {
				*stack = append(*stack, below)
				continue
			}
			if found, ok := d.find(below); ok && !yield(found, nil) {
				return false, nil
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return true, nil
		case err != nil:
			return true, err
		case ctx.Err() != nil:
			return false, nil
		}
	}
}

// find is what lies at a path, if it is wanted and there.
func (d *folder) find(below string) (Found, bool) {
	if !d.wants(below) {
		return Found{}, false
	}
	found := Found{Name: d.at(below), Key: d.key(below), Stat: mount.Stat{Size: -1}}
	info, err := os.Stat(found.Name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Lstat(found.Name); err != nil {
			return Found{}, false
		}
		found.Err = fmt.Errorf("it is a link that leads nowhere: %w", err)
	case err != nil:
		found.Err = err
	case info.IsDir():
		return Found{}, false // a link to a folder
	case !info.Mode().IsRegular():
		found.Err = fmt.Errorf("%w: %v", filemount.ErrNotRegular, info.Mode().Type())
	default:
		found.Stat = mount.Stat{Size: info.Size(), ModTime: info.ModTime(), Ranges: true}
		found.Changed = changeTime(info)
	}
	return found, true
}

// Open implements [Source].
func (d *folder) Open(ctx context.Context, f Found) (CAR, error) {
	m, err := filemount.New(f.Name)
	if err != nil {
		return CAR{}, err
	}
	stat, err := m.Stat(ctx)
	return CAR{Mount: m, Stat: stat}, err
}

// Owns implements [Source].
func (d *folder) Owns(url string) bool {
	below, ok := d.belowURL(url)
	for part := range strings.SplitSeq(below, "/") {
		ok = ok && !Temporary(part)
	}
	return ok && d.wants(below)
}

func (d *folder) belowURL(url string) (string, bool) {
	rest, ok := strings.CutPrefix(url, d.url)
	if !ok || rest == "" || strings.ContainsAny(rest, "#?") {
		return "", false
	}
	below, err := mount.UnescapePath(rest)
	return below, err == nil
}

// gone reports whether there is certainly nothing where a URL of ours leads.
func (d *folder) gone(url string) bool {
	below, ok := d.belowURL(url)
	if !ok {
		return false
	}
	_, err := os.Stat(d.at(below))
	return errors.Is(err, fs.ErrNotExist)
}

// news is what a file system has told of a path since somebody has looked.
type news uint8

const (
	written news = 1 << iota // made, written, or gone
	moved                    // it came by a rename
	opened                   // it is a folder that has come
)

// mostPending bounds the paths that are remembered until somebody looks.
const mostPending = 100_000

// hears remembers news of a path; "" is that all must be looked at.
func (d *folder) hears(below string, n news) {
	d.mu.Lock()
	if _, known := d.pending[below]; !known && len(d.pending) >= mostPending {
		clear(d.pending)
		below = ""
	}
	if n == written {
		d.pending[below] &^= moved // somebody goes on writing what was renamed
	}
	d.pending[below] |= n
	d.mu.Unlock()
	d.wake()
}

// wake has hear look for what there is to do.
func (d *folder) wake() {
	select {
	case d.woken <- struct{}{}:
	default:
	}
}

// taken returns what is pending, which is then not pending any more.
func (d *folder) taken() map[string]news {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.pending) == 0 {
		return nil
	}
	all := d.pending
	d.pending = make(map[string]news)
	return all
}

// hear looks at what the file system has told of, and again at what has to
// rest, until ctx ends.
func (p *place) hear(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		for below, n := range p.folder.taken() {
			p.heed(ctx, below, n)
		}
		below, wait, ok := p.nextRest()
		if ok {
			p.check(ctx, below, byNews)
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
		case <-p.folder.woken:
		case <-timer.C:
		}
	}
}

// heed looks at one path that was told of.
func (p *place) heed(ctx context.Context, below string, n news) {
	how := byNews
	if n&moved != 0 {
		how = byMove
	}
	switch {
	case below == "":
		p.tell(Event{What: Overflow})
		p.hurry()
	case n&opened != 0:
		p.folder.walk(ctx, below, func(f Found, err error) bool {
			if err == nil {
				p.see(ctx, &f, how)
			}
			return ctx.Err() == nil
		})
		p.hurry() // what went before, if it was a folder, is known to nobody else
	default:
		p.check(ctx, below, how)
	}
}

// check looks at one file.
func (p *place) check(ctx context.Context, below string, how way) {
	f, ok := p.folder.find(below)
	switch {
	case ok:
		p.see(ctx, &f, how)
	case p.folder.wants(below):
		name := p.folder.at(below)
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			p.lose(&Found{Name: name, Key: p.folder.key(below)})
		}
	}
}
