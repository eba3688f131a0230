package web

import (
	"context"
	"time"

	"imapsync/db"
	"imapsync/oauth"
	"imapsync/provider"
	"imapsync/secret"
)

// Given are credentials that somebody has typed; those left blank are zero, and
// what is stored stays.
type Given struct {
	Password       secret.Value
	ClientSecret   secret.Value
	ServiceAccount secret.Value
}

// Any reports whether there is one.
func (g Given) Any() bool {
	return !g.Password.IsZero() || !g.ClientSecret.IsZero() || !g.ServiceAccount.IsZero()
}

// Step is one step of a test of a connection.
type Step struct {
	Name  string // dns, connect, tls, credential, token, login, folder, fetch
	State string // ok, warn or wrong
	Text  string
	Fix   string // what to do about it; may be empty
	Took  time.Duration
}

// Folder is a folder on the server.
type Folder struct {
	Name       string
	Messages   int64 // -1: not known
	SpecialUse string
	Read       bool // the settings take it
}

// Progress is where a long action stands.
type Progress struct {
	Done, Total int    // Total is 0 while nobody knows
	Text        string // one line, shown with those before it; may be empty
	Wrong       bool   // the line is about something that went wrong
}

// Mail is a parsed mail, for people to look at.
type Mail struct {
	From, To, Cc, Subject, Date string
	Text, HTML                  string
	Attachments                 []Attachment
	Defects                     []string
}

// Attachment is a file of a mail.
type Attachment struct {
	Name, Type string
	Size       int64 // bytes
}

// Actions are what the pages do through the parts of the program that this
// package does not see: the mail session, the parser, the broker. They are the
// functions of the command line, so that both have one set of rules and words.
// By is who does it, for the audit log.
type Actions struct {
	// NewProvider makes a provider of the defaults.
	NewProvider func(tenant string) (*db.Provider, error)
	// Apply puts settings into p, by the names of provider.Settings, and returns
	// all that is wrong with p then. Adding says that p is not stored yet.
	Apply func(ctx context.Context, p *db.Provider, values map[string][]string, g Given, adding bool) []provider.Problem
	// Add tests and stores a new provider, Change one that is stored.
	Add    func(ctx context.Context, p *db.Provider, g Given, test bool, by string) error
	Change func(ctx context.Context, was, is *db.Provider, g Given, test bool, by string) error
	// Test goes the way of a pass and reports each step, then the folders.
	Test func(ctx context.Context, p *db.Provider, g Given, adding bool, report func(Step)) ([]Folder, bool)

	Pause  func(ctx context.Context, p *db.Provider, by string) error
	Resume func(ctx context.Context, p *db.Provider, test bool, by string) error
	Remove func(ctx context.Context, p *db.Provider, by string) error
	// Sync makes one pass and returns what it brought, in words.
	Sync func(ctx context.Context, p *db.Provider, by string, report func(Progress)) (string, error)
	// Resync has the next pass go through folders again, from a day on.
	Resync    func(ctx context.Context, p *db.Provider, since, by string) (string, error)
	Reconcile func(ctx context.Context, p *db.Provider, report func(Progress)) (string, error)

	// NeedsPerson reports whether somebody has to sign in before p can be read.
	NeedsPerson func(p *db.Provider) bool
	// BeginLogin begins a sign-in with OAuth2 that ends at the redirect URL,
	// FinishLogin stores what was granted.
	BeginLogin  func(ctx context.Context, p *db.Provider, redirect string) (*oauth.Login, error)
	FinishLogin func(ctx context.Context, p *db.Provider, login *oauth.Login, answer, by string) error
	// DeviceLogin has somebody sign in on another device: it reports what to open
	// and type there, waits for it and stores what was granted.
	DeviceLogin func(ctx context.Context, p *db.Provider, by string, report func(Progress)) (string, error)
	// Forecasts tells when the credentials of p will die, Fix what to do about
	// its last error.
	Forecasts func(p *db.Provider, now time.Time) []oauth.Forecast
	Fix       func(p *db.Provider) string

	// SetQuarantine moves a message to one of the states of db.
	SetQuarantine func(ctx context.Context, q *db.Quarantine, state, by string) error
	// Raw reads the mail as it came, Read makes something to look at of it.
	Raw  func(ctx context.Context, q *db.Quarantine) ([]byte, error)
	Read func(raw []byte) Mail
}
