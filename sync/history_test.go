package sync

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
	"imapsync/parse"
	"imapsync/secret"
)

// history is one mailbox on a server that lies, with a clock of its own.
type history struct {
	*postOffice
	t        *testing.T
	seed     uint64
	rand     *rand.Rand
	srv      *imapserver.Server
	liar     *imapserver.Liar
	runner   *Runner
	provider *db.Provider

	mu     gosync.Mutex // the pass asks the clock and tells the story as well
	now    time.Time
	story  []string
	killAt int // a pass is killed at that answer of the server, or parse; 0: not
	kill   func()

	letters []*letter
	lies    []underway
	told    map[string]bool // each lie is told once in a history
	n       int             // letters written
	begun   bool            // a pass has ended well: start is over
	last    Result
}

// underway is a lie that has begun.
type underway struct {
	lie    imapserver.Lie
	folder string
	until  time.Time
}

// ending is what it took once the server behaved.
type ending struct {
	passes int
	took   time.Duration
}

// lyingSpan is how long a server lies at a stretch, whatever it tells.
const lyingSpan = 6 * time.Hour

// afterTheLies are the times between the passes once the server behaves: within them
// all must be well.
func afterTheLies() []time.Duration {
	return []time.Duration{
		time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, time.Hour, 2 * time.Hour, 2 * time.Hour, 4 * time.Hour, 4 * time.Hour,
		8 * time.Hour, 8 * time.Hour, 8 * time.Hour, 8 * time.Hour,
	}
}

// The times-outs of a pass: what hangs hangs often, and a machine may be slow.
const historyTimeout = 250 * time.Millisecond

// Now and After are the clock of the pass: nothing in it waits by that.
func (h *history) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *history) After(d time.Duration) <-chan time.Time { return time.After(d) }

func newHistory(t *testing.T, office *postOffice, seed uint64) *history {
	t.Helper()
	h := &history{postOffice: office, t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, 0)), told: map[string]bool{}}
	h.now = time.Now().UTC().Truncate(24 * time.Hour).Add(time.Duration(h.rand.IntN(24*60)) * time.Minute)
	t.Cleanup(func() {
		if t.Failed() || *historyLong || *oneHistory != 0 {
			t.Logf("the story of history %d (go test ./sync -run 'TestHistories$' -history %d plays it again):\n%s",
				seed, seed, strings.Join(h.story, "\n"))
		}
	})
	h.openServer("user")
	password := secret.New(h.srv.Password)
	h.runner = &Runner{
		Store: office.store, Locks: office.locks, Publisher: office.runner.Publisher, Log: quiet(t), Clock: h,
		Options: Options{Workers: 1, MaxMessageBytes: 1 << 20, Drain: h.chance(0.3)}, Stop: make(chan struct{}),
		Credential: func(context.Context, *db.Provider, db.Fence) (Credential, error) {
			return Credential{Password: password}, nil
		},
		OnResult: func(res Result) { h.last = res },
		keep:     h.chance(0.2),
	}
	h.runner.init()
	read := h.runner.parse
	h.runner.parse = func(raw []byte, lim parse.Limits) *parse.Message {
		h.killWhenDue() // between the fetch and the commit a pass may be killed as well
		return read(raw, lim)
	}
	t.Cleanup(h.runner.sessions.Close)
	h.addProvider()
	return h
}

// openServer starts a server, with an address and a user name.
func (h *history) openServer(user string) {
	addr := fmt.Sprintf("127.%d.%d.%d", 1+h.seed/60000%250, 1+h.seed/250%240, 1+h.seed%250)
	srv, err := imapserver.Start(imapserver.Config{Security: imapserver.Plain, Listen: addr, Username: user})
	must(h.t, err)
	h.t.Cleanup(func() { srv.Close() })
	h.srv, h.liar = srv, imapserver.NewLiar(srv, h.seed)
	h.liar.Told = h.hear
	for _, folder := range []string{"INBOX", "Other", "Sub/One", "Elsewhere"} {
		srv.Mailbox(folder)
	}
}

