package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"
)

func main() {
	var d demo
	flag.StringVar(&d.dagstore, "dagstore", "bin/dagstore", "the dagstore command")
	flag.StringVar(&d.project, "project", ".", "the project's folder")
	flag.StringVar(&d.cars, "cars", "../shared/cars", "a folder with more CARs; it need not exist")
	flag.StringVar(&d.listen, "listen", "127.0.0.1:8447", "where to serve; another port is taken if this one is used")
	flag.StringVar(&d.admin, "admin", "127.0.0.1:8448", "where the page is; another port is taken if this one is used")
	flag.BoolVar(&d.once, "once", false, "run the commands that are printed, check them, and end")
	flag.Parse()
	d.out = os.Stdout
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	if err := d.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// A demo is one run.
type demo struct {
	dagstore, project, cars, listen, admin string
	once                                   bool
	out                                    io.Writer
	speaking                               sync.Mutex // the server speaks too

	folder string // temporary; all that the demo makes is in it
	docs   packed
	code   packed
	others string // root of a CAR that was not made here; "" if there is none
	url    string // of the gateway, without a slash at its end
	page   string // link to the page, which is good once
}

// say prints to the person.
func (d *demo) say(format string, args ...any) {
	d.speaking.Lock()
	defer d.speaking.Unlock()
	fmt.Fprintf(d.out, format+"\n", args...)
}
