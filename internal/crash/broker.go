package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// broker is a NATS server with JetStream in a child process, so that it can be
// killed. The child is this program itself.
type broker struct {
	dir  string
	port int
	cmd  *exec.Cmd
}

const brokerCommand = "broker"

// brokerMain is the child: it serves until its standard input closes.
func brokerMain(dir, port string) int {
	n, err := strconv.Atoi(port)
	if err != nil {
		return 64
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "crash", Host: "127.0.0.1", Port: n, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
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

// newBroker takes a free port and starts a server on it.
func newBroker(ctx context.Context, dir string) (*broker, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &broker{dir: dir, port: l.Addr().(*net.TCPAddr).Port}
	if err := l.Close(); err != nil {
		return nil, err
	}
	return b, b.start(ctx)
}

func (b *broker) url() string { return "nats://127.0.0.1:" + strconv.Itoa(b.port) }

// start starts the server on its data and waits until it answers; at most 20 s.
func (b *broker) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	b.cmd = exec.Command(self, brokerCommand, b.dir, strconv.Itoa(b.port)) //nolint:gosec,noctx // this program; it ends with its pipe
	b.cmd.Stderr = os.Stderr
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if _, err := b.cmd.StdinPipe(); err != nil { // it closes with this process, and the child ends
		return err
	}
	if err := b.cmd.Start(); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	deadline := time.Now().Add(time.Minute)
	for {
		nc, err := connect(ctx, b.url())
		if err == nil {
			_, err = nc.stream(ctx)
			nc.Close()
			if err == nil || errors.Is(err, errNoStream) {
				return nil
			}
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("broker: not ready: %w", err), b.kill())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// hang stops the server where it is: what is sent to it waits in its socket, and
// is lost when it is killed then.
func (b *broker) hang() error { return b.cmd.Process.Signal(syscall.SIGSTOP) }

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