func (h *history) addProvider() {
	filter := oneOf(h.rand, db.FolderNames{"INBOX"}, db.FolderNames{"INBOX", "Other"}, db.FolderNames{"INBOX", "Other", "Sub/*"})
	h.provider = &db.Provider{
		Settings: db.Settings{
			Tenant: testTenant, ID: uuid.NewString(), Name: fmt.Sprintf("history-%d", h.seed), Mailbox: fmt.Sprintf("history-%d@example.com", h.seed),
			Active: true, AutoProcess: true, AuthType: "password", Username: h.srv.Username, Host: h.srv.Host(), Port: h.srv.Port(),
			TLS: db.TLSNone, MaxEmailsPerSync: oneOf(h.rand, 3, 7, 50, 50), Folders: filter, CreatedAt: h.now,
			Start: oneOf(h.rand, "all", "all", "all", "all", "all", "none", "recent"),
		},
		State: db.State{Status: db.StatusConfiguring},
	}
	h.timeouts(historyTimeout)
	must(h.t, h.store.AddProvider(h.t.Context(), h.provider, nil, h.audit()))
	h.say("a mailbox with the folders %q, start %s, at most %d a pass, drain %v, connections kept %v", filter,
		h.provider.Start, h.provider.MaxEmailsPerSync, h.runner.Options.Drain, h.runner.keep)
}

func (h *history) timeouts(d time.Duration) {
	ms := int(d.Milliseconds())
	h.provider.ConnectTimeoutMS, h.provider.CommandTimeoutMS, h.provider.LiteralTimeoutMS = ms, ms, ms
}

func (h *history) audit() db.Audit { return db.Audit{Tenant: testTenant, At: h.now, Actor: "history"} }

// change stores other settings, as a person does.
func (h *history) change(what string, args ...any) {
	must(h.t, h.store.UpdateProvider(h.t.Context(), h.provider, nil, h.audit()))
	h.say(what, args...)
}

// say adds a line to the story.
func (h *history) say(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.story = append(h.story, h.now.Format("02 15:04:05 ")+fmt.Sprintf(format, args...))
}

// hear adds a command and the lie that it was answered with, and kills the pass when
// it is time.
func (h *history) hear(x *imapserver.Exchange, lie string) {
	what := string(x.Stage)
	if x.Name != "" {
		what = strings.ReplaceAll(x.Tag+" "+x.Name+" "+x.Args, "\n", " ")
		if x.Stage == imapserver.Login {
			what = x.Tag + " " + x.Name
		}
	}
	answer := ""
	if lie != "" {
		answer = "  ← " + lie
	}
	h.say("    %s%s", what, answer)
	h.killWhenDue()
}

func (h *history) killWhenDue() {
	h.mu.Lock()
	due := h.killAt == 1
	h.killAt = max(0, h.killAt-1)
	h.mu.Unlock()
	if due && h.kill != nil {
		h.kill()
	}
}

func (h *history) chance(p float64) bool { return h.rand.Float64() < p }

