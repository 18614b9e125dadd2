package engine

// A pool is work of one kind: some runs, the rest waits in order.
type pool[T comparable] struct {
	max, running int
	queue        []T
}

// add queues w.
func (p *pool[T]) add(w T) { p.queue = append(p.queue, w) }

// next takes what is to be run now; ok is false if that is nothing.
func (p *pool[T]) next() (w T, ok bool) {
	if p.running >= p.max || len(p.queue) == 0 {
		return w, false
	}
	w = p.queue[0]
	var zero T
	p.queue[0] = zero
	p.queue = p.queue[1:]
	p.running++
	return w, true
}

// remove takes w out of the queue, and reports whether it was there.
func (p *pool[T]) remove(w T) bool {
	for i, have := range p.queue {
		if have == w {
			p.queue = append(p.queue[:i], p.queue[i+1:]...)
			return true
		}
	}
	return false
}
