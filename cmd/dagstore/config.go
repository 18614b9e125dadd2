package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/dagstore/dagstore/cmd/dagstore/internal/settings"
)

// A configObject is what "config show --json" prints for each key.
type configObject struct {
	Key   string `json:"key"`
	Value string `json:"value"`           // as it would stand in the file; "" if there is none
	From  string `json:"from"`            // flag, environment, file or default
	Where string `json:"where,omitempty"` // the flag, the variable or the file
}

func (a *app) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show and check the configuration",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.configShowCommand(), a.configCheckCommand())
	return cmd
}

func (a *app) configShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show every key, its value, and where it comes from",
		Long: `Show every key of the configuration, its value, and where that comes from: a flag
goes before the environment, that before the file, that before the default.
Secrets are never shown: only where each lies.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			all, err := a.configured()
			if err != nil {
				return err
			}
			if a.jsonOut {
				for _, o := range all {
					if err := printJSON(a.stdout, o); err != nil {
						return err
					}
				}
				return nil
			}
			t := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			for _, o := range all {
				fmt.Fprintf(t, "%s\t%s\t%s\n", o.Key, cmp.Or(harmless(o.Value), "-"), strings.TrimSpace(o.From+" "+harmless(o.Where)))
			}
			return t.Flush()
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// defaults are what holds for keys that nobody has set.
var defaults = map[string]string{
	"serve.listen":     `"` + defaultListen + `"`,
	"serve.metrics":    `"` + defaultMetrics + `"`,
	"serve.requests":   "1024",
	"serve.drain":      `"0s"`,
	"serve.grace":      `"` + patience.String() + `"`,
	"admin.listen":     `"` + defaultAdmin + `"`,
	"admin.socket":     "in the run folder",
	"admin.tokens":     "beside the configuration",
	"copies.quota":     "a tenth of the disk, 100 GiB at most",
	"log.level":        "by the command: WARN of serve, else ERROR",
	"log.format":       `"text"`,
	"sources.per_host": strconv.Itoa(defaultPerHost),
	"sources.proxy":    "false",
	"sources.files":    "anywhere",

	"gateway.trustless":          "false",
	"gateway.dnslink":            "false",
	"gateway.dns_server":         "those of the system",
	"gateway.deserialized_hosts": "those of this machine",
	"sources.known_hosts":        "~/.ssh/known_hosts",
}

// mask is shown in place of a secret.
const mask = "***"

// configured is every key with its value and where that comes from.
func (a *app) configured() ([]configObject, error) {
	file := a.configPath
	set := map[string]bool{}
	if file != "" {
		var err error
		if set, err = settings.KeysIn(file); err != nil {
			return nil, exitError(exitUsage, err)
		}
	}
	var all []configObject
	for _, v := range a.settings.Values() {
		o := configObject{Key: v.Key, Value: v.Text, From: "default"}
		switch {
		case v.Key == "repo":
			at, err := locateStore(a.repo, a.settings.Repo, runtime.GOOS, a.getenv)
			if err != nil {
				return nil, err
			}
			o.Value = fmt.Sprintf("%q", at.dir)
			o.From, o.Where = fromOf(at.why, file)
		case v.Key == "copies.quota" && a.quota != nil:
			o.Value, o.From, o.Where = fmt.Sprintf("%q", showBytes(int64(*a.quota))), "flag", "--quota"
		case a.fromEnv[v.Key]:
			o.From, o.Where, o.Value = "environment", settings.EnvName(v.Key), shownValue(v)
		case set[v.Key]:
			o.From, o.Where, o.Value = "file", file, shownValue(v)
		default:
			o.Value = defaults[v.Key]
		}
		if !inTable(v.Key) || set[v.Key] {
			all = append(all, o)
		}
		if strings.HasPrefix(v.Key, "credentials.") && set[v.Key] && isPlaceOfSecret(v.Key) {
			all = append(all, configObject{Key: v.Key[:strings.LastIndexByte(v.Key, '.')] + " (secret)", Value: mask, From: "file", Where: file})
		}
	}
	return all, nil
}

// shownValue is a value that somebody has set, without the secrets that may stand in a
// URL.
func shownValue(v settings.Value) string {
	if url, err := strconv.Unquote(v.Text); err == nil {
		return strconv.Quote(withoutSecrets(url))
	}
	return cmp.Or(v.Text, v.Zero)
}

// fromOf is where the store's folder comes from, as a place says it.
func fromOf(why, file string) (from, where string) {
	switch {
	case strings.HasPrefix(why, "--"):
		return "flag", why
	case why == "default":
		return why, ""
	case strings.Contains(why, " "): // "the configuration"
		return "file", file
	}
	return "environment", why
}

// inTable reports whether a key is of a table with a name, which has many that
// nobody sets.
func inTable(key string) bool {
	return strings.HasPrefix(key, "credentials.") || strings.HasPrefix(key, "s3.") || strings.HasPrefix(key, "watch.")
}

// isPlaceOfSecret reports whether a key of a credential says where its secret is.
func isPlaceOfSecret(key string) bool {
	for _, name := range []string{".file", ".env", ".systemd"} {
		if strings.HasSuffix(key, name) {
			return true
		}
	}
	return false
}

// A checkObject is what "config check --json" prints.
type checkObject struct {
	Config   string   `json:"config"` // the file; "" if there is none
	Well     bool     `json:"well"`
	Problems []string `json:"problems,omitempty"`
}

func (a *app) configCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration, and whether what it names is there",
		Long: `Check the configuration: its keys and values, as every command does, and also
