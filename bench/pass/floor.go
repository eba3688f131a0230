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
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	started := time.Now()
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: roots})
	if err != nil {
		return sample{}, err
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "a LOGIN %s %s\r\nb EXAMINE INBOX\r\nc FETCH %d:* (UID BODY.PEEK[])\r\n", user, password, from)
	if err != nil {
		return sample{}, err
	}
	r := bufio.NewReaderSize(conn, 64<<10)
	got := 0
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return sample{}, err
		}
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasSuffix(line, "}"):
			n, err := strconv.Atoi(line[strings.LastIndexByte(line, '{')+1 : len(line)-1])
			if err != nil {
				return sample{}, err
			}
			if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
				return sample{}, err
			}
			got++
		case strings.HasPrefix(line, "c OK"):
			if got != want {
				return sample{}, fmt.Errorf("the floor read %d mails, want %d", got, want)
			}
			return sample{wall: time.Since(started)}, nil
		case strings.HasPrefix(line, "a NO"), strings.HasPrefix(line, "b NO"), strings.HasPrefix(line, "c NO"), strings.Contains(line, " BAD "):
			return sample{}, errors.New(line)
		}
	}
}
