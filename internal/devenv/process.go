package devenv

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// patience bounds what a server does in a moment on a machine that is alone: its
// start, its end, the death of its children.
const patience = time.Minute

// scratch is the directory of one server, and the guard that removes it, and
// ends the server, when this process is gone.
type scratch struct {
	path  string
	guard *exec.Cmd
	pipe  io.WriteCloser // to the guard: "PID SIGNAL" of what runs now, "- -" of nothing
	mu    sync.Mutex     // for pipe
}

// guardScript reads what runs until its pipe closes, which this process does
// by ending in whatever way. Signals meant for the terminal do not reach it.
const guardScript = `
trap "" HUP INT QUIT TERM
alive() { kill -0 "$1" 2>/dev/null && ! grep -q "^State:.*Z" "/proc/$1/status" 2>/dev/null; }
pid=-
while read -r p s; do pid=$p sig=$s; done
if [ "$pid" != - ]; then
	kill -s "$sig" "$pid" 2>/dev/null
	n=0
	while alive "$pid" && [ $n -lt 100 ]; do sleep 0.05; n=$((n+1)); done
	kill -9 "$pid" 2>/dev/null
fi
rm -rf -- "$1" || { sleep 0.5; rm -rf -- "$1"; }
`

// newScratch makes a directory that others may pass through but not list.
func newScratch(server string) (*scratch, error) {
	path, err := os.MkdirTemp("", "imapsync-"+server+"-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o711); err != nil { //nolint:gosec // servers run as other users and must reach their files beneath
		return nil, err
	}
	guard := exec.Command("/bin/sh", "-c", guardScript, "imapsync-guard", path)
	guard.Dir = "/"
	guard.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := guard.StdinPipe()
	if err == nil {
		err = guard.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the guard of %s: %w", path, err), os.RemoveAll(path))
	}
	return &scratch{path: path, guard: guard, pipe: pipe}, nil
}

// file returns the path of a file in the directory.
func (s *scratch) file(elem ...string) string {
	return filepath.Join(append([]string{s.path}, elem...)...)
}

// tell informs the guard of what runs now. A guard that is gone is no error:
// it cannot be, short of a kill by hand.
func (s *scratch) tell(pid string, sig string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.pipe, pid, sig)
}

// close removes the directory, by way of the guard.
func (s *scratch) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.pipe.Close(); err != nil {
		return fmt.Errorf("end the guard of %s: %w", s.path, err)
	}
	if err := s.guard.Wait(); err != nil {
		return fmt.Errorf("remove %s: %w", s.path, err)
	}
	return nil
}

// process is a running server program.
type process struct {
	pid  int
	name string
	done chan struct{} // closed when it has ended
	err  error         // how it ended; read after done
}

// spawn runs a server program in the directory, as the account, its output
// appended to log. stop is the signal that ends it in order.
func (s *scratch) spawn(as account, stop syscall.Signal, log string, argv ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = s.path
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = sysProcAttr(as, stop)

	p := &process{name: filepath.Base(argv[0]), done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The parent-death signal is tied to the thread that started the
		// child, so that thread is kept until the child has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
			s.tell(fmt.Sprint(p.pid), signalName(stop))
		}
		started <- err
		if err != nil {
			return
		}
		p.err = cmd.Wait()
		s.tell("-", "-")
		close(p.done)
	}()
	err = <-started
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return p, nil
}

// sysProcAttr puts the child into a process group of its own, away from the
// terminal's Ctrl-C, under the account.
func sysProcAttr(as account, stop syscall.Signal) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if as.foreign() {
		attr.Credential = &syscall.Credential{Uid: uint32(as.uid), Gid: uint32(as.gid)}
	}
	setParentDeath(attr, stop)
	return attr
}

func signalName(sig syscall.Signal) string {
	switch sig {
	case syscall.SIGINT:
		return "INT"
	case syscall.SIGQUIT:
		return "QUIT"
	default:
		return "TERM"
	}
}

// running reports whether the process has not ended.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// stop sends the signal and waits for the end; what has not ended after ten
// seconds is killed, which is an error. Children that stay a second longer
// than the server, because clients keep them, are killed too.
func (p *process) stop(sig syscall.Signal) error {
	if !p.running() {
		return nil
	}
	adoptOrphans()
	children := descendants(p.pid)
	if err := syscall.Kill(p.pid, sig); err != nil {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("stop %s: still there %s after %v", p.name, patience, sig), p.kill())
	}
	if awaitEnd(children, time.Second) {
		return nil
	}
	return p.killAll(children)
}

// kill ends the process and all its descendants at once, as a power cut would.
func (p *process) kill() error {
	if !p.running() {
		return nil
	}
	adoptOrphans()
	// Held still, it cannot start others while they are being counted.
	if err := syscall.Kill(p.pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	children := descendants(p.pid)
	if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("kill %s: %w", p.name, err)
	}
	<-p.done
	return p.killAll(children)
}

func (p *process) killAll(pids []int) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("kill a child of %s: %w", p.name, err)
		}
	}
	if !awaitEnd(pids, patience) {
		return fmt.Errorf("kill %s: a child is still there after %s", p.name, patience)
	}
	return nil
}

// awaitEnd reports whether all the processes end within the time.
func awaitEnd(pids []int, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for _, pid := range pids {
		for !ended(pid) {
			if time.Now().After(deadline) {
				return false
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	return true
}

// awaitReady polls ready until it returns nil. It returns early when the
// process ends or ctx does, with the end of the log.
func (p *process) awaitReady(deadline <-chan struct{}, log string, ready func() error) error {
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended while starting: %w; its log says:\n%s", p.name, cmp.Or(p.err, errEndedWell), indent(tail(log, 20)))
		case <-deadline:
			return fmt.Errorf("%s is not ready: %w; its log says:\n%s", p.name, err, indent(tail(log, 20)))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// errEndedWell is the end of a server that does not stay but finds no fault.
var errEndedWell = errors.New("exit status 0")

func indent(s string) string { return "\t" + strings.ReplaceAll(s, "\n", "\n\t") }

// lockFile waits for a lock that one process of the machine holds at a time. Who
// holds it removes the file with it.
func lockFile(name string) (unlock func(), err error) {
	path := filepath.Join(os.TempDir(), name)
	for {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, err
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if is, err := os.Stat(path); err == nil && os.SameFile(mine, is) {
			return func() { _ = errors.Join(os.Remove(path), f.Close()) }, nil // the lock ends with the file, nothing was written
		}
		_ = f.Close() // removed by who held it before: another is the lock now
	}
}
