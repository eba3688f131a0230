package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	_ "github.com/lib/pq"

	"golang.org/x/sync/errgroup"

	"imapsync/internal/devenv"
)

// mailboxes are the accounts and their folders.
var mailboxes = map[string][]string{
	"support": {"INBOX", "Customers", "Заказы"},
	"sales":   {"INBOX", "Orders"},
}

// place is where it happens: the servers, the binary, and the database as we
// look into it ourselves.
type place struct {
	dir         string
	binary      string
	databaseURL string
	pool        *sql.DB
	postgres    *devenv.Postgres // what the runs use; behind it stands
	standby     *devenv.Postgres // what takes over
	dovecot     *devenv.Dovecot
	brokers     *brokers

	// The runs and we ourselves go by these.
	postgresProxy, imapProxy *devenv.Proxy

	imapUp sync.RWMutex // held to write by who takes the IMAP server down
}

// open starts the servers, builds the binary that is shipped, and sets it up as
// a person would. What it started is ended by close, whatever the error.
func open(ctx context.Context) (*place, error) {
	dir, err := os.MkdirTemp("", "imapsync-crash-")
	if err != nil {
		return nil, err
	}
	p := &place{dir: dir, binary: filepath.Join(dir, "imapsync")}
	var group errgroup.Group
	group.Go(func() (err error) {
		if p.postgres, err = devenv.StartPostgres(ctx, devenv.PostgresReplicated()); err != nil {
			return err
		}
		if p.postgresProxy, err = devenv.StartProxy(ctx, p.postgres.Addr(), nil); err != nil {
			return err
		}
		direct, err := p.postgres.CreateDatabase(ctx, "imapsync", "")
		p.databaseURL = strings.Replace(direct, p.postgres.Addr(), p.postgresProxy.Addr(), 1)
		return err
	})
	group.Go(func() (err error) {
		if p.dovecot, err = devenv.StartDovecot(ctx); err == nil {
			p.imapProxy, err = devenv.StartProxy(ctx, net.JoinHostPort(p.dovecot.Host, strconv.Itoa(p.dovecot.TLSPort)), nil)
		}
		return err
	})
	group.Go(func() (err error) {
		p.brokers, err = newBrokers(ctx, filepath.Join(dir, "jetstream"))
		return err
	})
	group.Go(func() error {
		cmd := exec.CommandContext(ctx, "go", "build", "-o", p.binary, "imapsync/cmd/imapsync") //nolint:gosec // the path is ours
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, bytes.TrimSpace(output))
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return p, err
	}
	if p.pool, err = sql.Open("postgres", p.databaseURL); err != nil {
		return p, err
	}
	if err := p.setUp(ctx); err != nil {
		return p, err
	}
	p.standby, err = p.postgres.StartStandby(ctx)
	return p, err
}

func (p *place) setUp(ctx context.Context) error {
	for _, args := range [][]string{{"secret", "keygen", "--out", p.keyFile()}, {"migrate"}} {
		if _, err := p.imapsync(ctx, args...); err != nil {
			return err
		}
	}
	for user, folders := range mailboxes {
		password := rand.Text()
		file := filepath.Join(p.dir, user+".password")
		if err := errors.Join(p.dovecot.AddUser(user, password, folders[1:]...), os.WriteFile(file, []byte(password), 0o600)); err != nil {
			return err
		}
		args := []string{"provider", "add", "--no-test", "--name", user, "--mailbox", user + "@example.com", "--username", user,
			"--host", p.dovecot.Host, "--port", strconv.Itoa(p.imapProxy.Port()), "--ca-file", p.dovecot.CAFile,
			"--password-file", file, "--start", "all", "--max-emails-per-sync", "60"}
		for _, folder := range folders {
			args = append(args, "--folder", folder)
		}
		if _, err := p.imapsync(ctx, args...); err != nil {
			return err
		}
	}
	_, err := p.imapsync(ctx, "run") // it makes the stream, on all three brokers
	return err
}

func (p *place) keyFile() string { return filepath.Join(p.dir, "imapsync.key") }

// close ends and removes everything.
func (p *place) close() error {
	var group sync.WaitGroup
	errs := make([]error, 4)
	group.Go(func() {
		if p.pool != nil {
			errs[0] = p.pool.Close()
		}
		for _, server := range []*devenv.Postgres{p.standby, p.postgres} {
			if server != nil {
				errs[1] = errors.Join(errs[1], server.Close())
			}
		}
	})
	group.Go(func() {
		if p.dovecot != nil {
			errs[2] = p.dovecot.Close()
		}
	})
	group.Go(func() {
		if p.brokers != nil {
			errs[3] = p.brokers.close()
		}
	})
	group.Wait()
	for _, proxy := range []*devenv.Proxy{p.postgresProxy, p.imapProxy} {
		if proxy != nil {
			proxy.Close()
		}
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

// environment is that of a child. name tells its connections to Postgres apart.
func (p *place) environment(name string) []string {
	var env []string
	for _, v := range os.Environ() {
		// Settings of the person at the terminal are none of ours.
		if key, _, _ := strings.Cut(v, "="); !strings.HasPrefix(key, "IMAPSYNC_") && !strings.HasSuffix(key, "DATABASE_URL") && !strings.HasPrefix(key, "NATS_") {
			env = append(env, v)
		}
	}
	return append(env, "DATABASE_URL="+p.databaseURL+"&application_name="+name, "NATS_URL="+p.brokers.url(),
		"IMAPSYNC_SECRET_KEY_FILE="+p.keyFile(), "IMAPSYNC_LOG_LEVEL=warn")
}

// imapsync runs a command to its end, for at most a minute, and returns what it
// wrote to standard output.
func (p *place) imapsync(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.binary, args...) //nolint:gosec // the path is ours
	cmd.Env = p.environment("crash")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.Bytes(), fmt.Errorf("imapsync %s: %w\n%s%s", args[0], err, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.Bytes(), nil
}
