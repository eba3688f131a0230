package devenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Redis is a Redis server that writes down each command before it answers.
type Redis struct {
	scratch *scratch
	as      account
	bin     string
	port    int
	proc    *process
}

// StartRedis starts a server; ctx bounds the start only. The error is a
// [*MissingError] when Redis is not installed.
func StartRedis(ctx context.Context) (_ *Redis, err error) {
	defer wrap(&err, "redis")
	bin, err := findProgram("redis-server", "redis-server")
	if err != nil {
		return nil, err
	}
	as, err := unprivileged("redis", "nobody")
	if err != nil {
		return nil, err
	}
	dir, err := newScratch("redis")
	if err != nil {
		return nil, err
	}
	r := &Redis{scratch: dir, as: as, bin: bin}
	if err = as.own(dir.path); err == nil {
		r.port, err = freePort()
	}
	if err == nil {
		err = r.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Start starts the server again, on its port and its data, within patience.
func (r *Redis) Start(ctx context.Context) (err error) {
	if r.proc.running() {
		return nil
	}
	log := r.scratch.file("log")
	r.proc, err = r.scratch.spawn(r.as, syscall.SIGTERM, log, r.bin,
		"--bind", loopback, "--port", strconv.Itoa(r.port), "--dir", r.scratch.path,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return r.proc.awaitReady(ctx.Done(), log, func() error {
		dialer := net.Dialer{Timeout: time.Second}
		conn, err := dialer.DialContext(ctx, "tcp", r.address())
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
			return err
		}
		if _, err := conn.Write([]byte("PING\r\n")); err != nil {
			return err
		}
		answer, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && answer != "+PONG\r\n" {
			return fmt.Errorf("it answers %q", answer)
		}
		return err
	})
}

func (r *Redis) address() string { return net.JoinHostPort(loopback, strconv.Itoa(r.port)) }

// Kill ends the server at once; its data stay for the next Start.
func (r *Redis) Kill() error { return r.proc.kill() }

// URL returns where clients connect to.
func (r *Redis) URL() string { return "redis://" + r.address() }

// Log returns the last lines of the server's log.
func (r *Redis) Log() string { return tail(r.scratch.file("log"), 60) }

// Close ends the server and removes its data.
func (r *Redis) Close() error { return errors.Join(r.proc.kill(), r.scratch.close()) }

// TestRedis starts a Redis server for one test.
func TestRedis(t testing.TB) *Redis {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	r, err := StartRedis(ctx)
	need(t, err)
	closeAfter(t, "redis", r)
	return r
}
