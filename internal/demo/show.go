package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// An example is a command that is printed, and what it must give.
type example struct {
	title   string
	browse  bool   // the URL is for a browser as well
	url     string // to be fetched; or
	command string // for the shell
	pipe    string // what follows the command that fetches url: "| head"
	check   func(output []byte) error
}

// A fetcher is how URLs are fetched on this machine.
type fetcher struct{ name, print string }

// fetchers are tried in turn.
var fetchers = []fetcher{
	{"curl", "curl -s"},
	{"wget", "wget -qO-"},
}

// findFetcher finds the program for URLs; a zero fetcher if there is none.
func findFetcher() fetcher {
	for _, f := range fetchers {
		if _, err := exec.LookPath(f.name); err == nil {
			return f
		}
	}
	return fetcher{}
}

// examples are what the gateway gives, and commands, which use the store through
// the server.
func (d *demo) examples() (served, local []example, err error) {
	readme, err := os.ReadFile(filepath.Join(d.project, "README.md"))
	if err != nil {
		return nil, nil, err
	}
	docs, code := d.url+"/ipfs/"+d.docs.root.String(), d.url+"/ipfs/"+d.code.root.String()
	served = []example{
		{title: "A file out of a DAG", url: docs + "/README.md", pipe: " | head -n 5", check: begins(readme)},
		{title: "A listing of a folder", browse: true, url: docs + "/docs/", pipe: " | grep -o 'cli.md' | head -n 1", check: holds("cli.md")},
		{title: "The project's sources", browse: true, url: code + "/", pipe: " | grep -o 'go.mod' | head -n 1", check: holds("go.mod")},
		{title: "A raw block: the root of that folder", url: docs + "?format=raw", pipe: " | wc -c", check: notEmpty},
		{title: "A CAR of everything below a folder", url: docs + "/docs?format=car", pipe: " | wc -c", check: notEmpty},
	}
	if d.others != "" {
		tree := d.url + "/ipfs/" + d.others
		served = append(served,
			example{title: "A CAR made by others", browse: true, url: tree + "/", pipe: " | grep -o 'title=\"[^\"]*\"' | head -n 1", check: notEmpty},
			example{title: "A file in it", url: tree + "/a/1/A.txt", check: notEmpty},
		)
	}
	dagstore := quote(d.dagstore) + " --repo " + quote(d.store())
	root := d.docs.root.String()
	got := filepath.Join(d.folder, "got")
	local = []example{
		{title: "How the server is", command: dagstore + " stats | head -n 3", check: holds("shards")},
		{title: "All that is known of a CAR", command: dagstore + " stat docs", check: holds("docs")},
		{title: "What is in the store", command: dagstore + " ls --json", check: holds(`"status":"ready"`)},
		{title: "Where a block lies", command: dagstore + " find " + root, check: holds("docs")},
		{title: "A file", command: dagstore + " cat " + root + "/README.md | head -n 5", check: begins(readme)},
		{title: "A raw block", command: dagstore + " block get " + root + " | wc -c", check: notEmpty},
		{title: "A CAR of a DAG", command: dagstore + " dag export " + root + " | wc -c", check: notEmpty},
		{title: "A folder, written out", command: dagstore + " get " + root + "/docs -o " + quote(got) + " && ls " + quote(got), check: holds("cli.md")},
		{title: "Forget it again; the CAR stays", command: dagstore + " rm --dry-run docs", check: holds("would remove")},
	}
	page, _, _ := strings.Cut(d.page, "#")
	served = append(served, example{title: "The page", browse: true, url: page, pipe: " | grep -o '<title>[^<]*' | head -n 1", check: holds("dagstore")})
	return served, local, nil
}

// show prints the examples and then waits for ctx, or runs them itself.
func (d *demo) show(ctx context.Context) error {
	served, local, err := d.examples()
	if err != nil {
		return err
	}
	fetch := findFetcher()
	d.say("\nThe page:    %s", d.page)
	d.say("             (this link is good once; \"%s --repo %s ui\" prints another)", quote(d.dagstore), quote(d.store()))
	d.say("The gateway: %s/", d.url)
	d.say("\nThree things to try:")
	d.say("  1. On the page, go to Explore, paste %s, and walk down to a file.", d.docs.root)
	d.say("  2. On the page, go to Add, name a folder with CARs, and watch them come.")
	d.say("  3. In a browser, open %s/ipfs/%s/docs/.", d.url, d.docs.root)
	d.say("\nOr paste any of these into another terminal.")
	if fetch.name == "" {
		d.say("(Neither curl nor wget is installed here: open the URLs in a browser.)")
	}
	for i := range served {
		if fetch.name != "" {
			served[i].command = fetch.print + " " + quote(served[i].url) + served[i].pipe
		}
		d.print(served[i])
	}
	d.say("\nCommands use the store through the server:")
	for _, e := range local {
		d.print(e)
	}
	if !d.once {
		d.say("\nCtrl-C stops the server and removes %s.", d.folder)
		<-ctx.Done()
		return nil
	}
	d.say("")
	return d.checkAll(ctx, append(served, local...))
}

func (d *demo) print(e example) {
	line := e.command
	if line == "" {
		line = e.url
	}
	if e.url != "" && strings.HasPrefix(d.page, e.url) {
		return // its link has been printed
	}
	d.say("\n  # %s", e.title)
	if e.browse && line != e.url {
		d.say("  # in a browser: %s", e.url)
	}
	d.say("  %s", line)
}

// checkAll runs the examples and holds what they give against what they must.
func (d *demo) checkAll(ctx context.Context, examples []example) error {
	var errs []error
	for _, e := range examples {
		output, err := output(ctx, e)
		if err == nil {
			err = e.check(output)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.title, err))
			d.say("FAILED  %s", e.title)
			continue
		}
		d.say("ok      %s", e.title)
	}
	return errors.Join(errs...)
}

// output runs the command of e, or fetches its URL where there is none.
func output(ctx context.Context, e example) ([]byte, error) {
	if e.command == "" {
		return get(ctx, e.url)
	}
	cmd := command(ctx, "sh", "-c", e.command)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, stderr.String())
	}
	return out, nil
}

func get(ctx context.Context, url string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", response.Status, body)
	}
	return body, nil
}

// begins wants the first lines of want.
func begins(want []byte) func([]byte) error {
	return func(got []byte) error {
		if len(got) == 0 || !bytes.HasPrefix(want, bytes.TrimRight(got, "\n")) {
			return fmt.Errorf("got %.80q, want the beginning of %.80q", got, want)
		}
		return nil
	}
}

func holds(want string) func([]byte) error {
	return func(got []byte) error {
		if !bytes.Contains(got, []byte(want)) {
			return fmt.Errorf("got %.80q, want it to hold %q", got, want)
		}
		return nil
	}
}

// notEmpty wants a body, or a count of bytes that is not 0.
func notEmpty(got []byte) error {
	if s := strings.TrimSpace(string(got)); s == "" || s == "0" {
		return errors.New("nothing came")
	}
	return nil
}

// quote is s as one word of a POSIX shell.
func quote(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=%+,", r)
	}) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
