package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"
)

// worker runs `imapsync run` again and again, as a timer or a supervisor would, each
// time in a process of its own.
type worker struct {
	place *place
	name  string // its connections to Postgres have it
	args  []string
	stop  chan struct{}

	mu     sync.Mutex
	cmd    *exec.Cmd // nil between two runs
	runs   int
	faults []error // runs that ended as none may
}

// pause is the time between two runs.
const pause = 30 * time.Millisecond

// work runs until stop is closed and the run in hand has ended.
func (w *worker) work() {
	for {
		w.run()
		select {
		case <-w.stop:
			return
		case <-time.After(pause):
		}
	}
}

// runs are the ways to run that go on side by side, one worker each.
func runs() [][]string {
	drain := []string{"run", "--drain"}
	for user := range mailboxes {
		drain = append(drain, "--provider", user)
	}
	return [][]string{
		drain,
		append(slices.Clone(drain), "--deadline", "2s"),
		{"run", "--repeat", "1s", "--for", "10s", "--drain"},
		{"run", "--watch", "--watch-interval", "5s", "--poll-interval", "2s"},
	}
}

func (w *worker) run() {
	cmd := exec.Command(w.place.binary, w.args...) //nolint:gosec,noctx // the path is ours; it ends by itself or is killed
	cmd.Env = w.place.environment(w.name)
	// A group of its own: Ctrl-C is not for it, and should we be killed while it
	// is stopped, the kernel wakes it so that it can end.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	w.mu.Lock()
	err := cmd.Start()
	w.cmd = cmd
	w.runs++
	w.mu.Unlock()
	if err == nil {
		err = cmd.Wait()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cmd = nil
	exit, failed := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil:
	case failed && !exit.Exited(): // killed
	case failed && (exit.ExitCode() == 69 || exit.ExitCode() == 75): // no server, or busy
	case len(w.faults) < 3: // they are alike
		w.faults = append(w.faults, fmt.Errorf("imapsync %v: %w: %s", w.args, err, tail(stderr.Bytes())))
	}
}

// signal sends a signal to the run in hand, if there is one.
func (w *worker) signal(sig syscall.Signal) (sent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cmd != nil && w.cmd.Process != nil && w.cmd.Process.Signal(sig) == nil
}

// cut has the database end all connections of the run in hand, as it does in
// the end with a node that no longer answers.
func (w *worker) cut(ctx context.Context) error {
	_, err := w.place.pool.ExecContext(ctx,
		`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1`, w.name)
	return err
}

// tail is the end of an output.
func tail(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[max(0, len(b)-1500):]
}
