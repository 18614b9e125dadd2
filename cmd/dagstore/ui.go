package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore/internal/admin"
)

func (a *app) uiCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ui",
		Short: "Print a link to the page of the process that serves the store",
		Long: `Print a link to the page of the process that serves the store. It is good once,
for five minutes, and lets a browser in for twelve hours. Whoever has it may do
everything with the store.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			return a.withHolder(ctx, func(store farStore) error {
				link, err := store.Link(ctx)
				if err != nil {
					return err
				}
				if a.jsonOut {
					return printJSON(a.stdout, link)
				}
				_, err = fmt.Fprintln(a.stdout, link.URL)
				return err
			})
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Say which programs may use the admin API",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.tokenAddCommand(), a.tokenListCommand(), a.tokenRmCommand())
	return cmd
}

func (a *app) tokenAddCommand() *cobra.Command {
	var scopes string
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a token and print it, once",
		Long: `Make a token and print it. It stands nowhere else: what is kept is a hash. A
process that serves knows it at once.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			parsed, err := admin.ParseScopes(scopes)
			if err != nil {
				return exitError(exitUsage, err)
			}
			path, err := a.tokenFile()
			if err != nil {
				return err
			}
			secret, err := admin.AddToken(path, args[0], parsed)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.stdout, secret)
			return err
		},
	}
	cmd.Flags().StringVar(&scopes, "scope", string(admin.Read), "read, write or sources:private, or some of them with commas between")
	return cmd
}

// A tokenObject is what "token list --json" prints.
type tokenObject struct {
	Name   string   `json:"name"`
	Scopes []string `json:"scopes"`
}

func (a *app) tokenListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the tokens, without their secrets",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			path, err := a.tokenFile()
			if err != nil {
				return err
			}
			tokens, err := admin.LoadTokens(path)
			if err != nil {
				return err
			}
			for _, token := range tokens.All() {
				o := tokenObject{Name: token.Name}
				for _, scope := range token.Scopes {
					o.Scopes = append(o.Scopes, string(scope))
				}
				if a.jsonOut {
					err = printJSON(a.stdout, o)
				} else {
					_, err = fmt.Fprintf(a.stdout, "%s  %s\n", o.Name, strings.Join(o.Scopes, ","))
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

func (a *app) tokenRmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a token",
		Long: `Remove a token. A process that serves lets nobody in by it from then on, nor the
browsers that it has let in.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := a.tokenFile()
			if err != nil {
				return err
			}
			return admin.RemoveToken(path, args[0])
		},
	}
}
