package browsertest

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/google/uuid"
)

// TestSettingsPage does what people do with the page, from the first mailbox to
// its removal, and looks at every page for accessibility.
func TestSettingsPage(t *testing.T) {
	p := openPlace(t)
	b := openBrowser(t)
	p.signsIn(b)
	p.addsMailbox(b)
	p.syncs(b)
	p.edits(b)
	p.pauses(b)
	p.quarantine(b)
	p.reconciles(b)
	p.connects(b)
	p.connectsElsewhere(b)
	p.looksAtAll(b)
	p.removes(b)
	p.audited()
	p.told.kept(t, "password", password)
	p.told.kept(t, "client secret", p.oauth.ClientSecret)
	for _, token := range p.oauth.Issued() {
		p.told.kept(t, "OAuth code or token", token)
	}
}

func (p *place) signsIn(b *browser) {
	b.t.Helper()
	b.open(p.url + "/")
	if text := b.text("body"); strings.Contains(text, "Add a mailbox") {
		b.t.Fatal("the page is open to who has not signed in")
	}
	p.axe(b, "sign-in")
	p.picture(b, "sign-in")
	b.open(p.link)
	p.axe(b, "the link to sign in")
	p.picture(b, "sign-in-link")
	b.click("Sign in")
	b.await("main", "There is no mailbox yet")
	p.axe(b, "the first page")
	p.picture(b, "first")
}

// addsMailbox meets each error of the form first.
func (p *place) addsMailbox(b *browser) {
	t := b.t
	t.Helper()
	b.click("Add a mailbox")
	b.click("Save")
	for _, field := range []string{"mailbox", "host", "password"} {
		b.sees("#"+field+"-error", "missing")
	}
	wrong := map[string]string{
		"name": uuid.NewString(), "mailbox": "no address", "host": "imap.example.com:993", "port": "99999", "tls-server-name": "a b",
		"ca": "no certificate", "max-emails-per-sync": "many", "defaults-id": "7", "tenant": "nobody", "folders": "INBOX\nINBOX", "start-since": "soon",
	}
	for name, value := range wrong {
		b.fill(name, value)
	}
	b.fill("start", "since")
	b.fill("password", password)
	b.click("Save")
	for field, want := range map[string]string{
		"name": "taken for an id", "mailbox": "not an address", "host": "holds a port: give \"imap.example.com\", and the port by “Port”", "port": "not between 1 and 65535",
		"tls-server-name": "neither a host name", "ca": "no certificate in PEM", "max-emails-per-sync": "not a number", "defaults-id": "not a UUID",
		"tenant": "not a UUID", "folder": "given twice", "start": "use recent, all, none",
	} {
		b.sees("#"+field+"-error", want)
	}
	for name, value := range wrong {
		if got := b.value(name); got != value {
			t.Errorf("%s was %q when it was sent, and came back as %q", name, value, got)
		}
	}
	b.sees("#password-hint", "Kept as you typed it")
	if b.value("password") != "" {
		t.Error("the password came back")
	}
	if strings.Contains(b.html(), password) {
		t.Error("the password is in the page")
	}
	p.axe(b, "the form with errors")
	p.picture(b, "form-errors")

	// OAuth2 has errors of its own.
	b.choose("auth", "oauth2", true)
	b.fill("oauth-preset", "custom")
	b.fill("oauth-token-url", "http://mail.example.com/token")
	b.click("Save")
	b.sees("#oauth-client-id-error", "missing")
	b.sees("#oauth-token-url-error", "https only")
	b.sees("#oauth-authorize-url-error", "missing")

	// A preset by the mailbox's domain.
	b.choose("auth", "password", true)
	b.fill("mailbox", "somebody@gmail.com")
	b.press("Fill in the server")
	b.await("#found", "Gmail")
	if host, port := b.value("host"), b.value("port"); host != "imap.gmail.com" || port != "993" {
		t.Errorf("Gmail is at %s:%s", host, port)
	}

	// And now all is right but the password, which is wrong first.
	ca, err := os.ReadFile(p.dovecot.CAFile)
	p.need(err)
	for name, value := range map[string]string{
		"name": "Support desk", "mailbox": mailbox, "host": p.dovecot.Host, "port": strconv.Itoa(p.dovecot.TLSPort), "tls": "implicit",
		"ca": string(ca), "tls-server-name": "", "username": "support", "password": "wrong-" + password, "max-emails-per-sync": "50",
		"defaults-id": "", "tenant": "00000000-0000-4000-8000-000000000001", "folders": "", "start": "all",
	} {
		b.fill(name, value)
	}
	b.tests("does not work yet")
	b.sees("#test .step.wrong", "login")
	b.fill("password", password)
	b.tests("The connection works")
	for _, step := range []string{"connect", "tls", "credential", "login", "folder", "fetch"} {
		b.sees("#test ol", step)
	}
	b.sees(".folders", "Support/Neu")
	b.sees(".folders", "3 messages")
	b.choose("folder", "INBOX", true)
	b.choose("folder", "Support/Neu", true)
	p.axe(b, "the form after a test")
	p.picture(b, "form-tested")
	b.click("Save")
	b.await("main", "The mailbox was added")
	b.sees("h1", "Support desk")
	if n := p.count(`SELECT count(*) FROM imap_email_provider_config WHERE folder_filters = '["INBOX", "Support/Neu"]'`); n != 1 {
		t.Error("the folders that were picked are not those that are stored")
	}
}

