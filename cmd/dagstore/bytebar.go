package main

import (
	"io"
	"os"
	"sync"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// A byteBar shows bytes done of bytes expected on a terminal. A nil one shows
// nothing: all its methods may be called.
type byteBar struct {
	mu   sync.Mutex
	bar  *progressbar.ProgressBar
	over bool
}

// newByteBar returns nil unless w is a terminal.
func newByteBar(w io.Writer, what string) *byteBar {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return &byteBar{bar: progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(w),
		progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true),
		progressbar.OptionShowTotalBytes(true),
		progressbar.OptionShowCount(),
		progressbar.OptionUseIECUnits(true),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionThrottle(redraw),
		progressbar.OptionClearOnFinish(),
	)}
}

// survey tells how many bytes there will be, once that is known.
func (b *byteBar) survey(count func() int64) {
	if b == nil {
		return
	}
	n := count()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over && n > 0 {
		b.bar.ChangeMax64(n)
	}
}

// add tells of bytes that were done.
func (b *byteBar) add(n int64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.bar.Add64(n) // of a terminal that is gone nobody needs to hear
}

// stop takes the bar away.
func (b *byteBar) stop() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	_ = b.bar.Clear()
}
