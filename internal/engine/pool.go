package engine

// A class of work. All work of one class goes before any of the next.
type class uint8

const (
	foreground class = iota // somebody waits, or has just asked
	background              // what may wait until nobody else does
	classes
)

// A pool is work of one kind: some of it runs, the rest waits. The foreground
// goes before the background; in a class, hosts take turns; and the work of
// one host goes in the order of its coming. So a host of which much is wanted
// holds up the others by one piece of work each. Nothing that is done to a pool
// depends on how much waits in it. It belongs to the loop.
type pool[T any] struct {
	max, running int
	beside       *int // what runs in another pool that has the same max; nil: there is none
	waits        int  // how many tickets wait
	rounds       [classes]round[T]
}

// A ticket is the place of one piece of work. It is part of the work.
type ticket[T any] struct {
	work          T
	host          string
	line          *line[T] // in which it waits; nil: in none
	before, after *ticket[T]
}

// A line is what waits of one host in one class. It is in a round while there
// is something in it.
type line[T any] struct {
	class         class
	host          string
	first, last   *ticket[T]
	before, after *line[T] // in the ring of the round
}

// A round is the hosts of one class, in a ring.
type round[T any] struct {
	lines map[string]*line[T]
	turn  *line[T] // whose turn it is; nil: nothing waits
}

// add has t wait, behind all of its host and class. It must not wait already.
func (p *pool[T]) add(t *ticket[T], c class) {
	r := &p.rounds[c]
	l := r.lines[t.host]
	if l == nil {
		l = r.open(t.host, c)
	}
	t.line, t.before = l, l.last
	if l.last != nil {
		l.last.after = t
	} else {
		l.first = t
	}
	l.last = t
	p.waits++
}

// open puts the line of a new host into the round. Its turn comes last.
func (r *round[T]) open(host string, c class) *line[T] {
	l := &line[T]{host: host, class: c}
	if r.turn == nil {
		l.before, l.after = l, l
		r.turn = l
	} else {
		l.before, l.after = r.turn.before, r.turn
		l.before.after, l.after.before = l, l
	}
	if r.lines == nil {
		r.lines = map[string]*line[T]{}
	}
	r.lines[host] = l
	return l
}

// next takes what is to be run now, which counts as running until done; ok is
// false if that is nothing.
func (p *pool[T]) next() (work T, ok bool) {
	all := p.running
	if p.beside != nil {
		all += *p.beside
	}
	if all >= p.max {
		return work, false
	}
	for c := range p.rounds {
		l := p.rounds[c].turn
		if l == nil {
			continue
		}
		t := l.first
		p.rounds[c].turn = l.after
		p.remove(t)
		p.running++
		return t.work, true
	}
	return work, false
}

// done is the end of what next gave.
func (p *pool[T]) done() { p.running-- }

// remove takes t out, and reports whether it waited. It must not wait in
// another pool.
func (p *pool[T]) remove(t *ticket[T]) bool {
	l := t.line
	if l == nil {
		return false
	}
	if t.before != nil {
		t.before.after = t.after
	} else {
		l.first = t.after
	}
	if t.after != nil {
		t.after.before = t.before
	} else {
		l.last = t.before
	}
	t.line, t.before, t.after = nil, nil, nil
	p.waits--
	if l.first == nil {
		p.rounds[l.class].close(l)
	}
	return true
}

// close takes an empty line out of the round.
func (r *round[T]) close(l *line[T]) {
	delete(r.lines, l.host)
	if l.after == l {
		r.turn = nil
		return
	}
	l.before.after, l.after.before = l.after, l.before
	if r.turn == l {
		r.turn = l.after
	}
}

// promote brings t, if it waits in the background, to the foreground.
func (p *pool[T]) promote(t *ticket[T]) {
	if t.line != nil && t.line.class != foreground {
		p.remove(t)
		p.add(t, foreground)
	}
}
