package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/cmd/dagstore/internal/doctor"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/internal/vfs"
	"github.com/dagstore/dagstore/mount"
	"github.com/dagstore/dagstore/shard"
)

const (
	mostLooked  = 100_000          // shards whose sources are counted
	askedHere   = 100              // files on this machine that are asked for
	askedThere  = 3                // CARs of each server
	mostServers = 64               // servers that are asked
	answerTime  = 10 * time.Second // that each gets
)

func (a *app) doctorCommand() *cobra.Command {
	var public string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look at what the store stands on, and say what could go wrong",
		Long: `Look at what the store stands on, and say what could go wrong and what to do: the
kind of its file system, what fsync costs, limits of the system, free space, the
quota for copies, the clock, whether the sources of its shards can be reached,
and with --url whether a proxy before the gateway passes on the name by which it
is called.

Each line is ok, a warning or a fault. A fault is exit code 1; with warnings
alone it is 0. Nothing is changed; some files of 4 KiB are written and removed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := locateStore(a.repo, a.settings.Repo, runtime.GOOS, a.getenv)
			if err != nil {
				return err
			}
			all, err := a.examine(cmd.Context(), at, public)
			if err != nil {
				return err
			}
			return a.printFindings(all)
		},
	}
	cmd.Flags().StringVar(&public, "url", "", "address by which others reach the gateway, such as https://gateway.example")
	a.jsonFlag(cmd)
	return cmd
}

// printFindings prints all and returns an error if there is a fault.
func (a *app) printFindings(all []doctor.Finding) error {
	var err error
	if a.jsonOut {
		for _, f := range all {
			err = errors.Join(err, printJSON(a.stdout, f))
		}
	} else {
		for i := range all {
			all[i].What, all[i].Check = showText(all[i].What), showText(all[i].Check)
		}
		err = doctor.Table(a.stdout, all)
	}
	if err != nil {
		return err
	}
	warnings, faults := doctor.Count(all)
	if faults > 0 {
		return exitError(exitFailed, fmt.Errorf("%s, %s", plural(int64(faults), "fault"), plural(int64(warnings), "warning")))
	}
	if warnings > 0 {
		a.notef("%s", plural(int64(warnings), "warning"))
	}
	return nil
}

// examine looks at everything. Its error is that of ctx.
func (a *app) examine(ctx context.Context, at place, public string) ([]doctor.Finding, error) {
	all := []doctor.Finding{a.formatFinding(at)}
	if _, unfit := doctor.Beneath(at.dir); unfit != nil {
		return append(all, doctor.Finding{Check: "folder", Level: doctor.Fault, What: unfit.Error(), Do: "name another folder by --repo or DAGSTORE_PATH"}), nil //nolint:nilerr // it is what was found
	}
	kind, beneath := a.kindOf(at)
	all = append(all, doctor.FileSystem(kind))
	times, written, err := doctor.TimeSync(beneath)
	all = append(all, doctor.Sync(times, err), doctor.Files(doctor.OpenFiles()))
	inside := inside{shards: -1}
	if doctor.Local(kind) == nil {
		inside = a.lookInside(ctx, at)
	}
	all = append(all, doctor.Maps(doctor.MostMaps(), inside.shards))
	if usage, err := vfs.Default.GetDiskUsage(beneath); err == nil {
		disk := doctor.Disk{Total: signed(usage.TotalBytes), Free: signed(usage.AvailBytes), Inodes: doctor.FreeInodes(beneath)}
		all = append(all, doctor.Space(disk))
		if inside.stats != nil {
			all = append(all, doctor.Quota(inside.stats.Quota, inside.stats.CopyBytes, disk))
		} else if q := a.copies(); q.Quota > 0 {
			all = append(all, doctor.Quota(q.Quota, -1, disk))
		}
	} else {
		all = append(all, doctor.Finding{Check: "space", Level: doctor.Warning, What: err.Error(), Do: "see how much room the disk has"})
	}
	all = append(all, doctor.Clock(time.Now(), written))
	all = append(all, inside.findings...)
	if public == "" {
		public = a.settings.Gateway.PublicURL
	}
	if public != "" {
		all = append(all, doctor.Gateway(ctx, public, a.settings.Gateway.DeserializedHosts, nil))
	}
	return all, ctx.Err()
}

func signed(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// formatFinding judges what lies in the store's folder.
func (a *app) formatFinding(at place) doctor.Finding {
	f := doctor.Finding{Check: "store", Level: doctor.OK}
	n, err := dagstore.FormatOf(at.dir)
	switch {
	case errors.Is(err, dagstore.ErrNoStore):
		f.Level = doctor.Warning
		f.What, f.Do = fmt.Sprintf("there is none in %s (%s)", at.dir, at.why), `make one by "dagstore add PATH", or name another by --repo or DAGSTORE_PATH`
	case err != nil:
		f.Level, f.What, f.Do = doctor.Fault, err.Error(), "see that the folder is that of a store, and that you may read it"
	case n != dagstore.Format:
		f.Level = doctor.Fault
		f.What, f.Do = fmt.Sprintf("%s has format %d, this program reads format %d", at.dir, n, dagstore.Format), "use the version of dagstore that wrote it"
	default:
		f.What = fmt.Sprintf("%s (%s) has format %d", at.dir, at.why, n)
	}
	return f
}

// An inside is what only the store itself can tell.
type inside struct {
	shards   int64       // -1: not known
	stats    *wire.Stats // nil: not known
	findings []doctor.Finding
}

// lookInside asks the store, if there is one and it can be had.
func (a *app) lookInside(ctx context.Context, at place) inside {
	in := inside{shards: -1}
	if n, err := dagstore.FormatOf(at.dir); err != nil || n != dagstore.Format {
		return in
	}
	err := a.withStore(ctx, false, &dagstore.Config{}, func(store storage) error {
		stats, err := counted(ctx, store.Statistics)
		if err != nil {
			return err
		}
		in.stats, in.shards = &stats, stats.Total
		lying, err := a.sourcesOf(ctx, store)
		if err != nil {
			return err
		}
		in.findings = a.askSources(ctx, lying)
		return nil
	})
	if err != nil {
		in.findings = append(in.findings, doctor.Finding{
			Check: "shards", Level: doctor.Warning, What: "they cannot be looked at: " + err.Error(), Do: "see what the message says, and run this again",
		})
	}
	return in
}

// A lying is where sources lie, and some of them, drawn at random.
type lying struct {
	host string
	n    int64
	urls []string
}

// sourcesOf gathers where the sources of the shards lie.
func (a *app) sourcesOf(ctx context.Context, store storage) ([]*lying, error) {
	hosts := map[string]*lying{}
	draw := rand.New(rand.NewPCG(1, 2)) // the same shards each time
	looked := 0
	for info, err := range store.Shards(ctx, nil) {
		if _, ofOne := errors.AsType[*shard.Error](err); ofOne {
			continue // "reconcile" tells of it
		}
		if err != nil {
			return nil, err
		}
		if looked++; looked > mostLooked {
			break
		}
		host, most := hostOf(info.URL), askedThere
		if host == "file" {
			most = askedHere
		}
		l := hosts[host]
		if l == nil {
			l = &lying{host: host}
			hosts[host] = l
		}
		l.n++
		if len(l.urls) < most {
			l.urls = append(l.urls, info.URL)
		} else if i := draw.Int64N(l.n); i < int64(most) {
			l.urls[i] = info.URL
		}
	}
	all := make([]*lying, 0, len(hosts))
	for _, l := range hosts {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *lying) int { return strings.Compare(a.host, b.host) })
	return all, nil
}

// hostOf is the server that a URL is on; "file" for this machine.
func hostOf(url string) string {
	host := mount.Host(url)
	if plain := strings.TrimPrefix(host, zstdPrefix); plain == "file" || strings.HasPrefix(plain, "file:") {
		return "file"
	}
	return host
}

// askSources asks some CARs of each server how they are.
func (a *app) askSources(ctx context.Context, all []*lying) []doctor.Finding {
	left := max(0, len(all)-mostServers)
	all = all[:len(all)-left]
	found := make([]doctor.Finding, len(all))
	var asking sync.WaitGroup
	turns := make(chan struct{}, 8)
	for i, l := range all {
		asking.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			found[i] = doctor.Reached(a.askSource(ctx, l))
		})
	}
	asking.Wait()
	if left > 0 {
		found = append(found, doctor.Finding{Check: "sources", Level: doctor.OK, What: fmt.Sprintf("%d more servers were not asked", left)})
	}
	return found
}

func (a *app) askSource(ctx context.Context, l *lying) doctor.Source {
	s := doctor.Source{Host: l.host, Shards: l.n}
	for _, url := range l.urls {
		began := time.Now()
		err := func() error {
			m, err := a.mounts.Open(url)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, answerTime)
			defer cancel()
			_, err = m.Stat(ctx)
			return err
		}()
		if s.Asked++; s.Asked == 1 {
			s.Took = time.Since(began)
		}
		if err != nil {
			if s.Failed++; s.Failed == 1 {
				s.Err = err
			}
			if l.host != "file" && errors.Is(err, mount.ErrUnreachable) {
				break // so it is for all of them
			}
		}
	}
	return s
}
