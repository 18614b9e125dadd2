package main

import (
	"context"
	"io"
	"iter"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/dagstore/dagstore/shard"
)

// redraw is how often the bar is brought up to date.
const redraw = 200 * time.Millisecond

// A progress shows bytes done of bytes expected, their rate and the time that
// is left, on a terminal. A nil one shows nothing: all its methods may be
// called, by many goroutines at once.
type progress struct {
	quit  chan struct{}
	ended chan struct{}
	// figures, if not nil, says how far it is, instead of what is counted here.
	figures func() (done, expected int64)

	mu       sync.Mutex
	bar      *progressbar.ProgressBar
	expected int64
	done     int64
	work     *underWay
}

// newProgress returns nil unless w is a terminal. It is told what is done, with store
// if there is one, or asks figures, if that is not nil.
func newProgress(w io.Writer, what string, store storage, figures func() (done, expected int64)) *progress {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	p := &progress{
		figures: figures,
		quit:    make(chan struct{}),
		ended:   make(chan struct{}),
		bar: progressbar.NewOptions64(1,
			progressbar.OptionSetWriter(w),
			progressbar.OptionSetDescription(what),
			progressbar.OptionShowBytes(true),
			progressbar.OptionShowTotalBytes(true),
			progressbar.OptionShowCount(),
			progressbar.OptionUseIECUnits(true),
			progressbar.OptionSetPredictTime(true),
			progressbar.OptionFullWidth(),
			progressbar.OptionClearOnFinish(),
		),
		work: newUnderWay(store),
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

// add tells of bytes that are done and are of no shard.
func (p *progress) add(n int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += n
}

// begin tells that a shard is being read.
func (p *progress) begin(key shard.Key) {
	if p != nil {
		p.work.begin(key)
	}
}

// survey tells the sizes of items ahead of the work on them, so that the time
// that is left can be told. It ends with ctx.
func survey(ctx context.Context, items iter.Seq[item], expect func(size int64)) {
	for it := range items {
		if ctx.Err() != nil {
			return
		}
		if it.err != nil {
			continue
		}
		if stat, err := it.mount.Stat(ctx); err == nil {
			expect(stat.Size)
		}
	}
}

// end tells that a shard is done with, well or not; read is false if it was
// not read after all.
func (p *progress) end(key shard.Key, size int64, read bool) {
	if p == nil {
		return
	}
	p.work.end(key)
	p.mu.Lock()
	defer p.mu.Unlock()
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
	if p.figures != nil {
		done, expected := p.figures()
		p.mu.Lock()
		p.done, p.expected = done, expected
		p.mu.Unlock()
	}
	partly := p.work.partly()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.expected <= 0 {
		return
	}
	p.bar.ChangeMax64(p.expected)
	_ = p.bar.Set64(min(p.done+partly, p.expected-1)) // at its maximum it would finish
}

// underWay are the shards that are being read.
type underWay struct {
	store storage
	mu    sync.Mutex
	keys  map[shard.Key]bool
}

func newUnderWay(store storage) *underWay {
	return &underWay{store: store, keys: make(map[shard.Key]bool)}
}

func (u *underWay) begin(key shard.Key) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.keys[key] = true
}

func (u *underWay) end(key shard.Key) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.keys, key)
}

// partly is how many bytes of them have been read.
func (u *underWay) partly() int64 {
	u.mu.Lock()
	keys := slices.Collect(maps.Keys(u.keys))
	u.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), redraw)
	defer cancel()
	var sum int64
	for _, key := range keys {
		if info, err := u.store.Info(ctx, key); err == nil && info.Progress != nil {
			sum += info.Progress.Done
		}
	}
	return sum
}
