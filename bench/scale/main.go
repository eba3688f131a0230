// Scale computes what numbers of providers take, and prints the tables of
// docs/scale.md. With -measure it measures what the tables are made of and no
// other benchmark has.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	measure := flag.Bool("measure", false, "measure the memory of a subject and the disk of a ledger row, in place of the tables")
	n := flag.Int("n", 200_000, "with -measure: how many of each")
	flag.Parse()
	if !*measure {
		tables(os.Stdout)
		return
	}
	if err := measureAll(context.Background(), os.Stdout, *n); err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

// usual is a mailbox of a service desk, as assumed.
func usual(providers int) load {
	return load{
		Providers: providers, MailsADay: 20, Every: 60, EventBytes: 8e3, BlobBytes: 100e3, BlobsEach: 1.3,
		KeepEvents: 14, KeepBlobs: 21, KeepLedger: 365, PassSeconds: 0.5, BusiestFactor: 4,
	}
}

// cloud are prices as assumed.
func cloud() prices { return prices{Core: 25, MemoryGB: 4, DiskGB: 0.1} }

// tables prints the computed tables.
func tables(w io.Writer) {
	counts := []int{100, 10_000, 100_000, 1_000_000}
	head := []string{"providers", "100", "10,000", "100,000", "1,000,000"}
	fiveMinutes := func(n int) load {
		l := usual(n)
		l.Every, l.KeepEvents, l.KeepBlobs = 300, 3, 10
		return l
	}
	fmt.Fprint(w, "A pass a minute, events kept for 14 days:\n\n")
	table(w, head, counts, usual)
	fmt.Fprint(w, "\nA pass every five minutes, events kept for 3 days and blobs for 10:\n\n")
	table(w, head, counts, fiveMinutes)
}

func table(w io.Writer, head []string, counts []int, of func(n int) load) {
	fmt.Fprintf(w, "| %s |\n|---|%s\n", strings.Join(head, " | "), strings.Repeat("--:|", len(counts)))
	for _, row := range rows() {
		cells := []string{row.name}
		for _, n := range counts {
			cells = append(cells, figure(row.value(planFor(of(n), known(), cloud()))))
		}
		fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
	}
}

type row struct {
	name  string
	value func(plan) float64
}

func rows() []row {
	return []row{
		{"passes a second", func(p plan) float64 { return p.PassesASecond }},
		{"mails a second, busiest hour", func(p plan) float64 { return p.MailsASecond }},
		{"cores of the pods at work", func(p plan) float64 { return p.Cores }},
		{"pods", func(p plan) float64 { return p.Pods }},
		{"`--workers` of each", func(p plan) float64 { return p.InFlight }},
		{"PostgreSQL: connections", func(p plan) float64 { return p.Connections }},
		{"PostgreSQL: transactions a second", func(p plan) float64 { return p.Transactions }},
		{"PostgreSQL: rows written a second", func(p plan) float64 { return p.Rows }},
		{"PostgreSQL: ledger of a year, GB", func(p plan) float64 { return p.LedgerGB }},
		{"NATS: events kept, millions", func(p plan) float64 { return p.Events / 1e6 }},
		{"NATS: memory for subjects, GB", func(p plan) float64 { return p.NATSMemoryGB }},
		{"NATS: events on disk, GB", func(p plan) float64 { return p.EventsGB }},
		{"NATS: blobs on disk, GB", func(p plan) float64 { return p.BlobsGB }},
		{"dollars a month for these, about", func(p plan) float64 { return p.Dollars }},
	}
}

// figure writes a number with two significant digits, thousands parted.
func figure(v float64) string {
	s := fmt.Sprintf("%.2g", v)
	var rounded float64
	if _, err := fmt.Sscan(s, &rounded); err != nil || rounded < 10 {
		return s
	}
	digits := fmt.Sprintf("%.0f", rounded)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
