package page

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dagstore/dagstore/internal/lifecycle"
	"github.com/dagstore/dagstore/shard"
)

// A point is a place in a drawing.
type point struct{ x, y float64 }

func (p point) plus(q point) point        { return point{p.x + q.x, p.y + q.y} }
func (p point) minus(q point) point       { return point{p.x - q.x, p.y - q.y} }
func (p point) times(f float64) point     { return point{p.x * f, p.y * f} }
func (p point) length() float64           { return math.Hypot(p.x, p.y) }
func between(p, q point, f float64) point { return p.plus(q.minus(p).times(f)) }
func (p point) left() point               { return point{p.y, -p.x} }
func (p point) String() string            { return fmt.Sprintf("%.1f %.1f", p.x, p.y) }

// A layout is where the states stand in a drawing. Gone is no state of a shard
// that there is: it is a dot where shards come from, another one behind
// Destroying, and a small one at each state that shards can leave at once.
type layout struct {
	name          string
	width, height float64
	box           point // size of a state
	at            map[shard.State]point
	new, end      point
}

// dot is the radius of where shards come from and go to.
const dot = 7

var layouts = []layout{
	{
		name: "wide", width: 880, height: 390, box: point{148, 62},
		at: map[shard.State]point{
			shard.Registered: {150, 66}, shard.Available: {430, 66}, shard.Serving: {710, 66},
			shard.Initializing: {150, 196}, shard.Recovering: {430, 196}, shard.Draining: {710, 196},
			shard.Errored: {430, 326}, shard.Destroying: {710, 326},
		},
		new: point{24, 66}, end: point{848, 326},
	},
	{
		name: "narrow", width: 336, height: 440, box: point{94, 58},
		at: map[shard.State]point{
			shard.Registered: {50, 100}, shard.Available: {168, 100}, shard.Serving: {286, 100},
			shard.Initializing: {50, 230}, shard.Recovering: {168, 230}, shard.Draining: {286, 230},
			shard.Errored: {168, 360}, shard.Destroying: {286, 360},
		},
		new: point{109, 24}, end: point{286, 426},
	},
}

