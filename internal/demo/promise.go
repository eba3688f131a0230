package main

import (
	"fmt"

	"imapsync/event"
)

// promises are what the demo claims, each kept or broken.
type promises struct {
	out    *printer
	broken int
	kept   int
}

// that records one promise. what says it in the words of a kept one; got, what
// is there instead.
func (p *promises) that(kept bool, what string, got ...string) {
	if kept {
		p.kept++
		p.out.line("   %s %s", p.out.green("✓"), what)
		return
	}
	p.broken++
	p.out.line("   %s %s", p.out.red("✗"), what)
	for _, g := range got {
		p.out.line("       %s", g)
	}
}

func (p *promises) equal(got, want int, what string) {
	p.that(got == want, fmt.Sprintf(what, want), fmt.Sprintf("it is %d", got))
}

// err is nil when all were kept.
func (p *promises) err() error {
	if p.broken > 0 {
		return fmt.Errorf("%d of %d promises are broken, see ✗ above", p.broken, p.broken+p.kept)
	}
	return nil
}

// compare says in what the events are not those of the mails: one for each, and
// as its sender wrote it.
func compare(events []*event.Event, mails map[spot]mail, names map[string]string) []string {
	var list []string
	seen := map[spot]bool{}
	for _, ev := range events {
		at := spotOf(ev, names)
		m, known := mails[at]
		switch {
		case !known:
			list = append(list, fmt.Sprintf("%v: an event without a mail: %s", at, ev.Payload.EmailData.Subject))
		case seen[at]:
			list = append(list, fmt.Sprintf("%v: published twice", at))
		default:
			for _, problem := range m.want.problems(&ev.Payload.EmailData) {
				list = append(list, fmt.Sprintf("%v: %s", at, problem))
			}
		}
		seen[at] = true
	}
	for at, m := range mails {
		if !seen[at] {
			list = append(list, fmt.Sprintf("%v: no event of %q", at, m.want.subject))
		}
	}
	return list
}
