package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// A versionObject is what "version --json" prints.
type versionObject struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"` // with "+" if the tree had changes
	Go      string `json:"go"`
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := versionOf(readBuild())
			if a.jsonOut {
				return printJSON(a.stdout, v)
			}
			commit := ""
			if v.Commit != "" {
				commit = " " + v.Commit
			}
			_, err := fmt.Fprintf(a.stdout, "dagstore %s%s %s %s/%s\n", v.Version, commit, v.Go, v.OS, v.Arch)
			return err
		},
	}
	a.jsonFlag(cmd)
	return cmd
}

// readBuild returns what the Go command wrote into the program, or nil.
func readBuild() *debug.BuildInfo {
	build, _ := debug.ReadBuildInfo()
	return build
}

// versionOf reads what the Go command wrote into the program; build may be nil.
func versionOf(build *debug.BuildInfo) versionObject {
	v := versionObject{Version: "(unknown)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if build == nil {
		return v
	}
	if build.Main.Version != "" {
		v.Version = build.Main.Version
	}
	changed := ""
	for _, s := range build.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Commit = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			if s.Value == "true" {
				changed = "+"
			}
		}
	}
	if v.Commit != "" {
		v.Commit += changed
	}
	return v
}
