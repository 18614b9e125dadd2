package mounttest

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dagstore/dagstore/mount"
)

// ErrFault is what [Fail] gives when the Fault says nothing else, and what
// [Panic] panics with.
var ErrFault = errors.New("mounttest: a fault of the script")

// A Fault is how one stream or file goes wrong, after At bytes of it. Bytes
// are counted from where the stream begins; in a File they are offsets, and a
// ReadAt that ends at or before At goes well. With At -1 it is the call that
// opens which goes wrong; what cannot go wrong so early does so at byte 0.
type Fault struct {
	At    int64
	Do    Misdeed
	Err   error         // for Fail; nil: [ErrFault]
	Delay time.Duration // for Slow, before each read
}

// A Misdeed is a way to go wrong.
type Misdeed uint8

const (
	None  Misdeed = iota // nothing: this call goes well
	Fail                 // return Err
	Hang                 // until the context ends, or somebody closes
	Slow                 // wait before each read
	Short                // end as if that were all
	Flip                 // change one bit
	Panic
)

// Faulty is m with faults: the n-th call of Open, OpenRange or OpenFile
// behaves as the n-th Fault says; after the last, m is itself again. URL and
// Stat are those of m, and OpenRange and OpenFile are offered when m offers
// them. Calls are counted in the order in which they come, from any goroutine.
func Faulty(m mount.Mount, script ...Fault) mount.Mount {
	f := faulty{Mount: m, script: slices.Clone(script), next: new(atomic.Int64)}
	_, ranges := m.(mount.RangeOpener)
	_, local := m.(mount.FileOpener)
	switch {
	case ranges && local:
		return rangedLocalFaulty{rangedFaulty{f}}
	case ranges:
		return rangedFaulty{f}
	case local:
		return localFaulty{f}
	}
	return f
}

// faulty wraps a mount that offers neither ranges nor a file. The types that
// embed it add what the mount offers, and no more.
type faulty struct {
	mount.Mount
	script []Fault
	next   *atomic.Int64
}

type (
	rangedFaulty      struct{ faulty }
	localFaulty       struct{ faulty }
	rangedLocalFaulty struct{ rangedFaulty }
)

// Open implements [mount.Mount].
func (f faulty) Open(ctx context.Context) (io.ReadCloser, error) {
	return f.stream(ctx, func() (io.ReadCloser, error) { return f.Mount.Open(ctx) })
}

// OpenRange implements [mount.RangeOpener].
func (f rangedFaulty) OpenRange(ctx context.Context, r mount.Range) (io.ReadCloser, error) {
	return f.stream(ctx, func() (io.ReadCloser, error) { return mount.OpenRange(ctx, f.Mount, r) })
}

// OpenFile implements [mount.FileOpener].
func (f localFaulty) OpenFile(ctx context.Context) (mount.File, error) { return f.openFile(ctx) }

// OpenFile implements [mount.FileOpener].
func (f rangedLocalFaulty) OpenFile(ctx context.Context) (mount.File, error) { return f.openFile(ctx) }

func (f faulty) stream(ctx context.Context, open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	t := f.turn(ctx)
	if err := t.opening(); err != nil {
		return nil, err
	}
	r, err := open()
	if err != nil {
		return nil, err
	}
	return &faultyStream{trouble: t, r: r}, nil
}

func (f faulty) openFile(ctx context.Context) (mount.File, error) {
	t := f.turn(ctx)
	if err := t.opening(); err != nil {
		return nil, err
	}
	file, err := mount.OpenFile(ctx, f.Mount)
	if err != nil {
		return nil, err
	}
	return &faultyFile{trouble: t, file: file}, nil
}

// turn takes the next fault of the script.
func (f faulty) turn(ctx context.Context) *trouble {
	t := &trouble{ctx: ctx, closed: make(chan struct{})}
	if n := f.next.Add(1) - 1; n < int64(len(f.script)) {
		t.Fault = f.script[n]
	}
	if t.Do == Fail && t.Err == nil {
		t.Err = ErrFault
	}
	return t
}

// trouble is one fault at work on one stream or file.
type trouble struct {
	Fault
	ctx    context.Context // of the call that opened
	once   sync.Once
	closed chan struct{}
}

// opening makes the call that opens go wrong, if it is that which shall.
func (t *trouble) opening() error {
	if t.At >= 0 {
		return nil
	}
	t.At = 0
	switch t.Do {
	case Fail, Hang, Slow, Panic:
		return t.strike()
	case None, Short, Flip:
	}
	return nil
}

// strike does what is to be done instead of a read, or before it. It returns
// nil if the read may go on.
func (t *trouble) strike() error {
	switch t.Do {
	case Fail:
		return t.Err
	case Short:
		return io.EOF
	case Panic:
		panic(ErrFault)
	case Hang:
		return t.wait(nil)
	case Slow:
		timer := time.NewTimer(t.Delay)
		defer timer.Stop()
		return t.wait(timer.C)
	case None, Flip:
	}
	return nil
}

// wait returns nil when c does.
func (t *trouble) wait(c <-chan time.Time) error {
	select {
	case <-c:
		return nil
	case <-t.ctx.Done():
		return t.ctx.Err()
	case <-t.closed:
		return fs.ErrClosed
	}
}

// flip changes a bit of byte At if it is among p, which begin at offset at.
func (t *trouble) flip(p []byte, at int64) {
	if t.Do == Flip && at <= t.At && t.At < at+int64(len(p)) {
		p[t.At-at] ^= 1
	}
}

// close ends every wait.
func (t *trouble) close() { t.once.Do(func() { close(t.closed) }) }

type faultyStream struct {
	*trouble
	r  io.ReadCloser
	at int64
}

// Read implements [io.Reader].
func (s *faultyStream) Read(p []byte) (int, error) {
	if s.at >= s.At {
		if err := s.strike(); err != nil {
			return 0, err
		}
	} else if s.Do != None && s.Do != Flip {
		p = p[:min(int64(len(p)), s.At-s.at)] // and the next Read is at the place
	}
	n, err := s.r.Read(p)
	s.flip(p[:n], s.at)
	s.at += int64(n)
	return n, err
}

// Close implements [io.Closer].
func (s *faultyStream) Close() error {
	s.close()
	return s.r.Close()
}

type faultyFile struct {
	*trouble
	file mount.File
}

// ReadAt implements [io.ReaderAt].
func (f *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	end := off + int64(len(p))
	switch {
	case f.Do == None || len(p) == 0 || end <= f.At:
		return f.file.ReadAt(p, off)
	case f.Do == Flip || f.Do == Slow:
		if err := f.strike(); err != nil {
			return 0, err
		}
		n, err := f.file.ReadAt(p, off)
		f.flip(p[:n], off)
		return n, err
	}
	n := 0
	if good := f.At - off; good > 0 {
		var err error
		if n, err = f.file.ReadAt(p[:good], off); err != nil {
			return n, err
		}
	}
	return n, f.strike()
}

// Close implements [io.Closer].
func (f *faultyFile) Close() error {
	f.close()
	return f.file.Close()
}
