package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// peer is a program that reads a mailbox to files or to nothing.
type peer struct {
	name, program string
	config        string // its text; %[1]d port, %[2]s user, %[3]s password, %[4]s the CA's file, %[5]s a directory
	args          func(config, dir string) []string
	codes         []int // exit codes that mean it is done
}

var allPeers = []peer{ //nolint:gochecknoglobals // a table
	{
		name: "fetchmail", program: "fetchmail",
		config: "poll localhost protocol IMAP port %[1]d user \"%[2]s\" password \"%[3]s\" ssl sslcertck sslcertfile \"%[4]s\" keep fetchall mda \"/bin/cat >/dev/null\"\n",
		args: func(config, dir string) []string {
			return []string{"-f", config, "--silent", "--nosyslog", "--pidfile", filepath.Join(dir, "pid"), "-i", filepath.Join(dir, "ids")}
		},
	},
	{
		name: "fdm", program: "fdm",
		config: "set lock-file \"%[5]s/lock\"\nset maximum-size 64M\naccount \"a\" imaps server \"localhost\" port %[1]d user \"%[2]s\" pass \"%[3]s\" no-verify\n" +
			"action \"m\" maildir \"%[5]s/mail\"\nmatch all action \"m\"\n",
		args: func(config, _ string) []string { return []string{"-q", "-k", "-u", "root", "-f", config, "fetch"} },
	},
	{
		name: "getmail6", program: "getmail",
		config: "[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = localhost\nport = %[1]d\nusername = %[2]s\npassword = %[3]s\nca_certs = %[4]s\n" +
			"[destination]\ntype = Maildir\npath = %[5]s/mail/\n[options]\nread_all = true\ndelete = false\nverbose = 0\n",
		args: func(config, dir string) []string { return []string{"--rcfile", config, "--getmaildir", dir} },
	},
}

// peers are the programs that are installed, each reading the whole mailbox. One
// that takes minutes is measured once.
func (s *servers) peers(user string, want int) ([]contender, error) {
	var contenders []contender
	for _, p := range allPeers {
		if _, err := exec.LookPath(p.program); err != nil {
			fmt.Fprintf(os.Stderr, "%s is not installed (apt-get install %s): left out\n", p.program, p.name)
			continue
		}
		contenders = append(contenders, contender{name: p.name, rounds: 1, run: func(ctx context.Context) (sample, error) {
			dir, err := s.scratch()
			if err != nil {
				return sample{}, err
			}
			defer os.RemoveAll(dir)
			for _, sub := range []string{"new", "cur", "tmp"} {
				if err := os.MkdirAll(filepath.Join(dir, "mail", sub), 0o700); err != nil {
					return sample{}, err
				}
			}
			config := filepath.Join(dir, "rc")
			text := fmt.Sprintf(p.config+"%.0[1]d%.0[2]s%.0[3]s%.0[4]s%.0[5]s", s.dovecot.TLSPort, user, password, s.dovecot.CAFile, dir)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				return sample{}, err
			}
			got, _, err := process(ctx, []string{"HOME=" + dir}, p.codes, p.program, p.args(config, dir)...)
			if err != nil || p.program == "fetchmail" {
				return got, err
			}
			files, _ := filepath.Glob(filepath.Join(dir, "mail", "new", "*")) // the pattern is valid
			if len(files) != want {
				err = fmt.Errorf("read %d mails, want %d", len(files), want)
			}
			return got, err
		}})
	}
	return contenders, nil
}