func (p *place) syncs(b *browser) {
	b.t.Helper()
	b.click("Sync now")
	b.await("#tasks", "4 published")
	b.await("figcaption", "4 mails published")
	b.open(p.url + "/")
	b.sees(".card.connected figcaption", "4 mails in 24 hours")
	if n := p.count(`SELECT count(*) FROM imap_messages WHERE outcome = 'published'`); n != 4 {
		b.t.Errorf("%d mails are in the ledger", n)
	}
}

// edits changes something without typing the password again.
func (p *place) edits(b *browser) {
	b.t.Helper()
	b.click("Support desk")
	b.click("Edit")
	if b.value("password") != "" || b.value("name") != "Support desk" || b.value("host") != p.dovecot.Host {
		b.t.Error("the form does not show what is stored")
	}
	b.fill("name", "Support")
	b.fill("max-emails-per-sync", "20")
	b.fill("username", "Support") // has the connection tested
	b.click("Save")
	b.await("main", "The settings were saved")
	b.sees("h1", "Support")
	if n := p.count(`SELECT count(*) FROM imap_secrets WHERE name LIKE 'imap_password_%'`); n != 1 {
		b.t.Errorf("%d versions of the password are stored", n)
	}
	b.tests("The connection works")
}

func (p *place) pauses(b *browser) {
	b.t.Helper()
	b.click("Pause")
	b.sees("h1", "paused")
	b.click("Sync now")
	b.await("#tasks", "is paused")
	b.click("Resume")
	b.await("main", "Resumed")
	b.sees("h1", "connected")
}

// quarantine looks at a mail that tries what it can, and has it tried again.
func (p *place) quarantine(b *browser) {
	t := b.t
	t.Helper()
	p.exec(`INSERT INTO imap_quarantine (tenant, id, provider_id, folder, uid_validity, uid, state, stage, error_code, error, attempts, size, subject, sender, created_at, updated_at)
		SELECT tenant, gen_random_uuid(), provider_id, folder, uid_validity, 2, 'dead', 'publish', 'too_large', $1, 5, size, $2, $3, now(), now()
		FROM imap_messages WHERE folder = 'INBOX' AND uid = 2`, "the broker refused it: "+hostileSubject, hostileSubject, hostileSubject)
	p.exec(`UPDATE imap_messages SET outcome = 'quarantined', event_key = NULL WHERE folder = 'INBOX' AND uid = 2`)
	b.open(p.page("support@example.com", ""))
	b.sees("[aria-labelledby=quarantine-title]", hostileSubject)
	b.click(hostileSubject)
	b.sees("main", "Your parcel waits")
	b.sees("dl.wide", "<b onmouseover=alert(1)>Mallory</b> <mallory@evil.example>")
	p.axe(b, "a quarantined message")
	p.picture(b, "quarantine")
	b.notOwned()
	b.until("the frame", func(context.Context) (bool, string, error) { return p.told.has("Pay now.</b>"), "no HTML", nil })
	b.do("let it do what it can", chromedp.Sleep(300*time.Millisecond))
	b.notOwned()
	// On its own, outside of the frame, it is as harmless.
	page := b.location()
	b.do("open the frame alone", chromedp.Navigate(page+"/html"), chromedp.WaitVisible(chromedp.CSS("h2")), chromedp.Sleep(300*time.Millisecond))
	if at := b.location(); at != page+"/html" {
		t.Errorf("the mail led to %s", at)
	}
	b.open(page)
	if n := p.tracker.Load(); n != 0 {
		t.Errorf("the preview loaded %d things from elsewhere", n)
	}
	b.click("Retry")
	b.await("main", "tried again")
	if n := p.count(`SELECT count(*) FROM imap_quarantine WHERE state = 'retry' AND attempts = 0`); n != 1 {
		t.Error("the message is not in state retry")
	}
	b.click("Sync now")
	b.await("[aria-labelledby=quarantine-title]", "Nothing is in quarantine")
}

