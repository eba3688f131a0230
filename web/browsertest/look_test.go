package browsertest

import (
	_ "embed"
	"os"
	"strings"

	"github.com/chromedp/chromedp"
)

//go:embed testdata/axe/axe.min.js
var axeSource string

// schemes are the colours that people may have chosen.
func schemes() []string { return []string{"light", "dark"} }

// axe looks for what keeps people from using the page, in both colours.
func (p *place) axe(b *browser, page string) {
	b.t.Helper()
	for _, scheme := range schemes() {
		b.look(scheme, 1280, 900)
		eval[bool](b, axeSource+"; true")
		found := run(b, "run axe", chromedp.Evaluate[[]string](`
			axe.run(document, {iframes: false, resultTypes: ["violations"]}).then(r => r.violations.flatMap(v =>
				v.nodes.map(n => v.id + ": " + v.help + ": " + n.html.slice(0, 200) + " " + n.failureSummary)))`, chromedp.EvalAwaitPromise))
		for _, one := range found {
			b.t.Errorf("%s, %s: %s", page, scheme, one)
		}
	}
	b.look("light", 1280, 900)
}

// picture writes the page as it is, in both colours, on a desktop and a phone,
// where IMAPSYNC_SCREENSHOTS says.
func (p *place) picture(b *browser, name string) {
	b.t.Helper()
	dir := os.Getenv("IMAPSYNC_SCREENSHOTS")
	if dir == "" {
		return
	}
	p.need(os.MkdirAll(dir, 0o755))
	for _, scheme := range schemes() {
		b.look(scheme, 1280, 900)
		b.shoot(dir, name+"-"+scheme+"-desktop", 1280)
		b.look(scheme, 390, 844)
		b.shoot(dir, name+"-"+scheme+"-phone", 390)
	}
	b.look("light", 1280, 900)
}

// looksAtAll visits the pages that the flow has not looked at, with mailboxes of
// every state on them.
func (p *place) looksAtAll(b *browser) {
	b.t.Helper()
	p.seed()
	support := p.page(mailbox, "")
	for _, page := range []struct{ name, address string }{
		{"list", p.url + "/"}, {"list-filtered", p.url + "/?state=error&q=example"}, {"list-empty", p.url + "/?q=nobody"},
		{"new", p.url + "/providers/new"}, {"provider", support}, {"provider-error", p.page("orders@example.com", "")},
		{"edit", support + "/edit"}, {"remove", support + "/remove"}, {"not-found", p.url + "/nowhere"},
	} {
		b.open(page.address)
		p.axe(b, page.name)
		p.picture(b, page.name)
		b.wide(page.name)
	}
}

// wide makes sure that nothing is cut off on a phone.
func (b *browser) wide(page string) {
	b.t.Helper()
	b.look("light", 360, 740)
	if over := eval[int](b, `document.documentElement.scrollWidth - document.documentElement.clientWidth`); over > 0 {
		b.t.Errorf("%s is %d pixels wider than a phone", page, over)
	}
	b.look("light", 1280, 900)
}

// seed adds mailboxes in every state, with a history.
func (p *place) seed() {
	p.t.Helper()
	const tenant = "00000000-0000-4000-8000-000000000001"
	p.exec(`CREATE TEMP TABLE IF NOT EXISTS wanted (name text, mailbox text, host text, status text, paused text, failures int, error text, code text)`)
	for _, row := range [][]any{
		{"Orders", "orders@example.com", "imap.example.com", "error", nil, 7, "certificate: x509: certificate has expired or is not yet valid: current time is after 2026-11-01", "tls"},
		{"Invoices", "invoices@example.com", "imap.ionos.de", "error", nil, 1, "imap.ionos.de:993: connection reset by peer", "connect"},
		{"Returns", "returns@example.com", "imap.gmx.net", "error", "auth_failure", 3, "login refused: [AUTHENTICATIONFAILED] authentication failed", "AUTHENTICATIONFAILED"},
		{"Holiday desk", "holiday@example.com", "imap.fastmail.com", "connected", "manual", 0, nil, nil},
		{"Press", "press@example.com", "imap.zoho.eu", "connected", nil, 0, nil, nil},
		{"Unterstützung für Kunden mit einem ungewöhnlich langen Namen", "unterstuetzung-mit-langem-namen@kundendienst.example.com", "imap.mail.kundendienst.example.com", "configuring", nil, 0, nil, nil},
	} {
		p.exec(`WITH p AS (INSERT INTO email_providers (tenant, id, provider_type, provider_name, mailbox, status, inbound_paused_at, inbound_pause_reason)
				VALUES ('`+tenant+`', gen_random_uuid(), 'imap', $1, $2, $4, CASE WHEN $5::text IS NOT NULL THEN now() - interval '3 hours' END, $5::text) RETURNING tenant, id),
			c AS (INSERT INTO imap_email_provider_config (tenant, email_provider_id, host, port, username) SELECT tenant, id, $3, 993, $2 FROM p),
			s AS (INSERT INTO imap_sync_state (tenant, provider_id, last_success_at, next_attempt_at, consecutive_failures, last_error, last_error_code, published, duplicates)
				SELECT tenant, id, now() - interval '80 seconds', now() + interval '9 minutes', $6::int, $7::text, $8::text, 1240, 18 FROM p WHERE $4 <> 'configuring'),
			f AS (INSERT INTO imap_folder_state (tenant, provider_id, folder, uid_validity, settled_uid, last_uid, backlog, backlog_since, last_search_at)
				SELECT tenant, id, name, 1, 4711, 4713, 2, now() - interval '40 minutes', now() - interval '2 minutes' FROM p, unnest(ARRAY['INBOX', 'Клиенты', '<b>Support</b>']) name),
			r AS (INSERT INTO imap_runs (tenant, provider_id, id, started_at, ended_at, outcome, error_code, error, folders, published, bytes)
				SELECT tenant, id, gen_random_uuid(), now() - n * interval '17 minutes', now() - n * interval '17 minutes' + interval '3 seconds',
					CASE WHEN n < $6 THEN 'failed' ELSE 'ok' END, CASE WHEN n < $6 THEN $8::text END, CASE WHEN n < $6 THEN $7::text END, 3, CASE WHEN n < $6 THEN 0 ELSE n * 7 % 19 END, n * 88123
				FROM p, generate_series(0, 35) n),
			q AS (INSERT INTO imap_quarantine (tenant, id, provider_id, folder, uid_validity, uid, state, stage, error_code, error, attempts, size, subject, sender, created_at, updated_at)
				SELECT tenant, gen_random_uuid(), id, 'INBOX', 1, 4000 + n, CASE WHEN n = 1 THEN 'dead' ELSE 'retry' END, 'publish', 'nats', 'the broker did not answer in time', n, 88123,
					'Your order 10' || n, 'shop@example.org', now() - interval '50 minutes', now() FROM p, generate_series(1, 2) n WHERE $4 = 'error')
			INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, uid, outcome, event_key, processed_at)
			SELECT tenant, id, 'INBOX', 1, n, 'published', md5(id::text || n), now() - (n * n % 1439) * interval '1 minute' FROM p, generate_series(1, 140) n`, row...)
	}
}

// notOwned makes sure that no script of a mail has run.
func (b *browser) notOwned() {
	b.t.Helper()
	if title := run(b, "read the title", chromedp.Title()); strings.Contains(title, "owned") {
		b.t.Error("a script of a mail ran")
	}
}
