// Command pass measures passes over mailboxes: the real binary against real
// servers of its own, in turns with others: a raw reader, which says what the
// mail server takes; a client that reads, publishes and commits and does nothing
// else, which says what all servers take; and other programs that fetch mail. It
// prints one Markdown table.
//
//	go run ./pass                          what `make bench` runs, some minutes
//	go run ./pass -peers                   other programs too, as far as installed
//	go run ./pass -case small -profile DIR CPU and allocation profiles
//
// Run it in the directory of the bench module.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	cases    string
	rounds   int
	patience time.Duration
	peers    bool
	profile  string
	out      string
	verbose  bool
	small    int
	mixed    int
	big      int
	ledger   int
}

func main() {
	var o options
	flag.StringVar(&o.cases, "case", "", "measure only these, comma-separated: "+caseNames(options{}))
	flag.IntVar(&o.rounds, "rounds", 5, "how often each contender runs")
	flag.DurationVar(&o.patience, "patience", 45*time.Second, "begin no new round of a case after this time")
	flag.BoolVar(&o.peers, "peers", false, "Node, fetchmail, fdm and getmail too, where they are installed")
	flag.StringVar(&o.profile, "profile", "", "write CPU and allocation profiles of the product into this directory, and measure it alone")
	flag.StringVar(&o.out, "o", "", "write the table to this file too")
	flag.BoolVar(&o.verbose, "v", false, "show what the product prints")
	flag.IntVar(&o.small, "small", 10_000, "mails of 5 KB")
	flag.IntVar(&o.mixed, "mixed", 2_000, "mails of 250 KB on average")
	flag.IntVar(&o.big, "big", 20, "mails of 25 MB")
	flag.IntVar(&o.ledger, "ledger", 1_000_000, "rows of the large ledger")
	if len(os.Args) == 3 && os.Args[1] == leastCommand {
		if err := runLeast(context.Background(), os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "pass "+leastCommand+":", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if err := measure(o); err != nil {
		fmt.Fprintln(os.Stderr, "pass:", err)
		os.Exit(1)
	}
}

func measure(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var chosen []benchCase
	names := strings.FieldsFunc(o.cases, func(r rune) bool { return r == ',' })
	for _, c := range cases(o) {
		if len(names) == 0 || slices.Contains(names, c.name) {
			chosen = append(chosen, c)
		}
	}
	if o.rounds < 1 || len(chosen) == 0 || len(names) > len(chosen) {
		return fmt.Errorf("-rounds is at least 1, and -case any of %s", caseNames(o))
	}
	if o.profile != "" {
		var err error
		if o.profile, err = filepath.Abs(o.profile); err != nil {
			return err
		}
		if err := os.MkdirAll(o.profile, 0o700); err != nil {
			return err
		}
	}
	var results []result
	for _, c := range chosen {
		// Servers of its own for each case: no index or cache is left over.
		r, err := func() (result, error) {
			s, err := startServers(ctx, o, c.dovecot...)
			if err != nil {
				return result{}, err
			}
			defer s.close()
			return c.measure(ctx, s)
		}()
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	if err := write(os.Stdout, results, o); err != nil || o.out == "" {
		return err
	}
	f, err := os.Create(o.out)
	if err != nil {
		return err
	}
	defer f.Close()
	return write(f, results, o)
}

func caseNames(o options) string {
	var names []string
	for _, c := range cases(o) {
		names = append(names, c.name)
	}
	return strings.Join(names, ", ")
}