// draw draws the table.
func (l *layout) draw() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="lifecycle" viewBox="0 0 %g %g" role="group" aria-label="Shards by state">`, l.width, l.height)
	b.WriteString("\n<g class=\"ways\">\n")
	for _, w := range arrows() {
		fmt.Fprintf(&b, `<g class="way%s" data-from="%v" data-to="%v"><title>%s</title>`, kindOf(w), w.From, w.To, text(sentence(w)))
		a := l.arrow(w)
		if leaves(w) {
			fmt.Fprintf(&b, `<path class="line" d="M%v L%v"/><circle class="tip" cx="%.1f" cy="%.1f" r="3"/></g>`+"\n", a.start, a.end, a.end.x, a.end.y)
			continue
		}
		tip := a.end.minus(a.middle)
		tip = tip.times(1 / tip.length())
		back := a.end.minus(tip.times(8))
		fmt.Fprintf(&b, `<path class="line" d="M%v Q%v %v"/>`, a.start, a.middle, a.end.minus(tip.times(4)))
		fmt.Fprintf(&b, `<path class="tip" d="M%v L%v L%vZ"/></g>`+"\n", a.end, back.plus(tip.left().times(3.6)), back.minus(tip.left().times(3.6)))
	}
	b.WriteString("</g>\n")
	fmt.Fprintf(&b, `<circle class="new" cx="%g" cy="%g" r="%d"/>`+"\n", l.new.x, l.new.y, dot)
	fmt.Fprintf(&b, `<g class="end"><circle cx="%g" cy="%g" r="%d"/><circle cx="%g" cy="%g" r="%g"/></g>`+"\n", l.end.x, l.end.y, dot, l.end.x, l.end.y, dot-3.5)
	for s := shard.Registered; s < shard.Gone; s++ {
		p := l.at[s].minus(l.box.times(.5))
		fmt.Fprintf(&b, `<a class="state" href="#/shards?state=%[1]v" data-state="%[1]v"><title>%[2]s</title>`, s, text(upper(s.String())+": "+lifecycle.About(s)))
		fmt.Fprintf(&b, `<rect class="box" x="%.1f" y="%.1f" width="%g" height="%g" rx="10"/>`, p.x, p.y, l.box.x, l.box.y)
		fmt.Fprintf(&b, `<circle class="lamp" cx="%.1f" cy="%.1f" r="4"/>`, p.x+13, p.y+l.box.y-17)
		fmt.Fprintf(&b, `<text class="name" x="%.1f" y="%.1f">%s</text>`, p.x+22, p.y+l.box.y-13, upper(s.String()))
		fmt.Fprintf(&b, `<text class="count" x="%.1f" y="%.1f">–</text></a>`+"\n", p.x+12, p.y+27)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

// arrows are the changes of state that are drawn: not those that only say that
// a record was read.
func arrows() (ways []lifecycle.Way) {
	for _, w := range lifecycle.Ways() {
		var on []lifecycle.Event
		for _, e := range w.On {
			if !e.Loads() {
				on = append(on, e)
			}
		}
		if w.On = on; len(on) > 0 {
			ways = append(ways, w)
		}
	}
	return ways
}

// kindOf is the class of an arrow. Those by which a shard leaves the store begin
// at nearly every state: they are shown when somebody looks at one.
func kindOf(w lifecycle.Way) string {
	switch {
	case leaves(w):
		return " leaves"
	case w.To == shard.Destroying:
		return " leaving"
	}
	return ""
}

// sentence says what an arrow means.
func sentence(w lifecycle.Way) string {
	on := make([]string, len(w.On))
	for i, e := range w.On {
		on[i] = e.String()
	}
	return fmt.Sprintf("%s to %s: %s", upper(w.From.String()), w.To, strings.Join(on, ", "))
}

// An arrow begins and ends on the borders of states, and is drawn aside by the
// point between.
type arrow struct{ start, middle, end point }

// at is a point of the arrow; f goes from 0 to 1.
func (a arrow) at(f float64) point {
	return between(between(a.start, a.middle, f), between(a.middle, a.end, f), f)
}

// byStates is the order of [lifecycle.Ways].
func byStates(a, b lifecycle.Way) int {
	return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
}

// leaves reports whether a change of state is that a shard is gone at once.
func leaves(w lifecycle.Way) bool { return w.To == shard.Gone && w.From != shard.Destroying }

// usualBend is how far an arrow leaves the straight line to its left, as a part
// of its length, where another one leads back.
const usualBend = .08

// arrow is how a change of state is drawn: with the smallest bend, to either side,
// with which it runs through nothing else.
func (l *layout) arrow(w lifecycle.Way) arrow {
	if leaves(w) {
		corner := l.at[w.From].plus(point{l.box.x/2 - 14, -l.box.y / 2})
		return arrow{corner, corner.plus(point{0, -6}), corner.plus(point{0, -12})}
	}
	straight := 0.
	back := lifecycle.Way{From: w.To, To: w.From}
	if _, both := slices.BinarySearchFunc(arrows(), back, byStates); both && !leaves(back) {
		straight = usualBend
	}
	usual := l.bent(w, straight)
	for more := 0.; more < .9; more += .01 {
		for _, bend := range []float64{straight + more, straight - more} {
			if a := l.bent(w, bend); l.free(w, a) {
				return a
			}
		}
	}
	return usual
}

func (l *layout) bent(w lifecycle.Way, bend float64) arrow {
	from, to := l.centre(w.From, true), l.centre(w.To, false)
	// Between the borders, and not the centres: those may be far inside.
	middle := between(l.border(w.From, from, to, 0), l.border(w.To, to, from, 3), .5).plus(to.minus(from).left().times(2 * bend))
	return arrow{l.border(w.From, from, middle, 0), middle, l.border(w.To, to, middle, 3)}
}

// clearance is how near an arrow may come to a state that it has nothing to do with.
const clearance = 5

// free reports whether an arrow stays in the drawing, and away from the states
// that it neither comes from nor leads to.
func (l *layout) free(w lifecycle.Way, a arrow) bool {
	half := l.box.times(.5).plus(point{clearance, clearance})
	for i := range 65 {
		p := a.at(float64(i) / 64)
		if p.x < 2 || p.y < 2 || p.x > l.width-2 || p.y > l.height-2 {
			return false
		}
		for s, at := range l.at {
			d := p.minus(at)
			if s != w.From && s != w.To && math.Abs(d.x) < half.x && math.Abs(d.y) < half.y {
				return false
			}
		}
	}
	return true
}

// centre is where a state stands.
func (l *layout) centre(s shard.State, begins bool) point {
	switch {
	case s != shard.Gone:
		return l.at[s]
	case begins:
		return l.new
	}
	return l.end
}

// border is where a line from the middle of a state towards a point leaves it,
// gap further on.
func (l *layout) border(s shard.State, centre, towards point, gap float64) point {
	d := towards.minus(centre)
	d = d.times(1 / d.length())
	if s == shard.Gone {
		return centre.plus(d.times(dot + gap))
	}
	half := l.box.times(.5)
	reach := math.Min(half.x/math.Abs(d.x), half.y/math.Abs(d.y))
	return centre.plus(d.times(reach + gap))
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// text escapes a text for XML.
func text(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes all
	return b.String()
}
