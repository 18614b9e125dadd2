package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestCloseWaitsForWhatRunsBeside, but no longer than a short grace where it
// does not heed the end of its context; and nothing begins any more.
func TestCloseWaitsForWhatRunsBeside(t *testing.T) {
	for name, c := range map[string]struct{ takes, waits time.Duration }{
		"a moment": {time.Second, time.Second},
		"too long": {time.Hour, mostGrace},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := &Engine{}
				e.work, e.cut = context.WithCancel(context.Background())
				for range 3 {
					if !e.Beside(func(context.Context) {}) {
						t.Fatal("it does not run")
					}
				}
				synctest.Wait()
				ended := make(chan struct{})
				if !e.Beside(func(ctx context.Context) {
					<-ctx.Done()
					time.Sleep(c.takes)
					close(ended)
				}) {
					t.Fatal("it does not run")
				}
				began := time.Now()
				e.shut.Store(true)
				e.cut()
				e.workers.Wait()
				if d := time.Since(began); d != c.waits {
					t.Errorf("it is waited for %v, want %v", d, c.waits)
				}
				if e.Beside(func(context.Context) { t.Error("it runs after Close") }) {
					t.Error("it is to run after Close")
				}
				<-ended
			})
		})
	}
}
