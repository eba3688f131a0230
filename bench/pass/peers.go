package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// peer is a program that reads a mailbox to files or to nothing.
type peer struct {
	name, program string
	config        string // its text, with PORT, USER, PASSWORD, CAFILE and a directory DIR
	args          func(config, dir string) []string
	codes         []int // exit codes that mean it is done
}

var allPeers = []peer{
	{
		name: "fetchmail", program: "fetchmail",
		config: "poll localhost protocol IMAP port PORT user \"USER\" password \"PASSWORD\" ssl sslcertck sslcertfile \"CAFILE\" keep fetchall mda \"/bin/cat >/dev/null\"\n",
		args: func(config, dir string) []string {
			return []string{"-f", config, "--silent", "--nosyslog", "--pidfile", filepath.Join(dir, "pid"), "-i", filepath.Join(dir, "ids")}
		},
	},
	{
		name: "fdm", program: "fdm",
		config: "set lock-file \"DIR/lock\"\nset maximum-size 64M\naccount \"a\" imaps server \"localhost\" port PORT user \"USER\" pass \"PASSWORD\" no-verify\n" +
			"action \"m\" maildir \"DIR/mail\"\nmatch all action \"m\"\n",
		args: func(config, _ string) []string { return []string{"-q", "-k", "-u", "root", "-f", config, "fetch"} },
	},
	{
		name: "getmail6", program: "getmail",
		config: "[retriever]\ntype = SimpleIMAPSSLRetriever\nserver = localhost\nport = PORT\nusername = USER\npassword = PASSWORD\nca_certs = CAFILE\n" +
			"[destination]\ntype = MDA_external\npath = /bin/sh\narguments = (\"-c\", \"cat >/dev/null\")\nallow_root_commands = true\n[options]\nread_all = true\ndelete = false\nverbose = 0\n",
		args: func(config, dir string) []string { return []string{"--rcfile", config, "--getmaildir", dir} },
	},
}

// peerPatience is how long a peer may take; one that takes longer is left out.
const peerPatience = 5 * time.Minute

// peers are the programs that are installed, each reading the whole mailbox. One
// that takes minutes is measured once.
func (s *servers) peers(user string, want int) []contender {
	var contenders []contender
	node, err := s.nodePipeline(user, want)
	if err != nil {
		fmt.Fprintln(os.Stderr, "Node is left out:", err)
	}
	if node != nil {
		contenders = append(contenders, *node)
	}
	for _, p := range allPeers {
		if _, err := exec.LookPath(p.program); err != nil {
			fmt.Fprintf(os.Stderr, "%s is not installed (apt-get install %s): left out\n", p.program, p.name)
			continue
		}
		contenders = append(contenders, contender{name: p.name, rounds: 1, optional: true, run: func(ctx context.Context) (sample, error) {
			ctx, cancel := context.WithTimeout(ctx, peerPatience)
			defer cancel()
			dir, err := s.scratch()
			if err != nil {
				return sample{}, err
			}
			defer func() { _ = os.RemoveAll(dir) }()
			for _, sub := range []string{"new", "cur", "tmp"} {
				if err := os.MkdirAll(filepath.Join(dir, "mail", sub), 0o700); err != nil {
					return sample{}, err
				}
			}
			config := filepath.Join(dir, "rc")
			text := strings.NewReplacer("PORT", strconv.Itoa(s.dovecot.TLSPort), "USER", user, "PASSWORD", password,
				"CAFILE", s.dovecot.CAFile, "DIR", dir).Replace(p.config)
			if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
				return sample{}, err
			}
			got, _, err := process(ctx, []string{"HOME=" + dir}, p.codes, p.program, p.args(config, dir)...)
			if err != nil || p.program != "fdm" {
				return got, err
			}
			files, _ := filepath.Glob(filepath.Join(dir, "mail", "new", "*")) // the pattern is valid
			if len(files) != want {
				err = fmt.Errorf("read %d mails, want %d", len(files), want)
			}
			return got, err
		}})
	}
	return contenders
}
