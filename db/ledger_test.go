package db

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/lib/pq"
)

func containsPassword(err error) bool { return strings.Contains(err.Error(), "hunter2") }

func TestCommitWritesLedgerCursorAndCounters(t *testing.T) {
	store := testStore(t)
	p := addProvider(t, store, "support")
	ref := Ref{p.Tenant, p.ID}
	lock, _ := take(t, testLocks(t, store), p.ID)
	at := now()
	message := func(uid uint32, key string, o Outcome) Message {
		return Message{UID: uid, EventKey: key, MessageID: "m" + key + "@example.com", Outcome: o, Size: 100, StreamSeq: uint64(uid), ProcessedAt: at}
	}
	state := &FolderState{Folder: "INBOX", UIDValidity: 4000000000, SettledUID: 3, LastUID: 4, UIDNext: 5, LastSearchAt: &at}
	counts, err := store.Commit(t.Context(), lock.Fence, Commit{State: state, At: at, Bytes: 400, Messages: []Message{
		message(1, "a", Published), message(2, "b", Published), message(3, "a", Published), message(4, "", Skipped),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Counts{Published: 2, Duplicates: 1, Skipped: 1}, counts); diff != "" {
		t.Errorf("two copies in one commit (-want +got):\n%s", diff)
	}

	other := &FolderState{Folder: "Поддержка", UIDValidity: 7, SettledUID: 2, LastUID: 2, InFlight: []int64{3, 4}}
	counts, err = store.Commit(t.Context(), lock.Fence, Commit{State: other, At: at, Messages: []Message{
		message(1, "b", Published), message(2, "c", Published),
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Counts{Published: 1, Duplicates: 1}, counts); diff != "" {
		t.Errorf("a copy in another folder (-want +got):\n%s", diff)
	}
	// The same step once more, as after an answer that got lost.
	if _, err := store.Commit(t.Context(), lock.Fence, Commit{State: other, At: at, Messages: []Message{message(2, "c", Published)}}); err != nil {
		t.Fatal(err)
	}

	states, err := store.FolderStates(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*FolderState{"INBOX": state, "Поддержка": other}
	if diff := cmp.Diff(want, states, cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(0)); diff != "" {
		t.Errorf("cursors (-want +got):\n%s", diff)
	}
	handled, err := store.HandledAbove(t.Context(), ref, "INBOX", 4000000000, 2)
	if err != nil || len(handled) != 2 || handled[0].UID != 3 || handled[1].UID != 4 {
		t.Errorf("handled above 2: %v (%v), want 3 and 4", handled, err)
	}
	got, err := store.Provider(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	if got.Published != 4 || got.Duplicates != 2 || got.LastSyncAt == nil {
		t.Errorf("counters: published %d, duplicates %d, last sync %v", got.Published, got.Duplicates, got.LastSyncAt)
	}
	var mirrored int64
	if err := store.pool.GetContext(t.Context(), &mirrored, `SELECT (folder_state->'INBOX'->>'last_uid')::bigint FROM imap_email_provider_config`); err != nil || mirrored != 4 {
		t.Errorf("mirrored cursor of INBOX is %d (%v), want 4", mirrored, err)
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                   "plain",
		"nul\x00 inside":          "nul inside",
		"bad \xff utf-8":          "bad \uFFFD utf-8",
		strings.Repeat("é", 2000): strings.Repeat("é", 1000),
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%.20q) = %.20q, want %.20q", in, got, want)
		}
	}
}

func TestKnownMessages(t *testing.T) {
	store := testStore(t)
	p, other := addProvider(t, store, "support"), addProvider(t, store, "sales")
	ref := Ref{p.Tenant, p.ID}
	locks := testLocks(t, store)
	at := now().Truncate(time.Second)
	write := func(p *Provider, at time.Time, messages ...Message) {
		t.Helper()
		lock, _ := take(t, locks, p.ID)
		defer lock.Unlock()
		if _, err := store.Commit(t.Context(), lock.Fence, Commit{State: &FolderState{Folder: "INBOX", UIDValidity: 1}, At: at, Messages: messages}); err != nil {
			t.Fatal(err)
		}
	}
	write(p, at, Message{UID: 6, EventKey: "k0", MessageID: "reused", Outcome: Published})
	write(p, at.Add(-time.Minute), Message{UID: 1, EventKey: "k1", MessageID: "reused", Size: 10, Outcome: Published},
		Message{UID: 2, EventKey: "k2", MessageID: "reused", Outcome: Published},
		Message{UID: 3, EventKey: "k3", InternalDate: &at, ByHeader: true, Outcome: Published},
		Message{UID: 4, EventKey: "k4", MessageID: "failed", Outcome: Quarantined})
	write(p, at.Add(time.Minute), Message{UID: 5, EventKey: "k1", MessageID: "reused", Outcome: Duplicate})
	write(other, at, Message{UID: 1, EventKey: "k5", MessageID: "elsewhere", Outcome: Published})
	for name, tt := range map[string]struct {
		keys, ids []string
		want      []Known
	}{
		"by its key":                 {[]string{"k1", "new"}, nil, []Known{{Folder: "INBOX", UID: 1, EventKey: "k1", MessageID: "reused", Size: 10}}},
		"by a key without an id":     {[]string{"k3"}, []string{""}, []Known{{Folder: "INBOX", UID: 3, EventKey: "k3", ByHeader: true}}},
		"the last of a Message-ID":   {nil, []string{"reused"}, []Known{{Folder: "INBOX", UID: 6, EventKey: "k0", MessageID: "reused", Latest: true}}},
		"not one that failed":        {[]string{"k4"}, []string{"failed"}, nil},
		"not another provider's":     {[]string{"k5"}, []string{"elsewhere"}, nil},
		"neither a piece nor a case": {[]string{"k", "K1", "k11"}, []string{"reuse", "Reused"}, nil},
	} {
		got, err := store.KnownMessages(t.Context(), ref, tt.keys, nil, tt.ids)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty(), cmpopts.EquateApproxTime(0)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestKnownBody(t *testing.T) {
	store := testStore(t)
	p := addProvider(t, store, "support")
	ref := Ref{p.Tenant, p.ID}
	lock, _ := take(t, testLocks(t, store), p.ID)
	commit := func(messages ...Message) {
		t.Helper()
		if _, err := store.Commit(t.Context(), lock.Fence, Commit{State: &FolderState{Folder: "INBOX", UIDValidity: 1}, At: now(), Messages: messages}); err != nil {
			t.Fatal(err)
		}
	}
	commit(Message{UID: 1, EventKey: "k1", MessageID: "id", Fingerprint: "print", Size: 1000, Outcome: Published},
		Message{UID: 2, EventKey: "k2", MessageID: "id", Fingerprint: "other", Size: 1000, Outcome: Published},
		Message{UID: 3, EventKey: "k3", Fingerprint: "nameless", Size: 1000, Outcome: Published},
		Message{UID: 4, EventKey: "k4", MessageID: "header", Fingerprint: "print", Size: 1000, ByHeader: true, Outcome: Published},
		Message{UID: 5, EventKey: "k5", MessageID: "v1", Size: 1000, Outcome: Published},
		Message{UID: 6, EventKey: "k1", MessageID: "copy", Fingerprint: "print", Size: 1000, Outcome: Duplicate})
	for name, tt := range map[string]struct {
		b    Body
		want uint32
	}{
		"by its header":         {Body{"id", "print", 900, 1100}, 1},
		"by another header":     {Body{"id", "other", 1000, 1000}, 2},
		"without id":            {Body{"", "nameless", 900, 1100}, 3},
		"too large":             {Body{"id", "print", 1001, 1100}, 0},
		"too small":             {Body{"", "nameless", 900, 999}, 0},
		"of another id":         {Body{"id2", "print", 900, 1100}, 0},
		"the header of one":     {Body{"", "print", 900, 1100}, 0},
		"its header alone":      {Body{"header", "print", 900, 1100}, 0},
		"a row of version 1":    {Body{"v1", "", 900, 1100}, 0},
		"one that was no event": {Body{"copy", "print", 900, 1100}, 0},
	} {
		got, err := store.KnownBody(t.Context(), ref, tt.b)
		if err != nil {
			t.Fatal(err)
		}
		if got == nil && tt.want != 0 || got != nil && got.UID != tt.want {
			t.Errorf("%s: %+v, want uid %d", name, got, tt.want)
		}
	}

	commit(Message{UID: 7, EventKey: "k7", MessageID: "header", BodyOf: "k4", Outcome: Duplicate})
	got, err := store.KnownMessages(t.Context(), ref, []string{"k1"}, []string{"k4"}, nil)
	if err != nil || len(got) != 2 || got[0].BodyKey+got[1].BodyKey != "k7" {
		t.Errorf("%+v, %v; want the header to have its body", got, err)
	}
}

// However little the statistics know of a provider, and whatever its ledger holds,
// a look-up reads a few pages for each text, and not the provider's rows.
func TestLedgerIsLookedUp(t *testing.T) {
	const (
		asked = 25
		rows  = 10_000 // 250 pages of the ledger, and 40 at least of any index
		most  = 4      // pages for a text: two of the index, the row, and one to spare
	)
	insert := `INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, uid, event_key, message_id, outcome, processed_at) `
	distinct := insert + `SELECT $1, $2, 'INBOX', 1, n, md5(n::text), n || '@example.com', 'published', now() + n / 250 * interval '1 s'
		FROM generate_series(1, $3::int) n`
	reused := insert + `SELECT $1, $2, 'INBOX', 2, n, md5('reused' || n), 'reused', 'published', now() FROM generate_series(1, $3::int) n`
	copies := insert + `SELECT $1, $2, 'INBOX', 3, n, md5('copy'), 'copy', CASE n WHEN 1 THEN 'published' ELSE 'duplicate' END, now()
		FROM generate_series(1, $3::int) n`
	small := insert + `SELECT md5('tenant' || n)::uuid, md5('provider' || n)::uuid, 'INBOX', 1, n, md5(n::text), n || '@example.com',
		'published', now() FROM generate_series(1, $3::int) n WHERE $1 <> $2`
	other := strings.ReplaceAll(distinct, "$2", "md5($2)::uuid")
	headers := `INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, uid, event_key, outcome, processed_at, by_header)
		SELECT $1, $2, 'INBOX', 5, n, 'header' || n, 'published', now(), true FROM generate_series(1, least($3::int, 10)) n`
	analyze, vacuum := `ANALYZE imap_messages`, `VACUUM ANALYZE imap_messages`
	for name, fill := range map[string][]string{
		"an empty ledger":                      nil,
		"an empty ledger, vacuumed":            {vacuum},
		"never analyzed":                       {distinct},
		"analyzed":                             {distinct, analyze},
		"analyzed when it was empty":           {vacuum, distinct},
		"new beside one":                       {other, analyze, distinct},
		"new beside many of other tenants":     {small, analyze, distinct},
		"new, another's Message-IDs alike":     {small, vacuum, distinct, other},
		"one Message-ID reused":                {reused},
		"one Message-ID reused, analyzed":      {reused, analyze},
		"one Message-ID reused, and no others": {distinct, analyze, reused},
		"copies of one message":                {copies},
		"copies of one message, analyzed":      {copies, analyze},
		"hardly any published when analyzed":   {copies, analyze, distinct},
		"some mail by its header":              {distinct, headers},
		"some mail by its header, analyzed":    {distinct, headers, analyze},
		"some mail by its header since then":   {distinct, analyze, headers},
	} {
		t.Run(name, func(t *testing.T) {
			store := testStore(t)
			ref := Ref{testTenant, addProvider(t, store, "support").ID}
			exec := func(query string, args ...any) {
				t.Helper()
				if _, err := store.pool.ExecContext(t.Context(), query, args...); err != nil {
					t.Fatal(err)
				}
			}
			exec(`ALTER TABLE imap_messages SET (autovacuum_enabled = off)`)
			for _, query := range fill {
				if query == analyze || query == vacuum {
					exec(query)
				} else {
					exec(query, ref.Tenant, ref.ID, rows)
				}
			}
			messages := []Message{{UID: 1, EventKey: "copy", MessageID: "copy", Outcome: Published}}
			keys, ids := pq.StringArray{"copy"}, pq.StringArray{"reused"}
			for i := range asked - 1 {
				keys, ids = append(keys, fmt.Sprintf("%032x", i)), append(ids, fmt.Sprintf("%d@example.com", -i))
				messages = append(messages, Message{UID: uint32(i + 2), EventKey: keys[i], MessageID: ids[i], Outcome: Published})
			}
			if read, plan := pagesRead(t, store, knownMessages, ref.Tenant, ref.ID, keys, ids, keys); read > 3*asked*most {
				t.Errorf("to look up %d keys and Message-IDs, %d pages were read:\n%s", asked, read, plan)
			}
			for statement, text := range map[string]string{knownBody: "77@example.com", knownNamelessBody: "print"} {
				if read, plan := pagesRead(t, store, statement, ref.Tenant, ref.ID, text, "print", 0, 100); read > 2*most {
					t.Errorf("to look up a body, %d pages were read:\n%s", read, plan)
				}
			}
			c := Commit{State: &FolderState{Folder: "INBOX", UIDValidity: 4}, Messages: messages, At: now()}
			args := rowsOf(Fence{Tenant: ref.Tenant, ProviderID: ref.ID}, c, outcomesOf(messages))
			// A row that is written goes into the table and its four indexes.
			if read, plan := pagesRead(t, store, insertPresent, args...); read > (1+2*5)*asked*most {
				t.Errorf("to write %d rows, %d pages were read:\n%s", asked, read, plan)
			}
		})
	}
}

// pagesRead runs a statement, takes back what it did and gives how many pages it
// read, with its plan.
func pagesRead(t *testing.T, store *Store, statement string, args ...any) (pages int, plan string) {
	t.Helper()
	tx, err := store.pool.BeginTxx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	if err := tx.GetContext(t.Context(), &plan, `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+statement, args...); err != nil {
		t.Fatal(err)
	}
	var explained []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal([]byte(plan), &explained); err != nil || len(explained) != 1 {
		t.Fatalf("%v in\n%s", err, plan)
	}
	return explained[0].Plan.Hit + explained[0].Plan.Read, plan
}

// Neither quotes nor NULs in what a mail says get in the way of the arrays that
// rows are sent in.
func TestLedgerKeepsTextsAsTheyAre(t *testing.T) {
	store := testStore(t)
	p := addProvider(t, store, "support")
	lock, _ := take(t, testLocks(t, store), p.ID)
	texts := []string{`{"a",b}`, `\`, "NULL", "Поддержка", " ", "\n"}
	var messages []Message
	for i, text := range texts {
		messages = append(messages, Message{UID: math.MaxUint32 - uint32(i), EventKey: fmt.Sprint(i), MessageID: text,
			Outcome: Published, StreamSeq: math.MaxInt64, Size: math.MaxInt64})
	}
	at := now()
	if _, err := store.Commit(t.Context(), lock.Fence, Commit{State: &FolderState{Folder: "INBOX", UIDValidity: 1}, At: at, Messages: messages}); err != nil {
		t.Fatal(err)
	}
	rows, err := selectAll[Message](t.Context(), store, "read ledger", `
		SELECT uid, message_id, stream_seq, size FROM imap_messages WHERE tenant = $1 AND provider_id = $2`, p.Tenant, p.ID)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Message{}
	for _, m := range rows {
		got[m.MessageID] = m
	}
	for i, text := range texts {
		if m := got[text]; m.UID != messages[i].UID || m.StreamSeq != math.MaxInt64 || m.Size != math.MaxInt64 {
			t.Errorf("the row of %q is %+v", text, m)
		}
	}
}
