package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/fault"
	"imapsync/provider"
	"imapsync/publish"
	"imapsync/secret"
	mailsync "imapsync/sync"
)

func newDoctor(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor [PROVIDER]", Short: "Look at everything a run needs, and name the fix",
		Long: "Look at Postgres, the places of credentials, NATS, and each mailbox (or one): DNS, TCP, TLS,\n" +
			"log-in, folders, and the header of one message. Each line is ok or ends in the next command or\n" +
			"setting. Nothing is changed, on the server or here, except that an expiring token is renewed.\n\n" +
			"Exit codes: 0 nothing is wrong · 1 something is · 69, 76, 78 neither Postgres nor NATS could be\n" +
			"looked at",
		Example: "  imapsync doctor\n  imapsync doctor support -o json",
		Args:    oneProviderOrAll,
		RunE: func(cmd *cobra.Command, args []string) error {
			d := &doctor{app: a, steps: []doctorStep{}}
			err := d.examine(cmd.Context(), args)
			if a.json() {
				err = errors.Join(err, a.printJSON(d.steps))
			}
			return err
		},
	}
	a.tenantFlag(cmd)
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// doctorStep is a line of `doctor`: of the surroundings, or of a mailbox.
type doctorStep struct {
	Tenant     string `json:"tenant,omitempty"`
	ProviderID string `json:"providerId,omitempty"`
	Provider   string `json:"provider,omitempty"`
	provider.Step
	Fix        string `json:"fix,omitempty"`
	DurationMS int64  `json:"durationMs"`
}

// doctor is one examination under way.
type doctor struct {
	app   *app
	steps []doctorStep
	wrong int
	began time.Time
	p     *db.Provider // the mailbox that is looked at, nil for the surroundings
}

// doctorPatience bounds what is asked of Postgres, NATS and Vault.
const doctorPatience = 20 * time.Second

func (d *doctor) examine(ctx context.Context, args []string) error {
	d.began = time.Now()
	store, dbErr := d.postgres(ctx)
	if store != nil {
		defer store.Close()
	}
	chain := d.secrets(ctx, store)
	natsErr := d.nats(ctx)
	if dbErr != nil {
		if natsErr != nil {
			return &exitError{code: exitCode(dbErr)}
		}
		return &exitError{code: exitFailed}
	}
	list, err := findProviders(ctx, store, args, d.app.tenant)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		d.first("provider", finding{true, stepWarn, "there is no mailbox yet", "imapsync provider add --help"})
	}
	for _, p := range list {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.mailbox(ctx, store, chain, p)
	}
	if d.wrong > 0 {
		return &exitError{code: exitFailed}
	}
	return nil
}

// add keeps a step, and prints it.
func (d *doctor) add(s provider.Step, fix string) {
	now := time.Now()
	s.Took, d.began = cmp.Or(s.Took, now.Sub(d.began)), now
	s.Text = provider.OneLine(s.Text)
	step, name := doctorStep{Step: s, Fix: fix, DurationMS: s.Took.Milliseconds()}, s.Name
	if d.p != nil {
		step.Tenant, step.ProviderID, step.Provider, name = d.p.Tenant, d.p.ID, d.p.Name, d.p.Name+" "+name
	}
	if s.State == provider.StepWrong {
		d.wrong++
	}
	if d.steps = append(d.steps, step); d.app.json() {
		return
	}
	d.app.printf("%-6s %s: %s\n", step.State, name, step.Text)
	if step.Fix != "" {
		d.app.printf("%-6s → %s\n", "", step.Fix)
	}
}

func (d *doctor) fine(name, format string, args ...any) {
	d.add(provider.Step{Name: name, State: provider.StepOK, Text: fmt.Sprintf(format, args...)}, "")
}

// failed tells that a thing cannot be used, and why.
func (d *doctor) failed(name string, err error, fix string) error {
	d.add(provider.Step{Name: name, State: provider.StepWrong, Text: err.Error()}, fix)
	return err
}

// finding is what a look at a thing may show, and what to do about it.
type finding struct {
	holds     bool
	state     provider.StepState
	text, fix string
}

