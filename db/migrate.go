package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/lib/pq"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"imapsync/internal/fault"
	"imapsync/migrations"
)

const (
	versionTable = "imapsync_schema_version"
	lockTable    = "imapsync_schema_lock"
)

// Migration is one file of the schema and whether it has been applied.
type Migration struct {
	Version   int64     `json:"version"`
	Name      string    `json:"name"`
	AppliedAt time.Time `json:"appliedAt,omitzero"`
}

// Migrate brings the schema to this binary's version and returns what it
// applied, also beside an error. Several may run at once: a lock table (no session lock: a pooler
// would leak it) lets one through.
func Migrate(ctx context.Context, opts Options, log *slog.Logger) ([]Migration, error) {
	p, err := openMigrations(ctx, opts, log)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	results, err := p.Up(ctx)
	if part, ok := errors.AsType[*goose.PartialError](err); ok {
		results = part.Applied
	}
	var applied []Migration
	for _, r := range results {
		applied = append(applied, Migration{Version: r.Source.Version, Name: r.Source.Path, AppliedAt: time.Now().UTC()})
	}
	if err != nil {
		return applied, fmt.Errorf("migrate: %w", wrap(ctx, err))
	}
	return applied, nil
}

// MigrationStatus lists every migration of this binary; AppliedAt is zero for
// those that are pending.
func MigrationStatus(ctx context.Context, opts Options) ([]Migration, error) {
	p, err := openMigrations(ctx, opts, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer p.Close()
	status, err := p.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("migration status: %w", wrap(ctx, err))
	}
	var list []Migration
	for _, m := range status {
		list = append(list, Migration{Version: m.Source.Version, Name: m.Source.Path, AppliedAt: m.AppliedAt.UTC()})
	}
	return list, nil
}

func openMigrations(ctx context.Context, opts Options, log *slog.Logger) (p *goose.Provider, err error) {
	// An index build is silent while it works.
	pool, err := openPool(opts.URL, 10*time.Minute)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	defer func() {
		if err != nil {
			pool.Close()
		}
	}()
	if err := pool.PingContext(ctx); err != nil {
		return nil, wrap(ctx, err)
	}
	locker, err := lock.NewPostgresTableLocker(lock.WithTableName(lockTable),
		lock.WithTableLockTimeout(250*time.Millisecond, 240), lock.WithTableLogger(log))
	if err != nil {
		return nil, fmt.Errorf("migration lock: %w", err)
	}
	p, err = goose.NewProvider(goose.DialectPostgres, pool, migrations.FS, goose.WithTableName(versionTable),
		goose.WithLocker(locker), goose.WithDisableGlobalRegistry(true), goose.WithSlog(log))
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return p, nil
}

// SchemaVersion returns the version the database has and the one this binary
// needs, in bare numbers of migration files.
func (s *Store) SchemaVersion(ctx context.Context) (have, want int64, err error) {
	want, err = BinaryVersion()
	if err != nil {
		return 0, 0, err
	}
	err = s.pool.GetContext(ctx, &have, `SELECT coalesce(max(version_id), 0) FROM `+versionTable+` WHERE is_applied`)
	if pe, ok := errors.AsType[*pq.Error](err); ok && pe.Code == "42P01" {
		return 0, want, nil // no table: never migrated
	}
	return have, want, wrap(ctx, err)
}

// CheckSchema returns an error of ErrSchema unless the database
// has exactly the schema of this binary.
func (s *Store) CheckSchema(ctx context.Context) error {
	have, want, err := s.SchemaVersion(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("read schema version: %w", err)
	case have < want:
		return fault.Newf(fault.Ours, "schema", "%w: the database is at version %d, this binary needs %d", ErrSchema, have, want).With("reason", "old")
	case have > want:
		return fault.Newf(fault.Ours, "schema", "%w: the database is at version %d, this binary knows %d", ErrSchema, have, want).With("reason", "new")
	}
	return nil
}

// BinaryVersion is the schema version that this binary needs.
func BinaryVersion() (int64, error) {
	entries, err := migrations.FS.ReadDir(".")
	if err != nil {
		return 0, fmt.Errorf("read migrations: %w", err)
	}
	var highest int64
	for _, e := range entries {
		v, err := goose.NumericComponent(e.Name())
		if err != nil {
			return 0, fmt.Errorf("migration %s: %w", e.Name(), err)
		}
		highest = max(highest, v)
	}
	return highest, nil
}
