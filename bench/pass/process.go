package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// sample is one run of a contender. What it could not measure is zero.
type sample struct {
	wall  time.Duration
	high  time.Duration // of many, the one that 99 of 100 stay below; wall is the middle then
	cpu   time.Duration // user and system, of the process alone
	rss   int64         // the most memory it ever had, in bytes
	trips int           // round trips on the delayed line
}

// process runs a program to its end. An exit code other than those allowed is
// an error with what the program said.
func process(ctx context.Context, env []string, allowed []int, name string, args ...string) (sample, string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var out bytes.Buffer
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env...), &out, &out
	cmd.WaitDelay = time.Second
	started := time.Now()
	if err := cmd.Start(); err != nil {
		return sample{}, "", err
	}
	peak := make(chan int64)
	go func() { peak <- peakMemory(cmd.Process.Pid) }()
	err := cmd.Wait()
	s := sample{wall: time.Since(started), rss: <-peak}
	if usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		s.cpu = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	for _, code := range allowed {
		if cmd.ProcessState.ExitCode() == code {
			err = nil
		}
	}
	if err != nil {
		text := out.String()
		return s, text, fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, text[max(0, len(text)-2000):])
	}
	return s, out.String(), nil
}

// peakMemory watches a process until it ends. The rusage of a child will not
// do: it counts what its parent had before the exec.
func peakMemory(pid int) (peak int64) {
	for {
		now := peakNow(pid)
		if now == 0 {
			return peak // gone
		}
		peak = max(peak, now)
		time.Sleep(5 * time.Millisecond)
	}
}

// peakNow is the most memory a process ever had, 0 when it is gone.
func peakNow(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, line, ok := strings.Cut(string(status), "VmHWM:")
	if err != nil || !ok {
		return 0
	}
	var kib int64
	_, _ = fmt.Sscan(line, &kib) // the kernel writes a number
	return kib << 10
}
