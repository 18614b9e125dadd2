package catalog

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"

	"github.com/dagstore/dagstore/internal/vfs"
)

const (
	// format is what Pebble writes. A catalogue of a later one is refused, one
	// of an earlier one is brought up to it.
	format = pebble.FormatValueSeparation

	defaultCache = 64 << 20

	// A start after a crash reads the logs of the tables in memory again, so
	// these are kept small; they fit 100,000 records and more.
	defaultTable = 16 << 20

	// When this many full tables wait to be flushed, or lie unsorted on the
	// disk, commits wait. Pebble's own limits, at which it would wait where
	// nobody can be told that the disk has failed, are out of reach. (Tables
	// in memory begin small, and Pebble flushes none before half of a full one
	// is there, so their bytes are counted, not they.)
	maxTables    = 4
	maxSublevels = 24
	outOfReach   = 1 << 20

	// maxFailures is how many compactions may fail in a row before a commit
	// that waits for one is told so.
	maxFailures = 3

	// openFiles bounds the tables that are kept open.
	openFiles = 256

	metaVersion    = 1
	counterVersion = 1
)

// Open opens the catalogue in cfg.Dir, and makes one there if there is none.
// The error wraps [vfs.ErrLocked] if it is open already, [ErrVersion] if
// another version wrote it, in which case nothing was changed, and
// [ErrDamaged] if it cannot be understood.
func Open(ctx context.Context, cfg Config) (*Embedded, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if cfg.FS == nil {
		cfg.FS = vfs.Default
	}
	if cfg.Cache == 0 {
		cfg.Cache = defaultCache
	}
	if cfg.Table == 0 {
		cfg.Table = defaultTable
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e, err := open(cfg)
	if err != nil {
		return nil, fmt.Errorf("catalog: open %s: %w", cfg.Dir, err)
	}
	return e, nil
}

func open(cfg Config) (*Embedded, error) {
	if err := vfs.MkdirAll(cfg.FS, cfg.Dir); err != nil {
		return nil, err
	}
	lock, err := vfs.LockFolder(cfg.FS, cfg.Dir)
	if err != nil {
		return nil, err
	}
	if err := checkFormat(cfg.FS, cfg.Dir); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	fence := newFence(cfg.FS)
	e := &Embedded{
		fence:    fence,
		compact:  newScheduler(fence),
		lock:     lock,
		memory:   maxTables * uint64(cfg.Table),
		log:      cfg.Logger,
		turn:     make(chan struct{}, 1),
		staged:   make(map[string]struct{}),
		progress: make(chan struct{}, 1),
		done:     make(chan struct{}),
	}
	if err := e.openPebble(cfg); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if err := e.load(); err != nil {
		e.fence.release()
		return nil, errors.Join(err, e.db.Close(), lock.Close())
	}
	e.fence.opened()
	e.compact.start()
	e.view = newView(e.db)
	return e, nil
}

// checkFormat reads the version of Pebble's format from the name of its
// marker, since Pebble itself has no error value for it.
func checkFormat(fsys vfs.FS, dir string) error {
	names, err := fsys.List(dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		rest, ok := strings.CutPrefix(name, "marker.format-version.")
		if !ok {
			continue
		}
		_, text, _ := strings.Cut(rest, ".")
		if v, err := strconv.ParseUint(text, 10, 64); err == nil && v > uint64(format) {
			return fmt.Errorf("%w: Pebble format %d, ours is %d", ErrVersion, v, uint64(format))
		}
	}
	return nil
}

// openPebble opens the database. Pebble may panic over files that are not what
// it wrote.
func (e *Embedded) openPebble(cfg Config) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: panic: %v", ErrDamaged, r)
		}
	}()
	e.db, err = pebble.Open(cfg.Dir, e.options(cfg))
	if err == nil {
		if cause := e.fence.cause(); cause != nil {
			e.fence.release()
			// What Pebble says of its own bookkeeping is of no use.
			_ = e.db.Close()
			err = cause
		}
	}
	if errors.Is(err, pebble.ErrCorruption) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}

func (e *Embedded) options(cfg Config) *pebble.Options {
	o := &pebble.Options{
		FS:                          e.fence,
		Logger:                      pebbleLog{log: cfg.Logger, fence: e.fence},
		FormatMajorVersion:          format,
		CacheSize:                   cfg.Cache,
		MemTableSize:                uint64(cfg.Table),
		MemTableStopWritesThreshold: outOfReach,
		L0StopWritesThreshold:       outOfReach,
		MaxOpenFiles:                openFiles,
		EventListener: &pebble.EventListener{
			BackgroundError: e.backgroundError,
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				e.log.Error("catalogue: a table is damaged", "file", info.Path, "err", info.Details)
			},
			WALCreated: func(pebble.WALCreateInfo) { e.rotations.Add(1) },
			FlushEnd:   func(pebble.FlushInfo) { e.wake() },
			CompactionEnd: func(info pebble.CompactionInfo) {
				e.compact.ended(info.Err)
				e.wake()
			},
		},
	}
	o.Experimental.CompactionScheduler = e.compact
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

