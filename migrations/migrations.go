// Package migrations holds the schema as forward-only SQL files, one number a
// file. A file that has been released is never edited; package db runs them.
package migrations

import "embed"

// FS holds the migration files, NNNNN_what.sql, at its root.
//
//go:embed *.sql
var FS embed.FS
