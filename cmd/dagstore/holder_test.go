package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dagstore/dagstore/internal/admin/client"
	"github.com/dagstore/dagstore/internal/admin/wire"
)

// eventually calls f until it is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(mostWait); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if f() {
			return
		}
	}
	t.Fatalf("waited for %v: %s", mostWait, what)
}

// serverOf starts a process that serves a store, and returns the store.
func serverOf(t *testing.T, args ...string) (*session, string) {
	t.Helper()
	repo := filepath.Join(t.TempDir(), "store")
	s := start(t, nil, append([]string{"--repo", repo, "serve", "--listen", "127.0.0.1:0"}, args...)...)
	t.Cleanup(func() { // before the folder goes
		s.stop()
		select {
		case <-s.gone:
		case <-time.After(mostWait):
			t.Error("it does not end")
		}
	})
	s.stderr.match(t, `serving http`)
	return s, repo
}

// TestAddGoesOn: an interrupt ends what is told of a job, and not the job.
func TestAddGoesOn(t *testing.T) {
	asked, release := make(chan struct{}, 10), make(chan struct{})
	data := carOf("slow")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			asked <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
				return
			}
		}
		http.ServeContent(w, r, "slow.car", time.Unix(1, 0), strings.NewReader(string(data)))
	}))
	defer server.Close()
	holder, repo := serverOf(t, "--admin", "none")
	add := start(t, nil, "--repo", repo, "add", server.URL+"/slow.car")
	select {
	case <-asked:
	case <-time.After(mostWait):
		t.Fatalf("the source is not asked: %s", add.stderr.String())
	}
	add.stop()
	if code := add.ends(t); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	if text := add.stderr.String(); !strings.Contains(text, `it goes on as job 1`) || !strings.Contains(text, "jobs cancel 1") {
		t.Errorf("it said %q", text)
	}
	if jobs := runs(t, "", "--repo", repo, "jobs"); !regexp.MustCompile(`^1 +running +.* add http`).MatchString(jobs.stdout) {
		t.Errorf("jobs: %+v", jobs)
	}
	close(release)
	shown := runs(t, "", "--repo", repo, "jobs", "show", "--follow", "1")
	if shown.code != exitOK || !strings.Contains(shown.stdout, "new ") || !strings.Contains(shown.stderr, "job 1  done") {
		t.Errorf("jobs show: %+v", shown)
	}
	if ls := runs(t, "", "--repo", repo, "ls"); !strings.Contains(ls.stdout, "ready      slow") {
		t.Errorf("ls: %+v", ls)
	}
	holder.stop()
	if code := holder.ends(t); code != exitOK {
		t.Errorf("the holder ends with %d", code)
	}
}

// TestAddInterruptedBeforeItIsKnown: an interrupt that comes when a job has begun,
// but nothing was heard of it, tells its number all the same; if nothing is heard
// for long it does not wait for that.
func TestAddInterruptedBeforeItIsKnown(t *testing.T) {
	for name, answers := range map[string]bool{"it is told": true, "it is not": false} {
		t.Run(name, func(t *testing.T) {
			asked, answer := make(chan struct{}), make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // before that nobody hears that the client has left
				close(asked)
				select {
				case <-answer:
					_ = json.NewEncoder(w).Encode(wire.Result{Job: &wire.Job{ID: "7", State: wire.JobRunning}})
					w.(http.Flusher).Flush()
					<-r.Context().Done()
				case <-r.Context().Done():
				}
			}))
			defer server.Close()
			store := farStore{client.New(client.HTTP(server.URL, ""))}
			defer store.Close()
			ctx, interrupt := context.WithCancel(t.Context())
			var stderr watched
			left := make(chan error, 1)
			go func() {
				a := &app{stdout: io.Discard, stderr: &stderr}
				left <- a.addThrough(ctx, store, []string{"a.car"}, addOptions{}, new(lies))
			}()
			<-asked
			interrupt()
			if answers {
				select {
				case err := <-left:
					t.Fatalf("it did not wait: %v", err)
				case <-time.After(50 * time.Millisecond):
				}
				close(answer)
			}
			if err := <-left; !errors.Is(err, context.Canceled) || strings.Contains(stderr.String(), "goes on as job 7") != answers {
				t.Errorf("%v, and it said %q", err, stderr.String())
			}
		})
	}
}

// TestPlainAddHolds: a plain add answers others as long as it runs, and waits
// for what they have begun.
func TestPlainAddHolds(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "store")
	one, two := carFile(t, "one.car", "1"), carFile(t, "two.car", "2")
	in, lines := io.Pipe()
	first := start(t, in, "--repo", repo, "add", "--from", "-", one)
	first.stdout.match(t, `ready +one`)

	inTwo, linesTwo := io.Pipe()
	second := start(t, inTwo, "--repo", repo, "add", "--from", "-", two)
	second.stdout.match(t, `ready +two`)

	if err := lines.Close(); err != nil { // the first has nothing more to do
		t.Fatal(err)
	}
	first.stderr.match(t, `others have begun 1 job in it`)
	if err := linesTwo.Close(); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]*session{"first": first, "second": second} {
		if code := s.ends(t); code != exitOK {
			t.Errorf("the %s ends with %d: %s", name, code, s.stderr.String())
		}
	}
	if ls := runs(t, "", "--repo", repo, "ls"); !strings.Contains(ls.stdout, "one") || !strings.Contains(ls.stdout, "two") {
		t.Errorf("ls: %+v", ls)
	}
}

