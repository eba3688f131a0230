package main

import (
	"bufio"
	"errors"
	"fmt"
)

// atOnce is how many mails go into one APPEND.
const atOnce = 1000

// appendMail adds n generated mails to an INBOX as a client does, many to a
// command (MULTIAPPEND, RFC 3502), for a server whose files are its own.
func (s *servers) appendMail(user string, n int, size func(int) int) error {
	c, err := s.client(user)
	if err != nil {
		return err
	}
	defer c.Close()
	s.made++
	w, sent := bufio.NewWriterSize(c, 256<<10), 0
	return newMailbox(byte(s.made)).many(n, size, func(mail []byte) error {
		if sent%atOnce == 0 {
			_, _ = w.WriteString("b APPEND INBOX") // a failure stays with w, and Flush returns it
		}
		_, _ = fmt.Fprintf(w, " {%d+}\r\n%s", len(mail), mail)
		if sent++; sent < n && sent%atOnce != 0 {
			return nil
		}
		_, err := w.WriteString("\r\n")
		return errors.Join(err, w.Flush(), c.hear("b OK"))
	})
}
