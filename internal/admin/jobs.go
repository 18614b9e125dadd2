package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/scratch"
)

const (
	mostJobs    = 200     // that are remembered; the oldest ended ones are forgotten
	mostRunning = 64      // at once
	mostResults = 4 << 30 // bytes of the results of one job
	tellEvery   = 250 * time.Millisecond
)

// jobs are those of one process.
type jobs struct {
	hub     *Hub
	scratch string
	log     *slog.Logger
	now     func() time.Time
	ctx     context.Context //nolint:containedctx // of the work itself: it ends with the server, not with a request
	stop    context.CancelFunc
	work    sync.WaitGroup

	mu   sync.Mutex
	next int64
	all  []*job // by rising number
	idle chan struct{}
}

func newJobs(hub *Hub, scratch string, log *slog.Logger) *jobs {
	ctx, stop := context.WithCancel(context.Background())
	return &jobs{hub: hub, scratch: scratch, log: log, now: time.Now, ctx: ctx, stop: stop, idle: make(chan struct{})}
}

// errCancelled ends a job that somebody cancels.
var errCancelled = errors.New("the job was cancelled")

// errEnding is what becomes of jobs of a process that ends.
var errEnding = fmt.Errorf("%w: the process that holds the store is ending", dagstore.ErrClosed)

// A job is work under way, or done.
type job struct {
	jobs   *jobs
	cancel context.CancelCauseFunc
	list   *feed // of a job that adds from a list that is sent; else nil

	mu      sync.Mutex
	is      wire.Job
	results *os.File // lines; nil before the first
	ends    []int64  // where each 256th line ends, so that one can be found
	size    int64
	told    time.Time
	partly  int64         // bytes read of items that are not done
	more    chan struct{} // closed when something has changed
}

// A ListReader is the list that is sent to a job; nil: there is none.
type ListReader = io.Reader

// A Progress is how the carrying out of a job tells how far it has come. Its
// methods may be called by many goroutines.
type Progress struct{ job *job }

// Expect tells of items that are to be done, and of bytes that are to be read.
func (p *Progress) Expect(items, bytes int64) {
	p.job.change(false, func(is *wire.Job) { is.Items += items; is.BytesTotal += bytes })
}

// Moved tells of bytes that have been read. They may be taken back.
func (p *Progress) Moved(bytes int64) {
	p.job.change(false, func(is *wire.Job) { is.Bytes += bytes })
}

// Partly says how many bytes have been read of items that are not done.
func (p *Progress) Partly(bytes int64) {
	p.job.mu.Lock()
	same := p.job.partly == bytes
	p.job.partly = bytes
	p.job.mu.Unlock()
	if !same {
		p.job.change(false, func(*wire.Job) {})
	}
}

// Result tells how an item went. That it was not done is said by its problem.
func (p *Progress) Result(r wire.Result) error { return p.job.result(r, r.Problem != nil) }

// Summary says what is left to say about the whole.
func (p *Progress) Summary(v any) {
	text, err := json.Marshal(v)
	if err != nil {
		return
	}
	p.job.change(true, func(is *wire.Job) { is.Summary = text })
}

// begin starts a job. run is given a context that ends when the job is
// cancelled or the server closes.
func (j *jobs) begin(kind, what, who string, list *feed, run func(context.Context, *Progress) error) (*job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ctx.Err() != nil {
		return nil, errEnding
	}
	if n := j.count(); n >= mostRunning {
		return nil, fmt.Errorf("%w: %d jobs are under way", wire.ErrTooMany, n)
	}
	j.forget()
	j.next++
	ctx, cancel := context.WithCancelCause(j.ctx)
	one := &job{jobs: j, cancel: cancel, list: list, more: make(chan struct{})}
	one.is = wire.Job{ID: strconv.FormatInt(j.next, 10), Kind: kind, What: what, Who: who, State: wire.JobRunning, Started: j.now()}
	j.all = append(j.all, one)
	j.work.Go(func() {
		one.end(ctx, one.carry(ctx, run))
		cancel(nil)
		j.mu.Lock()
		defer j.mu.Unlock()
		close(j.idle)
		j.idle = make(chan struct{})
	})
	one.change(true, func(*wire.Job) {})
	return one, nil
}

// carry carries the job out. A panic is a failure of this job alone.
func (o *job) carry(ctx context.Context, run func(context.Context, *Progress) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a fault in the program: %v", p)
		}
	}()
	return run(ctx, &Progress{o})
}

// count is how many are under way.
func (j *jobs) count() (n int) {
	for _, o := range j.all {
		if o.state() == wire.JobRunning {
			n++
		}
	}
	return n
}

// forget makes room for one more.
func (j *jobs) forget() {
	for i := 0; len(j.all) >= mostJobs && i < len(j.all); {
		if j.all[i].state() == wire.JobRunning {
			i++
			continue
		}
		j.all[i].discard()
		j.all = slices.Delete(j.all, i, i+1)
	}
}

func (j *jobs) running() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.count()
}

// wait waits until none is under way.
func (j *jobs) wait(ctx context.Context) error {
	for {
		j.mu.Lock()
		n, idle := j.count(), j.idle
		j.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end ends all.
func (j *jobs) end() {
	j.mu.Lock()
	j.stop()
	j.mu.Unlock()
	j.work.Wait()
}

// forgetAll removes what they have left.
func (j *jobs) forgetAll() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, o := range j.all {
		o.discard()
	}
}

// list are all, the newest first.
func (j *jobs) list() []wire.Job {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]wire.Job, 0, len(j.all))
	for _, o := range slices.Backward(j.all) {
		out = append(out, o.snapshot())
	}
	return out
}

