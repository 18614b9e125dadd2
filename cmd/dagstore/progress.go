package main

import (
	"context"
	"io"
	"iter"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/shard"
)

// redraw is how often the bar is brought up to date.
const redraw = 200 * time.Millisecond

// A progress shows bytes done of bytes expected, their rate and the time that
// is left, on a terminal. A nil one shows nothing: all its methods may be
// called, by many goroutines at once.
type progress struct {
	store *dagstore.Store
	quit  chan struct{}
	ended chan struct{}

	mu       sync.Mutex
	bar      *progressbar.ProgressBar
	expected int64
	done     int64
	underWay map[shard.Key]bool
}

// newProgress returns nil unless w is a terminal.
func newProgress(w io.Writer, store *dagstore.Store) *progress {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	p := &progress{
		store: store,
		quit:  make(chan struct{}),
		ended: make(chan struct{}),
		bar: progressbar.NewOptions64(1,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetDescription("adding"),
			progressbar.OptionShowBytes(true),
			progressbar.OptionShowTotalBytes(true),
			progressbar.OptionShowCount(),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionFullWidth(),
			progressbar.OptionClearOnFinish(),
		),
		underWay: make(map[shard.Key]bool),
	}
	p.bar.StartWithoutRender() // the clock of the rate
	go p.watch()
	return p
}

// expect tells the size of a source that will be read; -1 if unknown.
func (p *progress) expect(size int64) {
	if p == nil || size < 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expected += size
}

// begin tells that a shard is being read.
func (p *progress) begin(key shard.Key) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.underWay[key] = true
}

// survey tells the sizes of items ahead of the work on them, so that the time
// that is left can be told. It ends with ctx.
func (p *progress) survey(ctx context.Context, items iter.Seq[item]) {
	for it := range items {
		if ctx.Err() != nil {
			return
		}
		if it.err != nil {
			continue
		}
		if stat, err := it.mount.Stat(ctx); err == nil {
			p.expect(stat.Size)
		}
	}
}

// end tells that a shard is done with, well or not; read is false if it was
// not read after all.
func (p *progress) end(key shard.Key, size int64, read bool) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.underWay, key)
	if read {
		p.done += max(size, 0)
	} else {
		p.expected -= max(size, 0)
	}
}

// hide clears the bar's line, so that another line can be printed there.
func (p *progress) hide() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.bar.Clear() // the terminal is gone: nothing to be done
}

// stop clears the bar for good.
func (p *progress) stop() {
	if p == nil {
		return
	}
	close(p.quit)
	<-p.ended
	p.hide()
}

// watch redraws the bar until stop is called.
func (p *progress) watch() {
	defer close(p.ended)
	ticker := time.NewTicker(redraw)
	defer ticker.Stop()
	for {
		select {
		case <-p.quit:
			return
		case <-ticker.C:
			p.draw()
		}
	}
}

func (p *progress) draw() {
	partly := p.partly()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.expected <= 0 {
		return
	}
	p.bar.ChangeMax64(p.expected)
	_ = p.bar.Set64(min(p.done+partly, p.expected-1)) // at its maximum it would finish
}

// partly is how many bytes are read of the shards that are under way.
func (p *progress) partly() int64 {
	p.mu.Lock()
	keys := make([]shard.Key, 0, len(p.underWay))
	for key := range p.underWay {
		keys = append(keys, key)
	}
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), redraw)
	defer cancel()
	var sum int64
	for _, key := range keys {
		if info, err := p.store.Info(ctx, key); err == nil && info.Progress != nil {
			sum += info.Progress.Done
		}
	}
	return sum
}
