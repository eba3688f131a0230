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
	"imapsync/oauth"
	"imapsync/provider"
	"imapsync/publish"
	"imapsync/secret"
	mailsync "imapsync/sync"
)

func newDoctor(a *app) *cobra.Command {
	var tenant, output string
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
			d := &doctor{app: a, json: output == "json", steps: []doctorStep{}}
			err := d.examine(cmd.Context(), args, tenant)
			if d.json {
				err = errors.Join(err, a.printJSON(d.steps))
			}
			return err
		},
	}
	tenantFlag(cmd, &tenant)
	outputFlag(cmd, &output)
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
	json  bool
	steps []doctorStep
	wrong int
	began time.Time
	p     *db.Provider // the mailbox that is looked at, nil for the surroundings
}

// doctorPatience bounds what is asked of Postgres, NATS and Vault.
const doctorPatience = 20 * time.Second

func (d *doctor) examine(ctx context.Context, args []string, tenant string) error {
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
	list, err := d.providers(ctx, store, args, tenant)
	if err != nil {
		return err
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

func (d *doctor) providers(ctx context.Context, store *db.Store, args []string, tenant string) ([]*db.Provider, error) {
	list, err := findProviders(ctx, store, args, tenant)
	if err == nil && len(list) == 0 {
		d.warn("provider", "there is no mailbox yet", "imapsync provider add --help")
	}
	return list, err
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
	if d.steps = append(d.steps, step); d.json {
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

func (d *doctor) warn(name, text, fix string) {
	d.add(provider.Step{Name: name, State: provider.StepWarn, Text: text}, fix)
}

func (d *doctor) bad(name, text, fix string) {
	d.add(provider.Step{Name: name, State: provider.StepWrong, Text: text}, fix)
}

// postgres returns the store, nil when it cannot be used and the error says why.
func (d *doctor) postgres(ctx context.Context) (*db.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	opts, err := d.app.dbOptions()
	if err != nil {
		d.bad("postgres", err.Error(), "export DATABASE_URL=postgres://imapsync@localhost:5432/imapsync")
		return nil, err
	}
	store, err := db.Open(ctx, opts)
	if err != nil {
		fix := "check DATABASE_URL, and that Postgres runs there and lets this machine in"
		if errors.Is(err, db.ErrConfig) {
			fix = "check user, password and database in DATABASE_URL"
		}
		d.bad("postgres", err.Error(), fix)
		return nil, err
	}
	h, err := store.Health(ctx)
	switch {
	case err != nil && h.LockURL:
		d.bad("postgres", err.Error(), "check LOCK_DATABASE_URL: a direct connection to the same database")
	case err != nil:
		d.bad("postgres", err.Error(), "check DATABASE_URL")
	case h.TooOld:
		d.bad("postgres", "PostgreSQL "+h.Version+" is too old", "update it to 13 or newer")
	case h.ReadOnly:
		d.bad("postgres", "it takes no writes: a standby, or default_transaction_read_only", "let DATABASE_URL name the primary")
	default:
		d.fine("postgres", "PostgreSQL %s", h.Version)
	}
	if err == nil {
		d.ways(h)
	}
	if err := store.CheckSchema(ctx); err != nil {
		d.bad("schema", err.Error(), "imapsync migrate")
		return nil, errors.Join(err, store.Close())
	}
	have, _, err := store.SchemaVersion(ctx)
	if err != nil {
		d.bad("schema", err.Error(), "imapsync migrate status")
		return nil, errors.Join(err, store.Close())
	}
	d.fine("schema", "version %d, as this binary needs it", have)
	return store, nil
}

// maxSkew is how far clocks may be apart before it matters.
const maxSkew = 5 * time.Second

// ways tells of the connections to Postgres, and of its clock.
func (d *doctor) ways(h db.Health) {
	switch {
	case h.LockPooled && h.LockURL:
		d.bad("locks", "LOCK_DATABASE_URL goes through a pooler that shares sessions: two runs would both hold a mailbox", "let LOCK_DATABASE_URL name Postgres itself, past the pooler")
	case h.LockPooled:
		d.bad("locks", "DATABASE_URL goes through a pooler that shares sessions: two runs would both hold a mailbox", "set LOCK_DATABASE_URL to a direct connection to Postgres")
	case h.Pooled:
		d.fine("locks", "a pooler is between, and LOCK_DATABASE_URL goes past it")
	default:
		d.fine("locks", "no pooler shares the connection's session")
	}
	if skew := h.ClockSkew.Abs().Round(time.Millisecond); skew > maxSkew {
		d.warn("clock", fmt.Sprintf("the clocks of this machine and of Postgres are %s apart: mailboxes are due too early or too late", skew), "run a time service (chrony, systemd-timesyncd) on both")
	} else {
		d.fine("clock", "%s from that of Postgres", skew)
	}
}

// secrets looks at the places of credentials, and at the key. Without a store
// only at what needs none.
func (d *doctor) secrets(ctx context.Context, store *db.Store) *secret.Chain {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	chain, err := d.app.service(store).Chain()
	if err != nil {
		d.bad("credentials", err.Error(), "export IMAPSYNC_SECRET_CHAIN="+secret.DefaultPlaces+" # or set what is named here")
		return nil
	}
	var places []string
	for _, place := range chain.Places() {
		places = append(places, string(place))
	}
	d.fine("credentials", "read from %s, in this order (IMAPSYNC_SECRET_CHAIN)", strings.Join(places, ", "))
	if v := chain.Vault(); v != nil {
		if err := v.Check(ctx); err != nil {
			d.bad("vault", err.Error(), find(nil, fault.New("", "secret", err).With("vault", v.Address()), "vault").Do)
		} else {
			d.fine("vault", "%s, log-in works", v.Address())
		}
	}
	if !chain.Has(secret.PlaceDB) {
		if chain.CanPut() != nil {
			d.warn("credentials", "rotated tokens cannot be kept", "set IMAPSYNC_SECRET_WRITE_DIR to a directory that stays, or put db into IMAPSYNC_SECRET_CHAIN")
		}
		return chain
	}
	d.key(ctx, store)
	return chain
}

// key looks whether the key file opens what is stored.
func (d *doctor) key(ctx context.Context, store *db.Store) {
	counts := map[string]int{}
	if store != nil {
		var err error
		if counts, err = store.SecretKeys(ctx); err != nil {
			d.bad("key", err.Error(), "imapsync doctor # again, once DATABASE_URL can be read")
			return
		}
	}
	ring, err := d.app.keyRing()
	if err != nil {
		if len(counts) > 0 {
			d.bad("key", err.Error(), find(nil, err, "sealed").Do)
		} else {
			d.warn("key", err.Error()+" (nothing is sealed yet)", find(nil, err).Do)
		}
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
	switch {
	case store == nil:
		d.warn("key", ids[0]+": what is stored could not be looked at", "")
	case unknown > 0:
		d.bad("key", fmt.Sprintf("%d of %d stored credentials are sealed under a key that the key file does not hold", unknown, total),
			"put the old key back into "+d.app.secretKeyFile+", below the first line, or give each credential anew: imapsync provider set NAME --password-prompt")
	case old > 0:
		d.warn("key", fmt.Sprintf("%d of %d stored credentials are sealed under an old key", old, total), "imapsync secret rotate")
	default:
		d.fine("key", "%s opens all of %d stored credentials", ids[0], total)
	}
}

const natsFix = "check NATS_URL, and that nats-server runs there"

func (d *doctor) nats(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, doctorPatience)
	defer cancel()
	nc, err := d.app.openNATS(ctx)
	if err != nil {
		fix := natsFix
		if errors.Is(err, event.ErrConfig) {
			fix = "check NATS_URL and NATS_CREDS"
		}
		d.bad("nats", err.Error(), fix)
		return err
	}
	defer nc.Close()
	h, err := publish.CheckHealth(ctx, nc)
	if err != nil {
		fix := natsFix
		if errors.Is(err, event.ErrNoJetStream) {
			fix = "start nats-server with -js, or put jetstream {} into nats-server.conf"
		}
		d.bad("jetstream", err.Error(), fix)
		return err
	}
	d.fine("nats", "nats-server %s, max_payload %s", h.Server, provider.ByteSize(h.MaxPayload))
	limit := "no limit but the disk"
	if h.StoreLimit > 0 {
		limit = provider.ByteSize(h.StoreLimit)
	}
	d.fine("jetstream", "storage used: %s of %s", provider.ByteSize(int64(h.StoreUsed)), limit)
	switch {
	case !h.Stream:
		d.fine("stream", "%s is not there yet: the first run makes it", event.StreamName)
	default:
		d.fine("stream", "%s holds %d events, %s", event.StreamName, h.Messages, provider.ByteSize(int64(h.Bytes)))
	}
	for _, problem := range h.Problems {
		about := &fault.Error{Code: problem.Code, Params: map[string]string{"stream": problem.Stream, "want": problem.Want}}
		if fix := cmp.Or(find(nil, about).Do, problem.Fix); problem.Fatal {
			d.bad("stream", problem.What, fix)
		} else {
			d.warn("stream", problem.What, fix)
		}
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
	for _, f := range forecasts(p, time.Now()) {
		if f.Warn {
			d.warn("forecast", forecastText(f.Forecast), f.Fix)
		}
	}
	d.state(p, time.Now())
	d.folders(ctx, store, p)
}

func forecastText(f oauth.Forecast) string {
	text := strings.ReplaceAll(f.Credential, "_", " ")
	if f.EndsAt == nil {
		return text + ": " + f.Rule
	}
	return text + " ends " + f.EndsAt.UTC().Format(time.DateOnly) + " (" + f.Rule + ")"
}

// state is what the database says of a mailbox: switched off, paused, failing.
func (d *doctor) state(p *db.Provider, now time.Time) {
	resume := "imapsync provider resume " + p.ID
	switch {
	case !p.Active || !p.AutoProcess:
		d.warn("state", "it is switched off: no run reads it", "switch it on where it was switched off (is_active, auto_process_emails)")
	case p.PausedAt != nil:
		text := "paused since " + p.PausedAt.UTC().Format(time.RFC3339) + " (" + p.PauseReason + "); mail waits on the server"
		switch {
		case p.PauseReason != db.PauseAuthFailure:
			d.warn("state", text, resume)
		case p.AuthType == db.AuthOAuth2:
			d.bad("state", text, "imapsync provider auth "+p.ID+" && "+resume)
		default:
			d.bad("state", text, "imapsync provider set "+p.ID+" --password-prompt && "+resume)
		}
	case p.ConsecutiveFailures > 0:
		text := fmt.Sprintf("the last %d passes failed: %s", p.ConsecutiveFailures, p.LastError)
		fix := "imapsync run --provider " + p.ID
		if p.NextAttemptAt != nil && p.NextAttemptAt.After(now) {
			text += "; next attempt " + p.NextAttemptAt.UTC().Format(time.RFC3339)
			fix += " # does not wait"
		}
		d.warn("state", text, fix)
	case p.LastSuccessAt == nil:
		d.fine("state", "not read yet")
	default:
		d.fine("state", "last read %s", p.LastSuccessAt.UTC().Format(time.RFC3339))
	}
}

// folders tells which are paused, and how much waits in all.
func (d *doctor) folders(ctx context.Context, store *db.Store, p *db.Provider) {
	states, err := store.FolderStates(ctx, ref(p))
	if err != nil {
		d.bad("backlog", err.Error(), "imapsync doctor "+p.ID+" # again, once DATABASE_URL can be read")
		return
	}
	var backlog int64
	for _, st := range states {
		backlog += st.Backlog
		if st.PausedReason != "" {
			d.bad("folder", fmt.Sprintf("%q is paused: %s", st.Folder, st.PausedReason), find(p, mailsync.PausedFolder(st.Folder, st.PausedReason, st.ResyncCount)).Do)
		}
	}
	text, fix := fmt.Sprintf("%d mails wait, %d a pass", backlog, p.MaxEmailsPerSync), ""
	if backlog > 10*int64(p.MaxEmailsPerSync) {
		fix = "imapsync run --provider " + p.ID + " --drain # or more a pass: imapsync provider set " + p.ID + " --max-emails-per-sync N"
	}
	if p.MaxBytesPerDay > 0 {
		today := p.BytesToday(time.Now())
		text += fmt.Sprintf("; %s of %s today", provider.ByteSize(today), provider.ByteSize(p.MaxBytesPerDay))
		if today >= p.MaxBytesPerDay {
			fix = "imapsync provider set " + p.ID + " --max-bytes-per-day BYTES # or wait: it goes on at midnight UTC"
		}
	}
	if fix != "" {
		d.warn("backlog", text, fix)
	} else {
		d.fine("backlog", "%s", text)
	}
}
