package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"imapsync/internal/devenv"
)

// simulated is an IMAP server whose mailboxes are all empty, for where a real
// one would be what is measured.
type simulated struct {
	listener net.Listener
	ca       []byte
	first    atomic.Int64 // when the first byte came since it was last set to 0, in Unix nanoseconds
}

func startSimulated() (*simulated, error) {
	ca, err := devenv.NewCA()
	if err != nil {
		return nil, err
	}
	pair, err := ca.Issue(devenv.Cert{})
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &simulated{listener: l, ca: ca.PEM}
	config := &tls.Config{Certificates: []tls.Certificate{cert}} // one for all: it has the keys of its tickets
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(tls.Server(&noted{conn, &s.first}, config))
		}
	}()
	return s, nil
}

func (s *simulated) port() int { return s.listener.Addr().(*net.TCPAddr).Port }

func (s *simulated) account(user string, port int) account {
	return account{user: user, host: "127.0.0.1", port: port, ca: s.ca, start: "all", budget: 50}
}

// noted writes down when the first byte came.
type noted struct {
	net.Conn
	first *atomic.Int64
}

func (c *noted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.first.CompareAndSwap(0, time.Now().UnixNano())
	}
	return n, err
}

func serve(conn net.Conn) {
	defer conn.Close()
	const capability = "CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR ID LITERAL+ UIDPLUS LIST-EXTENDED LIST-STATUS"
	w := bufio.NewWriter(conn)
	fmt.Fprintf(w, "* OK [%s] ready\r\n", capability)
	_ = w.Flush()
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		fields := strings.Fields(line)
		if len(fields) < 2 {
			return
		}
		done := "OK done"
		switch strings.ToUpper(fields[1]) {
		case "LOGIN":
			done = "OK [" + capability + "] in"
		case "CAPABILITY":
			fmt.Fprintf(w, "* %s\r\n", capability)
		case "ID":
			fmt.Fprint(w, "* ID NIL\r\n")
		case "STATUS":
			fmt.Fprintf(w, "* STATUS %s (MESSAGES 0 UIDNEXT 1 UIDVALIDITY 1)\r\n", fields[2])
		case "EXAMINE":
			fmt.Fprint(w, "* 0 EXISTS\r\n* OK [UIDVALIDITY 1] .\r\n* OK [UIDNEXT 1] .\r\n")
		case "UID":
			fmt.Fprint(w, "* SEARCH\r\n")
		case "LOGOUT":
			fmt.Fprintf(w, "* BYE\r\n%s OK bye\r\n", fields[0])
			_ = w.Flush()
			return
		}
		fmt.Fprintf(w, "%s %s\r\n", fields[0], done)
		if r.Buffered() == 0 {
			if err := w.Flush(); err != nil {
				return
			}
		}
	}
}

// inFlight looks at n mailboxes down a long line, many at a time.
func inFlight(n, workers int, delay time.Duration) func(context.Context, *servers) ([]contender, error) {
	return func(ctx context.Context, s *servers) ([]contender, error) {
		server, err := startSimulated()
		if err != nil {
			return nil, err
		}
		line, err := startDelay(hostPort("127.0.0.1", server.port()), delay)
		if err != nil {
			return nil, err
		}
		var accounts []account
		for i := range n {
			accounts = append(accounts, server.account(fmt.Sprintf("u%d", i), line.port()))
		}
		_, url, err := s.database(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.addProviders(ctx, url, accounts...); err != nil {
			return nil, err
		}
		run := func(ctx context.Context) (sample, error) { return s.run(ctx, url, 0, "--workers", fmt.Sprint(workers)) }
		if _, err := run(ctx); err != nil {
			return nil, err
		}
		return []contender{{name: ourName, product: true, run: run}}, nil
	}
}

// coldStart is the time from exec until a mail server hears from us.
func coldStart(ctx context.Context, s *servers) ([]contender, error) {
	server, err := startSimulated()
	if err != nil {
		return nil, err
	}
	_, url, err := s.database(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.addProviders(ctx, url, server.account("u", server.port())); err != nil {
		return nil, err
	}
	run := func(ctx context.Context) (sample, error) {
		server.first.Store(0)
		began := time.Now()
		got, err := s.run(ctx, url, 0)
		got.wall = time.Duration(server.first.Load() - began.UnixNano())
		return got, err
	}
	if _, err := run(ctx); err != nil {
		return nil, err
	}
	return []contender{{name: ourName, product: true, run: run}}, nil
}
