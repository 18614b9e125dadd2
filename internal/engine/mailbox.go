package engine

import "sync/atomic"

// A node is a message to the loop. It is part of what it tells about, so
// sending one allocates nothing; it may be in one list at a time.
type node struct {
	next *node
	what what
	of   any // *Call, *Hold, or a completion: a pointer, so no allocation
}

// what is the kind of a message.
type what uint8

const (
	whatCall what = iota + 1
	whatLeave
	whatRelease
	whatDone
	whatPeek
	whatStop // says nothing, but that there is something to look at
)

// A stack takes nodes from any goroutine and gives all of them to one.
type stack struct{ top atomic.Pointer[node] }

// push adds n.
func (s *stack) push(n *node) {
	for {
		top := s.top.Load()
		n.next = top
		if s.top.CompareAndSwap(top, n) {
			return
		}
	}
}

// drain takes all nodes and returns them in the order of their coming.
func (s *stack) drain() *node {
	var first *node
	for n := s.top.Swap(nil); n != nil; {
		next := n.next
		n.next = first
		first, n = n, next
	}
	return first
}

func (s *stack) empty() bool { return s.top.Load() == nil }

// A mailbox is what the loop waits on.
type mailbox struct {
	done     stack // completions
	calls    stack // calls, releases, cancellations
	sleeping atomic.Bool
	wake     chan struct{}
}

func newMailbox() mailbox { return mailbox{wake: make(chan struct{}, 1)} }

func (m *mailbox) call(n *node) {
	m.calls.push(n)
	m.rouse()
}

func (m *mailbox) complete(n *node) {
	m.done.push(n)
	m.rouse()
}

// rouse wakes the loop if it sleeps.
func (m *mailbox) rouse() {
	if m.sleeping.Load() && m.sleeping.CompareAndSwap(true, false) {
		m.wake <- struct{}{} // has room: one wake for each time of falling asleep
	}
}

// doze tells whether the loop may wait on wake: it announces that, and looks
// once more whether something came meanwhile.
func (m *mailbox) doze() bool {
	m.sleeping.Store(true)
	if m.done.empty() && m.calls.empty() {
		return true
	}
	if !m.sleeping.CompareAndSwap(true, false) {
		<-m.wake // somebody has roused us between the two
	}
	return false
}