func oneOf[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// play plays the history to its end.
func (h *history) play() (end ending) {
	h.deliver(h.rand.IntN(7))
	for range h.rand.IntN(3) {
		h.step(false)
	}
	for range 1 + h.rand.IntN(2) {
		h.lyingTime()
		for range 1 + h.rand.IntN(2) {
			h.wait(6*time.Hour, 12*time.Hour)
			h.step(false)
		}
		if h.chance(0.1) {
			h.moveServer()
		}
	}
	return h.end()
}

// lyingTime is a stretch in which the server lies in several ways.
func (h *history) lyingTime() {
	until := h.now.Add(lyingSpan)
	h.begin(until)
	for h.now.Before(until) && !h.t.Failed() {
		if len(h.lies) < 3 && h.chance(0.4) {
			h.begin(until)
		}
		h.step(true)
		h.wait(time.Minute, 3*time.Hour)
		h.endLies(h.now)
	}
	h.endLies(until)
	h.say("the server behaves")
}

// begin has the server begin to tell one more lie.
func (h *history) begin(until time.Time) {
	lies := imapserver.Lies()
	lie := lies[h.rand.IntN(len(lies))]
	forged := func(u underway) bool { return lie.Forges != "" && u.lie.Forges == lie.Forges }
	if h.told[lie.Name] || slices.ContainsFunc(h.lies, forged) {
		return
	}
	h.told[lie.Name] = true
	u := underway{lie: lie, until: h.now.Add(time.Duration(10+h.rand.IntN(350)) * time.Minute)}
	if u.until.After(until) {
		u.until = until
	}
	chance := oneOf(h.rand, 1, 1, 0.25)
	if lie.Slow {
		chance = 0.05
	}
	mail := ""
	if lie.Begin != nil || h.chance(0.3) {
		u.folder = oneOf(h.rand, h.folders()...)
	}
	if lie.One {
		l := h.letter()
		if l == nil {
			return
		}
		l.blamed, mail, chance = true, "X-Token: "+l.token+"\r\n", 1
	}
	h.say("%s: %s, until %s; folder %q, chance %.2f %s", lie.Name, lie.Describe, u.until.Format("15:04"), u.folder, chance, mail)
	if lie.Begin != nil {
		lie.Begin(h.srv.Mailbox(u.folder), h.rand)
	}
	h.liar.Begin(lie, u.folder, mail, chance)
	h.lies = append(h.lies, u)
}

// endLies ends those whose time is over.
func (h *history) endLies(now time.Time) {
	h.lies = slices.DeleteFunc(h.lies, func(u underway) bool {
		if u.until.After(now) {
			return false
		}
		h.liar.End(u.lie.Name)
		if u.lie.End != nil {
			u.lie.End(h.srv.Mailbox(u.folder), h.rand)
		}
		h.say("%s ends", u.lie.Name)
		return true
	})
}

// wait moves the clock.
func (h *history) wait(least, most time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(least + time.Duration(h.rand.Int64N(int64(most-least)))).Truncate(time.Second)
}

// step is what happens from one pass to the next, and that pass.
func (h *history) step(lying bool) {
	if h.chance(0.7) {
		h.deliver(1 + h.rand.IntN(3))
	}
	const moves, expunges = 0.15, 0.15
	switch {
	case h.chance(moves):
		h.move()
	case h.chance(expunges):
		h.expunge()
	case h.chance(0.1):
		h.provider.MaxEmailsPerSync = oneOf(h.rand, 2, 5, 50)
		h.change("at most %d a pass", h.provider.MaxEmailsPerSync)
	case h.chance(0.05) && h.provider.Start == "all": // else what is there already is left alone
		h.provider.Folders = db.FolderNames{"INBOX", "Other", "Sub/*"}
		h.change("the folders are %q", h.provider.Folders)
	}
	if lying && h.chance(0.15) {
		h.killedPass()
		return
	}
	h.pass(h.t.Context())
}

// pass is one run over the mailbox.
func (h *history) pass(ctx context.Context) {
	h.say("  pass")
	h.last = Result{}
	_, err := h.runner.Run(ctx, []db.Ref{{Tenant: h.provider.Tenant, ID: h.provider.ID}})
	if err != nil && ctx.Err() == nil {
		h.t.Errorf("run: %v", err)
	}
	res := h.last
	h.begun = h.begun || res.Ref.ID != "" && res.Err == nil && res.Deferred == ""
	h.say("  → published %d, duplicates %d, expunged %d, quarantined %d, left %d, deferred %q, error %v", res.Counts.Published,
		res.Counts.Duplicates, res.Counts.Expunged, res.Counts.Quarantined, res.Left, res.Deferred, res.Err)
}

// killedPass is one that is killed: another run raises the fence before whatever it
// would still write, and its context ends, or not, as that of a process that was only
// thought dead.
func (h *history) killedPass() {
	ctx, cancel := context.WithCancel(h.t.Context())
	defer cancel()
	alive := h.chance(0.3)
	var once gosync.Once
	h.mu.Lock()
	h.killAt = 1 + h.rand.IntN(12)
	h.kill = func() {
		once.Do(func() {
			h.say("    the pass is killed (alive %v)", alive)
			h.fence()
			if !alive {
				cancel()
			}
		})
	}
	h.mu.Unlock()
	h.pass(ctx)
	h.mu.Lock()
	h.killAt, h.kill = 0, nil
	h.mu.Unlock()
	h.runner.sessions.Close()
}

// fence shuts the pass that is under way out.
func (h *history) fence() {
	ref := db.Ref{Tenant: h.provider.Tenant, ID: h.provider.ID}
	if _, err := h.sql.ExecContext(context.WithoutCancel(h.t.Context()),
		`UPDATE imap_sync_state SET run_epoch = run_epoch + 1 WHERE tenant = $1 AND provider_id = $2`, ref.Tenant, ref.ID); err != nil {
		h.t.Error(err)
	}
}

// moveServer moves the mailbox to another server, which numbers the messages itself.
func (h *history) moveServer() {
	h.endLies(h.now.Add(lyingSpan))
	from, user := h.srv, oneOf(h.rand, h.srv.Username, h.srv.Username+"2")
	h.openServer(user)
	equal := h.chance(0.5)
	for _, folder := range []string{"INBOX", "Other", "Sub/One", "Elsewhere"} {
		old, box := from.Mailbox(folder), h.srv.Mailbox(folder)
		for _, m := range old.Messages() {
			box.AppendAt(string(m.Raw), m.Date)
		}
		if !equal {
			box.SetUIDValidity(old.UIDValidity() + 77)
		} else {
			box.SetUIDValidity(old.UIDValidity())
		}
	}
	if user != h.provider.Username { // another account: this is its first look
		h.begun = true
		for _, l := range h.letters {
			l.early = true
		}
	}
	h.provider.Host, h.provider.Port, h.provider.Username = h.srv.Host(), h.srv.Port(), user
	h.change("the mailbox moved to another server, as %q, UIDVALIDITY equal %v", user, equal)
	must(h.t, from.Close())
}

// end is how it ends: the server behaves, passes go on, and all must be well.
func (h *history) end() ending {
	h.timeouts(patient)
	h.change("the server behaves to the end")
	began := h.now
	for i, d := range afterTheLies() {
		h.wait(d, d+time.Second)
		h.pass(h.t.Context())
		if h.t.Failed() {
			return ending{}
		}
		if why := h.wrong(); why == "" {
			end := ending{i + 1, h.now.Sub(began)}
			h.nothingMore()
			return end
		}
	}
	h.t.Errorf("%d passes in %s after the last lie: %s", len(afterTheLies()), h.now.Sub(began), h.wrong())
	return ending{}
}

// nothingMore holds that what was well stays so.
func (h *history) nothingMore() {
	for _, d := range []time.Duration{time.Hour, 25 * time.Hour} {
		h.wait(d, d+time.Second)
		h.pass(h.t.Context())
		if h.last.Counts.Published > 0 || h.last.Err != nil {
			h.t.Errorf("one more pass: %+v", h.last)
		}
	}
	for range afterTheLies() { // headers of a folder that holds its numbering again are gone through
		if h.last.Left == 0 {
			break
		}
		h.wait(time.Minute, time.Minute+time.Second)
		h.pass(h.t.Context())
	}
	if why := h.wrong(); why != "" || h.last.Counts.Published > 0 {
		h.t.Errorf("%s, %+v", why, h.last.Counts)
	}
}
