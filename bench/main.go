package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

func main() {
	if dir := os.Getenv(victimEnv); dir != "" {
		if err := victim(dir, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1) // a victim is killed: it does not come to an end
	}
	if order := os.Getenv(gatewayEnv); order != "" {
		fmt.Fprintln(os.Stderr, serveGateway(order))
		os.Exit(1) // it is killed: it does not come to an end
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

var errUsage = errors.New("bench: usage")

// options is what the flags say.
type options struct {
	full           bool
	giga           int           // entries of inverted-1g
	gigaTime       time.Duration // for adding them
	ids, dir, out  string
	cpuOut, memOut string // files for profiles
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var o options
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.full, "full", false, "as the numbers are written down, instead of the short form")
	flags.IntVar(&o.giga, "giga", 1_000_000_000, "`entries` of inverted-1g, in shards of 100,000")
	flags.DurationVar(&o.gigaTime, "giga-time", 35*time.Minute, "after how long inverted-1g adds no more")
	flags.StringVar(&o.ids, "run", "", "`ids` of the rows to measure, with commas between them (default all)")
	flags.StringVar(&o.dir, "dir", "", "folder to put data below, on the disk that is to be measured (default that for temporary files)")
	flags.StringVar(&o.out, "out", "bench/out/table.tsv", "`file` for the table")
	flags.StringVar(&o.cpuOut, "cpuprofile", "", "`file` for a CPU profile of the rows")
	flags.StringVar(&o.memOut, "memprofile", "", "`file` for a profile of their allocations")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, flags.Arg(0))
	}
	chosen, err := choose(o.ids)
	if err != nil {
		return err
	}
	stop, err := profile(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	s := shortScale()
	if o.full {
		s = fullScale()
	}
	if s.giga.shards = o.giga / s.giga.each; s.giga.shards < 1 {
		return fmt.Errorf("%w: -giga %d: less than a shard of %d", errUsage, o.giga, s.giga.each)
	}
	s.gigaTime = o.gigaTime
	return measure(ctx, s, chosen, o, stdout, stderr)
}

// choose returns the rows that ids names; all if it names none.
func choose(ids string) ([]row, error) {
	if ids == "" {
		return rows(), nil
	}
	all := slices.Concat(rows(), onlyByName())
	known := make([]string, len(all))
	for i, r := range all {
		known[i] = r.id
	}
	var chosen []row
	for id := range strings.SplitSeq(ids, ",") {
		found := false
		for _, r := range all {
			if r.id == id {
				chosen, found = append(chosen, r), true
			}
		}
		if !found {
			return nil, fmt.Errorf("%w: no row %q; there are %s", errUsage, id, strings.Join(known, ", "))
		}
	}
	return chosen, nil
}

// profile starts the profiles that were asked for; what it returns ends and
// writes them.
func profile(o options) (stop func() error, err error) {
	var cpu *os.File
	if o.cpuOut != "" {
		if cpu, err = os.Create(o.cpuOut); err != nil {
			return nil, err
		}
		if err := pprof.StartCPUProfile(cpu); err != nil {
			return nil, errors.Join(err, cpu.Close())
		}
	}
	return func() error {
		var errs []error
		if cpu != nil {
			pprof.StopCPUProfile()
			errs = append(errs, cpu.Close())
		}
		if o.memOut != "" {
			errs = append(errs, writeAllocations(o.memOut))
		}
		return errors.Join(errs...)
	}, nil
}

func writeAllocations(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	runtime.GC() // a profile is of the last one
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}

// measure runs the rows one after the other. One that fails does not keep the
// rest from running.
func measure(ctx context.Context, s scale, chosen []row, o options, stdout, stderr io.Writer) (err error) {
	dir, err := os.MkdirTemp(o.dir, "dagstore-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	e := newEnv(s, dir)
	e.progress = stderr

	fmt.Fprintf(stdout, "%s form, %s/%s, %s, GOMAXPROCS %d, data in %s\n\n",
		s.name, runtime.GOOS, runtime.GOARCH, runtime.Version(), runtime.GOMAXPROCS(0), dir)
	began := time.Now()
	var errs []error
	results := make([]result, len(chosen))
	for i, r := range chosen {
		rowBegan := time.Now()
		res, err := r.run(ctx, e)
		if err != nil {
			err = fmt.Errorf("%s: %w", r.id, err)
			errs = append(errs, err)
			res = result{unit: "-", goal: "-", note: "failed: " + err.Error()}
		}
		res.id = r.id
		results[i] = res
		fmt.Fprintf(stderr, "%-15s %5.1f s\n", r.id, time.Since(rowBegan).Seconds())
		if ctx.Err() != nil {
			results = results[:i+1]
			break
		}
	}
	errs = append(errs, printTable(stdout, results), writeTable(o.out, results))
	fmt.Fprintf(stdout, "\n%.0f s in all; %s\n", time.Since(began).Seconds(), o.out)
	return errors.Join(errs...)
}
