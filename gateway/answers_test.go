package gateway

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestAnswersTogether: for one name one question is under way, and all who wait for
// it have its answer.
func TestAnswersTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnswers[int]()
		var asked atomic.Int64
		ask := func(ctx context.Context, _ int) (int, time.Duration, error) {
			asked.Add(1)
			select {
			case <-time.After(time.Second):
				return 7, time.Minute, nil
			case <-ctx.Done():
				return 0, 0, context.Cause(ctx)
			}
		}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if v, ttl, err := a.get(t.Context(), "a", time.Minute, ask); v != 7 || err != nil || ttl != time.Minute {
					t.Errorf("%d for %v, %v", v, ttl, err)
				}
			})
		}
		all.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(59 * time.Second)
		if _, ttl, err := a.get(t.Context(), "a", time.Minute, ask); ttl != time.Second || err != nil || asked.Load() != 1 {
			t.Errorf("what is left: %v, %v", ttl, err)
		}
		time.Sleep(time.Second)
		if _, ttl, _ := a.get(t.Context(), "a", time.Minute, ask); ttl != time.Minute || asked.Load() != 2 {
			t.Errorf("what is not good any more: %v, asked %d times", ttl, asked.Load())
		}
		// Who has asked leaves; one of the others asks then.
		asked.Store(0)
		leaving, leave := context.WithCancel(t.Context())
		all.Go(func() {
			if _, _, err := a.get(leaving, "b", time.Minute, ask); !errors.Is(err, context.Canceled) {
				t.Errorf("who leaves: %v", err)
			}
		})
		synctest.Wait()
		for range 10 {
			all.Go(func() {
				if v, _, err := a.get(t.Context(), "b", time.Minute, ask); v != 7 || err != nil {
					t.Errorf("who stays: %d, %v", v, err)
				}
			})
		}
		all.Go(func() {
			if _, _, err := a.get(leaving, "b", time.Minute, ask); !errors.Is(err, context.Canceled) {
				t.Errorf("who waits and leaves: %v", err)
			}
		})
		synctest.Wait()
		leave()
		all.Wait()
		if n := asked.Load(); n != 2 {
			t.Errorf("asked %d times", n)
		}
		// It ends with its own time, for all who wait.
		never := func(ctx context.Context, _ int) (int, time.Duration, error) {
			<-ctx.Done()
			return 0, 0, context.Cause(ctx)
		}
		asked.Store(0)
		for range 10 {
			all.Go(func() {
				if _, _, err := a.get(t.Context(), "c", time.Second, never); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("without an answer: %v", err)
				}
			})
		}
		all.Wait()
	})
}

// TestAnswersBounded: neither what is known nor what is asked grows without end.
func TestAnswersBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAnswers[int]()
		var mu sync.Mutex
		now, most := 0, 0
		ask := func(context.Context, int) (int, time.Duration, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Millisecond)
			mu.Lock()
			now--
			mu.Unlock()
			return 0, 0, ErrNoName
		}
		var all sync.WaitGroup
		for i := range maxAnswers + 500 {
			all.Go(func() {
				if _, _, err := a.get(t.Context(), fmt.Sprint(i), time.Hour, ask); !errors.Is(err, ErrNoName) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(a.known) > maxAnswers || most > maxAtOnce || len(a.asked) > 0 {
			t.Errorf("%d are known, %d were asked at once, %d still are", len(a.known), most, len(a.asked))
		}
		time.Sleep(absence)
		if _, _, err := a.get(t.Context(), "one more", time.Hour, ask); !errors.Is(err, ErrNoName) || len(a.known) != 1 {
			t.Errorf("%d are known that are not good any more, %v", len(a.known)-1, err)
		}
	})
}

// TestAnswersPanic: a fault of the program leaves nobody waiting.
func TestAnswersPanic(t *testing.T) {
	a := newAnswers[int]()
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it was swallowed")
			}
		}()
		_, _, _ = a.get(t.Context(), "a", time.Minute, func(context.Context, int) (int, time.Duration, error) { panic("fault") })
	}()
	if v, _, err := a.get(t.Context(), "a", time.Minute, func(context.Context, int) (int, time.Duration, error) { return 7, 0, nil }); v != 7 || err != nil {
		t.Errorf("the next one: %d, %v", v, err)
	}
}
