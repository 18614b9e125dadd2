package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/mount"
)

const (
	goalMemory    = 256 << 20 // bytes
	defaultMemory = 256 << 20 // of Work.Memory
	sampleEvery   = 20 * time.Millisecond
)

// indexMemory indexes a CAR that is made while it is read, of more blocks than
// can be sorted in the memory that there is for it, and watches how much of
// its own the process holds.
func indexMemory(ctx context.Context, e *env) (r result, err error) {
	n := e.scale.vastCAR
	debug.FreeOSMemory() // the rows before have left something
	idle, err := rssAnon()
	if err != nil {
		return r, err
	}
	dir := e.fresh()
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg := &dagstore.Config{Mounts: mount.Registry{generatedScheme: func(string) (mount.Mount, error) { return generated{n}, nil }}}
	cfg.Work.Memory = e.scale.vastMemory
	s, err := dagstore.Open(ctx, dir, cfg)
	if err != nil {
		return r, err
	}
	watch := watchMemory()
	began := time.Now()
	err = s.Register(ctx, "generated", generated{n}, nil)
	took := time.Since(began).Seconds()
	peak, watchErr := watch()
	var blocks int64
	if err == nil {
		info, infoErr := s.Info(ctx, "generated")
		blocks, err = info.Multihashes, infoErr
	}
	if err := errors.Join(err, watchErr, s.Close()); err != nil {
		return r, err
	}
	if blocks != n {
		return r, fmt.Errorf("%d blocks are indexed, not %d", blocks, n)
	}
	const mib = 1 << 20
	r = compared(float64(peak)/mib, float64(cmp.Or(e.scale.vastMemory, defaultMemory))/mib, "MiB")
	r.goal, r.held = "≤ 256 MiB", peak <= goalMemory
	r.note = fmt.Sprintf("peak of RssAnon, every 20 ms; L: Work.Memory; N = %d × %d B in %.0f s; %.0f MiB before; measured once",
		n, tinySize, took, float64(idle)/mib)
	return r, nil
}

// watchMemory samples RssAnon until it is called.
func watchMemory() (peak func() (int64, error)) {
	var most int64
	var err error
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			now, rssErr := rssAnon()
			err = errors.Join(err, rssErr)
			most = max(most, now)
			select {
			case <-tick.C:
			case <-quit:
				return
			}
		}
	})
	return func() (int64, error) {
		close(quit)
		done.Wait()
		return most, err
	}
}

// rssAnon is how much memory of its own the process has: what it has mapped of
// files does not count. Only Linux tells.
func rssAnon() (int64, error) {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if kib, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(kib), " kB"), 10, 64)
			return n << 10, err
		}
	}
	return 0, errors.New("/proc/self/status has no RssAnon")
}

const generatedScheme = "generated"

// generated is a CAR of n blocks that lies nowhere. Its digests are random, and
// hash nothing.
type generated struct{ n int64 }

var generatedHead = carHead + cidPrefix + strings.Repeat("\x00", sha256.Size) + carTail

func generatedSection() []byte {
	b := binary.AppendUvarint(nil, uint64(cidLength+tinySize))
	return append(append(b, cidPrefix...), make([]byte, sha256.Size+tinySize)...)
}

// URL implements [mount.Mount].
func (m generated) URL() string { return fmt.Sprintf("%s://%d", generatedScheme, m.n) }

// Stat implements [mount.Mount].
func (m generated) Stat(context.Context) (mount.Stat, error) {
	return mount.Stat{Size: int64(len(generatedHead)) + m.n*int64(len(generatedSection()))}, nil
}

// Open implements [mount.Mount].
func (m generated) Open(ctx context.Context) (io.ReadCloser, error) {
	s := &generatedStream{ctx: ctx, left: m.n, section: generatedSection(), random: rand.NewChaCha8([32]byte{1})}
	s.rest = bytes.NewReader([]byte(generatedHead))
	s.digest = s.section[len(s.section)-tinySize-sha256.Size:][:sha256.Size]
	return s, nil
}

type generatedStream struct {
	ctx     context.Context //nolint:containedctx // a stream of one use
	left    int64           // sections
	section []byte
	digest  []byte // in section
	rest    *bytes.Reader
	random  *rand.ChaCha8
}

// Read implements [io.Reader].
func (s *generatedStream) Read(p []byte) (n int, err error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	for n < len(p) {
		if s.rest.Len() == 0 {
			if s.left == 0 {
				break
			}
			s.left--
			_, _ = s.random.Read(s.digest) // never fails
			s.rest.Reset(s.section)
		}
		m, _ := s.rest.Read(p[n:]) // it has some
		n += m
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Close implements [io.Closer].
func (s *generatedStream) Close() error { return nil }
