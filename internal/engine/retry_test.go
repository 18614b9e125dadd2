package engine

import (
	"math"
	"testing"
	"time"
)

func TestWaitsDouble(t *testing.T) {
	r := Retry{First: time.Second, Longest: time.Hour}
	for n, want := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 12: 2048 * time.Second,
		13: time.Hour, math.MaxInt: time.Hour,
	} {
		if got := r.wait(n); got != want {
			t.Errorf("after %d: %v, want %v", n, got, want)
		}
	}
	r = Retry{First: time.Hour, Longest: math.MaxInt64}
	if got := r.wait(200); got != math.MaxInt64 {
		t.Errorf("without a bound: %v", got)
	}
	r = Retry{First: time.Hour, Longest: time.Minute}
	if got := r.wait(1); got != time.Minute {
		t.Errorf("over the bound at once: %v", got)
	}
}
