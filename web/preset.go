package web

import (
	"cmp"
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	"imapsync/db"
)

type preset struct {
	Name        string `json:"name"` // of the company, or how it was found
	Host        string `json:"host"`
	Port        int    `json:"port"`
	TLS         string `json:"tls"`
	Auth        string `json:"auth,omitempty"`
	OAuthPreset string `json:"oauthPreset,omitempty"`
	Note        string `json:"note,omitempty"`  // what a person has to do there first
	Guess       bool   `json:"guess,omitempty"` // nobody said so

	Domains string `json:"-"` // that its mailboxes have
}

func known() []preset {
	const appPassword = "It takes an app password, not the one of the account: " //nolint:gosec // G101: words, no credential
	const switchOn = "Switch POP3/IMAP on in GMX's settings first."
	list := []preset{
		{Name: "Gmail", Host: "imap.gmail.com", OAuthPreset: db.PresetGoogle, Note: appPassword + "turn on two-step verification, then make one at myaccount.google.com/apppasswords. Or connect with OAuth2.",
			Domains: "gmail.com googlemail.com"},
		{Name: "Outlook and Microsoft 365", Host: "outlook.office365.com", Auth: db.AuthOAuth2, OAuthPreset: db.PresetMicrosoft, Note: "Microsoft takes no passwords: register an app and connect with OAuth2.",
			Domains: "outlook.com hotmail.com live.com msn.com outlook.de hotmail.de hotmail.co.uk hotmail.fr live.de live.co.uk onmicrosoft.com"},
		{Name: "Yahoo", Host: "imap.mail.yahoo.com", Note: appPassword + "make one under Account security.",
			Domains: "yahoo.com yahoo.de yahoo.co.uk yahoo.fr yahoo.it yahoo.es ymail.com rocketmail.com myyahoo.com"},
		{Name: "iCloud", Host: "imap.mail.me.com", Note: appPassword + "make one at account.apple.com. The username is the part before the @.",
			Domains: "icloud.com me.com mac.com"},
		{Name: "Fastmail", Host: "imap.fastmail.com", Note: appPassword + "make one under Privacy & Security.",
			Domains: "fastmail.com fastmail.fm sent.com messagingengine.com"},
		{Name: "Zoho", Host: "imap.zoho.com", Note: "Switch IMAP on in Zoho's settings first; with two-factor login it takes an app password.",
			Domains: "zoho.com zohomail.com"},
		{Name: "Zoho (Europe)", Host: "imap.zoho.eu", Note: "Switch IMAP on in Zoho's settings first; with two-factor login it takes an app password.",
			Domains: "zoho.eu zohomail.eu"},
		{Name: "GMX", Host: "imap.gmx.net", Note: switchOn, Domains: "gmx.net gmx.de gmx.at gmx.ch gmx.eu"},
		{Name: "GMX", Host: "imap.gmx.com", Note: switchOn, Domains: "gmx.com gmx.us gmx.co.uk"},
		{Name: "Yandex", Host: "imap.yandex.com", Note: appPassword + "switch IMAP on in the settings, then make one for Mail.",
			Domains: "yandex.com yandex.ru ya.ru yandex.by yandex.kz"},
		{Name: "IONOS", Host: "imap.ionos.de", Domains: "ionos.de online.de onlinehome.de 1und1.de"},
		{Name: "IONOS", Host: "imap.ionos.com", Domains: "ionos.com 1and1.com"},
		{Name: "IONOS", Host: "imap.ionos.co.uk", Domains: "ionos.co.uk 1and1.co.uk"},
	}
	for i := range list {
		list[i].Port, list[i].TLS = 993, string(db.TLSImplicit)
	}
	return list
}

const lookupPatience = 3 * time.Second

// lookupSRV asks the DNS for a domain's records of a service (RFC 6186).
type lookupSRV func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)

// presetsFor tells where the mail of an address may live, the likeliest first: as is
// known of its domain, else as the domain itself says, else as others mostly have it.
func presetsFor(ctx context.Context, lookup lookupSRV, mailbox string) []preset {
	at := strings.LastIndexByte(mailbox, '@')
	domain := strings.ToLower(strings.TrimSpace(strings.TrimSuffix(mailbox[at+1:], ".")))
	if at < 0 || domain == "" || len(domain) > 253 || strings.ContainsAny(domain, " \t/:[]") {
		return nil
	}
	for _, k := range known() {
		for d := range strings.FieldsSeq(k.Domains) {
			if domain == d || strings.HasSuffix(domain, "."+d) {
				return []preset{k}
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, lookupPatience)
	defer cancel()
	for _, s := range []struct{ service, tls string }{{"imaps", string(db.TLSImplicit)}, {"imap", string(db.TLSStartTLS)}} {
		_, records, err := lookup(ctx, s.service, "tcp", domain)
		if err != nil || len(records) == 0 || records[0].Target == "." { // "." says that there is none
			continue
		}
		host := strings.ToLower(strings.TrimSuffix(records[0].Target, "."))
		return []preset{{Name: "the DNS of " + domain, Host: host, Port: int(records[0].Port), TLS: s.tls}}
	}
	var guesses []preset
	for _, name := range []string{"imap.", "mail.", ""} {
		guesses = append(guesses, preset{Name: name + domain, Host: name + domain, Port: 993, TLS: string(db.TLSImplicit), Guess: true})
	}
	return guesses
}

// presetsOf are those of a company that was chosen, else of the mailbox.
func presetsOf(ctx context.Context, lookup lookupSRV, mailbox, name string) []preset {
	for _, k := range known() {
		if k.Name == name {
			return []preset{k}
		}
	}
	return presetsFor(ctx, lookup, mailbox)
}

func (p preset) into(values map[string]string) {
	values["host"], values["port"], values["tls"] = p.Host, strconv.Itoa(p.Port), p.TLS
	values["auth"] = cmp.Or(p.Auth, values["auth"])
	values["oauth-preset"] = cmp.Or(values["oauth-preset"], p.OAuthPreset)
	values["username"] = cmp.Or(values["username"], values["mailbox"])
}
