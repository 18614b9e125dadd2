package main

import (
	"bufio"

	"github.com/spf13/cobra"
)

func (a *app) completionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that completes command lines in a shell",
		Long: `Print a script that completes command lines of dagstore in a shell.

bash, with the package bash-completion:
  dagstore completion bash > ~/.local/share/bash-completion/completions/dagstore
zsh, in a folder of $fpath:
  dagstore completion zsh > ~/.zfunc/_dagstore
fish:
  dagstore completion fish > ~/.config/fish/completions/dagstore.fish
powershell, in the profile:
  dagstore completion powershell | Out-String | Invoke-Expression`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		RunE: func(cmd *cobra.Command, args []string) error {
			out := bufio.NewWriter(a.stdout)
			root := cmd.Root()
			var err error
			switch args[0] {
			case "bash":
				err = root.GenBashCompletionV2(out, true)
			case "zsh":
				err = root.GenZshCompletion(out)
			case "fish":
				err = root.GenFishCompletion(out, true)
			case "powershell":
				err = root.GenPowerShellCompletionWithDesc(out)
			}
			if err != nil {
				return err
			}
			return out.Flush()
		},
	}
}
