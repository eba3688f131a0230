package db

import (
	"testing"
	"time"

	"imapsync/internal/devenv"
)

func TestHealth(t *testing.T) {
	direct := devenv.TestPostgres(t, migrate)
	pooled := devenv.TestPgBouncer(t, direct)
	for _, tt := range []struct {
		name         string
		opts         Options
		pooled, lock bool
	}{
		{"direct", Options{URL: direct}, false, false},
		{"pooled", Options{URL: pooled}, true, true},
		{"locks past the pooler", Options{URL: pooled, LockURL: direct}, true, false},
		{"locks through the pooler", Options{URL: direct, LockURL: pooled}, false, true},
	} {
		h, err := openStore(t, tt.opts).Health(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if h.Pooled != tt.pooled || h.LockPooled != tt.lock || h.LockURL != (tt.opts.LockURL != "") {
			t.Errorf("%s: %+v", tt.name, h)
		}
		if h.TooOld || h.ReadOnly || h.Version == "" || h.ClockSkew.Abs() > time.Second {
			t.Errorf("%s: %+v", tt.name, h)
		}
	}
	if _, err := openStore(t, Options{URL: direct, LockURL: "postgres://u@127.0.0.1:1/x?sslmode=disable"}).Health(t.Context()); err == nil {
		t.Error("a lock connection to nobody is healthy")
	}
}
