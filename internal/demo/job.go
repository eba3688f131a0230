package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// build builds the binary that is shipped.
func (p *place) build(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", p.binary, "imapsync/cmd/imapsync") //nolint:gosec // the path is ours
	interruptible(cmd)
	cmd.Env = append(os.Environ(), "GOTMPDIR="+p.dir) // what it cannot remove goes with the rest
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, bytes.TrimSpace(output))
	}
	return nil
}

// environment is what a person would export.
func (p *place) environment() [][2]string {
	return [][2]string{
		{"DATABASE_URL", p.databaseURL},
		{"NATS_URL", p.nats.URL()},
		{"IMAPSYNC_SECRET_KEY_FILE", filepath.Join(p.dir, "imapsync.key")},
	}
}

// command makes an exec.Cmd of the binary, as a person in p.dir would call it.
func (p *place) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.binary, args...) //nolint:gosec // the path is ours
	cmd.Dir = p.dir
	for _, v := range os.Environ() {
		// Settings of the person at the terminal are none of the demo's.
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "IMAPSYNC_") && !strings.HasSuffix(name, "DATABASE_URL") && !strings.HasPrefix(name, "NATS_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	for _, v := range p.environment() {
		cmd.Env = append(cmd.Env, v[0]+"="+v[1])
	}
	interruptible(cmd)
	return cmd
}

// interruptible has a command end in order when its context does.
func interruptible(cmd *exec.Cmd) {
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
}

// imapsync shows and runs a command, with stdin read from a file of p.dir when
// that is named, and returns what it wrote to standard output, and to standard
// error.
func (p *place) imapsync(ctx context.Context, out *printer, stdin string, args ...string) (output, notes []byte, err error) {
	cmd := p.command(ctx, args...)
	shown := "imapsync " + strings.Join(args, " ")
	if stdin != "" {
		f, err := os.Open(filepath.Join(p.dir, stdin))
		if err != nil {
			return nil, nil, err
		}
		defer f.Close()
		cmd.Stdin = f
		shown += " < " + stdin
	}
	out.line("   %s", out.bold("$ "+strings.ReplaceAll(wrap(shown, 100), "\n", " \\\n       ")))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		return nil, nil, fmt.Errorf("imapsync %s: %w\n%s%s", args[0], err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes(), stderr.Bytes(), nil
}

// wrap breaks a command before flags, to lines of at most n characters.
func wrap(command string, n int) string {
	var b strings.Builder
	used := 0
	for i, word := range strings.Split(command, " --") {
		if i > 0 {
			word = "--" + word
		}
		switch {
		case i == 0:
		case used+1+len(word) > n:
			b.WriteByte('\n')
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += len(word)
	}
	return b.String()
}

// show prints what a command wrote, but for its log.
func show(out *printer, output []byte) {
	for line := range strings.Lines(string(output)) {
		if !strings.HasPrefix(line, "{") {
			out.line("     %s", out.dim(strings.TrimRight(line, "\n")))
		}
	}
}

// setUp is what a person does once: a key, the schema, the mailboxes.
func (p *place) setUp(ctx context.Context, out *printer) error {
	add := func(mailbox string, port int, more ...string) []string {
		return append([]string{"provider", "add", "--name", mailbox, "--mailbox", mailbox + "@" + domain, "--host", p.dovecot.Host,
			"--port", strconv.Itoa(port), "--ca-file", "ca.pem", "--username", mailbox, "--start", "all"}, more...)
	}
	for _, step := range []struct {
		stdin string
		args  []string
	}{
		{"", []string{"secret", "keygen", "--out", "imapsync.key"}},
		{"", []string{"migrate"}},
		{"", add(support, p.dovecot.TLSPort, "--folder", inbox, "--folder", customers, "--password-file", support+".password")},
		{sales + ".password", add(sales, p.dovecot.StartTLSPort, "--tls", "starttls", "--folder", inbox, "--folder", orders, "--password-stdin")},
	} {
		output, notes, err := p.imapsync(ctx, out, step.stdin, step.args...)
		if err != nil {
			return err
		}
		show(out, notes)
		show(out, output)
	}
	return nil
}

// pass is one mailbox's line of `imapsync run -o json`.
type pass struct {
	ProviderID string `json:"providerId"`
	Provider   string `json:"provider"`
	Outcome    string `json:"outcome"`
	Error      string `json:"error"`
	Counts     struct {
		Published, Duplicates, Skipped, Expunged, Quarantined int
	} `json:"counts"`
	Bytes      int64 `json:"bytes"`
	DurationMS int64 `json:"durationMs"`
}

// run runs the job once and tells how it went.
func (p *place) run(ctx context.Context, out *printer) ([]pass, error) {
	output, _, err := p.imapsync(ctx, out, "", "run", "-o", "json")
	if err != nil {
		return nil, err
	}
	var passes []pass
	for line := range bytes.Lines(output) {
		var r pass
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, fmt.Errorf("imapsync run: %w in %q", err, line)
		}
		passes = append(passes, r)
		out.line("     %s", out.dim(fmt.Sprintf("%s %s: %d published, %d duplicates, %d quarantined; %s in %d ms %s", cell(r.Provider, 8), r.Outcome,
			r.Counts.Published, r.Counts.Duplicates, r.Counts.Quarantined, orDash(size(r.Bytes)), r.DurationMS, r.Error)))
	}
	return passes, nil
}
