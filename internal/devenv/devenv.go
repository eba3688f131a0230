// Package devenv starts the servers that imapsync's tests, demo and benchmarks
// run against: PostgreSQL, PgBouncer, NATS with JetStream, Dovecot, Redis. They are
// the real programs, private to the process, on free loopback ports, with all
// their files in a temporary directory of their own.
//
// In a test, one line each:
//
//	url := devenv.TestPostgres(t, db.Migrate)  // fresh migrated database, dropped at cleanup; nil: an empty one
//	pg, url := devenv.TestPostgresServer(t, m) // a server of the test's own: Stop, Start, Kill
//	pooled := devenv.TestPgBouncer(t, url)     // transaction pooling in front of url
//	ns := devenv.TestNATS(t)                   // URL; NATSMaxPayload(1<<20); its events are held against the schema
//	ns := devenv.TestNATSServer(t)             // a server of the test's own: Stop, Start
//	dc := devenv.TestDovecot(t)                // Host, TLSPort, StartTLSPort, PlainPort, CAFile; AddUser, Deliver, Append
//	rd := devenv.TestRedis(t)                  // URL; Kill, Start
//	px := devenv.TestProxy(t, addr, filter)    // in front of any of them: answers lost, late, cut off; Cut
//
// Elsewhere [StartPostgres], [StartPgBouncer], [StartNATS], [StartDovecot], [StartRedis]
// and [StartProxy] return an error and a server with Close.
//
// Invariants: nothing outlives the process, however it ends. Every server is
// guarded by a small shell that waits for the process to go (its pipe closes),
// then stops the server and removes its directory, so that kill -9 and Ctrl-C
// need no handler. A missing program is a [MissingError] naming the package to
// install; in tests it is a skip, or a failure when IMAPSYNC_TEST_REQUIRE=1.
//
// IMAPSYNC_TEST_POSTGRES and IMAPSYNC_TEST_NATS name servers to be used in
// place of those that tests would start.
package devenv

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// loopback is the address every server listens on.
const loopback = "127.0.0.1"

// MissingError says that a program is not installed.
type MissingError struct {
	Program string // as it is called, such as "dovecot"
	Package string // the Debian and Ubuntu package that has it
}

// Error names the program and how to install it.
func (e *MissingError) Error() string {
	return fmt.Sprintf("%s is not installed: run `make deps`, or install the package %s", e.Program, e.Package)
}

// findProgram returns the path of a program in $PATH, or in sbin: servers live
// there, and it is not in everybody's $PATH.
func findProgram(name, pkg string) (string, error) {
	dirs := append(filepath.SplitList(os.Getenv("PATH")), "/usr/sbin", "/usr/local/sbin", "/sbin", "/opt/homebrew/sbin")
	for _, dir := range dirs {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil && filepath.IsAbs(path) {
			return path, nil
		}
	}
	return "", &MissingError{Program: name, Package: pkg}
}

// freePort returns a TCP port nothing listens on. It is taken from below the
// range that systems give to outgoing connections (32768 and up on Linux,
// 49152 elsewhere): there, a client that calls a stopped server could be given
// the server's own port, and talk to itself or keep the server from returning.
func freePort() (int, error) {
	for range 100 {
		port := 12000 + rand.IntN(20000)
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
		if err == nil {
			return port, l.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return 0, fmt.Errorf("find a free port: %w", err)
		}
	}
	return 0, errors.New("find a free port: none of 100 tried")
}

// account is the user a server runs as.
type account struct {
	name     string
	group    string
	uid, gid int
}

// unprivileged returns who a server is to run as: the current user, or the
// first of names that exists when that is root.
func unprivileged(names ...string) (account, error) {
	me, err := user.Current()
	if err != nil {
		return account{}, fmt.Errorf("who am I: %w", err)
	}
	if os.Getuid() != 0 {
		return asAccount(me)
	}
	for _, name := range names {
		if u, err := user.Lookup(name); err == nil {
			return asAccount(u)
		}
	}
	return account{}, fmt.Errorf("no unprivileged user to run as: none of %s exists", strings.Join(names, ", "))
}

func asAccount(u *user.User) (account, error) {
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return account{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return account{}, fmt.Errorf("user %s: %w", u.Username, err)
	}
	group := u.Gid
	if g, err := user.LookupGroupId(u.Gid); err == nil {
		group = g.Name
	}
	return account{name: u.Username, group: group, uid: uid, gid: gid}, nil
}

// foreign reports whether the account is not the one this process runs as.
func (a account) foreign() bool { return a.uid != os.Getuid() }

// own gives a file or directory to the account.
func (a account) own(path string) error {
	if !a.foreign() {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}

// tail returns the last lines of a log file, or why it cannot be read.
func tail(path string, lines int) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimRight(raw, "\n"), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}