// first tells the first finding that holds.
func (d *doctor) first(name string, findings ...finding) {
	for _, f := range findings {
		if f.holds {
			d.add(provider.Step{Name: name, State: f.state, Text: f.text}, f.fix)
			return
		}
	}
}

const (
	stepOK    = provider.StepOK
	stepWarn  = provider.StepWarn
	stepWrong = provider.StepWrong
)

// postgres returns the store, nil when it cannot be used and the error says why.
func (d *doctor) postgres(ctx context.Context) (*db.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	opts, err := d.app.dbOptions()
	if err != nil {
		return nil, d.failed("postgres", err, "export DATABASE_URL=postgres://imapsync@localhost:5432/imapsync")
	}
	store, err := db.Open(ctx, opts)
	if errors.Is(err, db.ErrConfig) {
		return nil, d.failed("postgres", err, "check user, password and database in DATABASE_URL")
	}
	if err != nil {
		return nil, d.failed("postgres", err, "check DATABASE_URL, and that Postgres runs there and lets this machine in")
	}
	h, err := store.Health(ctx)
	d.first("postgres",
		finding{err != nil && h.LockURL, stepWrong, fmt.Sprint(err), "check LOCK_DATABASE_URL: a direct connection to the same database"},
		finding{err != nil, stepWrong, fmt.Sprint(err), "check DATABASE_URL"},
		finding{h.TooOld, stepWrong, "PostgreSQL " + h.Version + " is too old", "update it to 13 or newer"},
		finding{h.ReadOnly, stepWrong, "it takes no writes: a standby, or default_transaction_read_only", "let DATABASE_URL name the primary"},
		finding{true, stepOK, "PostgreSQL " + h.Version, ""})
	if err == nil {
		d.ways(h)
	}
	version, fix := int64(0), "imapsync migrate"
	if err = store.CheckSchema(ctx); err == nil {
		fix = "imapsync migrate status"
		version, _, err = store.SchemaVersion(ctx)
	}
	if err != nil {
		return nil, errors.Join(d.failed("schema", err, fix), store.Close())
	}
	d.fine("schema", "version %d, as this binary needs it", version)
	return store, nil
}

// maxSkew is how far clocks may be apart before it matters.
const maxSkew = 5 * time.Second

// ways tells of the connections to Postgres, and of its clock.
func (d *doctor) ways(h db.Health) {
	const shared = " goes through a pooler that shares sessions: two runs would both hold a mailbox"
	d.first("locks",
		finding{h.LockPooled && h.LockURL, stepWrong, "LOCK_DATABASE_URL" + shared, "let LOCK_DATABASE_URL name Postgres itself, past the pooler"},
		finding{h.LockPooled, stepWrong, "DATABASE_URL" + shared, "set LOCK_DATABASE_URL to a direct connection to Postgres"},
		finding{h.Pooled, stepOK, "a pooler is between, and LOCK_DATABASE_URL goes past it", ""},
		finding{true, stepOK, "no pooler shares the connection's session", ""})
	skew := h.ClockSkew.Abs().Round(time.Millisecond)
	d.first("clock",
		finding{skew > maxSkew, stepWarn, fmt.Sprintf("the clocks of this machine and of Postgres are %s apart: mailboxes are due too early or too late", skew),
			"run a time service (chrony, systemd-timesyncd) on both"},
		finding{true, stepOK, skew.String() + " from that of Postgres", ""})
}

// secrets looks at the places of credentials, and at the key. Without a store
// only at what needs none.
func (d *doctor) secrets(ctx context.Context, store *db.Store) *secret.Chain {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	chain, err := d.app.service(store).Chain()
	if err != nil {
		_ = d.failed("credentials", err, "export IMAPSYNC_SECRET_CHAIN="+secret.DefaultPlaces+" # or set what is named here")
		return nil
	}
	var places []string
	for _, place := range chain.Places() {
		places = append(places, string(place))
	}
	d.fine("credentials", "read from %s, in this order (IMAPSYNC_SECRET_CHAIN)", strings.Join(places, ", "))
	if v := chain.Vault(); v != nil {
		if err := v.Check(ctx); err != nil {
			_ = d.failed("vault", err, find(nil, fault.New("", "secret", err).With("vault", v.Address()), "vault").Do)
		} else {
			d.fine("vault", "%s, log-in works", v.Address())
		}
	}
	if chain.Has(secret.PlaceDB) {
		d.key(ctx, store)
		return chain
	}
	d.first("credentials", finding{chain.CanPut() != nil, stepWarn, "rotated tokens cannot be kept",
		"set IMAPSYNC_SECRET_WRITE_DIR to a directory that stays, or put db into IMAPSYNC_SECRET_CHAIN"})
	return chain
}

