// Package provider is what can be done to a mailbox, once, for every face: adding it,
// changing, testing, pausing and reading it, signing in to it. The command line and the
// settings page call it and find words of their own for what it says.
//
// Invariants: what is done is tested before it is stored, unless somebody asked for it
// untested, and stands in the audit log under the name of who did it; a setting is
// known in one table, settings; no error here names a flag, a command or a label.
package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/publish"
	"imapsync/secret"
	mailsync "imapsync/sync"
)

// Service does to mailboxes what a person asks for. By is who that is, for the
// audit log. It is safe for concurrent use.
type Service struct {
	Store     *db.Store // nil: nothing is stored, and nothing can be
	Box       *secret.Box
	LookupEnv func(key string) (string, bool) // says where credentials are
	Log       *slog.Logger
	Version   string
	Connect   func(ctx context.Context) (*nats.Conn, error) // to the broker

	// Pass and Publish are the limits and time-outs of a pass that Sync makes.
	Pass    mailsync.Options
	Publish publish.PublisherOptions
}

// Errors that are told from others by errors.Is.
var (
	ErrBusy      = errors.New("another run holds its lock")
	ErrUnchanged = errors.New("nothing to change")
	ErrDeferred  = errors.New("nothing could be done now: their mail servers turn connections away")
	ErrStopped   = errors.New("nothing was started: the deadline came first, or the run was told to stop")
)

// Busy says that another run has a provider.
func Busy(p *db.Provider) error {
	return &fault.Error{Class: fault.Transient, Code: "busy", Err: fmt.Errorf("provider %s is busy: %w", p, ErrBusy)}
}

// Idle says why no pass reads p; nil when passes do.
func Idle(p *db.Provider) error {
	switch {
	case !p.Active || !p.AutoProcess:
		return fmt.Errorf("provider %s is not active", p)
	case p.PausedAt != nil:
		return fault.Newf(fault.Config, "paused", "provider %s is paused (%s) since %s", p, p.PauseReason, p.PausedAt.UTC().Format(time.RFC3339))
	}
	return nil
}

func audit(p *db.Provider, by, action string, detail db.Detail) db.Audit {
	return db.Audit{Tenant: p.Tenant, At: time.Now().UTC(), Actor: by, Action: action, ProviderID: p.ID, Detail: detail}
}

// mailboxTaken says in which tenant a mailbox is there already; that another has
// its name, says a db.NameTakenError.
func mailboxTaken(p *db.Provider, err error) error {
	_, nameTaken := errors.AsType[*db.NameTakenError](err)
	if nameTaken || !errors.Is(err, db.ErrExists) {
		return err
	}
	return fault.Newf(fault.Config, "mailbox_taken", "%w in tenant %s", err, p.Tenant)
}

// MayStore says why p cannot be stored beside the others of its tenant: its name
// or its mailbox is there already.
func (s *Service) MayStore(ctx context.Context, p *db.Provider) error {
	return mailboxTaken(p, s.Store.MayStore(ctx, p))
}

// prepare makes p ready to be stored: its credentials can be kept and are sealed,
// nothing is there in its place, and, if wanted, its connection passed a test.
func (s *Service) prepare(ctx context.Context, was, p *db.Provider, in CredentialInput, how Storing) (check *Check, sealed []db.Secret, words []string, err error) {
	c, err := s.credentials(in)
	if err == nil && len(in) > 0 {
		err = c.canKeep()
	}
	if err == nil {
		err = s.MayStore(ctx, p)
	}
	if err == nil && !how.SameAccount && (was == nil || mailsync.AccountKey(was) != mailsync.AccountKey(p)) {
		err = s.accountTaken(ctx, p)
	}
	if err == nil && how.Test {
		c.unkept = was == nil
		check, err = s.check(ctx, c, p)
	}
	if err == nil {
		sealed, words, err = c.seal(ctx, p, time.Now().UTC())
	}
	return check, sealed, words, err
}

// Storing is how a provider is to be stored.
type Storing struct {
	Test        bool // its connection, first
	SameAccount bool // though another provider reads that account
}

// accountTaken says which provider reads the account of p already: two would each
// publish its mail, or leave it to the other.
func (s *Service) accountTaken(ctx context.Context, p *db.Provider) error {
	account := mailsync.AccountOf(p)
	refs, err := s.Store.OnAccount(ctx, account.Host, account.Port, account.Username)
	if err != nil {
		return err
	}
	refs = slices.DeleteFunc(refs, func(ref db.Ref) bool { return ref == p.Ref() })
	if len(refs) == 0 {
		return nil
	}
	others, err := s.Store.Providers(ctx, refs)
	if err != nil {
		return err
	}
	for _, other := range others {
		if mailsync.SameAccount(p, other) {
			return fault.Newf(fault.Config, "account_taken", "provider %s in tenant %s reads the account %s on %s:%d already",
				other, other.Tenant, account.Username, account.Host, account.Port).With("tenant", other.Tenant)
		}
	}
	return nil
}

// Add tests a new provider, unless a person has to sign in first, and stores it. Not
// tested, its status stays configuring until the first pass, and the check is nil.
func (s *Service) Add(ctx context.Context, p *db.Provider, in CredentialInput, how Storing, by string) (*Check, error) {
	how.Test = how.Test && !NeedsPerson(p)
	check, sealed, _, err := s.prepare(ctx, nil, p, in, how)
	if err != nil {
		return nil, err
	}
	if check != nil {
		p.Status = db.StatusConnected
	}
	return check, mailboxTaken(p, s.Store.AddProvider(ctx, p, sealed, audit(p, by, "provider_created", identity(p))))
}

