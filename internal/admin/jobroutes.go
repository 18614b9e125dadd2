package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"
	"sync/atomic"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/car"
	"github.com/dagstore/dagstore/shard"
)

// usualWidth is how many shards a job works on at once.
const usualWidth = 4

func (s *Server) getJobs(c *call) error { return c.answer(wire.Jobs{Jobs: s.jobs.list()}) }

func (s *Server) getJob(c *call) error {
	o, err := s.jobs.find(c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return c.answer(o.snapshot())
}

func (s *Server) postJob(c *call) error {
	var wanted wire.NewJob
	if err := c.read(&wanted); err != nil {
		return err
	}
	follow, err := c.flag("follow", false)
	if err != nil {
		return err
	}
	o, err := s.start(c, &wanted)
	if err != nil {
		return err
	}
	if !follow {
		return c.answer(o.snapshot())
	}
	// Nobody else knows of the job yet: if who began it leaves before the list is
	// sent, it would wait for that, and who holds the store for the job.
	if o.list != nil {
		defer func() {
			if o.list.begun.CompareAndSwap(false, true) {
				o.list.stop()
			}
		}()
	}
	// In one request nothing can come between: a process that ends waits for it.
	out := newLines(c)
	begun := o.snapshot()
	if err := errors.Join(out.put(wire.Result{Job: &begun}), out.flush()); err != nil {
		return err
	}
	return s.send(c, o, out.stream, 0, true)
}

// start begins the job that is wanted.
func (s *Server) start(c *call, wanted *wire.NewJob) (*job, error) {
	given := map[string]bool{wire.JobAdd: wanted.Add != nil, wire.JobVerify: wanted.Verify != nil, wire.JobRecover: wanted.Recover != nil}
	for kind, is := range given {
		if is && kind != wanted.Kind {
			return nil, badRequest("the job is of kind %q, and %q says how another one is to be", wanted.Kind, kind)
		}
	}
	switch {
	case wanted.Kind == wire.JobGC:
		return s.jobs.begin(wanted.Kind, "remove what belongs to no shard", c.who, nil, func(ctx context.Context, told *Progress) error {
			report, err := s.store.GC(ctx)
			told.Summary(wire.GCOf(report))
			return err
		})
	case !given[wanted.Kind]:
		return nil, badRequest("no job is of kind %q with nothing said of it: it is add, verify, recover or gc", wanted.Kind)
	case wanted.Kind == wire.JobAdd:
		return s.startAdd(c, *wanted.Add)
	case wanted.Kind == wire.JobVerify:
		sel := *wanted.Verify
		return s.jobs.begin(wanted.Kind, "verify "+whatOf(&sel), c.who, nil, func(ctx context.Context, told *Progress) error {
			return s.each(ctx, sel.Jobs, s.choose(ctx, &sel), told, s.verify)
		})
	}
	again := *wanted.Recover
	return s.jobs.begin(wanted.Kind, "recover failed shards", c.who, nil, func(ctx context.Context, told *Progress) error {
		return s.each(ctx, again.Jobs, s.failed(ctx, &again), told, s.recoverOne)
	})
}

// startAdd begins a job that adds CARs.
func (s *Server) startAdd(c *call, add wire.AddJob) (*job, error) {
	if s.cfg.Add == nil {
		return nil, fmt.Errorf("%w: this process adds nothing for others", wire.ErrNoRoute)
	}
	var outside func(string) string
	if !c.may(Private) {
		if s.cfg.Outside == nil {
			return nil, fmt.Errorf("%w: to name a source takes the scope %q here", wire.ErrForbidden, Private)
		}
		outside = s.cfg.Outside
	}
	var list *feed
	var reader ListReader
	if add.From == "-" {
		list = newFeed()
		reader = list.r
	}
	what := "add " + strings.Join(add.Sources, " ")
	if add.From != "" {
		what += " from " + add.From
	}
	return s.jobs.begin(wire.JobAdd, cut(what), c.who, list, func(ctx context.Context, told *Progress) error {
		if list != nil {
			defer context.AfterFunc(ctx, list.stop)()
		}
		return s.cfg.Add(ctx, add, reader, outside, told)
	})
}

// cut makes a text short enough to be shown in a line.
func cut(text string) string {
	const most = 200
	if len(text) > most {
		return strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// A feed is a list that is sent while it is read.
type feed struct {
	r     *io.PipeReader
	w     *io.PipeWriter
	begun atomic.Bool // somebody sends it, or nobody will
}

func newFeed() *feed {
	r, w := io.Pipe()
	return &feed{r: r, w: w}
}

// stop lets nobody wait any longer, on either side.
func (f *feed) stop() {
	_ = f.r.CloseWithError(wire.ErrJobState) // it always succeeds
	_ = f.w.CloseWithError(io.ErrUnexpectedEOF)
}

// postList passes on the list of a job, as it comes.
func (s *Server) postList(c *call) error {
	o, err := s.jobs.find(c.r.PathValue("id"))
	if err != nil {
		return err
	}
	if err := c.isLines(); err != nil {
		return err
	}
	if o.list == nil {
		return fmt.Errorf("%w: it reads no list that is sent", wire.ErrJobState)
	}
	if err := s.pass(c, o); err != nil {
		return err
	}
	return c.nothing()
}

// pass passes the body on to the job, once.
func (s *Server) pass(c *call, o *job) error {
	if !o.list.begun.CompareAndSwap(false, true) {
		return fmt.Errorf("%w: its list is being sent, or was", wire.ErrJobState)
	}
	_, err := io.Copy(o.list.w, c.r.Body)
	// A list that broke off is an error of the job too: it does not know what
	// else there would have been.
	_ = o.list.w.CloseWithError(err) // it always succeeds
	return err
}

// isLines refuses a body that is not said to be a list.
func (c *call) isLines() error {
	if kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || kind != mimeLines {
		return fmt.Errorf("%w: %s", wire.ErrMediaType, mimeLines)
	}
	return nil
}

// postImport begins a job with the list that is its body.
func (s *Server) postImport(c *call) error {
	if err := c.isLines(); err != nil {
		return err
	}
	q := c.r.URL.Query()
	add := wire.AddJob{From: "-", Prefix: q.Get("prefix"), Serve: q.Get("serve"), Index: q.Get("index")}
	var err error
	if add.Lazy, err = c.flag("lazy", false); err != nil {
		return err
	}
	if add.Verify, err = c.flag("verify", false); err != nil {
		return err
	}
	o, err := s.startAdd(c, add)
	if err != nil {
		return err
	}
	if err := s.pass(c, o); err != nil && (o.state() == wire.JobRunning || errors.Is(err, wire.ErrSlow)) {
		return err
	}
	return c.answer(o.snapshot())
}

func (s *Server) postCancel(c *call) error {
	o, err := s.jobs.find(c.r.PathValue("id"))
	if err != nil {
		return err
	}
	if o.state() != wire.JobRunning {
		return fmt.Errorf("%w: it has ended", wire.ErrJobState)
	}
	o.cancel(errCancelled)
	return c.answer(o.snapshot())
}

// getResults sends the lines of a job.
func (s *Server) getResults(c *call) error {
	o, err := s.jobs.find(c.r.PathValue("id"))
	if err != nil {
		return err
	}
	after, err := c.number("after", 0, 0, 1<<62)
	if err != nil {
		return err
	}
	follow, err := c.flag("follow", false)
	if err != nil {
		return err
	}
	out := newStream(c, mimeLines)
	if follow { // so that the client knows that it is heard
		if err := out.flush(); err != nil {
			return err
		}
	}
	return s.send(c, o, out, after, follow)
}

// send sends the lines of a job behind number after.
func (s *Server) send(c *call, o *job, out *stream, after int64, follow bool) error {
	at, skip := o.offset(after)
	buf := make([]byte, 64<<10)
	for {
		n, ended, more, err := o.read(at, buf)
		if err == nil && follow {
			err = s.goesOn(c)
		}
		if err != nil {
			return err
		}
		if n > 0 {
			at += int64(n)
			if err := out.send(skipLines(buf[:n], &skip)); err != nil {
				return err
			}
			continue
		}
		if ended && follow {
			var line bytes.Buffer
			is := o.snapshot()
			writeJSON(&line, wire.Result{Job: &is})
			return out.send(line.Bytes())
		}
		if !follow {
			return nil
		}
		select {
		case <-more: // also when the process ends: that ends the job
		case <-c.r.Context().Done():
			return nil
		}
	}
}

// skipLines leaves out the first lines, of which skip are still to go.
func skipLines(text []byte, skip *int64) []byte {
	for *skip > 0 {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			return nil
		}
		text = text[i+1:]
		*skip--
	}
	return text
}

// verify reads a CAR from end to end and hashes every block of it.
func (s *Server) verify(ctx context.Context, info shard.Info, told *Progress) (wire.Result, error) {
	r := wire.Result{Name: string(info.Key), Key: string(info.Key), Size: info.Bytes}
	acc, err := s.store.Acquire(ctx, info.Key, &dagstore.AcquireOptions{Background: true})
	if err != nil {
		return r, err
	}
	defer acc.Close() //nolint:errcheck // it always succeeds
	in := &counted{r: acc.CAR(ctx), told: told}
	res, err := car.Scan(ctx, in, car.Options{Size: info.Bytes, Verify: true}, func(*car.Section) error { return nil })
	r.Faults = res.Faults
	if len(res.Faulty) > 0 {
		first := wire.FaultOf(res.Faulty[0])
		r.Fault = &first
		err = errors.Join(err, fmt.Errorf("%d of its blocks are bad: %w", res.Faults, &res.Faulty[0]))
	}
	return r, err
}

// counted tells of what is read.
type counted struct {
	r    io.Reader
	told *Progress
}

// Read implements [io.Reader].
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		c.told.Moved(int64(n))
	}
	return n, err
}

func (s *Server) recoverOne(ctx context.Context, info shard.Info, _ *Progress) (wire.Result, error) {
	r := wire.Result{Name: string(info.Key), Key: string(info.Key), Size: info.Bytes}
	if err := s.store.Recover(ctx, info.Key, nil); err != nil {
		return r, err
	}
	now, err := s.store.Info(ctx, info.Key)
	if err == nil {
		d := wire.DetailOf(now)
		r.Shard = &d
	}
	return r, err
}
