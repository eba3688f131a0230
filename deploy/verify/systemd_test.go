package verify

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// installedHere installs under a directory as PREFIX, so that the paths in the
// units are those of files that are there.
func installedHere(t *testing.T) (dir string, units []string) {
	t.Helper()
	dir = t.TempDir()
	need(t, run(root, nil, "make", "-s", "install", "PREFIX="+dir, "SYSCONF="+dir+"/etc"))
	units, err := filepath.Glob(dir + "/lib/systemd/system/imapsync*")
	need(t, err)
	if len(units) < 5 {
		t.Fatalf("units: %v", units)
	}
	return dir, units
}

// systemd finds nothing to say of the units, and the pages that they name are there.
func TestUnitsVerify(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	dir, units := installedHere(t)
	out, err := output(".", nil, append([]string{analyze, "verify", "--man=no"}, units...)...)
	if err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
	for _, unit := range units {
		data, err := os.ReadFile(unit)
		need(t, err)
		page := regexp.MustCompile(`(?m)^Documentation=man:(\S+)\(1\)$`).FindSubmatch(data)
		if page == nil {
			t.Errorf("%s names no page", unit)
		} else if _, err := os.Stat(dir + "/share/man/man1/" + string(page[1]) + ".1"); err != nil {
			t.Errorf("%s: %v", unit, err)
		}
	}
}

// The exposure of each service is at most 1.5 of 10. A service that needs the
// network cannot come much below.
func TestUnitsSecurity(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	for _, unit := range services(t) {
		out, err := output(".", nil, analyze, "security", "--offline=true", "--no-pager", "--threshold=15", unit)
		if err != nil {
			t.Error(err)
		}
		level := regexp.MustCompile(`exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
		if level == nil {
			t.Fatalf("%s: no level in\n%s", unit, out)
		}
		if n, err := strconv.ParseFloat(string(level[1]), 64); err != nil || n > 1.5 {
			t.Errorf("%s: %s", unit, level[1])
		}
	}
}

func services(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob(root + "/deploy/systemd/*.service")
	need(t, err)
	return list
}

// All services are shut in alike; the text is repeated, as units cannot include.
func TestUnitsAreAlike(t *testing.T) {
	var first string
	for _, unit := range services(t) {
		data, err := os.ReadFile(unit)
		need(t, err)
		_, rest, ok := strings.Cut(string(data), "\n# It needs the network, and nothing else of the machine.\n")
		block, _, _ := strings.Cut(rest, "\n[Install]")
		block = strings.TrimSpace(block)
		if !ok {
			t.Errorf("%s: not shut in", unit)
		} else if first == "" {
			first = block
		} else if diff := cmp.Diff(first, block); diff != "" {
			t.Errorf("%s:\n%s", unit, diff)
		}
	}
}

// Commands and variables are the binary's. The shell reads imapsync.env to the
// same values as systemd does.
func TestUnitsCallTheBinary(t *testing.T) {
	for _, unit := range services(t) {
		data, err := os.ReadFile(unit)
		need(t, err)
		starts := regexp.MustCompile(`(?m)^ExecStart=/usr/bin/imapsync (.*)$`).FindAllStringSubmatch(string(data), -1)
		if len(starts) != 1 {
			t.Fatalf("%s: %d commands", unit, len(starts))
		}
		checkArgs(t, unit, strings.Fields(starts[0][1]))
		for _, m := range regexp.MustCompile(`(?m)^Environment=(\w+)=`).FindAllStringSubmatch(string(data), -1) {
			checkVariable(t, unit, m[1])
		}
	}
	settings := read(t, "deploy/systemd/imapsync.env")
	assigned := regexp.MustCompile(`(?m)^(\w+)='([^']*)'$`).FindAllStringSubmatch(settings, -1)
	if lines := regexp.MustCompile(`(?m)^[^#\n]`).FindAllString(settings, -1); len(lines) != len(assigned) || len(lines) == 0 {
		t.Errorf("imapsync.env: %d settings, %d of them in single quotes", len(lines), len(assigned))
	}
	for _, m := range assigned {
		checkVariable(t, "imapsync.env", m[1])
	}
}

// systemd takes the calendar and the user.
func TestTimersAndUser(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	timers, err := filepath.Glob(root + "/deploy/systemd/*.timer")
	need(t, err)
	for _, timer := range timers {
		data, err := os.ReadFile(timer)
		need(t, err)
		for _, key := range []string{"OnCalendar", "AccuracySec", "RandomizedDelaySec"} {
			if !regexp.MustCompile(`(?m)^` + key + `=`).Match(data) {
				t.Errorf("%s: no %s", timer, key)
			}
		}
		need(t, run(".", nil, analyze, "calendar", regexp.MustCompile(`(?m)^OnCalendar=(.*)$`).FindStringSubmatch(string(data))[1]))
	}
	dir := t.TempDir()
	need(t, os.MkdirAll(dir+"/etc", 0o755))
	conf, err := filepath.Abs(root + "/deploy/systemd/sysusers.conf")
	need(t, err)
	need(t, run(".", nil, tool(t, "systemd-sysusers"), "--root="+dir, conf))
	passwd, err := os.ReadFile(dir + "/etc/passwd")
	need(t, err)
	if !regexp.MustCompile(`(?m)^imapsync:[^:]*:\d+:\d+:imapsync:/:/usr/sbin/nologin$`).Match(passwd) {
		t.Errorf("passwd:\n%s", passwd)
	}
}