// key looks whether the key file opens what is stored.
func (d *doctor) key(ctx context.Context, store *db.Store) {
	counts := map[string]int{}
	if store != nil {
		var err error
		if counts, err = store.SecretKeys(ctx); err != nil {
			_ = d.failed("key", err, "imapsync doctor # again, once DATABASE_URL can be read")
			return
		}
	}
	ring, err := d.app.keyRing()
	if err != nil {
		d.first("key", finding{len(counts) > 0, stepWrong, err.Error(), find(nil, err, "sealed").Do},
			finding{true, stepWarn, err.Error() + " (nothing is sealed yet)", find(nil, err).Do})
		return
	}
	ids := ring.IDs()
	total, old, unknown := 0, 0, 0
	for id, n := range counts {
		total += n
		switch {
		case id == ids[0]:
		case slices.Contains(ids, id):
			old += n
		default:
			unknown += n
		}
	}
	d.first("key",
		finding{store == nil, stepWarn, ids[0] + ": what is stored could not be looked at", ""},
		finding{unknown > 0, stepWrong, fmt.Sprintf("%d of %d stored credentials are sealed under a key that the key file does not hold", unknown, total),
			"put the old key back into " + d.app.secretKeyFile + ", below the first line, or give each credential anew: imapsync provider set NAME --password-prompt"},
		finding{old > 0, stepWarn, fmt.Sprintf("%d of %d stored credentials are sealed under an old key", old, total), "imapsync secret rotate"},
		finding{true, stepOK, fmt.Sprintf("%s opens all of %d stored credentials", ids[0], total), ""})
}

func (d *doctor) nats(ctx context.Context) error {
	const fix = "check NATS_URL, and that nats-server runs there"
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	nc, err := d.app.openNATS(ctx)
	if errors.Is(err, event.ErrConfig) {
		return d.failed("nats", err, "check NATS_URL and NATS_CREDS")
	}
	if err != nil {
		return d.failed("nats", err, fix)
	}
	defer nc.Close()
	h, err := publish.CheckHealth(ctx, nc)
	if errors.Is(err, event.ErrNoJetStream) {
		return d.failed("jetstream", err, "start nats-server with -js, or put jetstream {} into nats-server.conf")
	}
	if err != nil {
		return d.failed("jetstream", err, fix)
	}
	d.fine("nats", "nats-server %s, max_payload %s", h.Server, provider.ByteSize(h.MaxPayload))
	limit := "no limit but the disk"
	if h.StoreLimit > 0 {
		limit = provider.ByteSize(h.StoreLimit)
	}
	d.fine("jetstream", "storage used: %s of %s", provider.ByteSize(int64(h.StoreUsed)), limit)
	d.first("stream",
		finding{!h.Stream, stepOK, event.StreamName + " is not there yet: the first run makes it", ""},
		finding{true, stepOK, fmt.Sprintf("%s holds %d events, %s", event.StreamName, h.Messages, provider.ByteSize(int64(h.Bytes))), ""})
	for _, problem := range h.Problems {
		about := &fault.Error{Code: problem.Code, Params: map[string]string{"stream": problem.Stream, "want": problem.Want}}
		fix := cmp.Or(find(nil, about).Do, problem.Fix)
		d.first("stream", finding{problem.Fatal, stepWrong, problem.What, fix}, finding{true, stepWarn, problem.What, fix})
	}
	return nil
}