whether what it names is there: secrets (a file of which others can read is
refused), certificates, keys, folders. No secret is shown. What is wrong is exit
code 2, with everything that is.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			of := cmp.Or(a.configPath, "the environment")
			if nothing := a.configPath == "" && len(a.fromEnv) == 0; nothing && a.jsonOut {
				return printJSON(a.stdout, checkObject{Well: true})
			} else if nothing {
				_, err := fmt.Fprintln(a.stdout, "there is no configuration: every key has its default")
				return err
			}
			errs := a.checkNamed()
			errs = append(errs, a.checkListens(cmd.Context())...)
			errs = slices.DeleteFunc(errs, func(err error) bool { return err == nil })
			if a.jsonOut {
				o := checkObject{Config: a.configPath, Well: len(errs) == 0}
				for _, err := range errs {
					o.Problems = append(o.Problems, err.Error())
				}
				if err := printJSON(a.stdout, o); err != nil {
					return err
				}
			}
			if err := errors.Join(errs...); err != nil {
				return exitError(exitUsage, fmt.Errorf("configuration %s:\n%w", of, err))
			}
			if a.jsonOut {
				return nil
			}
			_, err := fmt.Fprintf(a.stdout, "%s is well\n", showText(of))
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// checkNamed looks whether what the configuration names is there.
func (a *app) checkNamed() (errs []error) {
	there := func(key, path string) {
		if path != "" {
			_, err := os.Stat(path)
			errs = append(errs, within(key, err))
		}
	}
	for _, dir := range a.settings.Sources.Files {
		there("sources.files", dir)
	}
	for _, file := range a.settings.Sources.KnownHosts {
		there("sources.known_hosts", file)
	}
	_, err := trust(a.settings.Sources.CA)
	errs = append(errs, within("sources.ca", err))
	errs = append(errs, a.checkServing()...)
	for _, name := range slices.Sorted(maps.Keys(a.settings.Credentials)) {
		c := a.settings.Credentials[name]
		_, err := c.Secret(a.getenv)
		errs = append(errs, within("credentials."+name, err))
		if c.Key != "" {
			there("credentials."+name+".key", c.Key)
			errs = append(errs, within("credentials."+name+".key", readableByOthers(c.Key)))
		}
	}
	_, err = a.places(nil)
	errs = append(errs, err)
	for _, name := range slices.Sorted(maps.Keys(a.settings.S3)) {
		_, err := trust(a.settings.S3[name].CA)
		errs = append(errs, within("s3."+name+".ca", err))
	}
	return errs
}

// checkListens looks whether what "serve" is to listen on can be listened on, as that
// does.
func (a *app) checkListens(ctx context.Context) (errs []error) {
	if listen := a.settings.Serve.Listen; listen != "" {
		errs = append(errs, checkListen(ctx, "serve.listen", listen))
	}
	if listen := a.settings.Serve.Metrics; listen != nil && *listen != "" && *listen != "none" {
		errs = append(errs, checkListen(ctx, "serve.metrics", *listen))
	}
	_, err := a.adminAt(ctx, defaultAdmin, false)
	return append(errs, within("admin.listen", err))
}

// readableByOthers returns an error for a private key that others can read, as ssh
// would not take it.
func readableByOthers(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // said already
	}
	if err == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("%s can be read by others (mode %v): chmod 600 it", path, info.Mode().Perm())
	}
	return err
}

// within says which key an error is about.
func within(key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", key, err)
}
