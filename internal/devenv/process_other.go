//go:build !linux

package devenv

import "syscall"

// setParentDeath does nothing: only Linux has it, the guard does without.
func setParentDeath(*syscall.SysProcAttr, syscall.Signal) {}

// descendants returns none: the servers' own children see their parent go.
func descendants(int) []int { return nil }

// adoptOrphans does nothing: only Linux has it, and without descendants
// nothing is waited for.
func adoptOrphans() {}

// ended reports whether the process is gone.
func ended(pid int) bool { return syscall.Kill(pid, 0) != nil }
