package devenv

import (
	"context"
	"net"
	"sync"
	"testing"
)

// Proxy stands between clients and a server, where the network is, for what
// goes wrong there: answers that are lost, late, or cut off.
type Proxy struct {
	listener net.Listener
	filter   func(answer []byte) (pass []byte)
	wait     sync.WaitGroup

	mu      sync.Mutex
	target  string
	conns   map[net.Conn]bool
	refuses bool
	closed  bool
}

// StartProxy listens on a port of its own and connects to target, host:port,
// for each client. What the server answers goes through filter, piece by piece
// as it is read; what that returns goes on to the client. It may wait, and is
// called by several connections at once. nil lets everything pass.
func StartProxy(ctx context.Context, target string, filter func(answer []byte) (pass []byte)) (*Proxy, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, filter: filter, target: target, conns: map[net.Conn]bool{}}
	p.wait.Go(p.accept)
	return p, nil
}

// TestProxy starts a proxy for one test, as StartProxy does.
func TestProxy(t testing.TB, target string, filter func(answer []byte) (pass []byte)) *Proxy {
	t.Helper()
	p, err := StartProxy(t.Context(), target, filter)
	need(t, err)
	t.Cleanup(p.Close)
	return p
}

// Addr returns where clients connect to, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Port returns the port of Addr.
func (p *Proxy) Port() int { return p.listener.Addr().(*net.TCPAddr).Port }

// Cut ends all connections; new ones are taken.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Target has new connections go to another server, and ends those there are.
func (p *Proxy) Target(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.Cut()
}

// Refuse ends all connections and takes no new ones for as long as refuses is true:
// the network is down.
func (p *Proxy) Refuse(refuses bool) {
	p.mu.Lock()
	p.refuses = refuses
	p.mu.Unlock()
	if refuses {
		p.Cut()
	}
}

// Close ends all connections and takes no more. A filter that waits must be
// let go first.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listener.Close()
	p.Cut()
	p.wait.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target, refuses := p.target, p.refuses
		p.mu.Unlock()
		if refuses {
			client.Close()
			continue
		}
		server, err := net.Dial("tcp", target)
		if err != nil {
			client.Close()
			continue
		}
		if !p.keep(client, server) {
			return
		}
		p.wait.Go(func() { p.carry(server, client, nil) })
		p.wait.Go(func() {
			p.carry(client, server, p.filter)
			p.forget(client, server)
		})
	}
}

// carry copies until one side ends, and then ends both.
func (p *Proxy) carry(to, from net.Conn, filter func([]byte) []byte) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			data := buf[:n]
			if filter != nil {
				data = filter(data)
			}
			if _, err := to.Write(data); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.closed || p.refuses {
			c.Close()
		} else {
			p.conns[c] = true
		}
	}
	return !p.closed
}

func (p *Proxy) forget(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}
