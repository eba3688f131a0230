package devenv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Deliver puts mails into a folder, in this order and in bulk: as files in the
// Maildir, past the server, which finds them when it looks next. The folder is
// made when absent, and without mails that is all. Line ends may be LF.
func (d *Dovecot) Deliver(user, folder string, mails ...[]byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.deliver(strings.ToLower(user), folder, mails); err != nil {
		return fmt.Errorf("dovecot: deliver to %q of %q: %w", folder, user, err)
	}
	return nil
}

func (d *Dovecot) deliver(user, folder string, mails [][]byte) error {
	if _, known := d.passwords[user]; !known {
		return errors.New("no such user was added")
	}
	if d.sdbox {
		return errors.New("its mail is in no Maildir: use Append")
	}
	dir, err := d.maildir(user, folder)
	if err != nil {
		return err
	}
	for _, mail := range mails {
		// The server orders new mail by the time and the count in the name; S
		// and W, the size as it is and with CR LF, spare it reading the mail.
		d.delivered++
		lf := bytes.Count(mail, []byte("\n")) - bytes.Count(mail, []byte("\r\n"))
		name := fmt.Sprintf("%d.M%06dP%d.devenv,S=%d,W=%d", time.Now().Unix(), d.delivered, os.Getpid(), len(mail), len(mail)+lf)
		tmp := filepath.Join(dir, "tmp", name)
		err := errors.Join(os.WriteFile(tmp, mail, 0o600), d.mail.own(tmp), os.Rename(tmp, filepath.Join(dir, "new", name)))
		if err != nil {
			return err
		}
	}
	return nil
}

// maildir returns the directory of a folder, made when absent. INBOX is the
// root and the others lie flat in it as ".Clients.ACME" (Maildir++).
func (d *Dovecot) maildir(user, folder string) (string, error) {
	home := d.scratch.file("mail", user)
	root := filepath.Join(home, "Maildir")
	dirs := []string{home, root}
	dir := root
	if !strings.EqualFold(folder, "INBOX") {
		levels := strings.Split(folder, d.separator)
		for _, level := range levels {
			if level == "" || strings.ContainsAny(level, "./") {
				return "", errors.New("the name cannot be stored: an empty level, a dot or a slash")
			}
		}
		dir = filepath.Join(root, "."+strings.Join(levels, "."))
		dirs = append(dirs, dir)
	}
	for _, sub := range []string{"cur", "new", "tmp"} {
		dirs = append(dirs, filepath.Join(root, sub), filepath.Join(dir, sub))
	}
	for _, path := range dirs {
		switch err := os.Mkdir(path, 0o700); {
		case errors.Is(err, os.ErrExist):
		case err != nil:
			return "", err
		default:
			if err := d.mail.own(path); err != nil {
				return "", err
			}
		}
	}
	return dir, nil
}

// Renumber makes Dovecot forget which UIDs it gave to the mails of a folder: when it is
// started again it numbers them anew, under another UIDVALIDITY. It must not run.
func (d *Dovecot) Renumber(user, folder string) error {
	if d.proc.running() {
		return errors.New("dovecot: renumber: it runs")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, err := d.maildir(strings.ToLower(user), folder)
	if err != nil {
		return fmt.Errorf("dovecot: renumber: %w", err)
	}
	for _, pattern := range []string{"dovecot-uidlist*", "dovecot.index*"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return fmt.Errorf("dovecot: renumber: %w", err)
		}
		for _, file := range files {
			if err := os.Remove(file); err != nil {
				return fmt.Errorf("dovecot: renumber: %w", err)
			}
		}
	}
	return nil
}