// backgroundError hears of flushes and compactions that failed and will be
// tried again. While opening, that would be for ever.
func (e *Embedded) backgroundError(err error) {
	e.log.Error("catalogue: background work failed", "err", err)
	if shadow, _ := e.fence.state(); shadow != nil {
		e.fence.breakWith(err)
	}
}

func (e *Embedded) wake() {
	select {
	case e.progress <- struct{}{}:
	default:
	}
}

// load reads what is kept in memory, and makes it when the catalogue is new.
func (e *Embedded) load() error {
	value, closer, err := e.db.Get([]byte{spaceMeta})
	if errors.Is(err, pebble.ErrNotFound) {
		return e.create()
	}
	if err != nil {
		return err
	}
	e.meta, err = parseMeta(value)
	if err := errors.Join(err, closer.Close()); err != nil {
		return err
	}
	value, closer, err = e.db.Get([]byte{spaceCounter})
	if err != nil {
		return fmt.Errorf("%w: counter: %w", ErrDamaged, err)
	}
	e.next, err = parseCounter(value)
	if err := errors.Join(err, closer.Close()); err != nil {
		return err
	}
	if e.listed, err = e.anyManifest(); err != nil {
		return err
	}
	if err := e.loadPieces(); err != nil {
		return err
	}
	return e.loadSeq()
}

// loadSeq finds the next number of an intent. Numbers above all that are there
// keep the order; those of intents that have ended may come again.
func (e *Embedded) loadSeq() error {
	it, err := e.db.NewIter(&pebble.IterOptions{
		LowerBound: []byte{spaceQueue},
		UpperBound: after([]byte{spaceQueue}),
	})
	if err != nil {
		return err
	}
	e.seq = 1
	if it.Last() {
		q, err := parseQueued(it.Key(), nil)
		if err != nil {
			return errors.Join(err, it.Close())
		}
		e.seq = q.Seq + 1
	}
	return errors.Join(it.Error(), it.Close())
}

func (e *Embedded) create() error {
	it, err := e.db.NewIter(nil)
	if err != nil {
		return err
	}
	empty := !it.First()
	if err := errors.Join(it.Error(), it.Close()); err != nil {
		return err
	}
	if !empty {
		return fmt.Errorf("%w: it does not say whose it is", ErrDamaged)
	}
	m := Meta{Created: time.Now().UTC()}
	if _, err := rand.Read(m.StoreID[:]); err != nil {
		return err
	}
	if _, err := rand.Read(m.HashKey[:]); err != nil {
		return err
	}
	batch := e.db.NewBatch()
	mark, known := piecesKnown()
	if err := errors.Join(
		batch.Set(mark, known, nil),
		batch.Set([]byte{spaceMeta}, appendMeta(nil, m), nil),
		batch.Set([]byte{spaceCounter}, appendCounter(nil, 1), nil),
	); err != nil {
		return err
	}
	if err := errors.Join(e.write(batch), e.fence.cause()); err != nil {
		return err
	}
	e.meta, e.next, e.seq = m, 1, 1
	return nil
}

func appendMeta(dst []byte, m Meta) []byte {
	start := len(dst)
	dst = append(dst, metaVersion)
	dst = append(dst, m.StoreID[:]...)
	dst = append(dst, m.HashKey[:]...)
	dst = appendTime(dst, m.Created)
	return appendSum(dst, start)
}

func parseMeta(value []byte) (m Meta, err error) {
	body, err := cutSum(value, metaVersion)
	if err != nil {
		return Meta{}, fmt.Errorf("meta: %w", err)
	}
	body = body[1:]
	if len(body) < len(m.StoreID)+len(m.HashKey) {
		return Meta{}, fmt.Errorf("%w: meta: %w", ErrDamaged, errShort)
	}
	body = body[copy(m.StoreID[:], body):]
	body = body[copy(m.HashKey[:], body):]
	d := decoder{rest: body}
	m.Created = d.time()
	if d.err != nil {
		return Meta{}, fmt.Errorf("%w: meta: %w", ErrDamaged, d.err)
	}
	return m, nil
}

func appendCounter(dst []byte, next uint64) []byte {
	start := len(dst)
	dst = append(dst, counterVersion)
	dst = binary.LittleEndian.AppendUint64(dst, next)
	return appendSum(dst, start)
}

func parseCounter(value []byte) (uint64, error) {
	body, err := cutSum(value, counterVersion)
	if err != nil {
		return 0, fmt.Errorf("counter: %w", err)
	}
	if len(body) != 9 {
		return 0, fmt.Errorf("%w: counter: %w", ErrDamaged, errShort)
	}
	return binary.LittleEndian.Uint64(body[1:]), nil
}
