package page

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/shard"
)

// TestDiagram: a drawing shows every state and every change of the table, once,
// and is XML that a browser takes.
func TestDiagram(t *testing.T) {
	for _, l := range layouts {
		drawing := string(l.draw())
		for d := xml.NewDecoder(strings.NewReader(drawing)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", l.name, err)
			}
		}
		for s := shard.Registered; s < shard.Gone; s++ {
			if n := strings.Count(drawing, fmt.Sprintf(`data-state="%v"`, s)); n != 1 {
				t.Errorf("%s: %v is drawn %d times", l.name, s, n)
			}
		}
		ways := 0
		for _, w := range lifecycle.Ways() {
			want := 1
			if w.On[len(w.On)-1].Loads() && w.On[0].Loads() {
				want = 0 // nothing happens to the shard
			}
			if n := strings.Count(drawing, fmt.Sprintf(`data-from="%v" data-to="%v"`, w.From, w.To)); n != want {
				t.Errorf("%s: %v to %v is drawn %d times, want %d", l.name, w.From, w.To, n, want)
			}
			ways += want
		}
		if n := strings.Count(drawing, `class="line"`); n != ways || ways < 20 {
			t.Errorf("%s: %d arrows, want %d", l.name, n, ways)
		}
	}
}

// TestArrowsHaveRoom: no arrow leaves the drawing, or runs through a state that it
// neither comes from nor leads to.
func TestArrowsHaveRoom(t *testing.T) {
	for _, l := range layouts {
		for _, w := range arrows() {
			a := l.arrow(w)
			for i := range 201 {
				p := a.at(float64(i) / 200)
				if p.x < 0 || p.y < 0 || p.x > l.width || p.y > l.height {
					t.Errorf("%s: %v to %v leaves the drawing at %v", l.name, w.From, w.To, p)
					break
				}
				if s := l.over(p, w); s != 0 || i > 0 && i < 200 && l.inside(p, w) {
					t.Errorf("%s: %v to %v runs through %v at %v", l.name, w.From, w.To, s, p)
					break
				}
			}
		}
	}
}

// inside reports whether p is in one of the states of w: an arrow is to be seen
// from its beginning to its tip.
func (l *layout) inside(p point, w lifecycle.Way) bool {
	for _, s := range []shard.State{w.From, w.To} {
		at, ok := l.at[s]
		if d := p.minus(at); ok && math.Abs(d.x) < l.box.x/2-.5 && math.Abs(d.y) < l.box.y/2-.5 {
			return true
		}
	}
	return false
}

// over is the state at p, other than those of w.
func (l *layout) over(p point, w lifecycle.Way) shard.State {
	for s, at := range l.at {
		d := p.minus(at)
		if s != w.From && s != w.To && d.x > -l.box.x/2 && d.x < l.box.x/2 && d.y > -l.box.y/2 && d.y < l.box.y/2 {
			return s
		}
	}
	return 0
}
