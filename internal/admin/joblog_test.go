package admin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/dagstore/dagstore/internal/admin/wire"
)

// TestJobsLogged: a job that has ended leaves one line in the log, however many items
// it had.
func TestJobsLogged(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Add = func(ctx context.Context, job wire.AddJob, _ ListReader, _ func(string) string, told *Progress) error {
			for i, name := range job.Sources {
				one := wire.Result{Name: name}
				if i == 0 {
					p := wire.ProblemOf(errors.New("no good"))
					one.Problem = &p
				}
				told.Moved(10)
				if err := told.Result(one); err != nil {
					return err
				}
			}
			switch job.Sources[0] {
			case "fail":
				return errors.New("it broke")
			case "wait":
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
	})
	begin := func(sources ...string) wire.Job {
		t.Helper()
		var job wire.Job
		r.want(http.StatusAccepted, "POST", "/jobs", wire.NewJob{Kind: wire.JobAdd, Add: &wire.AddJob{Sources: sources}}, &job)
		return job
	}
	r.results(begin("one", "two", "three").ID, "?follow=true")
	r.results(begin("fail", "two").ID, "?follow=true")
	waits := begin("wait")
	r.want(http.StatusOK, "POST", "/jobs/"+waits.ID+"/cancel", nil, nil)
	r.results(waits.ID, "?follow=true")
	r.server.Stop()
	var lines []string
	for line := range strings.Lines(r.log.String()) {
		if strings.Contains(line, "msg=job ") {
			lines = append(lines, line)
		}
	}
	if len(lines) != 3 {
		t.Fatalf("%d lines:\n%s", len(lines), r.log.String())
	}
	for i, want := range [][]string{
		{"level=INFO", "id=1 ", "kind=add", "who=socket", "state=done", "done=2 failed=1 bytes=30 took="},
		{"level=WARN", "id=2 ", "state=failed", "done=1 failed=1 bytes=20 took=", `error="it broke"`},
		{"level=INFO", "id=3 ", "state=cancelled", "done=0 failed=1"},
	} {
		for _, part := range want {
			if !strings.Contains(lines[i], part) {
				t.Errorf("line %d has no %q: %s", i+1, part, lines[i])
			}
		}
	}
}
