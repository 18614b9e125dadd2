package extsort

import "context"

// A Sorter sorts rows of one width.
type Sorter struct {
	pool    *Pool
	width   int
	perSlab int
	rows    int64    // taken in all
	held    int64    // of these, in memory
	buckets []bucket // 1, or 256 by the first byte; nil once All has begun
	runs    []run
}

// A bucket holds rows in the order in which they came. All its chunks but the
// last are full.
type bucket struct {
	chunks [][]byte
	rows   int
	fill   int // bytes used of the last chunk
	left   int // rows that it still has room for
}

// Len is the number of rows taken.
func (s *Sorter) Len() int64 { return s.rows }

// Row returns room for one more row, whose first byte is going to be first. The
// caller fills all of it before it calls anything of the pool or its Sorters
// again. An error, which is that of spilling, ends the use of the whole pool.
func (s *Sorter) Row(first byte) ([]byte, error) {
	if s.buckets == nil {
		return nil, ErrClosed
	}
	b := s.bucket(first)
	if b.left == 0 {
		return s.growAndRow(first)
	}
	return s.place(b), nil
}

// bucket is where rows that begin with first go.
func (s *Sorter) bucket(first byte) *bucket {
	if len(s.buckets) == 1 {
		return &s.buckets[0]
	}
	return &s.buckets[first]
}

// place takes a row of the last chunk of b, which has room.
func (s *Sorter) place(b *bucket) []byte {
	c := b.chunks[len(b.chunks)-1]
	row := c[b.fill : b.fill+s.width : b.fill+s.width]
	b.fill += s.width
	b.left--
	b.rows++
	s.rows++
	s.held++
	return row
}

// growAndRow is Row when the bucket is full.
func (s *Sorter) growAndRow(first byte) ([]byte, error) {
	if err := s.pool.reserve(slabSize); err != nil {
		return nil, err
	}
	if len(s.buckets) == 1 && s.held >= bucketRows && s.pool.memory >= bucketMemory {
		if err := s.split(); err != nil {
			return nil, err
		}
	}
	b := s.bucket(first)
	if b.left == 0 { // splitting may have made room
		s.grow(b)
	}
	return s.place(b), nil
}

// grow gives b another chunk: as many rows as it has, until that is a slab.
func (s *Sorter) grow(b *bucket) {
	b.left = max(16, b.rows)
	size := b.left * s.width
	if 2*b.left > s.perSlab {
		b.left, size = s.perSlab, slabSize
	}
	b.chunks = append(b.chunks, s.pool.take(size))
	b.fill = 0
	s.pool.largest = max(s.pool.largest, int64(b.rows+b.left))
}

// split puts the rows of the one bucket into 256.
func (s *Sorter) split() error {
	// Twice what is held, for the copies, and a slab for each bucket at most.
	if err := s.pool.reserve(256*slabSize + s.held*int64(s.width)); err != nil {
		return err
	}
	old := s.buckets[0]
	s.buckets = make([]bucket, 256)
	s.rows -= int64(old.rows)
	s.held -= int64(old.rows)
	for i, c := range old.chunks {
		for r := range s.rowsIn(&old, i) {
			row := c[r*s.width : (r+1)*s.width]
			b := &s.buckets[row[0]]
			if b.left == 0 {
				s.grow(b)
			}
			copy(s.place(b), row)
		}
		s.pool.give(c)
	}
	s.pool.largest = 0
	for _, other := range s.pool.sorters {
		for i := range other.buckets {
			b := &other.buckets[i]
			s.pool.largest = max(s.pool.largest, int64(b.rows+b.left))
		}
	}
	return nil
}

// rowsIn is the number of rows in chunk i of b.
func (s *Sorter) rowsIn(b *bucket, i int) int {
	switch c := b.chunks[i]; {
	case i == len(b.chunks)-1:
		return b.fill / s.width
	case len(c) == slabSize:
		return s.perSlab
	default:
		return len(c) / s.width
	}
}

// spill writes what is in memory as one run.
func (s *Sorter) spill() error {
	if s.held == 0 {
		return nil
	}
	f := s.pool.spill
	off := f.size
	err := s.inMemory(s.pool.Stop, f.write)
	if err != nil {
		return err
	}
	r, err := f.end(off)
	if err != nil {
		return err
	}
	s.runs = append(s.runs, r)
	for i := range s.buckets {
		s.drop(&s.buckets[i])
	}
	s.held = 0
	return nil
}

// drop empties b. It keeps the list of chunks, which will be as long again.
func (s *Sorter) drop(b *bucket) {
	for _, c := range b.chunks {
		s.pool.give(c)
	}
	clear(b.chunks)
	*b = bucket{chunks: b.chunks[:0]}
}

// All calls yield for every row in the order of its bytes, repeated ones as
// often as they came. A row must not be kept. All ends with the error of yield,
// of ctx or of the spill file. It is the last use of the Sorter, and begins the
// last of its pool: no Sorter takes rows any more.
func (s *Sorter) All(ctx context.Context, yield func(row []byte) error) error {
	p := s.pool
	err := p.usable()
	if err == nil && s.buckets == nil {
		err = ErrClosed
	}
	if err != nil {
		return err
	}
	stop := func() error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
	if p.spill == nil {
		err = s.inMemory(stop, yield)
		for i := range s.buckets {
			s.drop(&s.buckets[i])
		}
	} else if err = p.spillAll(); err == nil {
		p.release()
		m := merger{spill: p.spill, runs: s.runs, width: s.width, memory: p.memory}
		err = m.merge(ctx, yield)
	}
	s.buckets = nil
	return err
}

// inMemory sorts bucket after bucket and yields their rows. stop may be nil.
func (s *Sorter) inMemory(stop func() error, yield func(row []byte) error) error {
	for i := range s.buckets {
		b := &s.buckets[i]
		if b.rows == 0 {
			continue
		}
		for n, p := range s.sort(b) {
			if n%ctxEvery == 0 && stop != nil {
				if err := stop(); err != nil {
					return err
				}
			}
			if err := yield(s.row(b, p.at)); err != nil {
				return err
			}
		}
	}
	return nil
}
