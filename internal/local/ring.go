package local

// A ring is the idle handles in the order of the clock algorithm: the hand
// passes over one that was used since it last came by, and takes the first
// that was not. That is nearly least-recently-used, and a hit costs one bit
// instead of a lock. The lock of the cache guards a ring.
type ring struct {
	hand *Handle
	n    int
}

// add puts h where the hand comes to last.
func (r *ring) add(h *Handle) {
	if r.hand == nil {
		h.next, h.prev = h, h
		r.hand = h
	} else {
		h.next, h.prev = r.hand, r.hand.prev
		h.prev.next, h.next.prev = h, h
	}
	r.n++
}

// remove takes out h. One that is not in the ring stays so.
func (r *ring) remove(h *Handle) {
	if h.next == nil {
		return
	}
	if h.next == h {
		r.hand = nil
	} else {
		h.prev.next, h.next.prev = h.next, h.prev
		if r.hand == h {
			r.hand = h.next
		}
	}
	h.next, h.prev = nil, nil
	r.n--
}

// victim returns the handle to close next; the ring must not be empty. One
// that is being read is passed over, since closing it would free nothing yet,
// but not for ever: after two rounds the hand takes what it points at.
func (r *ring) victim() *Handle {
	for range 2 * r.n {
		h := r.hand
		if !h.used.Swap(false) && h.state.Load()&stateRefs == 1 {
			return h
		}
		r.hand = h.next
	}
	return r.hand
}
