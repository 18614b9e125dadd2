package mounttest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dagstore/dagstore/mount"
)

const (
	// patience is how soon a call has to return after its context has ended.
	patience = 30 * time.Second

	// lawTime is what one law may take; a mount that hangs is found by it.
	lawTime = time.Minute
)

// Test checks m, whose source holds the bytes want, against every law. The
// error joins all that is wrong; each part begins with the law that was
// broken. The whole test of a kind is:
//
//	if err := mounttest.Test(ctx, reg, m, want); err != nil {
//		t.Fatal(err)
//	}
//
// It opens m.URL() through reg and holds the two against each other, reads by
// all the ways that m offers, from many goroutines, and cancels at every point.
// The source must not change meanwhile. A few thousand bytes are enough. A
// call of m that hangs is reported after a minute, and its goroutine is lost.
func Test(ctx context.Context, reg mount.Registry, m mount.Mount, want []byte) error {
	s := &suite{reg: reg, m: m, want: want, patience: patience, lawTime: lawTime}
	return s.run(ctx)
}

// suite is one run of all laws.
type suite struct {
	reg      mount.Registry
	m        mount.Mount
	want     []byte
	patience time.Duration
	lawTime  time.Duration
}

// A law is a name and what it demands. Its check returns what is wrong first.
type law struct {
	name  string
	check func(*suite, context.Context) error
}

func laws() []law {
	return []law{
		{"url", (*suite).url},
		{"reopen", (*suite).reopen},
		{"stat", (*suite).stat},
		{"stream", (*suite).stream},
		{"close", (*suite).close},
		{"range", (*suite).ranges},
		{"bounds", (*suite).bounds},
		{"version", (*suite).version},
		{"file", (*suite).file},
		{"section", (*suite).section},
		{"sibling", (*suite).sibling},
		{"concurrent", (*suite).concurrent},
		{"cancel", (*suite).cancel},
	}
}

func (s *suite) run(ctx context.Context) error {
	var errs []error
	for _, l := range laws() {
		if err := s.runLaw(ctx, l); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.name, err))
		}
	}
	return errors.Join(errs...)
}

func (s *suite) runLaw(ctx context.Context, l law) error {
	ctx, cancel := context.WithTimeout(ctx, s.lawTime)
	defer cancel()
	return s.guard(ctx, func() error { return l.check(s, ctx) })
}

// guard runs f in a goroutine of its own, turns a panic into an error, and
// gives up on f when it has not returned a while after ctx has ended.
func (s *suite) guard(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("it panicked: %v", p)
			}
		}()
		done <- f()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	late := time.NewTimer(s.patience)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return fmt.Errorf("%w: no return %v after its context has ended", errHangs, s.patience)
	}
}

var errHangs = errors.New("it hangs")
