package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
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

	newcomer, err := newcomer(p)
	if err != nil {
		return err
	}
	out.step("The environment, for another terminal")
	lines := append(exports(p), newcomer...)
	for _, line := range lines {
		out.line("   %s", line)
	}
	file := filepath.Join(p.dir, "env")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return err
	}
	out.line("   or, the same: %s", out.bold(". "+file))
	out.line("   The key and the tables are made: the README's `imapsync provider add` works as it stands there.")
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

// newcomer makes the mailbox that the README's first commands read, and returns
// what they want exported.
func newcomer(p *place) ([]string, error) {
	const user = "you@example.org"
	password := rand.Text()
	if err := p.dovecot.AddUser(user, password); err != nil {
		return nil, err
	}
	mail := "From: Ann <ann@example.com>\r\nTo: " + user + "\r\nSubject: It works\r\nMessage-ID: <first@example.com>\r\n" +
		"Date: Mon, 02 Mar 2026 10:00:00 +0000\r\n\r\nYour first event.\r\n"
	if err := p.dovecot.Deliver(user, "INBOX", []byte(mail)); err != nil {
		return nil, err
	}
	file := filepath.Join(p.dir, "mail-password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		return nil, err
	}
	var lines []string
	for _, v := range [][2]string{
		{"MAIL_HOST", p.dovecot.Host}, {"MAIL_USER", user}, {"MAIL_PASSWORD_FILE", file},
		// What a server on the Internet does not need.
		{"IMAPSYNC_PORT", strconv.Itoa(p.dovecot.TLSPort)}, {"IMAPSYNC_CA_FILE", filepath.Join(p.dir, "ca.pem")},
	} {
		lines = append(lines, fmt.Sprintf("export %s='%s'", v[0], v[1]))
	}
	return lines, nil
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