// TestJobsOfHolder: jobs are verified, shown and cancelled from elsewhere.
func TestJobsOfHolder(t *testing.T) {
	_, repo := serverOf(t, "--admin", "none")
	good := carFile(t, "good.car", "1", "2")
	if add := runs(t, "", "--repo", repo, "add", good); add.code != exitOK {
		t.Fatalf("%+v", add)
	}
	job := runs(t, "", "--repo", repo, "jobs", "verify")
	id := strings.TrimSpace(job.stdout)
	if shown := runs(t, "", "--repo", repo, "jobs", "show", "-f", "--json", id); shown.code != exitOK || !strings.Contains(shown.stdout, `"key":"good"`) {
		t.Errorf("%+v, %+v", job, shown)
	}
	in, lines := io.Pipe()
	waiting := start(t, in, "--repo", repo, "add", "--from", "-", good)
	waiting.stdout.match(t, "unchanged")
	var running wire.Job
	if listed := runs(t, "", "--repo", repo, "jobs", "--json"); json.Unmarshal([]byte(strings.SplitN(listed.stdout, "\n", 2)[0]), &running) != nil || running.State != wire.JobRunning {
		t.Fatalf("%+v", listed)
	}
	if cancel := runs(t, "", "--repo", repo, "jobs", "cancel", "--json", running.ID, "77"); cancel.code != exitPartial || !strings.HasPrefix(cancel.stdout, `{"id":"`+running.ID+`"`) {
		t.Errorf("%+v", cancel)
	}
	if code := waiting.ends(t); code != exitInterrupted || !strings.Contains(waiting.stderr.String(), "was cancelled") {
		t.Errorf("the one that was cancelled: %d, %q", code, waiting.stderr.String())
	}
	if err := lines.Close(); err != nil {
		t.Error(err)
	}
	if shown := runs(t, "", "--repo", repo, "jobs", "show", "77"); shown.code != exitNotFound {
		t.Errorf("a job that is not: %+v", shown)
	}
}

