package engine

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// job is work in a pool, as a test knows it.
type job struct {
	ticket ticket[*job]
	n      int
	class  class
}

func newJob(n int, host string) *job {
	j := &job{n: n}
	j.ticket.work, j.ticket.host = j, host
	return j
}

func (j *job) String() string { return fmt.Sprintf("%d of %s", j.n, j.ticket.host) }

// drawn runs all that waits, one after the other.
func drawn(p *pool[*job]) (order []*job) {
	for j, ok := p.next(); ok; j, ok = p.next() {
		order = append(order, j)
		p.done()
	}
	return order
}

func TestPoolIsBounded(t *testing.T) {
	p := pool[*job]{max: 2}
	for i := range 4 {
		p.add(&newJob(i, "a").ticket, foreground)
	}
	for i := range 2 {
		if j, ok := p.next(); !ok || j.n != i {
			t.Fatalf("%v, %v", j, ok)
		}
	}
	if j, ok := p.next(); ok {
		t.Fatalf("%v runs over the bound", j)
	}
	p.done()
	if j, ok := p.next(); !ok || j.n != 2 || p.running != 2 || p.waits != 1 {
		t.Fatalf("%v, %v; %d run, %d wait", j, ok, p.running, p.waits)
	}
}

// Whoever has much to do comes once, then everybody else does. A host whose
// line ran dry comes last when it is back.
func TestPoolHostsTakeTurns(t *testing.T) {
	p := pool[*job]{max: 1}
	for i := range 3 {
		p.add(&newJob(i, "much").ticket, foreground)
	}
	p.add(&newJob(0, "b").ticket, foreground)
	p.add(&newJob(0, "c").ticket, foreground)
	want := "[0 of much 0 of b 0 of c 1 of much 2 of much]"
	if got := fmt.Sprint(drawn(&p)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	p.add(&newJob(1, "b").ticket, foreground)
	p.add(&newJob(2, "c").ticket, foreground)
	if j, _ := p.next(); j.ticket.host != "b" {
		t.Fatal(j)
	}
	p.add(&newJob(3, "b").ticket, foreground)
	p.done()
	if got := fmt.Sprint(drawn(&p)); got != "[2 of c 3 of b]" {
		t.Errorf("%s: the host that is back goes first", got)
	}
}

func TestPoolPromotes(t *testing.T) {
	p := pool[*job]{max: 1}
	jobs := make([]*job, 5)
	for i := range jobs {
		jobs[i] = newJob(i, "a")
	}
	p.add(&jobs[0].ticket, background)
	p.add(&jobs[1].ticket, background)
	p.add(&jobs[2].ticket, foreground)
	p.promote(&jobs[1].ticket)
	p.promote(&jobs[2].ticket) // is there already, and keeps its place
	p.promote(&jobs[3].ticket) // waits nowhere
	if got := fmt.Sprint(drawn(&p)); got != "[2 of a 1 of a 0 of a]" {
		t.Error(got)
	}
}

// Removing costs the same wherever a ticket is: if it did not, this test would
// not end.
func TestPoolRemovesAtOnce(t *testing.T) {
	p := pool[*job]{max: 1}
	jobs := make([]*job, 1_000_000)
	for i := range jobs {
		jobs[i] = newJob(i, "a")
		p.add(&jobs[i].ticket, foreground)
	}
	for _, j := range slices.Backward(jobs) {
		if !p.remove(&j.ticket) || p.remove(&j.ticket) {
			t.Fatalf("%v was not there, or twice", j)
		}
	}
	if _, ok := p.next(); ok || p.waits != 0 || len(p.rounds[foreground].lines) != 0 {
		t.Error("the pool is not empty")
	}
}

// model is a pool that is too simple to be wrong.
type model struct {
	rounds [classes][]*modelLine // the first has its turn
}

type modelLine struct {
	host string
	jobs []*job
}

func (m *model) add(j *job, c class) {
	j.class = c
	for _, l := range m.rounds[c] {
		if l.host == j.ticket.host {
			l.jobs = append(l.jobs, j)
			return
		}
	}
	m.rounds[c] = append(m.rounds[c], &modelLine{j.ticket.host, []*job{j}})
}

func (m *model) next() *job {
	for c, round := range m.rounds {
		if len(round) > 0 {
			l := round[0]
			m.rounds[c] = append(slices.Clone(round[1:]), l)
			j := l.jobs[0]
			m.remove(j)
			return j
		}
	}
	return nil
}

func (m *model) remove(j *job) {
	round := m.rounds[j.class]
	for i, l := range round {
		if l.host == j.ticket.host {
			l.jobs = slices.DeleteFunc(l.jobs, func(have *job) bool { return have == j })
			if len(l.jobs) == 0 {
				m.rounds[j.class] = slices.Delete(slices.Clone(round), i, i+1)
			}
			return
		}
	}
}

func TestPoolAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		p, m := pool[*job]{max: 1}, &model{}
		var waiting []*job
		for step := range 500 {
			switch {
			case rnd.IntN(5) < 2:
				j, c := newJob(step, string(rune('a'+rnd.IntN(4)))), class(rnd.IntN(int(classes)))
				p.add(&j.ticket, c)
				m.add(j, c)
				waiting = append(waiting, j)
			case len(waiting) > 0 && rnd.IntN(3) == 0:
				i := rnd.IntN(len(waiting))
				j := waiting[i]
				if rnd.IntN(2) == 0 {
					p.promote(&j.ticket)
					if j.class == background {
						m.remove(j)
						m.add(j, foreground)
					}
					break
				}
				p.remove(&j.ticket)
				m.remove(j)
				waiting = slices.Delete(waiting, i, i+1)
			default:
				j, ok := p.next()
				want := m.next()
				if ok != (want != nil) || j != want {
					t.Fatalf("seed %d, step %d: %v, want %v", seed, step, j, want)
				}
				if ok {
					p.done()
					waiting = slices.DeleteFunc(waiting, func(have *job) bool { return have == j })
				}
			}
			if p.waits != len(waiting) {
				t.Fatalf("seed %d, step %d: %d wait, want %d", seed, step, p.waits, len(waiting))
			}
		}
	}
}

// All that may build at once have something, together no more than there is,
// and what was given back is there again.
func TestMemoryIsShared(t *testing.T) {
	const total, builders = 256 << 20, 12
	m := newMemory(total, builders)
	for range 2 {
		var given []int64
		var sum int64
		for i := range builders {
			n := m.take(wantedMemory(-1))
			if n < total/4/builders || i > 0 && n > given[i-1] {
				t.Fatalf("number %d gets %d after %v", i, n, given)
			}
			given, sum = append(given, n), sum+n
		}
		if sum > total || given[0] < total/2 {
			t.Errorf("%d of %d are shared as %v", sum, total, given)
		}
		for _, n := range given {
			m.give(n)
		}
	}
	small := m.take(wantedMemory(1000))
	if small > total/4/builders {
		t.Errorf("a small CAR gets %d", small)
	}
	if n := m.take(wantedMemory(-1)); n < total/2 {
		t.Errorf("the large one beside it gets %d", n)
	}
}