func (p *place) reconciles(b *browser) {
	b.t.Helper()
	b.click("Compare with the server")
	b.await("#tasks .outcome", "0 missing")
	b.sees("#tasks .lines", "INBOX: 3 on the server, 3 handled, 0 missing")
	b.fill("since", "yesterday")
	b.click("Resync")
	b.await(".note.bad", "yesterday")
	b.fill("since", "3d")
	b.click("Resync")
	b.await(".note.good", "goes through the folders again")
	b.click("Sync now")
	b.await("#tasks", "ended")
	if n := p.count(`SELECT count(*) FROM imap_messages WHERE outcome = 'published'`); n > 4 {
		b.t.Errorf("%d mails were published", n)
	}
}

// connects adds a mailbox that is opened by tokens, and signs in for it.
func (p *place) connects(b *browser) {
	t := b.t
	t.Helper()
	ca, err := os.ReadFile(p.tokens.CAFile)
	p.need(err)
	b.open(p.url + "/providers/new")
	b.choose("auth", "oauth2", true)
	for name, value := range map[string]string{
		"name": "Sales", "mailbox": "sales@example.com", "host": p.tokens.Host, "port": strconv.Itoa(p.tokens.TLSPort), "ca": string(ca),
		"username": "sales", "oauth-preset": "custom", "oauth-client-id": p.oauth.ClientID, "oauth-client-secret": p.oauth.ClientSecret,
		"oauth-authorize-url": p.oauth.URL + "/authorize", "oauth-token-url": p.oauth.URL + "/token", "oauth-scopes": "imap",
		"tenant": "00000000-0000-4000-8000-000000000001",
	} {
		b.fill(name, value)
	}
	b.click("Save")
	b.await("main", "The mailbox was added")
	b.sees(".reason", "Somebody has to sign in")
	// Whoever brings an answer without having asked is not let in.
	address := b.location()
	b.open(p.url + "/?code=stolen&state=stolen")
	b.sees("main", "has begun no sign-in")
	b.open(address)
	b.click("Connect with OAuth")
	b.sees("main", "Continue to 127.0.0.1")
	p.axe(b, "connect")
	p.picture(b, "connect")
	b.click("Continue to 127.0.0.1")
	b.await("main", "Signed in. What was granted is stored")
	b.await("h1", "Sales")
	b.tests("The connection works")
	b.click("Sync now")
	b.await("#tasks", "1 published")
	b.await("h1", "connected")
}

// connectsElsewhere has somebody sign in on another device.
func (p *place) connectsElsewhere(b *browser) {
	b.t.Helper()
	b.click("Edit")
	b.fill("oauth-flow", "device")
	b.fill("oauth-device-url", p.oauth.URL+"/device")
	b.click("Save")
	b.await("main", "The settings were saved")
	b.click("Connect with OAuth")
	b.await("#tasks", "on any device and type")
	p.oauth.TypeDeviceCodes()
	b.await("#tasks", "what was granted is stored")
	b.tests("The connection works")
}

// removes wants the name typed.
func (p *place) removes(b *browser) {
	b.t.Helper()
	b.open(p.page("sales@example.com", ""))
	b.click("Remove this mailbox…")
	b.fill("confirm", "sales")
	b.click("Remove")
	b.sees("#confirm-error", "nothing was removed")
	b.fill("confirm", "Sales")
	b.click("Remove")
	b.await("main", "The mailbox was removed")
	if n := p.count(`SELECT count(*) FROM email_providers WHERE mailbox = 'sales@example.com'`) + p.count(`SELECT count(*) FROM imap_secrets s WHERE NOT EXISTS (SELECT FROM email_providers p WHERE right(s.name, 36) = p.id::text)`); n != 0 {
		b.t.Error("something is left of what was removed")
	}
}

// audited looks whether all of it is in the audit log, in the name of who was
// signed in.
func (p *place) audited() {
	p.t.Helper()
	for action, want := range map[string]int{"provider_created": 2, "provider_changed": 2, "provider_paused": 1, "provider_resumed": 1, "provider_synced": 4,
		"quarantine_retry": 1, "folder_resynced": 2, "provider_authorised": 2, "provider_removed": 1} {
		if n := p.count(`SELECT count(*) FROM imap_audit_log WHERE action = $1 AND actor LIKE 'web-%'`, action); n != want {
			p.t.Errorf("%d entries %s, want %d", n, action, want)
		}
	}
}

// page is the address of a mailbox's page.
func (p *place) page(mailbox, more string) (address string) {
	p.t.Helper()
	p.need(p.sql.QueryRowContext(p.t.Context(), `SELECT '/t/' || tenant || '/' || id FROM email_providers WHERE mailbox = $1`, mailbox).Scan(&address))
	return p.url + address + more
}