func TestWithoutHolder(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "store")
	if add := runs(t, "", "--repo", repo, "add", carFile(t, "a.car", "a")); add.code != exitOK {
		t.Fatalf("%+v", add)
	}
	if jobs := runs(t, "", "--repo", repo, "jobs"); jobs.code != exitOK || !strings.Contains(jobs.stderr, "no other process holds the store") {
		t.Errorf("%+v", jobs)
	}
	for _, args := range [][]string{{"ui"}, {"jobs", "show", "1"}, {"jobs", "verify"}} {
		if got := runs(t, "", append([]string{"--repo", repo}, args...)...); got.code != exitNotFound || !strings.Contains(got.stderr, "dagstore serve") {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

// TestWatch: what happens is seen from elsewhere, and the next holder too.
func TestWatch(t *testing.T) {
	holder, repo := serverOf(t, "--admin", "none")
	watching := start(t, nil, "--repo", repo, "watch", "--kind", "transition")
	add := func(name string) {
		t.Helper()
		if got := runs(t, "", "--repo", repo, "add", carFile(t, name+".car", name)); got.code != exitOK {
			t.Fatalf("%+v", got)
		}
	}
	// It may not listen yet when the first shard is added.
	n := 0
	eventually(t, "an event", func() bool {
		n++
		add("k" + string(rune('a'+n)))
		return strings.Contains(watching.stdout.String(), "transition  k")
	})
	watching.stdout.match(t, `transition  k\w  gone -> initializing`)
	holder.stop()
	if code := holder.ends(t); code != exitOK {
		t.Errorf("the holder ends with %d: %s", code, holder.stderr.String())
	}
	watching.stderr.match(t, `no other process holds the store: this one does`)
	watching.stdout.match(t, `gap  an unknown number of events is missing here`)
	add("later") // through the one that watches
	watching.stdout.match(t, `transition  later  .* -> available`)
	watching.stop()
	if code := watching.ends(t); code != exitOK {
		t.Errorf("exit code %d: %s", code, watching.stderr.String())
	}
	if got := runs(t, "", "--repo", repo, "watch", "--kind", "dance"); got.code != exitUsage {
		t.Errorf("%+v", got)
	}
}

// TestPageOfServe: the link and tokens let in over TCP, and nothing else does.
func TestPageOfServe(t *testing.T) {
	config := filepath.Join(t.TempDir(), "config.toml")
	if err := os.WriteFile(config, []byte("[admin]\ntokens = \"secret-file\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	made := runs(t, "", "--config", config, "token", "add", "reader")
	if made.code != exitOK || !strings.HasPrefix(made.stdout, "dags_") {
		t.Fatalf("%+v", made)
	}
	token := strings.TrimSpace(made.stdout)
	if second := runs(t, "", "--config", config, "token", "add", "reader"); second.code != exitFailed {
		t.Errorf("a second one of that name: %+v", second)
	}
	if info, err := os.Stat(filepath.Join(filepath.Dir(config), "secret-file")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file of tokens: %v, %v", info, err)
	}
	if list := runs(t, "", "--config", config, "token", "list"); list.stdout != "reader  read\n" || strings.Contains(list.stdout, token) {
		t.Errorf("%+v", list)
	}
	holder, repo := serverOf(t, "--config", config, "--admin", "127.0.0.1:0")
	base := holder.stderr.match(t, `page and API on (http://127\.0\.0\.1:\d+);`)
	if status, _ := fetch(t, base+"/api/v1/stats"); status != http.StatusUnauthorized {
		t.Errorf("without a token: %d", status)
	}
	if status := fetchAs(t, base+"/api/v1/stats", token); status != http.StatusOK {
		t.Errorf("with a token: %d", status)
	}
	link := runs(t, "", "--config", config, "--repo", repo, "ui")
	if link.code != exitOK || !strings.HasPrefix(link.stdout, base+"/#code=") {
		t.Errorf("%+v", link)
	}
	if status, body := fetch(t, base+"/"); status != http.StatusOK || !strings.Contains(body, "<title>dagstore</title>") {
		t.Errorf("the page: %d, %q", status, body)
	}
	gateway := holder.stderr.match(t, `serving (http://127\.0\.0\.1:\d+)/`)
	if status, _ := fetch(t, gateway+"/api/v1/stats"); status != http.StatusNotFound {
		t.Errorf("the API on the gateway's listener: %d", status)
	}
	eventually(t, "a request of the gateway is in a sample", func() bool { return requestsIn(t, base, token) > 0 })
	if rm := runs(t, "", "--config", config, "token", "rm", "reader"); rm.code != exitOK {
		t.Errorf("%+v", rm)
	}
	if status := fetchAs(t, base+"/api/v1/stats", token); status != http.StatusUnauthorized {
		t.Errorf("with a token that was removed: %d", status)
	}
	again := runs(t, "", "--config", config, "token", "add", "reader")
	if status := fetchAs(t, base+"/api/v1/stats", strings.TrimSpace(again.stdout)); status != http.StatusOK {
		t.Errorf("with one that was added: %d", status)
	}
	for _, address := range []string{"0.0.0.0:0", "10.0.0.1:1", ":8448", "example.org:1", "nonsense"} {
		if got := runs(t, "", "--repo", repo+"2", "serve", "--listen", "127.0.0.1:0", "--admin", address); got.code != exitUsage {
			t.Errorf("--admin %s: %+v", address, got)
		}
	}
}

// fetchAs is the status of what is at url for who shows a token.
func fetchAs(t *testing.T, url, token string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	return response.StatusCode
}

// requestsIn is how many requests of the gateway the samples of a process have.
func requestsIn(t *testing.T, base, token string) (n int64) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/api/v1/history", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Close = true
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var history wire.History
	if err := json.NewDecoder(response.Body).Decode(&history); err != nil {
		t.Fatal(err)
	}
	for _, s := range history.Samples {
		n += s.Requests
	}
	return n
}

// TestFiguresOfHolder: what looks at figures and at the folder works beside a
// holder.
func TestFiguresOfHolder(t *testing.T) {
	_, repo := serverOf(t, "--admin", "none")
	if add := runs(t, "", "--repo", repo, "add", carFile(t, "a.car", "a", "b")); add.code != exitOK {
		t.Fatalf("%+v", add)
	}
	stats := runs(t, "", "--repo", repo, "stats", "--json")
	if stats.code != exitOK || !strings.Contains(stats.stdout, `"total":1`) || !strings.Contains(stats.stdout, `"blocks":2`) {
		t.Errorf("%+v", stats)
	}
	if doctor := runs(t, "", "--repo", repo, "doctor"); strings.Contains(doctor.stdout+doctor.stderr, "cannot be looked at") {
		t.Errorf("%+v", doctor)
	}
}

// TestManyAtOnce: whoever comes first holds the store, and all get their work
// done, as others come and go.
func TestManyAtOnce(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "store")
	const n = 24
	var all []*session
	for i := range n {
		name := "car" + strconv.Itoa(i)
		all = append(all, start(t, nil, "--repo", repo, "add", carFile(t, name+".car", name)))
	}
	for i, s := range all {
		if code := s.ends(t); code != exitOK {
			t.Errorf("number %d ends with %d: %s", i, code, s.stderr.String())
		}
	}
	if ls := runs(t, "", "--repo", repo, "ls"); strings.Count(ls.stdout, "ready") != n {
		t.Errorf("%+v", ls)
	}
}
