package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newMan(a *app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "man [COMMAND]…", Short: "Print the manual page of a command, or write them all",
		Long: "Print the manual page of imapsync, or of the command that is named, in the language of\n" +
			"man(1): `imapsync man run | man -l -`. --dir writes the pages of all commands." + exitCodesPointer,
		Example: "  imapsync man provider add | man -l -\n  imapsync man --dir /usr/local/share/man/man1",
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			root.InitDefaultCompletionCmd()
			if dir == "" {
				named, rest, err := root.Find(args)
				if err != nil || len(rest) > 0 {
					return usageError("no command `imapsync %s`: see `imapsync --help`", strings.Join(args, " "))
				}
				a.printf("%s", manPage(named))
				return nil
			}
			if len(args) > 0 {
				return usageError("--dir writes the pages of all commands: name none")
			}
			return writeManPages(root, dir)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "write the pages of all commands to this directory, which is made")
	return cmd
}

// writeManPages writes the page of a command and of all below it.
func writeManPages(cmd *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // manual pages are for everybody
		return configError("--dir: %w", err)
	}
	path := filepath.Join(dir, manName(cmd)+".1")
	if err := os.WriteFile(path, []byte(manPage(cmd)), 0o644); err != nil { //nolint:gosec // the same
		return configError("--dir: %w", err)
	}
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() {
			continue
		}
		if err := writeManPages(sub, dir); err != nil {
			return err
		}
	}
	return nil
}

// manName is the page's name: imapsync-provider-add.
func manName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

// manPage renders the page of one command with the macros of man(7). It has no
// date, so that it is the same whenever it is built.
func manPage(cmd *cobra.Command) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(`.TH "%s" "1" "" "imapsync %s" "imapsync"`, roff(strings.ToUpper(manName(cmd))), roff(version()))
	line(".SH NAME\n%s \\- %s", roff(manName(cmd)), roff(cmd.Short))
	line(".SH SYNOPSIS\n\\fB%s\\fR", roff(cmd.CommandPath()))
	if rest := strings.TrimPrefix(cmd.UseLine(), cmd.CommandPath()); rest != "" {
		line("%s", roff(strings.TrimSpace(rest)))
	}
	if cmd.HasAvailableSubCommands() {
		line("\\fICOMMAND\\fR")
	}
	line(".SH DESCRIPTION")
	b.WriteString(roffText(cmp.Or(cmd.Long, cmd.Short)))
	if cmd.HasAvailableSubCommands() {
		line(".SH COMMANDS")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				line(".TP\n\\fB%s\\fR(1)\n%s", roff(manName(sub)), roff(sub.Short))
			}
		}
	}
	manFlags(&b, "OPTIONS", cmd.LocalFlags())
	manFlags(&b, "GLOBAL OPTIONS", cmd.InheritedFlags())
	if cmd.Example != "" {
		line(".SH EXAMPLES\n.nf\n%s\n.fi", roff(strings.TrimRight(cmd.Example, "\n")))
	}
	if parent := cmd.Parent(); parent != nil {
		line(".SH SEE ALSO\n\\fB%s\\fR(1)", roff(manName(parent)))
	}
	return b.String()
}

// manFlags renders a section of flags, each with its environment variable.
func manFlags(b *strings.Builder, title string, fs *pflag.FlagSet) {
	if !fs.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", title)
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		b.WriteString(".TP\n")
		if f.Shorthand != "" {
			fmt.Fprintf(b, "\\fB%s\\fR, ", roff("-"+f.Shorthand))
		}
		fmt.Fprintf(b, "\\fB%s\\fR", roff("--"+f.Name))
		if value != "" {
			fmt.Fprintf(b, " \\fI%s\\fR", roff(value))
		}
		fmt.Fprintf(b, "\n%s\n", roff(usage))
		if !slices.Contains([]string{"", "0", "0s", "false", "[]"}, f.DefValue) {
			fmt.Fprintf(b, "Default: %s.\n", roff(f.DefValue))
		}
		if name := environmentName(f.Name); f.Name != "help" && !strings.Contains(usage, name) {
			fmt.Fprintf(b, "Environment: %s.\n", roff(name))
		}
	})
}

// roffText fills paragraphs, and keeps lines that are indented as they are.
func roffText(text string) string {
	var b strings.Builder
	kept := false
	for line := range strings.Lines(strings.TrimSpace(text) + "\n") {
		line = strings.TrimRight(line, "\n")
		if indented := strings.HasPrefix(line, " "); indented != kept && line != "" {
			if kept = indented; kept {
				b.WriteString(".nf\n")
			} else {
				b.WriteString(".fi\n")
			}
		}
		if line == "" {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(roff(line) + "\n")
	}
	if kept {
		b.WriteString(".fi\n")
	}
	return b.String()
}

// roff escapes text: a backslash, a dash that is to stay one, and what would be
// a macro at the start of a line.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
