package web

import (
	"cmp"
	"fmt"
	"html/template"
	"net"
	"strconv"
	"strings"
	"time"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/oauth"
	"imapsync/provider"
)

func functions() template.FuncMap {
	return template.FuncMap{
		"ago": func(t *time.Time) string { return ago(t, time.Now()) }, "moment": moment, "size": provider.ByteSize, "oneLine": provider.OneLine,
		"state": stateWord, "plural": plural, "took": func(d time.Duration) string { return d.Round(time.Millisecond).String() },
		"server":   func(p *db.Provider) string { return net.JoinHostPort(p.Host, strconv.Itoa(p.Port)) },
		"forecast": func(f forecast) string { return forecastText(f.Forecast, time.Now()) },
		"path":     path, "len64": func(n int) int64 { return int64(n) }, "verbs": verbsOf,
		"address": address, "addresses": addresses, "fileSize": fileSize,
	}
}

func stateWord(state string) string {
	return cmp.Or(map[string]string{db.StateNew: "not read yet", db.StateInactive: "switched off"}[state], state)
}

func ago(t *time.Time, now time.Time) string {
	if t == nil {
		return "never"
	}
	d := now.Sub(*t)
	if d < 0 {
		return "in " + span(-d)
	}
	return span(d) + " ago"
}

func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return plural(int64(d/(24*time.Hour)), "day")
}

func plural(n int64, word string) string {
	if n == 1 {
		return "1 " + word
	}
	if stem, ok := strings.CutSuffix(word, "x"); ok {
		return fmt.Sprintf("%d %sxes", n, stem)
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") }

func forecastText(f oauth.Forecast, now time.Time) string {
	what := strings.ReplaceAll(f.Credential, "_", " ")
	switch {
	case f.EndsAt == nil:
		if f.Warn {
			return what + ": " + f.Rule
		}
		return what + ": no end is known, " + f.Rule
	case f.EndsAt.Before(now):
		return fmt.Sprintf("%s ended on %s", what, f.EndsAt.UTC().Format(time.DateOnly))
	}
	return fmt.Sprintf("%s ends on %s, in %s", what, f.EndsAt.UTC().Format(time.DateOnly), plural(int64(f.EndsAt.Sub(now).Hours()/24), "day"))
}

// verbs are what can be done to a quarantined message, and where.
type verbs struct{ Base, State string }

func verbsOf(p *db.Provider, q db.Quarantine) verbs {
	return verbs{path(p, "/quarantine/"+q.ID), q.State}
}

type bar struct {
	X, Y, W, H float64
	Class      string
	Title      string
}

// chart is a bar chart, to be drawn into a box of Width by Height.
type chart struct {
	Width, Height float64
	Bars          []bar
	Label         string // what it says, for who does not see it
}

// newChart draws values, which have a class and a title each.
func newChart(label string, height float64, values []int64, describe func(i int) (class, title string)) chart {
	const width, gap, least = 10, 2.0, 24 // bars of few values are not as wide as the page
	slots := max(least, len(values))
	c := chart{Width: float64(slots) * width, Height: height, Label: label}
	var most int64 = 1
	for _, v := range values {
		most = max(most, v)
	}
	for i, v := range values {
		h := 1.0 // a line that shows the hour was there
		if v > 0 {
			h = max(3, float64(v)/float64(most)*height)
		}
		class, title := describe(i)
		c.Bars = append(c.Bars, bar{X: float64(slots-len(values)+i) * width, Y: height - h, W: width - gap, H: h, Class: class, Title: title})
	}
	return c
}

func dayChart(o *db.Overview) chart {
	label := fmt.Sprintf("%s in the last 24 hours, hour by hour", plural(o.Day(), "mail"))
	return newChart(label, 36, o.Hours[:], func(i int) (string, string) {
		class := "bar"
		if o.Hours[i] == 0 {
			class = "bar none"
		}
		return class, fmt.Sprintf("%s, %d to %d hours ago", plural(o.Hours[i], "mail"), 23-i, 24-i)
	})
}

func runChart(runs []db.Run) chart {
	values := make([]int64, len(runs))
	for i, r := range runs {
		values[len(runs)-1-i] = int64(r.Published)
	}
	return newChart(plural(int64(len(runs)), "pass")+" and what they brought; the table has the numbers", 60, values, func(i int) (string, string) {
		r := runs[len(runs)-1-i]
		class := "bar"
		if r.Outcome != "ok" {
			class = "bar wrong"
		}
		return class, fmt.Sprintf("%s: %s, %s", moment(r.StartedAt), r.Outcome, plural(int64(r.Published), "mail"))
	})
}

type card struct {
	*db.Overview

	Chart     chart
	Forecasts []forecast
	Reason    string // of an error
	Fix, Link string // what to do about it, and where
}

// forecast is when a credential will die, and what to do before.
type forecast struct {
	oauth.Forecast

	Fix string
}

func newCard(o *db.Overview, now time.Time) card {
	c := card{Overview: o, Chart: dayChart(o), Reason: o.LastError}
	for _, f := range provider.Forecasts(o.Provider, now) {
		one := forecast{Forecast: f}
		if f.Warn {
			one.Fix = find(fault.About{Code: f.Credential}).Say
		}
		c.Forecasts = append(c.Forecasts, one)
	}
	switch o.State {
	case db.StatePaused:
		c.Reason, c.Fix = "", "Mail waits on the server. “Resume” goes on."
		if o.PauseReason == db.PauseAuthFailure {
			c.Reason = o.LastError
			c.Fix = "The login was refused three times. Give the new password under “Edit”, then “Resume”."
			if provider.NeedsPerson(o.Provider) {
				c.Fix = "The login was refused three times. “Connect with OAuth” again, then “Resume”."
			}
		}
	case db.StateInactive:
		c.Fix = "No run reads it. Switch it on under “Edit”."
	case db.StateReconnecting:
		c.Fix = "It is tried again by itself"
		if o.NextAttemptAt != nil && o.NextAttemptAt.After(now) {
			c.Fix += " " + ago(o.NextAttemptAt, now)
		}
		c.Fix += "."
	case db.StateError:
		word := findLast(o.Provider)
		c.Fix = cmp.Or(word.Say, "“Test connection” on its page says more, step by step.")
		c.Link = place(path(o.Provider, "/edit"), word)
	case db.StateNew:
		if provider.NeedsPerson(o.Provider) && o.AuthorisedAt == nil {
			c.Fix = "Somebody has to sign in: “Connect with OAuth”."
		}
	}
	return c
}
