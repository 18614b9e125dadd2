package layers

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/dagstore/dagstore/index"
)

var (
	errOrder   = errors.New("layers: pairs are not added in order")
	errTooMany = errors.New("layers: too much for one layer")
	errPanic   = errors.New("layers: panic while writing a layer")
)

const (
	// blockRows is how many rows go from who adds them to who writes them at once.
	blockRows = 24 * rowsPerPage

	// blocksAhead bounds how far adding gets ahead of writing: enough for the
	// filters of a few partitions to be built meanwhile, some 2 MiB.
	blocksAhead = 16
)

// A writer writes a layer in one pass and in bounded memory: a few MiB, and
// the keys and filters of some partitions more than there are processors.
//
// Three things go on at once: whoever calls add brings rows, one goroutine
// puts them on pages, and one for each partition that is complete builds its
// filter. All of them have ended when finish or close returns.
type writer struct {
	partKeys int

	block  []byte // the rows under way
	used   int    // bytes of it
	part   *partition
	parts  int // partitions that were made
	rows   uint64
	unique uint64
	key    uint64 // of the last row
	id     index.ID

	pages  *pageWriter
	queue  chan piece
	blocks chan []byte     // to be filled again
	free   chan *partition // likewise
	failed atomic.Bool     // why is in pages.err, once idle is closed
	idle   chan struct{}   // closed when nobody writes any more
	ended  sync.Once
}

// A piece is what is to be written next: rows, or after all rows of a partition
// its end.
type piece struct {
	rows []byte
	end  *partition
}

func newWriter(out io.Writer, partKeys int, keyCheck uint32) *writer {
	w := &writer{
		partKeys: partKeys,
		pages:    newPageWriter(out, keyCheck),
		queue:    make(chan piece, blocksAhead),
		blocks:   make(chan []byte, blocksAhead),
		free:     make(chan *partition, runtime.GOMAXPROCS(0)+2),
		idle:     make(chan struct{}),
	}
	go w.write()
	return w
}

// add appends a pair. Pairs come by rising key, then id; a repeated one is
// left out. The error is that of an earlier pair, which could not be written.
func (w *writer) add(key uint64, id index.ID) error {
	if w.rows == 0 || key != w.key {
		if w.rows > 0 && key < w.key {
			return errOrder
		}
		if err := w.addKey(key); err != nil {
			return err
		}
	} else if id <= w.id {
		if id < w.id {
			return errOrder
		}
		return nil
	}
	w.key, w.id = key, id
	w.block = binary.LittleEndian.AppendUint64(w.block, key)
	w.block = binary.LittleEndian.AppendUint32(w.block, uint32(id))
	w.used += rowSize
	w.rows++
	if w.part.rows++; w.part.rows == math.MaxUint32 {
		return errTooMany
	}
	if w.used == blockRows*rowSize {
		return w.send()
	}
	return nil
}

// addKey notes where the rows of key begin, in a new partition if this one is full.
func (w *writer) addKey(key uint64) error {
	if w.part != nil && len(w.part.keys) == w.partKeys {
		if err := w.endPart(); err != nil {
			return err
		}
	}
	if w.part == nil {
		w.part = w.newPart()
	}
	w.part.keys = append(w.part.keys, key)
	w.part.starts = append(w.part.starts, w.part.rows)
	w.unique++
	return nil
}

// newPart returns an empty partition, waiting for one if too many are being
// written.
func (w *writer) newPart() *partition {
	if w.parts < cap(w.free) {
		w.parts++
		return &partition{ready: make(chan error, 1)}
	}
	p := <-w.free
	p.reset()
	return p
}

// send hands over the rows under way.
func (w *writer) send() error {
	if w.used == 0 {
		return nil
	}
	w.queue <- piece{rows: w.block}
	select {
	case w.block = <-w.blocks:
	default:
		w.block = nil
	}
	w.block, w.used = w.block[:0], 0
	return w.failure()
}

// endPart hands over the partition, whose filter is built meanwhile.
func (w *writer) endPart() error {
	if w.part == nil {
		return nil
	}
	if err := w.send(); err != nil {
		return err
	}
	p := w.part
	w.part = nil
	go func() { p.ready <- contained(p.build) }()
	w.queue <- piece{end: p}
	return w.failure()
}

// failure returns why writing has failed, if so.
func (w *writer) failure() error {
	if !w.failed.Load() {
		return nil
	}
	w.close()
	return w.pages.err
}

// write puts what comes on pages. After an error it takes the rest and drops
// it, so that nobody waits.
func (w *writer) write() {
	defer close(w.idle)
	for p := range w.queue {
		if p.end != nil {
			built := <-p.end.ready
			w.try(func() error {
				if built != nil {
					return built
				}
				return w.pages.endPart(p.end)
			})
			w.free <- p.end
			continue
		}
		w.try(func() error { return w.pages.write(p.rows) })
		select {
		case w.blocks <- p.rows:
		default:
		}
	}
}

func (w *writer) try(do func() error) {
	if w.pages.err != nil {
		return
	}
	if w.pages.err = contained(do); w.pages.err != nil {
		w.failed.Store(true)
	}
}

// contained makes an error of a panic, which in a goroutine of ours would end
// the process.
func contained(do func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return do()
}

// close ends the writing, done or not. A second one does nothing.
func (w *writer) close() {
	w.ended.Do(func() {
		close(w.queue)
		<-w.idle
	})
}

// finish writes what is left and returns what the catalogue is to remember,
// but for the number. At least one pair was added, and ids are not empty.
func (w *writer) finish(ids *roaring.Bitmap) (Layer, error) {
	err := w.endPart()
	w.close()
	if err == nil {
		err = w.pages.err
	}
	if err != nil {
		return Layer{}, err
	}
	return w.pages.finish(w.rows, w.unique, ids)
}
