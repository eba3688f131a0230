package db

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
)

// A name is one provider's within its tenant, whoever comes at the same moment;
// names that were the same before that was checked stay as they are.
func TestNamesAreUniqueInATenant(t *testing.T) {
	store := testStore(t)
	audit := func(p *Provider) Audit { return Audit{Tenant: p.Tenant, At: now(), Actor: "test", Action: "x"} }
	p := addProvider(t, store, "support")
	other := *p
	other.ID, other.Mailbox = uuid.NewString(), "other@example.com"
	err := store.AddProvider(t.Context(), &other, nil, audit(p))
	if taken, ok := errors.AsType[*NameTakenError](err); !ok || taken.ID != p.ID || !errors.Is(err, ErrExists) {
		t.Errorf("a second one of the name: %v, want a NameTakenError of %s", err, p.ID)
	}
	if _, err := store.Provider(t.Context(), Ref{other.Tenant, other.ID}); !errors.Is(err, ErrNotFound) {
		t.Errorf("it was stored all the same: %v", err)
	}
	elsewhere := other
	elsewhere.Tenant = uuid.NewString()
	if err := store.AddProvider(t.Context(), &elsewhere, nil, audit(&elsewhere)); err != nil {
		t.Errorf("the name in another tenant: %v", err)
	}

	other.Name = "other"
	if err := store.AddProvider(t.Context(), &other, nil, audit(p)); err != nil {
		t.Fatal(err)
	}
	other.Name = "support"
	if _, ok := errors.AsType[*NameTakenError](store.UpdateProvider(t.Context(), &other, nil, audit(p))); !ok {
		t.Error("it was given the name by a change")
	}
	if _, err := store.pool.ExecContext(t.Context(), `UPDATE email_providers SET provider_name = 'support' WHERE id = $1`, other.ID); err != nil {
		t.Fatal(err)
	}
	other.MaxEmailsPerSync = 7
	if err := store.UpdateProvider(t.Context(), &other, nil, audit(p)); err != nil {
		t.Errorf("two of a name since ever: a change of something else: %v", err)
	}

	// Two at once: the second waits for what becomes of the first.
	first, second := other, other
	first.ID, first.Name, first.Mailbox = uuid.NewString(), "wanted", "first@example.com"
	second.ID, second.Name, second.Mailbox = uuid.NewString(), "wanted", "second@example.com"
	done := make(chan error, 1)
	err = store.inTx(t.Context(), func(tx *txn) error {
		lockNames(t.Context(), tx, first.Tenant)
		go func() { done <- store.AddProvider(t.Context(), &second, nil, audit(p)) }()
		select {
		case err := <-done:
			t.Fatalf("the second did not wait: %v", err)
		case <-time.After(300 * time.Millisecond):
		}
		tx.exec(t.Context(), "insert", `INSERT INTO email_providers (tenant, id, provider_type, provider_name, mailbox, status)
			VALUES ($1, $2, 'imap', $3, $4, 'connected')`, first.Tenant, first.ID, first.Name, first.Mailbox)
		return tx.err
	})
	if err != nil {
		t.Fatal(err)
	}
	if taken, ok := errors.AsType[*NameTakenError](<-done); !ok || taken.ID != first.ID {
		t.Errorf("the second of two at once: %+v, want a NameTakenError of %s", taken, first.ID)
	}
}
