package devenv_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"imapsync/internal/devenv"
)

// TestMain lets the test binary be the process that starts servers and is
// killed; see TestNothingStays.
func TestMain(m *testing.M) {
	if os.Getenv("DEVENV_TEST_START") == "" {
		os.Exit(m.Run())
	}
	if err := startAll(context.Background()); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

// startAll starts one server of each kind and leaves it.
func startAll(ctx context.Context) error {
	pg, err := devenv.StartPostgres(ctx)
	if err != nil {
		return err
	}
	if _, err := devenv.StartPgBouncer(ctx, pg.URL()); err != nil {
		return err
	}
	if _, err := devenv.StartNATS(ctx); err != nil {
		return err
	}
	dovecot, err := devenv.StartDovecot(ctx)
	if err != nil {
		return err
	}
	if err := dovecot.AddUser("anna@example.org", "right"); err != nil {
		return err
	}
	client, err := dovecot.Login("anna@example.org")
	if err != nil {
		return err
	}
	return client.Noop().Wait()
}

// However a process ends, its servers end and their directories go.
func TestNothingStays(t *testing.T) {
	devenv.TestPgBouncer(t, devenv.TestPostgres(t, nil)) // are they installed?
	devenv.TestDovecot(t)

	tests := []struct {
		name string
		end  func(pid int, stdin io.Closer) error
	}{
		{"exit", func(_ int, stdin io.Closer) error { return stdin.Close() }},
		{"Ctrl-C", func(pid int, _ io.Closer) error { return syscall.Kill(-pid, syscall.SIGINT) }},
		{"kill -9", func(pid int, _ io.Closer) error { return syscall.Kill(pid, syscall.SIGKILL) }},
		{"kill -9 of the group", func(pid int, _ io.Closer) error { return syscall.Kill(-pid, syscall.SIGKILL) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "devenv") //nolint:usetesting // short, as it will hold Unix sockets
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := osexec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "DEVENV_TEST_START=1", "TMPDIR="+dir)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			stdin, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
				t.Fatalf("the process did not start its servers: %q, %v", line, err)
			}
			if got := using(dir); len(got) < 10 {
				t.Errorf("only %d processes while the servers run:\n%s", len(got), strings.Join(got, "\n"))
			}
			if err := tt.end(cmd.Process.Pid, stdin); err != nil {
				t.Fatal(err)
			}
			cmd.Wait()
			deadline := time.Now().Add(time.Minute)
			for {
				processes := using(dir)
				files, err := filepath.Glob(filepath.Join(dir, "*"))
				if err != nil {
					t.Fatal(err)
				}
				if len(processes) == 0 && len(files) == 0 {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("a minute later there are still %v and the processes\n%s", files, strings.Join(processes, "\n"))
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}

// using returns the live processes that work in a directory or name it.
func using(dir string) (found []string) {
	proc, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	for _, p := range proc {
		cmdline, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil || len(cmdline) == 0 {
			continue // gone or a zombie
		}
		cwd, _ := os.Readlink(filepath.Join(p, "cwd"))
		if strings.Contains(string(cmdline), dir) || strings.HasPrefix(cwd, dir) {
			found = append(found, filepath.Base(p)+" "+strings.ReplaceAll(string(cmdline), "\x00", " "))
		}
	}
	return found
}

func TestMissingProgram(t *testing.T) {
	err := error(&devenv.MissingError{Program: "dovecot", Package: "dovecot-imapd"})
	for _, want := range []string{"dovecot is not installed", "make deps", "package dovecot-imapd"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}
