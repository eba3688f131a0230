package observe

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	prom "github.com/VictoriaMetrics/metrics"

	"imapsync/provider"
	mailsync "imapsync/sync"
)

// Families are metrics in the order in which they were first named. The values live
// in Postgres and outlive every process: each scrape fills sets of its own. What the
// library does not write is help.
type Families struct{ families []*family }

type family struct {
	name, help, kind string // kind: gauge or counter
	samples          *prom.Set
}

type label struct{ name, value string }

func (m *Families) add(name, kind, help string, value float64, labels ...label) {
	i := slices.IndexFunc(m.families, func(f *family) bool { return f.name == name })
	if i < 0 {
		i = len(m.families)
		m.families = append(m.families, &family{name, help, kind, prom.NewSet()})
	}
	var pairs []string
	for _, l := range labels {
		pairs = append(pairs, l.name+`="`+labelEscaper.Replace(strings.ToValidUTF8(l.value, "\uFFFD"))+`"`)
	}
	if len(pairs) > 0 {
		name += "{" + strings.Join(pairs, ",") + "}"
	}
	m.families[i].samples.GetOrCreateGauge(name, nil).Set(value) // a counter's samples are written like a gauge's
}

// when adds a time in Unix seconds, unless there is none.
func (m *Families) when(name, help string, t *time.Time, labels ...label) {
	if t != nil {
		m.add(name, "gauge", help, float64(t.UnixMilli())/1000, labels...)
	}
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// Write writes the text exposition format.
func (m *Families) Write(to io.Writer) error {
	w := bufio.NewWriter(to)
	for _, f := range m.families {
		fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", f.name, f.help, f.name, f.kind)
		f.samples.WritePrometheus(w)
	}
	return w.Flush()
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Metrics turns what stands where into metrics.
func Metrics(list []Provider, version string, now time.Time) *Families {
	m := &Families{}
	m.add("imapsync_build_info", "gauge", "Version of the binary that answers.", 1, label{"version", version})
	m.add("imapsync_collected_timestamp_seconds", "gauge", "When these figures were read from Postgres.", float64(now.Unix()))
	m.add("imapsync_providers", "gauge", "Providers, whatever their state.", float64(len(list)))
	for _, s := range list {
		own := []label{{"tenant", s.Tenant}, {"provider_id", s.ID}, {"provider", s.Name}}
		with := func(name, value string) []label { return append(slices.Clip(own), label{name, value}) }
		m.add("imapsync_provider_info", "gauge", "State of a provider; always 1.", 1, append(with("mailbox", s.Mailbox), label{"state", s.plainState()})...)
		m.add("imapsync_provider_up", "gauge", "1 when the last pass went well.", truth(s.LastSuccessAt != nil && s.ConsecutiveFailures == 0), own...)
		m.add("imapsync_provider_paused", "gauge", "1 when no pass is made.", truth(s.PausedAt != nil || !s.Active), own...)
		m.add("imapsync_provider_consecutive_failures", "gauge", "Passes that failed since the last that went well.", float64(s.ConsecutiveFailures), own...)
		m.when("imapsync_provider_last_success_timestamp_seconds", "When a pass last went well.", s.LastSuccessAt, own...)
		m.when("imapsync_provider_last_attempt_timestamp_seconds", "When a pass last began.", s.LastAttemptAt, own...)
		m.when("imapsync_provider_next_attempt_timestamp_seconds", "When a provider that failed is tried again.", s.NextAttemptAt, own...)
		if s.ErrorCode != "" {
			m.add("imapsync_provider_error", "gauge", "Code of the error of the last pass; always 1.", 1, with("code", s.ErrorCode)...)
		}
		m.add("imapsync_messages_total", "counter", "Messages handled, by outcome.", float64(s.Published), with("outcome", "published")...)
		m.add("imapsync_messages_total", "counter", "", float64(s.Duplicates), with("outcome", "duplicate")...)
		m.add("imapsync_messages_total", "counter", "", float64(s.Quarantined), with("outcome", "quarantined")...)
		m.add("imapsync_lost_events", "gauge", "Events that the stream has lost and that are not on it again.", float64(s.LostEvents), own...)
		m.add("imapsync_republished_events_total", "counter", "Events that were published again since the stream had lost them.", float64(s.Republished), own...)
		for _, c := range provider.Forecasts(s.Source, now) {
			m.when("imapsync_credential_expiry_timestamp_seconds", "When a credential will die, where a rule for that is known.", c.EndsAt, with("credential", c.Credential)...)
		}
		for _, f := range s.Folders {
			labels := with("folder", f.Name)
			m.when("imapsync_folder_last_search_timestamp_seconds", "When a search of the folder was last completed.", f.LastSearchAt, labels...)
			m.add("imapsync_folder_backlog_messages", "gauge", "Messages seen on the server and not handled.", float64(f.Backlog), labels...)
			oldest := 0.0
			if f.OldestAt != nil {
				oldest = max(0, now.Sub(*f.OldestAt).Seconds())
			}
			m.add("imapsync_folder_oldest_undelivered_seconds", "gauge", "Age of the oldest message seen and not delivered; 0 when there is none.", oldest, labels...)
			m.add("imapsync_folder_held_messages", "gauge", "Old messages that nobody knows, held for a person to decide about.", float64(f.Held), labels...)
			m.add("imapsync_folder_unstable", "gauge", "1 when the server numbers the folder anew at each visit.", truth(f.Unstable), labels...)
			m.add("imapsync_quarantine_messages", "gauge", "Messages in quarantine: retry is tried again, dead waits for a person.", float64(f.Retrying), append(slices.Clone(labels), label{"state", "retry"})...)
			m.add("imapsync_quarantine_messages", "gauge", "", float64(f.Dead), append(slices.Clone(labels), label{"state", "dead"})...)
			m.add("imapsync_folder_unseen_messages", "gauge", "Messages that the server counts in a folder and does not show.", float64(f.Unseen), labels...)
		}
	}
	return m
}

// watch adds what a watching process knows of itself.
func (m *Families) watch(s mailsync.WatchState) {
	m.add("imapsync_watch_accounts", "gauge", "Providers that this process watches.", float64(s.Accounts))
	m.add("imapsync_watch_idling", "gauge", "Of these, those that wait in IDLE.", float64(s.Idling))
	m.add("imapsync_watch_elsewhere", "gauge", "Providers to be watched that other processes watch.", float64(s.Elsewhere))
	if !s.RoundAt.IsZero() {
		m.add("imapsync_watch_round_timestamp_seconds", "gauge", "When the providers to watch were last looked up.", float64(s.RoundAt.Unix()))
	}
}

// plainState is the state in one word.
func (s Provider) plainState() string {
	switch {
	case s.PausedAt != nil:
		return "paused"
	case !s.Active:
		return "inactive"
	}
	return cmp.Or(s.Status, "unknown")
}
