package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// floor reads an INBOX from a sequence number on by one FETCH and throws it
// away: what the server and TLS cost, and nothing else. It checks that want
// messages came.
func floor(address, user string, ca []byte, from, want int) (sample, error) {
	started := time.Now()
	err := fetch(address, user, ca, from, want, func(_ int64, mail io.Reader, _ int64) error {
		_, err := io.Copy(io.Discard, mail)
		return err
	})
	return sample{wall: time.Since(started)}, err
}

// fetch reads an INBOX by one pipelined FETCH and gives each mail to use, which
// reads it to its end. It checks that want messages came.
func fetch(address, user string, ca []byte, from, want int, use func(uid int64, mail io.Reader, size int64) error) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "a LOGIN %s %s\r\nb EXAMINE INBOX\r\nc FETCH %d:* (UID BODY.PEEK[])\r\n", user, password, from)
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(conn, 64<<10)
	got := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasSuffix(line, "}"): // * 1 FETCH (UID 1 BODY[] {5000}
			_, items, _ := strings.Cut(line, "(UID ")
			uid, rest, _ := strings.Cut(items, " ")
			number, errUID := strconv.ParseInt(uid, 10, 64)
			size, errSize := strconv.ParseInt(rest[strings.LastIndexByte(rest, '{')+1:max(len(rest)-1, 0)], 10, 64)
			if err := errors.Join(errUID, errSize); err != nil {
				return fmt.Errorf("%q: %w", line, err)
			}
			if err := use(number, io.LimitReader(r, size), size); err != nil {
				return err
			}
			got++
		case strings.HasPrefix(line, "c OK"):
			if got != want {
				return fmt.Errorf("FETCH gave %d mails, want %d", got, want)
			}
			return nil
		case strings.HasPrefix(line, "a NO"), strings.HasPrefix(line, "b NO"), strings.HasPrefix(line, "c NO"), strings.Contains(line, " BAD "):
			return errors.New(line)
		}
	}
}
