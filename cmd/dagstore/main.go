package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/doctor"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for a clean end; the second one is not caught.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program, apart from the process: it returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, getenv: os.Getenv, fileSystem: doctor.FileSystemOf}
	return a.run(ctx, args)
}

// run carries out one command line.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if a.kinds != nil {
		a.kinds.close()
	}
	a.closeLog()
	return a.finish(ctx, err)
}
