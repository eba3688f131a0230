package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"
)

// write prints everything that was measured as Markdown.
func write(out io.Writer, results []result, o options) error {
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "# Measured\n\n%s, by `make bench` (%d rounds in turns, medians): %s.\n", time.Now().UTC().Format(time.DateOnly), o.rounds, machine())
	fmt.Fprint(w, "The servers, private to the run, share the machine with what is measured, so read the ratios, not the seconds.\n"+
		"CPU is user and system of the process alone, RSS the most it ever had, trips are round trips with TCP and TLS.\n"+
		"“No parsing” is a client that reads, publishes and commits, and does nothing else: what nobody can go much below.\n\n"+
		"| case | contender | wall s | ratio | CPU s | RSS MB | trips | rounds |\n|---|---|--:|---|--:|--:|--:|--:|\n")
	for _, r := range results {
		title := "**" + r.name + "**: " + r.title
		base := r.contenders[0]
		for _, c := range r.contenders {
			if len(c.samples) == 0 {
				continue
			}
			m := c.median()
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s | %s | %d |\n", title, c.name, wallText(m), ratios(c, base, r.contenders),
				number(m.cpu > 0, "%.2f", m.cpu.Seconds()), number(m.rss > 0, "%.0f", float64(m.rss)/(1<<20)),
				number(m.trips > 0, "%.0f", float64(m.trips)), len(c.samples))
			title = ""
		}
	}
	fmt.Fprint(w, "\n## What it has to show\n\n| case | bar | measured | |\n|---|---|--:|---|\n")
	for _, r := range results {
		m := medians{}
		for _, c := range r.contenders {
			if len(c.samples) > 0 {
				m[c.name] = c.median()
			}
		}
		for _, b := range r.bars {
			v, ok := b.value(m)
			bound, verdict := fmt.Sprintf("≤ %g", b.most), "holds"
			if b.least > 0 {
				bound = fmt.Sprintf("≥ %g", b.least)
			}
			if b.least > 0 && v < b.least || b.most > 0 && v > b.most {
				verdict = "**does not hold**"
			}
			if ok {
				fmt.Fprintf(w, "| %s | %s %s | %.2f | %s |\n", r.name, b.what, bound, v, verdict)
			}
		}
	}
	return w.Flush()
}

func wallText(m sample) string {
	if m.high > 0 {
		return fmt.Sprintf("%.3f, p99 %.3f", m.wall.Seconds(), m.high.Seconds())
	}
	return fmt.Sprintf("%.3f", m.wall.Seconds())
}

// ratios compares a contender with the first of its case, with mbsync, and with
// the one that is named for it.
func ratios(c, base contender, all []contender) string {
	var parts []string
	for _, other := range all {
		if slices.Contains([]string{base.name, mbsyncName, c.beside}, other.name) && other.name != c.name && len(other.samples) > 0 {
			parts = append(parts, fmt.Sprintf("%.2f × %s", c.median().wall.Seconds()/other.median().wall.Seconds(), other.name))
		}
	}
	return strings.Join(parts, ", ")
}

func number(known bool, format string, v float64) string {
	if !known {
		return "–"
	}
	return fmt.Sprintf(format, v)
}

// machine describes what this ran on.
func machine() string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, line, ok := strings.Cut(string(info), "model name"); ok {
			line, _, _ = strings.Cut(line, "\n")
			model = strings.Trim(line, " \t:")
		}
	}
	memory := ""
	if info, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int64
		if _, err := fmt.Sscanf(string(info), "MemTotal: %d kB", &kib); err == nil {
			memory = fmt.Sprintf(", %d GB memory", (kib+512<<10)>>20)
		}
	}
	system := ""
	if out, err := exec.Command("uname", "-sr").Output(); err == nil {
		system = ", " + strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%d × %s%s%s, %s", runtime.NumCPU(), model, memory, system, runtime.Version())
}
