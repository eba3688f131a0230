package devenv

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// PostgresReplicated has a server that others may follow.
func PostgresReplicated() PostgresOption {
	return func(p *Postgres) { p.settings = append(p.settings, replicated()...) }
}

func replicated() []string {
	return []string{"wal_level=replica", "max_wal_senders=10", "wal_keep_size=256MB", "hot_standby=on", "wal_retrieve_retry_interval=100ms"}
}

// StartStandby copies a server, which was started with PostgresReplicated, into one
// that follows it, and has the first answer no commit before the second has it.
func (p *Postgres) StartStandby(ctx context.Context) (_ *Postgres, err error) {
	defer wrap(&err, "postgresql standby")
	dir, err := newScratch("pg")
	if err != nil {
		return nil, err
	}
	password, _ := p.url.User.Password()
	standby := newPostgres(dir, p.account, p.bin, password)
	standby.settings = append(standby.settings, replicated()...)
	if err := standby.copyOf(ctx, p); err != nil {
		return nil, errors.Join(err, dir.close())
	}
	if standby, err = standby.startSomewhere(ctx); err != nil {
		return nil, err
	}
	if err := p.waitFor(ctx); err != nil {
		return nil, errors.Join(err, standby.Close())
	}
	return standby, nil
}

// copyOf fills the directory with what the primary has, and whom to follow.
func (p *Postgres) copyOf(ctx context.Context, primary *Postgres) error {
	for _, dir := range []string{"data", "run"} {
		path := p.scratch.file(dir)
		if err := errors.Join(os.Mkdir(path, 0o700), p.account.own(path)); err != nil {
			return err
		}
	}
	password, _ := p.url.User.Password()
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "pg_basebackup"), "--pgdata", p.scratch.file("data"),
		"--dbname", fmt.Sprintf("host=%s port=%s user=postgres password=%s sslmode=disable", loopback, primary.url.Port(), password),
		"--write-recovery-conf", "--wal-method", "stream", "--checkpoint", "fast", "--no-sync")
	cmd.Dir = p.scratch.path
	cmd.SysProcAttr = sysProcAttr(p.account, syscall.SIGKILL)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("pg_basebackup: %w:\n%s", err, indent(string(out)))
	}
	return nil
}

// waitFor has the server answer a commit only when who follows it has it too.
func (p *Postgres) waitFor(ctx context.Context) error {
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if err := p.exec(ctx, statement); err != nil {
			return err
		}
	}
	pool, err := sql.Open("postgres", p.URL())
	if err != nil {
		return err
	}
	defer pool.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		var following bool
		err := pool.QueryRowContext(ctx, "SELECT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync')").Scan(&following)
		if err != nil || following {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.New("nobody follows")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Promote makes a standby a server of its own. Whom it followed must have ended.
func (p *Postgres) Promote(ctx context.Context) error {
	return p.exec(ctx, "SELECT pg_promote(true, 60)")
}

// Addr returns host:port.
func (p *Postgres) Addr() string { return p.url.Host }
