package segmenttest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"sync"

	"github.com/dagstore/dagstore/internal/segment"
)

func (s *suite) lengths() error {
	for i, size := range []int{0, 1, 4095, 4096, 4097, 100_000} {
		for _, name := range []segment.Name{idx(uint32(i)), layer(uint32(i))} {
			data := content(name, size)
			if err := errors.Join(s.write(name, data), s.expect(name, data)); err != nil {
				return fmt.Errorf("%d bytes: %w", size, err)
			}
		}
	}
	for _, n := range []uint32{math.MaxUint32, 0x0100, 0xabcdef01} {
		data := content(idx(n), 10)
		if err := errors.Join(s.write(idx(n), data), s.expect(idx(n), data)); err != nil {
			return fmt.Errorf("%v: %w", idx(n), err)
		}
	}
	return nil
}

func (s *suite) unseen() error {
	name := idx(2000)
	w, err := s.begin(name, content(name, 5000))
	if err != nil {
		return err
	}
	sizes, err := s.list(segment.Index)
	if _, seen := sizes[name]; seen {
		err = fmt.Errorf("%v is listed", name)
	}
	return errors.Join(err, s.missing(name), w.Commit(s.ctx), s.expect(name, content(name, 5000)))
}

func (s *suite) aborted() error {
	name := idx(3000)
	w, err := s.begin(name, content(name, 5000))
	if err != nil {
		return err
	}
	if err := errors.Join(w.Abort(), s.missing(name)); err != nil {
		return err
	}
	data := content(name, 7)
	return errors.Join(s.write(name, data), s.expect(name, data))
}

func (s *suite) once() error {
	name := idx(4000)
	data := content(name, 500)
	w, err := s.begin(name, data)
	if err != nil {
		return err
	}
	if _, err := s.p.Create(s.ctx, name); !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("second writer: %w, want exists", err)
	}
	if err := w.Commit(s.ctx); err != nil {
		return err
	}
	if _, err := s.p.Create(s.ctx, name); !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("later writer: %w, want exists", err)
	}
	if _, err := s.p.Create(s.ctx, segment.Name{Kind: 99, N: 1}); err == nil {
		return errors.New("a kind that does not exist is taken")
	}
	return errors.Join(s.expect(name, data), s.write(layer(name.N), data), s.expect(name, data))
}

func (s *suite) ended() error {
	for i, end := range []func(segment.Writer) error{
		func(w segment.Writer) error { return w.Commit(s.ctx) },
		func(w segment.Writer) error { return w.Abort() },
	} {
		name := idx(5000 + uint32(i))
		w, err := s.begin(name, content(name, 10))
		if err != nil {
			return err
		}
		if err := end(w); err != nil {
			return err
		}
		_, err = w.Write([]byte("x"))
		for _, err := range []error{err, w.Commit(s.ctx), w.Abort()} {
			if !errors.Is(err, fs.ErrClosed) {
				return fmt.Errorf("ended writer: %w, want closed", err)
			}
		}
		if i == 0 {
			if err := s.expect(name, content(name, 10)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *suite) absent() error {
	return errors.Join(s.missing(idx(6000)), s.p.Remove(s.ctx, idx(6000)), s.missing(layer(6000)))
}

func (s *suite) removed() error {
	name := layer(7000)
	data := content(name, 50_000)
	if err := s.write(name, data); err != nil {
		return err
	}
	r, err := s.p.Open(s.ctx, name)
	if err != nil {
		return err
	}
	err = errors.Join(s.p.Remove(s.ctx, name), s.missing(name), same(r, data))
	return errors.Join(err, r.Close(), s.missing(name))
}

func (s *suite) listing() error {
	before, err := s.list(segment.Layer)
	if err != nil {
		return err
	}
	for n := range uint32(20) {
		if err := s.write(layer(8000+n), content(layer(8000+n), int(n))); err != nil {
			return err
		}
		before[layer(8000+n)] = int64(n)
	}
	if err := s.p.Remove(s.ctx, layer(8007)); err != nil {
		return err
	}
	delete(before, layer(8007))
	after, err := s.list(segment.Layer)
	if err == nil && !maps.Equal(before, after) {
		err = fmt.Errorf("listed %v, want %v", after, before)
	}
	for _, first := range s.p.List(s.ctx, segment.Layer) {
		return errors.Join(err, first) // to break off must be possible
	}
	return err
}

func (s *suite) concurrent() error {
	const writers = 8
	errs := make([]error, writers)
	won := make([]int, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for n := range uint32(20) {
				own, shared := idx(9000+100*uint32(i)+n), idx(9900+n)
				errs[i] = errors.Join(errs[i], s.write(own, content(own, 100)), s.expect(own, content(own, 100)))
				switch err := s.write(shared, content(shared, 100)); {
				case err == nil:
					won[i]++
				case !errors.Is(err, fs.ErrExist):
					errs[i] = errors.Join(errs[i], err)
				}
			}
		})
	}
	wg.Wait()
	total := 0
	for _, n := range won {
		total += n
	}
	if total != 20 {
		errs = append(errs, fmt.Errorf("%d writers took 20 names", total))
	}
	return errors.Join(errs...)
}

func (s *suite) contexts() error {
	name := idx(10_000)
	w, err := s.begin(name, content(name, 10))
	if err != nil {
		return err
	}
	over, cancel := context.WithCancel(s.ctx)
	cancel()
	_, err1 := s.p.Create(over, idx(10_001))
	_, err2 := s.p.Open(over, name)
	for _, err := range []error{err1, err2, s.p.Remove(over, idx(4000)), w.Commit(over)} {
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("got %w", err)
		}
	}
	for _, err := range s.p.List(over, segment.Index) {
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("list: %w", err)
		}
	}
	return errors.Join(s.missing(name), s.expect(idx(4000), content(idx(4000), 500)))
}

func (s *suite) survives() error {
	before, err := s.list(segment.Index)
	if err != nil {
		return err
	}
	half, err := s.begin(idx(11_000), content(idx(11_000), 5000))
	if err != nil {
		return err
	}
	done := layer(11_001)
	if err := s.write(done, content(done, 5000)); err != nil {
		return err
	}
	if err := s.crash(); err != nil {
		return err
	}
	_ = half // lost with the power
	s.p = nil
	if err := s.reopen(); err != nil {
		return err
	}
	after, err := s.list(segment.Index)
	if err == nil && !maps.Equal(before, after) {
		err = fmt.Errorf("%d indices before the crash, %d after", len(before), len(after))
	}
	return errors.Join(err, s.missing(idx(11_000)), s.expect(done, content(done, 5000)),
		s.write(idx(11_000), content(idx(11_000), 3)), s.expect(idx(11_000), content(idx(11_000), 3)))
}

func (s *suite) closes() error {
	r, err := s.p.Open(s.ctx, layer(11_001))
	if err != nil {
		return err
	}
	if err := errors.Join(s.p.Close(s.ctx), s.p.Close(s.ctx)); err != nil {
		return err
	}
	_, err1 := s.p.Create(s.ctx, idx(12_000))
	_, err2 := s.p.Open(s.ctx, layer(11_001))
	_, err3 := s.list(segment.Index)
	for i, err := range []error{err1, err2, err3, s.p.Remove(s.ctx, layer(11_001))} {
		if !errors.Is(err, segment.ErrClosed) {
			return fmt.Errorf("call %d: %w", i, err)
		}
	}
	return errors.Join(same(r, content(layer(11_001), 5000)), r.Close())
}
