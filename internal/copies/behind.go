package copies

import (
	"time"

	"github.com/dagstore/dagstore/internal/vfs"
)

const (
	// flushStep is after how many bytes the disk is told to begin writing.
	flushStep = 8 << 20

	// noteEvery is how much of the time of a fill a crash costs at most, if its
	// copy can be gone on with, apart from the last flushStep.
	noteEvery = 2 * time.Second
)

// A behind has the disk write what a large file has got, beside who writes it: else
// the disk would begin when all is there, and who waits for the sync would wait for
// all of it. Now and then it notes how much of it is on disk.
type behind struct {
	step     int64 // flushStep
	asked    int64 // up to where the disk was told to write
	notedAt  time.Time
	progress *progress // nil: nothing is noted

	due  chan int64 // up to where it is to be told next; nil: nobody is there to tell it
	done chan struct{}
	err  error // why that failed; read once done is closed
}

// wrote says that w has size bytes. If the disk has failed to write what it had
// before it returns that error.
func (b *behind) wrote(w *vfs.Writer, size int64) error {
	if size-b.asked < b.step {
		return nil
	}
	if b.due == nil {
		b.due, b.done = make(chan int64, 1), make(chan struct{})
		go b.run(w)
	}
	select {
	case <-b.done:
		return b.err
	case b.due <- size:
		b.asked = size
	default: // the disk is slower than the source: what it has not begun yet comes with the next
	}
	return nil
}

func (b *behind) run(w *vfs.Writer) {
	defer close(b.done)
	for size := range b.due {
		if b.err = w.Flush(size); b.err == nil {
			b.err = b.note(w, size)
		}
		if b.err != nil {
			return
		}
	}
}

// note has it noted that size bytes are on disk, if it is time for that.
func (b *behind) note(w *vfs.Writer, size int64) error {
	p := b.progress
	if p == nil || p.of.size-size < b.step {
		return nil
	}
	now := p.k.cfg.Now()
	if now.Sub(b.notedAt) < noteEvery {
		return nil
	}
	b.notedAt = now
	return p.record(w, size)
}

// end waits until nobody is at the file.
func (b *behind) end() error {
	if b.due == nil {
		return nil
	}
	close(b.due)
	<-b.done
	b.due = nil
	return b.err
}
