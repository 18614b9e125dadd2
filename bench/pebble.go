package main

import (
	"crypto/rand"
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

const (
	pebbleKey   = 16  // bytes
	pebbleValue = 100 // bytes, about those of a record
	pebbleTable = 16 << 20
)

// A bare database is what a catalogue costs at least.
type bare struct{ db *pebble.DB }

func openPebble(dir string) (*bare, error) {
	db, err := pebble.Open(dir, &pebble.Options{
		FormatMajorVersion: pebble.FormatValueSeparation,
		MemTableSize:       pebbleTable,
		Logger:             silent{},
	})
	if err != nil {
		return nil, err
	}
	return &bare{db}, nil
}

// put returns how many pairs a second are durable, in synced batches of size,
// one after the other. Keys are random, as hashed ones are.
func (b *bare) put(n, size int) (rate float64, err error) {
	keys := make([]byte, n*pebbleKey)
	_, _ = rand.Read(keys) // it never fails
	value := make([]byte, pebbleValue)
	_, _ = rand.Read(value)
	began := time.Now()
	for i := 0; i < n; i += size {
		batch := b.db.NewBatch()
		for j := i; j < min(i+size, n); j++ {
			if err := batch.Set(keys[j*pebbleKey:][:pebbleKey], value, nil); err != nil {
				return 0, errors.Join(err, batch.Close())
			}
		}
		if err := batch.Commit(pebble.Sync); err != nil {
			return 0, err
		}
		if err := batch.Close(); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
}

func (b *bare) close() error { return b.db.Close() }

// silent keeps Pebble from writing to the terminal.
type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}

// Fatalf must not return: Pebble would go on with a database that is broken.
func (silent) Fatalf(format string, _ ...any) { panic("pebble: " + format) }
