package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const mbsyncName = "mbsync"

// scratch is a directory for what peers write, in memory where that is there.
func (s *servers) scratch() (string, error) {
	root := s.dir
	if _, err := os.Stat("/dev/shm"); err == nil {
		root = "/dev/shm"
	}
	dir, err := os.MkdirTemp(root, "imapsync-bench-*")
	s.scratches = append(s.scratches, dir)
	return dir, err
}

// mbsync is isync's reader: pipelined, C, to Maildir.
type mbsync struct {
	dir, config string
}

// newMbsync is nil when mbsync is not installed.
func (s *servers) newMbsync(user string, port int, pattern string) (*mbsync, error) {
	if _, err := exec.LookPath("mbsync"); err != nil {
		fmt.Fprintln(os.Stderr, "mbsync is not installed (apt-get install isync): left out")
		return nil, nil //nolint:nilnil,nilerr // no program, no error
	}
	dir, err := s.scratch()
	if err != nil {
		return nil, err
	}
	m := &mbsync{dir: dir, config: filepath.Join(s.dir, "mbsyncrc-"+filepath.Base(dir))}
	config := fmt.Sprintf(`IMAPAccount a
Host localhost
Port %d
User %s
Pass %s
SSLType IMAPS
SystemCertificates no
CertificateFile %s

IMAPStore far
Account a

MaildirStore near
Path %[5]s/mail/
Inbox %[5]s/mail/INBOX
SubFolders Verbatim

Channel c
Far :far:
Near :near:
Patterns %s
Create Near
Sync PullNew
SyncState *
`, port, user, password, s.dovecot.CAFile, dir, pattern)
	return m, os.WriteFile(m.config, []byte(config), 0o600)
}

func (m *mbsync) sync(ctx context.Context) (sample, error) {
	if err := os.MkdirAll(filepath.Join(m.dir, "mail"), 0o700); err != nil {
		return sample{}, err
	}
	got, _, err := process(ctx, nil, nil, "mbsync", "-c", m.config, "-q", "c")
	return got, err
}

// forget takes back every sync.
func (m *mbsync) forget() error { return os.RemoveAll(filepath.Join(m.dir, "mail")) }

// messages counts what is in a folder.
func (m *mbsync) messages(folder string) int {
	found, _ := filepath.Glob(filepath.Join(m.dir, "mail", folder, "new", "*")) // the pattern is valid
	read, _ := filepath.Glob(filepath.Join(m.dir, "mail", folder, "cur", "*"))
	return len(found) + len(read)
}

// whole reads everything, every time.
func (m *mbsync) whole(want int) contender {
	return contender{name: mbsyncName, run: func(ctx context.Context) (sample, error) {
		if err := m.forget(); err != nil {
			return sample{}, err
		}
		got, err := m.sync(ctx)
		if n := m.messages("INBOX"); err == nil && n != want {
			err = fmt.Errorf("read %d mails, want %d", n, want)
		}
		if err == nil {
			err = m.forget()
		}
		return got, err
	}}
}
