// Command corpus runs parse over a folder of mails whose contents several
// independent parsers agree on (its expected.jsonl), and prints a table per
// source, one per field, and every miss with its reason; and one digest of the
// event keys.
//
// It is a measuring stick: it reads the corpus, which is no part of this
// project, and changes nothing.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"imapsync/parse"
)

func main() {
	dir := flag.String("dir", cmp.Or(os.Getenv("IMAPSYNC_CORPUS"), "../../shared/corpus"), "folder of the corpus (IMAPSYNC_CORPUS)")
	results := flag.String("results", "", "write the results as JSON lines, for the corpus's own checker")
	high := flag.Bool("high", false, "only mails on which three of four references agree in every field")
	verbose := flag.Bool("v", false, "print what was wanted and what came for each miss")
	replies := flag.String("replies", "", "only print the reply found in each mail of this source, e.g. talon")
	least := flag.Float64("least", 99.0, "exit 1 when fewer percent of the mails have every field right or other by a rule of ours")
	flag.Parse()
	if *replies != "" {
		if err := printReplies(os.Stdout, *dir, *replies); err != nil {
			fmt.Fprintln(os.Stderr, "corpus:", err)
			os.Exit(2)
		}
		return
	}
	ok, err := run(os.Stdout, *dir, *results, *high, *verbose, *least)
	if err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(2)
	}
	if err := printKeys(os.Stdout, *dir, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// score counts the mails of a source or the mails on which a field is asserted.
type score struct{ total, right int }

func (s score) String() string {
	return fmt.Sprintf("%d/%d\t%.2f %%", s.right, s.total, percent(s.right, s.total))
}

type miss struct {
	path   string
	wrong  []verdict
	reason string
}

func run(w io.Writer, dir, results string, high, verbose bool, least float64) (bool, error) {
	expected, err := load(filepath.Join(dir, "expected.jsonl"))
	if err != nil {
		return false, err
	}
	var written bytes.Buffer // the results file
	out := json.NewEncoder(&written)
	all, explained, assertions := score{}, 0, score{}
	fields, sources := map[string]*score{}, map[string]*score{}
	var order []string
	var misses []miss
	for _, e := range expected {
		if high && e.Confident != "high" && e.Confident != "ground-truth" {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, e.Path))
		if err != nil {
			return false, err
		}
		r := read(e.Path, raw)
		if err := out.Encode(r); err != nil {
			return false, err
		}
		if sources[e.Source] == nil {
			sources[e.Source] = &score{}
			order = append(order, e.Source)
		}
		var wrong []verdict
		for _, v := range check(e, r) {
			if fields[v.field] == nil {
				fields[v.field] = &score{}
			}
			fields[v.field].total++
			assertions.total++
			if v.ok {
				fields[v.field].right++
				assertions.right++
			} else {
				wrong = append(wrong, v)
			}
		}
		all.total++
		sources[e.Source].total++
		if len(wrong) == 0 {
			all.right++
			sources[e.Source].right++
		} else {
			why := reason(e, r, wrong)
			if why != "" {
				explained++
			}
			misses = append(misses, miss{e.Path, wrong, why})
		}
	}
	if results != "" {
		if err := os.WriteFile(results, written.Bytes(), 0o600); err != nil {
			return false, err
		}
	}
	report(w, assertions, fields, sources, order, misses, verbose)
	fmt.Fprintf(w, "\n%d mails, parsed 100 %%, every asserted field right %.2f %% (%d misses); right or other by a rule of ours %.2f %% (%d unexplained)\n",
		all.total, percent(all.right, all.total), len(misses), percent(all.right+explained, all.total), len(misses)-explained)
	return percent(all.right+explained, all.total) >= least, nil
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(1, of)) }

func report(w io.Writer, assertions score, fields, sources map[string]*score, order []string, misses []miss, verbose bool) {
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', 0)
	fmt.Fprintln(t, "source\tevery asserted field right")
	for _, s := range order {
		fmt.Fprintf(t, "%s\t%s\n", s, sources[s])
	}
	fmt.Fprintln(t, "\nfield\tright")
	for _, f := range fieldNames {
		if fields[f] != nil {
			fmt.Fprintf(t, "%s\t%s\n", f, fields[f])
		}
	}
	fmt.Fprintf(t, "all fields\t%s\n\n", assertions)
	fmt.Fprintln(t, "miss\tfields\treason")
	for _, m := range misses {
		var names []string
		for _, v := range m.wrong {
			names = append(names, v.field)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", m.path, strings.Join(names, " "), cmp.Or(m.reason, "unexplained"))
		if verbose {
			for _, v := range m.wrong {
				fmt.Fprintf(t, "\t%s\twant %.300q\n\t\tgot  %.300q\n", v.field, fmt.Sprint(v.want), fmt.Sprint(deref(v.got)))
			}
		}
	}
	t.Flush()
}

func deref(v any) any {
	if p, ok := v.(*int64); ok && p != nil {
		return *p
	}
	return v
}

// reason names the rule of ours that explains a miss: what parse does on
// purpose where the references agree on something else. "" is a miss that no
// rule explains.
func reason(e expectation, r result, wrong []verdict) string {
	has := func(code string) bool {
		return slices.ContainsFunc(r.defects, func(d parse.Defect) bool { return d.Code == code })
	}
	switch {
	case has("boundary_guessed"):
		return "the parts behind a wrong or missing boundary are read, the references drop them"
	case has("boundary_missing"), has("multipart_empty"):
		return "what stands in a multipart without parts is read, the references drop it"
	case r.tnef:
		return "winmail.dat is opened, the references count it as one file"
	case r.uuencoded:
		return "x-uue is decoded, the references pass it on as it is"
	case len(wrong) == 1 && wrong[0].field == "from" && strings.HasPrefix(r.From, `"`):
		return "the local part is quoted so that the address is valid"
	case len(wrong) == 1 && wrong[0].field == "attachment_bytes" && e.RFC822 != nil && *e.RFC822:
		return "the references write an attached mail anew, with another line end at its end"
	}
	return ""
}

func load(path string) ([]expectation, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []expectation
	dec := json.NewDecoder(bufio.NewReader(f))
	for {
		var e expectation
		switch err := dec.Decode(&e); {
		case err == io.EOF:
			return out, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, e)
	}
}
