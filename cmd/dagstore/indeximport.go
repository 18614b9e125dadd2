package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore"
	"github.com/dagstore/dagstore/internal/admin/wire"
	"github.com/dagstore/dagstore/mount/filemount"
	"github.com/dagstore/dagstore/shard"
)

// indexURLOf is the URL of an index that a path or a URL names.
func indexURLOf(name string) (string, error) {
	if wire.IsURL(name) {
		return name, nil
	}
	m, err := filemount.New(name)
	if err != nil {
		return "", err
	}
	return m.URL(), nil
}

func (a *app) indexImportCommand() *cobra.Command {
	name := "sample"
	cmd := &cobra.Command{
		Use:   "import KEY FILE",
		Short: "Give a shard the index in a file or at a URL",
		Long: `Give a shard that is in the store the index in a file or at a URL, in place of
the one that it has. The policy says how far it is believed: "check" holds every
entry against the CAR, "sample" some of them, "adopt" none until the CAR is read
in the background. The shard is served meanwhile. An index that proves wrong is
not used: the CAR is read instead, and the exit code is 1.

"dagstore add --index-file" does the same for a CAR that is not in the store.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			policy, err := wire.ParsePolicy(name)
			if err == nil && policy < dagstore.Check {
				err = fmt.Errorf("--policy %s uses no index: it can be check, sample or adopt", name)
			}
			if err != nil {
				return exitError(exitUsage, err)
			}
			return a.importIndex(cmd.Context(), shard.Key(args[0]), args[1], policy)
		},
	}
	cmd.Flags().StringVar(&name, "policy", name, "check, sample or adopt")
	a.jsonFlag(cmd)
	return cmd
}

// importIndex has the shard of key use the index that file names.
func (a *app) importIndex(ctx context.Context, key shard.Key, file string, policy dagstore.IndexPolicy) error {
	url, err := indexURLOf(file)
	if err != nil {
		return err
	}
	var lies lies
	err = a.withStore(ctx, false, &dagstore.Config{Events: dagstore.Events{Fault: lies.hear}}, func(store storage) error {
		info, err := store.Info(ctx, key)
		if err != nil {
			return err
		}
		m, err := a.mounts.Open(info.URL)
		if err != nil {
			return err
		}
		err = store.Replace(ctx, key, m, &dagstore.RegisterOptions{
			Index: policy, IndexURL: url, Pin: info.Local.Pinned, Serve: info.Local.Chosen, Piece: info.Piece, Labels: info.Labels,
		})
		if err != nil {
			return err
		}
		if info, err = store.Info(ctx, key); err != nil {
			return err
		}
		if a.jsonOut {
			return printJSON(a.stdout, wire.ShardOf(info))
		}
		_, err = fmt.Fprintf(a.stdout, "%-9s  %s  %s\n", wire.StatusOf(info.State), showKey(key), summary(info))
		return err
	})
	if err != nil {
		return err
	}
	if lies.tell(a) {
		return exitError(exitFailed, errors.New("the index in "+showText(file)+" is not used"))
	}
	return nil
}

// lies gathers what is told of indices that are wrong.
type lies struct {
	mu   sync.Mutex
	told []dagstore.FaultEvent // the first of them
	more int
}

// mostLies is how many are told of one by one.
const mostLies = 16

func (l *lies) hear(e dagstore.FaultEvent) {
	if e.Kind != shard.BadEntry {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.told) == mostLies {
		l.more++
		return
	}
	l.told = append(l.told, e)
}

// tell says which indices were wrong. It is for after the store was closed,
// which waits until all is heard.
func (l *lies) tell(a *app) (told bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.told {
		a.notef("%s: %v: the CAR was read instead", showKey(e.Key), &e.Fault)
	}
	if l.more > 0 {
		a.notef("%d more indices are wrong", l.more)
	}
	return len(l.told) > 0
}
