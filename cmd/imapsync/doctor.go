package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
			"looked at · 75 it was told to stop",
		Example: "  imapsync doctor\n  imapsync doctor support -o json",
		Args:    oneProviderOrAll,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			d := &doctor{app: a, steps: []doctorStep{}, ended: func() bool { return ctx.Err() != nil }}
			err := d.examine(ctx, args)
			if ctx.Err() != nil {
				err = stopped(ctx, "before all was looked at")
			}
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

type doctor struct {
	app   *app
	steps []doctorStep
	wrong int
	began time.Time
	p     *db.Provider // the mailbox that is looked at, nil for the surroundings
	ended func() bool  // it was told to stop: what fails from then on has no cause of its own
}

const doctorPatience = 20 * time.Second

func (d *doctor) examine(ctx context.Context, args []string) error {
	d.began = time.Now()
	store, dbErr := d.postgres(ctx)
	if store != nil {
		defer store.Close()
	}
	chain := d.secrets(ctx, store)
	natsErr := d.nats(ctx, store)
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
		d.warn("provider", "there is no mailbox yet", "imapsync provider add --help")
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

func (d *doctor) add(s provider.Step, fix string) {
	if d.ended() {
		return
	}
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

func (d *doctor) warn(name, text, fix string) {
	d.add(provider.Step{Name: name, State: provider.StepWarn, Text: text}, fix)
}

// tell adds steps, each with what to do by its code.
func (d *doctor) tell(steps ...provider.Step) {
	for _, s := range steps {
		d.add(s, strings.ReplaceAll(remedy(d.p, s), "[key]", d.app.secretKeyFile))
	}
}

func (d *doctor) failed(name string, err error, fix string) error {
	d.add(provider.Step{Name: name, State: provider.StepWrong, Text: err.Error()}, fix)
	return err
}

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
	if fix := "check DATABASE_URL"; err != nil {
		if h.LockURL {
			fix = "check LOCK_DATABASE_URL: a direct connection to the same database"
		}
		_ = d.failed("postgres", err, fix)
	} else {
		d.tell(provider.PostgresSteps(h)...)
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
	if chain.CanPut() != nil {
		d.warn("credentials", "rotated tokens cannot be kept", "set IMAPSYNC_SECRET_WRITE_DIR to a directory that stays, or put db into IMAPSYNC_SECRET_CHAIN")
	}
	return chain
}

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
	switch {
	case err != nil && len(counts) > 0:
		_ = d.failed("key", err, find(nil, err, "sealed").Do)
	case err != nil:
		d.warn("key", err.Error()+" (nothing is sealed yet)", find(nil, err).Do)
	case store == nil:
		d.warn("key", ring.IDs()[0]+": what is stored could not be looked at", "")
	default:
		d.tell(provider.KeyStep(ring.IDs(), counts))
	}
}

func (d *doctor) nats(ctx context.Context, store *db.Store) error {
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
	var gone error
	switch {
	case store == nil: // it has been said what is wrong
	case !h.Stream:
		gone = mailsync.MayMake(ctx, store, event.StreamName, time.Now())
	case !h.Bucket:
		gone = mailsync.MayMake(ctx, store, "OBJ_"+event.DefaultBucket, time.Now())
	}
	d.tell(provider.BrokerSteps(h, gone)...)
	for _, problem := range h.Problems {
		s := provider.Step{Name: "stream", State: provider.StepWarn, Text: problem.What}
		if problem.Fatal {
			s.State = provider.StepWrong
		}
		about := &fault.Error{Code: problem.Code, Params: map[string]string{"stream": problem.Stream, "want": problem.Want}}
		d.add(s, cmp.Or(find(nil, about).Do, problem.Fix))
	}
	return nil
}

// mailbox goes the way of a pass, and tells where its passes stand.
func (d *doctor) mailbox(ctx context.Context, store *db.Store, chain *secret.Chain, p *db.Provider) {
	d.p = p
	mailboxes := d.app.service(store)
	if chain != nil {
		mailboxes.Diagnose(ctx, p, func(s provider.Step) {
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
		if f.Warn {
			d.warn("forecast", text, f.Fix)
		}
	}
	steps, err := mailboxes.Standing(ctx, p, now)
	if d.tell(steps...); err != nil {
		_ = d.failed("backlog", err, "imapsync doctor "+p.ID+" # again, once DATABASE_URL can be read")
	}
}