func (j *jobs) find(id string) (*job, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, o := range j.all {
		if o.is.ID == id { // it never changes
			return o, nil
		}
	}
	return nil, fmt.Errorf("%w: %q", wire.ErrNoJob, id)
}

func (o *job) state() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.is.State
}

// snapshot is how the job is now, with a guess when it ends.
func (o *job) snapshot() wire.Job {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.shot()
}

func (o *job) shot() wire.Job {
	is := o.is
	if is.State != wire.JobRunning {
		return is
	}
	now := o.jobs.now()
	is.Bytes += o.partly
	done, all := is.Bytes, is.BytesTotal
	if all <= 0 {
		done, all = is.Done+is.Failed, is.Items
	}
	if spent := now.Sub(is.Started); done > 0 && all > done {
		eta := now.Add(time.Duration(float64(spent) / float64(done) * float64(all-done)))
		is.ETA = &eta
	}
	return is
}

// change changes the job and tells of it, at once or not too often.
func (o *job) change(atOnce bool, f func(*wire.Job)) {
	o.mu.Lock()
	f(&o.is)
	close(o.more)
	o.more = make(chan struct{})
	now := o.jobs.now()
	tell := atOnce || now.Sub(o.told) >= tellEvery
	if tell {
		o.told = now
	}
	shot := o.shot()
	o.mu.Unlock()
	if tell {
		o.jobs.hub.Tell(wire.Event{Kind: wire.EventJob, Job: &shot})
	}
}

// end notes how the job ended.
func (o *job) end(ctx context.Context, err error) {
	if o.list != nil {
		o.list.stop()
	}
	now := o.jobs.now()
	o.change(true, func(is *wire.Job) {
		is.Ended = &now
		switch {
		case ctx.Err() != nil && (err != nil || errors.Is(context.Cause(ctx), errCancelled)):
			is.State = wire.JobCancelled
		case err != nil:
			is.State = wire.JobFailed
		default:
			is.State = wire.JobDone
		}
		if is.State == wire.JobCancelled && o.jobs.ctx.Err() != nil {
			err = errEnding
		}
		if err != nil && (is.State == wire.JobFailed || errors.Is(err, errEnding)) {
			p := wire.ProblemOf(err)
			is.Problem = &p
		}
	})
	is := o.snapshot()
	o.jobs.write(&is)
}

// write writes the one line of a job that has ended.
func (j *jobs) write(is *wire.Job) {
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("id", is.ID), slog.String("kind", is.Kind), slog.String("what", is.What), slog.String("who", is.Who), slog.String("state", is.State),
		slog.Int64("done", is.Done), slog.Int64("failed", is.Failed), slog.Int64("bytes", is.Bytes), slog.Duration("took", is.Ended.Sub(is.Started)),
	}
	if is.Problem != nil {
		attrs = append(attrs, slog.String("error", is.Problem.Detail))
	}
	if is.State == wire.JobFailed {
		level = slog.LevelWarn
	}
	j.log.LogAttrs(context.Background(), level, "job", attrs...)
}

// stride is of how many lines one is noted where it ends.
const stride = 256

// result adds a line.
func (o *job) result(r wire.Result, failed bool) error {
	o.mu.Lock()
	r.Seq = o.is.Results + 1
	var line bytes.Buffer
	writeJSON(&line, r)
	err := o.append(line.Bytes())
	o.mu.Unlock()
	o.change(false, func(is *wire.Job) {
		if failed {
			is.Failed++
		} else {
			is.Done++
		}
		is.Items = max(is.Items, is.Done+is.Failed)
	})
	return err
}

// append writes a line, unless there are too many.
func (o *job) append(line []byte) (err error) {
	if o.size+int64(len(line)) > mostResults {
		o.is.Cut = true
		return nil
	}
	if o.results == nil {
		if o.results, err = scratch.File(o.jobs.scratch, "dagstore-job-*"); err != nil {
			return err
		}
	}
	if _, err := o.results.WriteAt(line, o.size); err != nil {
		return err
	}
	o.size += int64(len(line))
	if o.is.Results++; o.is.Results%stride == 0 {
		o.ends = append(o.ends, o.size)
	}
	return nil
}

// read copies whole lines behind the offset at into buf, and says whether the
// job has ended and how to hear of more.
func (o *job) read(at int64, buf []byte) (n int, ended bool, more <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	more, ended = o.more, o.is.State != wire.JobRunning
	if at >= o.size || o.results == nil {
		return 0, ended, more, nil
	}
	n, err = o.results.ReadAt(buf[:min(int64(len(buf)), o.size-at)], at)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, ended, more, err
}

// offset is where the lines begin that come behind line number seq, or some
// lines before that: skip of them.
func (o *job) offset(seq int64) (at, skip int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	seq = min(max(seq, 0), o.is.Results)
	if i := seq / stride; i > 0 {
		return o.ends[i-1], seq - i*stride
	}
	return 0, seq
}

// discard removes the results.
func (o *job) discard() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.results != nil {
		_ = o.results.Close() // nobody wants it any more
		o.results, o.size = nil, 0
	}
}
