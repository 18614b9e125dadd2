package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/client"
	"github.com/dagstore/dagstore/internal/admin/wire"
)

// eventKinds are what --kind can be.
var eventKinds = []string{
	wire.EventTransition, wire.EventWork, wire.EventEvicted, wire.EventFault, wire.EventHost, wire.EventTrouble, wire.EventJob,
}

func (a *app) watchCommand() *cobra.Command {
	var kinds []string
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "Print what happens in the store, as it happens",
		Long: `Print what happens in the store, as it happens, one event a line, until it is
interrupted, which is its regular end: exit code 0. If events are missing, that
is one of them (gap). If the process that holds the store ends, whichever holds
it next is watched; if none does, this one holds it meanwhile.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, kind := range kinds {
				if !slices.Contains(eventKinds, kind) {
					return exitError(exitUsage, fmt.Errorf("--kind %q: it is one of %v", kind, eventKinds))
				}
			}
			return a.watch(cmd.Context(), kinds)
		},
	}
	cmd.Flags().StringSliceVar(&kinds, "kind", nil, fmt.Sprintf("only events of these kinds, of %v", eventKinds))
	a.jsonFlag(cmd)
	return cmd
}

// watch prints events until ctx ends.
func (a *app) watch(ctx context.Context, kinds []string) error {
	last := ""
	for {
		before := last
		err := a.withEither(ctx, false, &dagstore.Config{}, func(h *holder) error {
			a.notef("no other process holds the store: this one does, while it watches")
			return a.printEvents(h.hub.Follow(ctx, last), kinds, &last)
		}, func(store farStore) error {
			return a.printEvents(store.Events(ctx, last, kinds...), nil, &last)
		})
		switch {
		case ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
			return nil
		case errors.Is(err, client.ErrBroken) && last != before:
			continue // it was listened to too slowly, and what is missing is told
		case !errors.Is(err, client.ErrGone) && !errors.Is(err, io.EOF):
			return err
		}
		a.notef("the process that held the store has ended")
	}
}

// printEvents prints events, and remembers the last one.
func (a *app) printEvents(events iter.Seq2[wire.Event, error], kinds []string, last *string) error {
	for e, err := range events {
		if err != nil {
			return err
		}
		*last = e.ID
		if len(kinds) > 0 && e.Kind != wire.EventGap && !slices.Contains(kinds, e.Kind) {
			continue
		}
		if a.jsonOut {
			err = printJSON(a.stdout, e)
		} else {
			_, err = fmt.Fprintf(a.stdout, "%s  %s\n", showTime(e.At), showEvent(&e))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
