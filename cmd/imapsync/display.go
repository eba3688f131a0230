package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"imapsync/db"
	"imapsync/provider"
	mailsync "imapsync/sync"
)

// runDisplay shows how a run goes: a line a provider on a terminal, log lines
// elsewhere, JSON lines on standard output when asked for.
type runDisplay struct {
	app       *app
	log       *slog.Logger
	terminal  bool
	quiet     bool // passes repeat: those that brought nothing are not worth a line
	pending   bool // a progress line stands on the terminal, to be overwritten
	lastError error
	lostSince time.Time // when the first of the events was published that are missing
}

func newRunDisplay(a *app) *runDisplay {
	d := &runDisplay{app: a, log: a.log}
	if d.terminal = a.logFormat == "" && isTerminal(a.stderr) && !a.json(); d.terminal && !strings.EqualFold(a.logLevel, "debug") {
		d.log = slog.New(slog.DiscardHandler)
	}
	return d
}

func (d *runDisplay) progress(p mailsync.Progress) {
	if !d.terminal {
		return
	}
	rate := float64(p.Done) / max(p.Elapsed.Seconds(), 0.001)
	fmt.Fprintf(d.app.stderr, "\r\033[K%s  %d done, %d left, %.0f mail/s, %s", p.Provider.Name, p.Done, p.Left, rate, provider.ByteSize(p.Bytes))
	d.pending = true
}

// runResult is one provider's line of `run -o json`.
type runResult struct {
	Tenant     string    `json:"tenant"`
	ProviderID string    `json:"providerId"`
	Provider   string    `json:"provider"`
	Outcome    string    `json:"outcome"` // ok, partial, failed, unfinished, busy, deferred
	ErrorClass string    `json:"errorClass,omitempty"`
	ErrorCode  string    `json:"errorCode,omitempty"`
	Error      string    `json:"error,omitempty"`
	Counts     db.Counts `json:"counts"`
	Folders    int       `json:"folders"`
	Left       int       `json:"left"`
	Held       int       `json:"held"`
	Bytes      int64     `json:"bytes"`
	DurationMS int64     `json:"durationMs"`

	Republished int   `json:"republished,omitempty"` // lost events that were published again
	Missing     int64 `json:"missing,omitempty"`     // lost events that were not: verify --republish does it
}

func resultOf(res mailsync.Result) runResult {
	r := runResult{
		Tenant: res.Ref.Tenant, ProviderID: res.Ref.ID, Provider: res.Provider.Name, Outcome: res.Outcome(), Counts: res.Counts,
		Folders: res.Folders, Left: res.Left, Held: res.HeldBack, Bytes: res.Bytes, DurationMS: res.Duration.Milliseconds(),
		Republished: res.Republished, Missing: res.Missing,
	}
	switch {
	case res.Deferred != "":
		r.Error = res.Deferred
	case res.Err != nil:
		class, code := mailsync.Classify(res.Err)
		r.ErrorClass, r.ErrorCode, r.Error = string(class), code, provider.OneLine(res.Err.Error())
	}
	return r
}

func (d *runDisplay) result(res mailsync.Result) {
	r := resultOf(res)
	switch {
	case res.Busy:
		d.lastError = provider.Busy(res.Provider)
	case res.Err != nil && res.Deferred == "":
		d.lastError = inWords(res.Provider, res.Err)
	}
	if since := res.Provider.LostSince; res.Missing > 0 && since != nil && (d.lostSince.IsZero() || since.Before(d.lostSince)) {
		d.lostSince = *since
	}
	d.logResult(r)
	switch {
	case d.nothing(r):
	case d.app.json():
		_ = d.app.printJSONLine(r) // plain fields always encode; a reader that went away is no error of ours
	case d.terminal:
		d.clear()
		res.Err = inWords(res.Provider, res.Err)
		fmt.Fprintf(d.app.stderr, "%s  %s\n", r.Provider, provider.ResultText(res))
		if res.Missing > 0 {
			for _, step := range provider.LostSteps(res.Provider) {
				fmt.Fprintf(d.app.stderr, "  %s\n", step.Text)
			}
		}
	}
}

