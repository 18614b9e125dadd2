package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
)

// addLines is a job that has one result for each source, and for each line of
// its list.
func addLines(ctx context.Context, job wire.AddJob, list ListReader, outside func(string) string, told *Progress) error {
	names := job.Sources
	if list != nil {
		lines := bufio.NewScanner(list)
		for lines.Scan() {
			names = append(names, lines.Text())
		}
		if err := lines.Err(); err != nil {
			return err
		}
	}
	told.Expect(int64(len(names)), int64(len(names)))
	for _, name := range names {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if outside != nil {
			name = outside(name)
		}
		told.Moved(1)
		if err := told.Result(wire.Result{Name: name}); err != nil {
			return err
		}
	}
	told.Summary(wire.Tally{Done: len(names)})
	return nil
}

// results are the lines of a job.
func (r *rig) results(id, query string) (out []wire.Result) {
	r.t.Helper()
	_, text := r.do(r.local, ask{method: "GET", path: "/jobs/" + id + "/results" + query})
	for line := range strings.Lines(text) {
		var one wire.Result
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			r.t.Fatalf("%v: %q", err, line)
		}
		if one.Job != nil {
			if one.Job.State == wire.JobRunning || one.Seq != 0 {
				r.t.Errorf("the last line: %+v", one)
			}
			continue
		}
		out = append(out, one)
	}
	return out
}

func TestJobOfList(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Add = addLines })
	var job wire.Job
	r.want(http.StatusAccepted, "POST", "/jobs", wire.NewJob{Kind: wire.JobAdd, Add: &wire.AddJob{From: "-"}}, &job)
	if job.State != wire.JobRunning || job.Who != "socket" {
		t.Errorf("%+v", job)
	}
	const n = 1000
	list := strings.Repeat("a line\n", n)
	followed := make(chan []wire.Result, 1)
	go func() { followed <- r.results(job.ID, "?follow=true") }()
	if response, text := r.do(r.local, ask{method: "POST", path: "/jobs/" + job.ID + "/list", body: list, kind: mimeLines}); response.StatusCode != http.StatusNoContent {
		t.Fatalf("%d: %s", response.StatusCode, text)
	}
	got := <-followed
	if len(got) != n {
		t.Errorf("%d results, want %d", len(got), n)
	}
	for i, one := range got {
		if one.Seq != int64(i+1) || one.Name != "a line" {
			t.Fatalf("result %d is %+v", i, one)
		}
	}
	r.want(http.StatusOK, "GET", "/jobs/"+job.ID, nil, &job)
	if job.State != wire.JobDone || job.Done != n || job.Results != n || job.Ended == nil || !bytes.Contains(job.Summary, []byte(`"done":1000`)) {
		t.Errorf("%+v", job)
	}
	for _, after := range []int64{0, 1, 255, 256, 257, 999, 1000, 5000} {
		want := max(0, n-after)
		rest := r.results(job.ID, "?after="+itoa(after))
		if int64(len(rest)) != want || want > 0 && rest[0].Seq != after+1 {
			t.Errorf("after %d: %d results, want %d", after, len(rest), want)
		}
	}
	r.want(http.StatusConflict, "POST", "/jobs/"+job.ID+"/cancel", nil, nil)
	r.want(http.StatusNotFound, "GET", "/jobs/77", nil, nil)
	if response, _ := r.do(r.local, ask{method: "POST", path: "/jobs/" + job.ID + "/list", body: list, kind: mimeLines}); response.StatusCode != http.StatusConflict {
		t.Errorf("a second list: %d", response.StatusCode)
	}
}

func itoa(n int64) string {
	text, _ := json.Marshal(n)
	return string(text)
}

func TestImport(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Add = addLines })
	response, text := r.do(r.local, ask{method: "POST", path: "/import?lazy=true", body: "x\ny\n", kind: mimeLines})
	if response.StatusCode != http.StatusAccepted {
		t.Fatalf("%d: %s", response.StatusCode, text)
	}
	var jobs wire.Jobs
	r.poll("the import ends", func() bool {
		r.want(http.StatusOK, "GET", "/jobs", nil, &jobs)
		return len(jobs.Jobs) == 1 && jobs.Jobs[0].State == wire.JobDone
	})
	if got := r.results(jobs.Jobs[0].ID, ""); len(got) != 2 || got[1].Name != "y" {
		t.Errorf("%+v", got)
	}
}

// TestLeftBeforeList: a job whose list never comes ends with who began it.
func TestLeftBeforeList(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Add = addLines })
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	body := strings.NewReader(`{"kind":"add","add":{"from":"-"}}`)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.local.URL+prefix+"jobs?follow=true", body)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", mimeJSON)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if line, err := bufio.NewReader(response.Body).ReadString('\n'); err != nil || !strings.Contains(line, wire.JobRunning) {
		t.Fatalf("%q, %v", line, err)
	}
	leave()
	var jobs wire.Jobs
	r.poll("the job ends", func() bool {
		r.want(http.StatusOK, "GET", "/jobs", nil, &jobs)
		return len(jobs.Jobs) == 1 && jobs.Jobs[0].State == wire.JobFailed
	})
}

