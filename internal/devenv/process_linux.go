package devenv

import (
	"bytes"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// setParentDeath has the kernel send sig when this process dies, which is
// there from the first instruction, before the guard knows of the child.
func setParentDeath(attr *syscall.SysProcAttr, sig syscall.Signal) { attr.Pdeathsig = sig }

// descendants returns the process ids below pid.
func descendants(pid int) []int {
	children := map[int][]int{}
	dir, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	for _, entry := range dir {
		id, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		if _, parent, ok := procStat(id); ok {
			children[parent] = append(children[parent], id)
		}
	}
	var found []int
	for queue := []int{pid}; len(queue) > 0; queue = queue[1:] {
		found = append(found, children[queue[0]]...)
		queue = append(queue, children[queue[0]]...)
	}
	return found
}

// adoptOrphans makes this process the parent of what its children leave behind.
// In a container the first process often is no init and never reaps; a dead
// process would then look alive to the lock files of the next one.
func adoptOrphans() {
	unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) //nolint:errcheck // init reaps them instead
}

// ended reports whether the process is gone, and reaps an adopted one.
func ended(pid int) bool {
	reaped, err := syscall.Wait4(pid, nil, syscall.WNOHANG, nil)
	if err == nil {
		return reaped == pid
	}
	state, _, ok := procStat(pid) // not ours
	return !ok || state == 'Z' || state == 'X'
}

// procStat reads state and parent: "PID (name) STATE PPID …", where the name
// may hold blanks and parentheses.
func procStat(pid int) (state byte, parent int, ok bool) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	fields := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	if len(fields) < 2 {
		return 0, 0, false
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return fields[0][0], parent, err == nil
}
