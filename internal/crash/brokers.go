package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"imapsync/internal/devenv"
)

// broker is one of three NATS servers with JetStream, each in a child process, so
// that it can be killed and frozen. The child is this program itself.
type broker struct {
	name    string
	dir     string
	port    int // for clients
	route   int // for the other servers
	cluster *brokers
	at      int // in the cluster
	cmd     *exec.Cmd
}

// brokers are the cluster. Every route between two of them goes through a proxy, so
// that one can be cut off from the others and not from its clients.
type brokers struct {
	list  [3]*broker
	out   [3][3]*devenv.Proxy // from one to another, as they are configured
	heard [3]*devenv.Proxy    // to one, as the others tell of it
}

const (
	brokerCommand = "broker"
	brokerArgs    = 8 // with the program's name
)

// brokerMain is the child: it serves until its standard input closes.
func brokerMain(args []string) int {
	name, dir, advertise, routes := args[2], args[3], args[6], args[7]
	port, err := strconv.Atoi(args[4])
	route, routeErr := strconv.Atoi(args[5])
	if err != nil || routeErr != nil {
		return 64
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: name, Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
		PingInterval: 2 * time.Second, // who is frozen is given up
		Cluster:      server.ClusterOpts{Name: "crash", Host: "127.0.0.1", Port: route, Advertise: advertise},
		Routes:       server.RoutesFromStr(routes),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	srv.Start()
	_, _ = io.Copy(io.Discard, os.Stdin) // however it ends, so do we
	srv.Shutdown()
	return 0
}

// newBrokers takes free ports and starts three servers, one cluster.
func newBrokers(ctx context.Context, dir string) (_ *brokers, err error) {
	c := &brokers{}
	for i := range c.list {
		b := &broker{name: fmt.Sprintf("crash-%d", i), dir: filepath.Join(dir, strconv.Itoa(i)), cluster: c, at: i}
		if b.port, b.route, err = twoPorts(ctx); err != nil {
			return c, err
		}
		c.list[i] = b
	}
	for j, to := range c.list {
		target := "127.0.0.1:" + strconv.Itoa(to.route)
		if c.heard[j], err = devenv.StartProxy(ctx, target, nil); err != nil {
			return c, err
		}
		for i := range c.list {
			if i == j {
				continue
			}
			if c.out[i][j], err = devenv.StartProxy(ctx, target, nil); err != nil {
				return c, err
			}
		}
	}
	for _, b := range c.list {
		if err := b.start(); err != nil {
			return c, err
		}
	}
	return c, c.ready(ctx)
}

// twoPorts are free at this moment.
func twoPorts(ctx context.Context) (a, b int, err error) {
	var listeners [2]net.Listener
	for i := range listeners {
		if listeners[i], err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
			return 0, 0, err
		}
		defer listeners[i].Close()
	}
	return listeners[0].Addr().(*net.TCPAddr).Port, listeners[1].Addr().(*net.TCPAddr).Port, nil
}

// url names all servers.
func (c *brokers) url() string {
	var urls []string
	for _, b := range c.list {
		urls = append(urls, b.url())
	}
	return strings.Join(urls, ",")
}

// ready waits until the cluster answers.
func (c *brokers) ready(ctx context.Context) error {
	deadline := time.Now().Add(time.Minute)
	for {
		nc, err := connect(ctx, c.url())
		if err == nil {
			_, err = nc.stream(ctx)
			nc.Close()
			if err == nil || errors.Is(err, errNoStream) {
				return nil
			}
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return fmt.Errorf("brokers: not ready: %w", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// close ends all servers.
func (c *brokers) close() error {
	var errs []error
	for i, b := range c.list {
		if b != nil {
			errs = append(errs, b.kill())
		}
		for _, p := range append(c.out[i][:], c.heard[i]) {
			if p != nil {
				p.Close()
			}
		}
	}
	return errors.Join(errs...)
}

func (b *broker) url() string { return "nats://127.0.0.1:" + strconv.Itoa(b.port) }

// start starts the server on its data.
func (b *broker) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var routes []string
	for j, p := range b.cluster.out[b.at] {
		if j != b.at {
			routes = append(routes, "nats-route://"+p.Addr())
		}
	}
	b.cmd = exec.Command(self, brokerCommand, b.name, b.dir, strconv.Itoa(b.port), strconv.Itoa(b.route), //nolint:gosec,noctx // this program; it ends with its pipe
		b.cluster.heard[b.at].Addr(), strings.Join(routes, ","))
	b.cmd.Stderr = os.Stderr
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if _, err := b.cmd.StdinPipe(); err != nil { // it closes with this process, and the child ends
		return err
	}
	if err := b.cmd.Start(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	return nil
}

// freeze stops the server where it is: what is sent to it waits in its socket.
func (b *broker) freeze() error { return b.cmd.Process.Signal(syscall.SIGSTOP) }

// wake lets it go on.
func (b *broker) wake() error { return b.cmd.Process.Signal(syscall.SIGCONT) }

// kill ends the server by kill -9.
func (b *broker) kill() error {
	if b.cmd == nil {
		return nil
	}
	err := b.cmd.Process.Kill()
	_ = b.cmd.Wait() // it says that it was killed
	b.cmd = nil
	return err
}

// cutOff takes the server from the others, and gives it back.
func (b *broker) cutOff(off bool) {
	b.cluster.heard[b.at].Refuse(off)
	for i := range b.cluster.list {
		if i != b.at {
			b.cluster.out[i][b.at].Refuse(off)
			b.cluster.out[b.at][i].Refuse(off)
		}
	}
}