// TestCancel: a job that waits for its list ends when it is cancelled, and so
// does who sends it.
func TestCancel(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Add = addLines })
	var job wire.Job
	r.want(http.StatusAccepted, "POST", "/jobs", wire.NewJob{Kind: wire.JobAdd, Add: &wire.AddJob{From: "-"}}, &job)
	if r.server.Busy() != 1 {
		t.Errorf("%d jobs are under way", r.server.Busy())
	}
	events, stop := r.listen("?kind=job", "")
	defer stop()
	r.want(http.StatusOK, "POST", "/jobs/"+job.ID+"/cancel", nil, nil)
	for {
		if e := r.next(events); e.Job.State == wire.JobCancelled {
			break
		}
	}
	if err := r.server.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if got := r.results(job.ID, "?follow=true"); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestVerifyJob(t *testing.T) {
	r := newRig(t, nil)
	r.register("good", "one", "two")
	r.register("other", "three")
	data := carOf("first", "second", "third")
	url := r.file("bad.car", bytes.Replace(data, []byte("second"), []byte("sEcond"), 1))
	r.want(http.StatusCreated, "PUT", "/shards/bad", wire.Registration{Mount: url}, nil)
	var job wire.Job
	r.want(http.StatusAccepted, "POST", "/jobs", wire.NewJob{Kind: wire.JobVerify, Verify: &wire.SelectJob{}}, &job)
	got := r.results(job.ID, "?follow=true")
	if len(got) != 3 {
		t.Fatalf("%+v", got)
	}
	for _, one := range got {
		switch bad := one.Key == "bad"; {
		case bad && (one.Problem == nil || one.Problem.Name() != "bad-block" || one.Faults != 1 || one.Fault == nil || one.Fault.Kind == ""):
			t.Errorf("the bad one: %+v", one)
		case !bad && one.Problem != nil:
			t.Errorf("%+v", one)
		}
	}
	r.want(http.StatusOK, "GET", "/jobs/"+job.ID, nil, &job)
	if job.State != wire.JobDone || job.Done != 2 || job.Failed != 1 || job.Bytes == 0 || job.Bytes != job.BytesTotal {
		t.Errorf("%+v", job)
	}
	r.want(http.StatusAccepted, "POST", "/jobs", wire.NewJob{Kind: wire.JobVerify, Verify: &wire.SelectJob{Keys: []string{"good", "none"}}}, &job)
	if got := r.results(job.ID, "?follow=true"); len(got) != 2 {
		t.Errorf("%+v", got)
	}
	r.want(http.StatusAccepted, "POST", "/jobs", wire.NewJob{Kind: wire.JobRecover, Recover: &wire.RecoverJob{Match: "*"}}, &job)
	if got := r.results(job.ID, "?follow=true"); len(got) != 0 {
		t.Errorf("nothing has failed, and yet: %+v", got)
	}
	r.want(http.StatusAccepted, "POST", "/jobs", wire.NewJob{Kind: wire.JobGC}, &job)
	r.want(http.StatusBadRequest, "POST", "/jobs", wire.NewJob{Kind: "dance"}, nil)
	r.want(http.StatusBadRequest, "POST", "/jobs", wire.NewJob{Kind: wire.JobGC, Verify: &wire.SelectJob{}}, nil)
	if err := r.server.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestProgressOfJob: how far a job is, and when it will end, is told from what
// it has read, what is under way included.
func TestProgressOfJob(t *testing.T) {
	now := time.Unix(1000, 0)
	j := newJobs(NewHub(), t.TempDir(), slog.New(slog.DiscardHandler))
	j.now = func() time.Time { return now }
	told := make(chan *Progress)
	release := make(chan struct{})
	o, err := j.begin(wire.JobAdd, "test", "me", nil, func(_ context.Context, p *Progress) error {
		told <- p
		<-release
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	p := <-told
	if is := o.snapshot(); is.ETA != nil {
		t.Errorf("before anything is known it ends at %v", is.ETA)
	}
	p.Expect(4, 400)
	p.Moved(60)
	p.Partly(40)
	now = now.Add(10 * time.Second)
	if is := o.snapshot(); is.Bytes != 100 || is.ETA == nil || !is.ETA.Equal(now.Add(30*time.Second)) {
		t.Errorf("a quarter in 10 s: %+v", is)
	}
	p.Partly(0)
	p.Moved(340)
	if is := o.snapshot(); is.Bytes != 400 || is.ETA != nil {
		t.Errorf("all is read: %+v", is)
	}
	close(release)
	if err := j.wait(t.Context()); err != nil {
		t.Error(err)
	}
	j.end()
	if _, err := j.begin(wire.JobGC, "", "", nil, nil); !errors.Is(err, dagstore.ErrClosed) {
		t.Errorf("a job of a process that ends: %v", err)
	}
	j.forgetAll()
}