// nothing reports whether a pass that is one of many brought nothing to tell.
func (d *runDisplay) nothing(r runResult) bool {
	return d.quiet && r.Error == "" && r.Counts.Total() == 0 && r.Republished == 0
}

func (d *runDisplay) logResult(r runResult) {
	level := slog.LevelInfo
	if d.nothing(r) {
		level = slog.LevelDebug
	}
	attrs := []any{"tenant", r.Tenant, "provider_id", r.ProviderID, "provider", r.Provider, "outcome", r.Outcome,
		"published", r.Counts.Published, "duplicates", r.Counts.Duplicates, "skipped", r.Counts.Skipped,
		"expunged", r.Counts.Expunged, "quarantined", r.Counts.Quarantined, "folders", r.Folders, "left", r.Left, "held", r.Held,
		"bytes", r.Bytes, "duration_ms", r.DurationMS}
	if r.Republished > 0 {
		attrs = append(attrs, "republished", r.Republished)
	}
	if r.Missing > 0 {
		attrs = append(attrs, "missing", r.Missing)
	}
	if r.Error != "" {
		level = slog.LevelError
		if r.Outcome == "unfinished" {
			level = slog.LevelWarn // said at the end of the run where it is more than a stop
		}
		attrs = append(attrs, "class", r.ErrorClass, "code", r.ErrorCode, "error", r.Error)
	}
	d.log.Log(context.Background(), level, "provider_done", attrs...)
}

func (d *runDisplay) summary(s mailsync.Summary, took time.Duration) {
	d.log.Info("run_done", "providers", s.Providers, "ok", s.OK, "partial", s.Partial, "failed", s.Failed, "unfinished", s.Unfinished, "busy", s.Busy, "deferred", s.Deferred,
		"skipped", s.Skipped, "bugs", s.Bugs, "published", s.Counts.Published, "duplicates", s.Counts.Duplicates,
		"quarantined", s.Counts.Quarantined, "left", s.Left, "dead", s.Dead, "held", s.HeldBack, "republished", s.Republished, "missing", s.Missing, "bytes", s.Bytes, "duration_ms", took.Milliseconds())
	fix := "imapsync verify --since " + d.lostSince.UTC().Format(time.DateOnly) + " --republish"
	if s.Missing > 0 {
		d.log.Error("events_missing", "events", s.Missing, "since", d.lostSince, "fix", fix)
	}
	if !d.terminal {
		return
	}
	d.clear()
	if s.Missing > 0 {
		fmt.Fprintf(d.app.stderr, "the stream has lost %d events: `%s` publishes them again\n", s.Missing, fix)
	}
	if s.Dead > 0 {
		fmt.Fprintf(d.app.stderr, "%s: `imapsync quarantine list --state dead` lists them\n", deadText(int64(s.Dead)))
	}
	others := provider.Counted(provider.Count{N: s.HeldBack, Word: "held"}, provider.Count{N: s.Partial, Word: "partly failed"}, provider.Count{N: s.Failed, Word: "failed"}, provider.Count{N: s.Unfinished, Word: "not finished"}, provider.Count{N: s.Busy, Word: "busy"}, provider.Count{N: s.Deferred, Word: "deferred"}, provider.Count{N: s.Skipped, Word: "not begun"})
	fmt.Fprintf(d.app.stderr, "%d of %d providers ok: %s%s, %s\n", s.OK, s.Providers, provider.CountsText(s.Counts), others, took.Round(time.Millisecond))
}

func (d *runDisplay) clear() {
	if d.pending {
		fmt.Fprint(d.app.stderr, "\r\033[K")
		d.pending = false
	}
}
