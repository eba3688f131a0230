package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// dev leaves the demo's servers running until ctx ends, with its mail in them
// and both mailboxes set up, but not yet read.
func dev(ctx context.Context, out *printer) (err error) {
	out.step("Servers of your own, on this machine alone")
	p, err := open(ctx, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if err := newPost(p.dovecot).deliver(sixty()...); err != nil {
		return err
	}
	out.step("Both mailboxes, sixty mails in them")
	if err := p.setUp(ctx, out); err != nil {
		return interrupted(ctx, err)
	}

	out.step("The environment, for another terminal")
	lines := exports(p)
	for _, line := range lines {
		out.line("   %s", line)
	}
	file := filepath.Join(p.dir, "env")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	out.line("   or, the same: %s", out.bold(". "+file))
	out.line("\n   IMAP at %s: TLS %d, STARTTLS %d, plaintext %d; CA %s", p.dovecot.Host, p.dovecot.TLSPort, p.dovecot.StartTLSPort, p.dovecot.PlainPort, filepath.Join(p.dir, "ca.pem"))
	for _, user := range []string{support, sales} {
		out.line("   user %s  password %s", cell(user, 8), p.passwords[user])
	}

	out.step("To try")
	for _, command := range tries {
		out.line("   %s", command)
	}
	out.line("\n%s", out.dim("Ctrl-C ends the servers and removes everything."))
	<-ctx.Done() // which here is the ordinary end
	return nil
}

// tries are the commands that dev proposes.
var tries = []string{
	"imapsync run",
	"imapsync events tail --all --idle 1s",
	"imapsync status",
}

// exports are the lines that make the commands above work.
func exports(p *place) []string {
	lines := []string{fmt.Sprintf("export PATH='%s':$PATH", filepath.Dir(p.binary))}
	for _, v := range p.environment() {
		lines = append(lines, fmt.Sprintf("export %s='%s'", v[0], v[1]))
	}
	return lines
}