// mailbox goes the way of a pass, and tells where its passes stand.
func (d *doctor) mailbox(ctx context.Context, store *db.Store, chain *secret.Chain, p *db.Provider) {
	d.p = p
	if chain != nil {
		d.app.service(store).Diagnose(ctx, p, func(s provider.Step) {
			fix := remedy(p, s)
			if errors.Is(s.Err, secret.ErrAbsent) && chain.CanPut() != nil {
				fix = "put it into a place that this line names" // no command can
			}
			d.add(s, fix)
		})
	}
	now := time.Now()
	for _, f := range forecasts(p, now) {
		text := strings.ReplaceAll(f.Credential, "_", " ")
		if f.EndsAt == nil {
			text += ": " + f.Rule
		} else {
			text += " ends " + f.EndsAt.UTC().Format(time.DateOnly) + " (" + f.Rule + ")"
		}
		d.first("forecast", finding{f.Warn, stepWarn, text, f.Fix})
	}
	d.state(p, now)
	d.folders(ctx, store, p, now)
}

// state is what the database says of a mailbox: switched off, paused, failing.
func (d *doctor) state(p *db.Provider, now time.Time) {
	paused := p.PausedAt != nil
	refused := paused && p.PauseReason == db.PauseAuthFailure
	waits := "paused since " + moment(p.PausedAt) + " (" + p.PauseReason + "); mail waits on the server"
	resume := "imapsync provider resume " + p.ID
	failing := fmt.Sprintf("the last %d passes failed: %s", p.ConsecutiveFailures, p.LastError)
	run := "imapsync run --provider " + p.ID
	if p.NextAttemptAt != nil && p.NextAttemptAt.After(now) {
		failing += "; next attempt " + moment(p.NextAttemptAt)
		run += " # does not wait"
	}
	d.first("state",
		finding{!p.Active || !p.AutoProcess, stepWarn, "it is switched off: no run reads it", "switch it on where it was switched off (is_active, auto_process_emails)"},
		finding{refused && p.AuthType == db.AuthOAuth2, stepWrong, waits, "imapsync provider auth " + p.ID + " && " + resume},
		finding{refused, stepWrong, waits, "imapsync provider set " + p.ID + " --password-prompt && " + resume},
		finding{paused, stepWarn, waits, resume},
		finding{p.ConsecutiveFailures > 0, stepWarn, failing, run},
		finding{p.LastSuccessAt == nil, stepOK, "not read yet", ""},
		finding{true, stepOK, "last read " + moment(p.LastSuccessAt), ""})
}

// folders tells which are paused, and how much waits in all.
func (d *doctor) folders(ctx context.Context, store *db.Store, p *db.Provider, now time.Time) {
	states, err := store.FolderStates(ctx, ref(p))
	if err != nil {
		_ = d.failed("backlog", err, "imapsync doctor "+p.ID+" # again, once DATABASE_URL can be read")
		return
	}
	var backlog int64
	for _, st := range states {
		backlog += st.Backlog
		d.first("folder", finding{st.PausedReason != "", stepWrong, fmt.Sprintf("%q is paused: %s", st.Folder, st.PausedReason), find(p, mailsync.PausedFolder(st.Folder, st.PausedReason, st.ResyncCount)).Do})
	}
	text, today := fmt.Sprintf("%d mails wait, %d a pass", backlog, p.MaxEmailsPerSync), p.BytesToday(now)
	if p.MaxBytesPerDay > 0 {
		text += fmt.Sprintf("; %s of %s today", provider.ByteSize(today), provider.ByteSize(p.MaxBytesPerDay))
	}
	set := "imapsync provider set " + p.ID
	d.first("backlog",
		finding{p.MaxBytesPerDay > 0 && today >= p.MaxBytesPerDay, stepWarn, text, set + " --max-bytes-per-day BYTES # or wait: it goes on at midnight UTC"},
		finding{backlog > 10*int64(p.MaxEmailsPerSync), stepWarn, text,
			"imapsync run --provider " + p.ID + " --drain # or more a pass: " + set + " --max-emails-per-sync N"},
		finding{true, stepOK, text, ""})
}
