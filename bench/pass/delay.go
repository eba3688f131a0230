package main

import (
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// delayProxy puts a network of some length between clients and a server: every
// byte arrives delay later, however many are on their way. The first bytes of a
// client are held back by one round trip more, which is what TCP's handshake
// costs.
type delayProxy struct {
	listener net.Listener
	target   string
	delay    time.Duration
	flights  atomic.Int64
}

func startDelay(target string, delay time.Duration) (*delayProxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &delayProxy{listener: l, target: target, delay: delay}
	go func() { // until the process ends
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.connect(client)
		}
	}()
	return p, nil
}

func (p *delayProxy) port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// trips counts round trips since the last call: TCP's handshake, and each time
// a client spoke after it had heard something new, or for the first time.
func (p *delayProxy) trips() int { return int(p.flights.Swap(0)) }

func (p *delayProxy) connect(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer server.Close()
	p.flights.Add(1)
	var heard atomic.Bool
	heard.Store(true)
	var both sync.WaitGroup
	both.Go(func() {
		p.carry(server, client, 3*p.delay, func() {
			if heard.Swap(false) {
				p.flights.Add(1)
			}
		}, func() {})
	})
	both.Go(func() {
		p.carry(client, server, p.delay, func() {}, func() { heard.Store(true) })
		client.Close()
	})
	both.Wait()
}

type piece struct {
	data []byte
	due  time.Time
}

// carry copies until one side ends. The first piece is due after first, those
// after it after the delay, and never before the one ahead.
func (p *delayProxy) carry(to, from net.Conn, first time.Duration, sent, arrived func()) {
	pieces := make(chan piece, 4096)
	go func() {
		defer close(pieces)
		started := time.Now()
		for {
			buf := make([]byte, 16<<10)
			n, err := from.Read(buf)
			if n > 0 {
				sent()
				due := time.Now().Add(p.delay)
				if open := started.Add(first); due.Before(open) {
					due = open
				}
				pieces <- piece{buf[:n], due}
			}
			if err != nil {
				return
			}
		}
	}()
	broken := false
	for c := range pieces {
		time.Sleep(time.Until(c.due))
		arrived()
		if !broken {
			if _, err := to.Write(c.data); err != nil {
				broken = true
				from.Close() // ends the reader; what it read is dropped
			}
		}
	}
	if tcp, ok := to.(*net.TCPConn); ok {
		_ = tcp.CloseWrite() // the other way may still have something on it
	}
}

func hostPort(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