// Change tests a provider whose settings were changed, where the change concerns
// the connection, and stores it. It returns the names of all that changed.
func (s *Service) Change(ctx context.Context, was, is *db.Provider, in CredentialInput, how Storing, by string) (changed []string, err error) {
	if changed = Changed(was, is); len(changed) == 0 && len(in) == 0 {
		return nil, ErrUnchanged
	}
	concerned := len(in) > 0 || anyOf(changed, func(t *Setting) bool { return t.Tested })
	how.Test = how.Test && concerned && !SignInAgain(is, changed)
	_, sealed, words, err := s.prepare(ctx, was, is, in, how)
	if err != nil {
		return nil, err
	}
	changed = append(changed, words...)
	err = s.Store.UpdateProvider(ctx, is, sealed, audit(is, by, "provider_changed", db.Detail{"fields": strings.Join(changed, ", ")}))
	if sealed == nil { // else it may be the credential that another process has stored meanwhile
		err = mailboxTaken(is, err)
	}
	return changed, err
}

// identity is what the audit log keeps of a provider that comes or goes.
func identity(p *db.Provider) db.Detail {
	return db.Detail{"name": p.Name, "mailbox": p.Mailbox, "host": p.Host}
}

// Pause stops reading a mailbox, for a person.
func (s *Service) Pause(ctx context.Context, p *db.Provider, by string) error {
	return s.Store.PauseProvider(ctx, p.Ref(), db.PauseManual, audit(p, by, "provider_paused", db.Detail{"reason": db.PauseManual}))
}

// Resume tests the connection and lets a mailbox go on.
func (s *Service) Resume(ctx context.Context, p *db.Provider, test bool, by string) error {
	if test {
		if _, err := s.Check(ctx, p, nil); err != nil {
			return err
		}
	}
	return s.Store.ResumeProvider(ctx, p.Ref(), audit(p, by, "provider_resumed", nil))
}

// ResumeAll lets all mailboxes go on, of all tenants or of one, that are paused because
// their login was refused or that wait after a failure, untested: the next pass finds
// out. Those that a person has paused stay so. It returns how many it came to.
func (s *Service) ResumeAll(ctx context.Context, tenant, by string) (resumed, of int, err error) {
	list, err := s.Store.HeldBack(ctx, tenant)
	if err != nil {
		return 0, 0, err
	}
	for _, ref := range list {
		entry := db.Audit{Tenant: ref.Tenant, At: time.Now().UTC(), Actor: by, Action: "provider_resumed", ProviderID: ref.ID}
		if err := s.Store.ResumeProvider(ctx, ref, entry); err != nil {
			return resumed, len(list), err
		}
		resumed++
	}
	return resumed, len(list), nil
}

// Remove deletes a mailbox with all that is kept about it.
func (s *Service) Remove(ctx context.Context, p *db.Provider, by string) error {
	return s.Store.RemoveProvider(ctx, p.Ref(), audit(p, by, "provider_removed", identity(p)))
}

// Day is what mail servers know of time.
const Day = 24 * time.Hour

// ParseSince reads when something begins. Of what is still to come nothing can be
// found: that would look as if nothing were wrong.
func ParseSince(value string, now time.Time) (time.Time, error) {
	t, err := mailsync.ParseSince(value, now)
	if err == nil && t.After(now.Add(Day)) { // a day that has begun somewhere
		err = fmt.Errorf("%s is in the future", value)
	}
	return t, err
}

// lock takes the lock of p, for which a run that has it is waited for so long.
func lock(ctx context.Context, store *db.Store, p *db.Provider, patience time.Duration) (fence db.Fence, unlock func(), err error) {
	locks, err := store.OpenLocks(ctx)
	if err != nil {
		return fence, nil, err
	}
	defer func() {
		if err != nil {
			locks.Close()
		}
	}()
	for began := time.Now(); ; {
		held, ok, err := locks.TryLock(ctx, p.Tenant, p.ID, uuid.NewString(), time.Now().UTC())
		switch {
		case err != nil:
			return fence, nil, err
		case ok:
			return held.Fence, func() { held.Unlock(); locks.Close() }, nil
		case time.Since(began) >= patience:
			return fence, nil, Busy(p)
		}
		select {
		case <-ctx.Done():
			return fence, nil, context.Cause(ctx)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// Resync has the next pass go through folders again, from a day on unless it is zero; without
// folders, through all that were read before. Accept lets it publish unknown
// messages however old and however many they are: without a day, those that are held, and
// folders where none is are left alone. It returns the number of folders.
func (s *Service) Resync(ctx context.Context, p *db.Provider, folders []string, since time.Time, accept bool, by string) (int, error) {
	fence, unlock, err := lock(ctx, s.Store, p, 0)
	if err != nil {
		return 0, err
	}
	defer unlock()
	states, err := s.Store.FolderStates(ctx, p.Ref())
	if err != nil {
		return 0, err
	}
	if len(folders) == 0 {
		folders = slices.Collect(maps.Keys(states))
	}
	n := 0
	for _, name := range folders {
		st := states[name]
		if st == nil {
			return 0, fault.Newf(fault.Config, "never_read", "folder %q was never read", name)
		}
		from := since
		if accept && since.IsZero() {
			oldest, err := s.Store.OldestHeld(ctx, p.Ref(), name)
			if err != nil {
				return 0, err
			}
			if oldest == nil {
				continue
			}
			if from = *oldest; st.ResyncSince != nil && st.ResyncSince.Before(from) {
				from = *st.ResyncSince // what that search has not come to
			}
		}
		mailsync.SearchAgain(st, from, accept)
		entry := audit(p, by, "folder_resynced", db.Detail{"folder": name, "since": st.ResyncSince.Format(time.DateOnly), "reason": st.ResyncReason})
		if err := s.Store.ResyncFolder(ctx, fence, st, entry); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}
