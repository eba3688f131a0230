package provider

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/internal/imapsession"
	"imapsync/oauth"
	mailsync "imapsync/sync"
)

// Folder is a folder on the server.
type Folder struct {
	imapsession.Folder

	Configured bool `json:"configured"` // the settings take it
}

// Check is what a test of a connection found.
type Check struct {
	Capabilities []string `json:"capabilities"`
	Folders      []Folder `json:"folders"`
	Cut          error    `json:"-"` // why Folders is not all there are; nil when it is
}

// TestError is a connection that did not pass its test. Its text is one line.
type TestError struct {
	Provider *db.Provider
	Reached  bool // the credentials were there: it is about the server, or the one that gives tokens
	Err      error
}

// Error names the server, unless nobody was asked.
func (e *TestError) Error() string {
	if !e.Reached {
		return e.Err.Error()
	}
	return net.JoinHostPort(e.Provider.Host, strconv.Itoa(e.Provider.Port)) + ": " + OneLine(strings.ReplaceAll(e.Err.Error(), "\n", "; "))
}

// Unwrap returns what went wrong.
func (e *TestError) Unwrap() error { return e.Err }

const testPatience = 2 * time.Minute

func testContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, testPatience,
		&fault.Error{Class: fault.Transient, Code: "timeout", Err: fmt.Errorf("the test took longer than %s", testPatience)})
}

// Check connects to a stored mailbox, logs in, lists the folders and opens those that
// are read, read-only. What was given goes before what is stored. Its error is a
// *TestError; when that is about folders only, the check is returned beside it.
func (s *Service) Check(ctx context.Context, p *db.Provider, in CredentialInput) (*Check, error) {
	c, err := s.credentials(in)
	if err != nil {
		return nil, err
	}
	return s.check(ctx, c, p)
}

func (s *Service) check(ctx context.Context, c *credentials, p *db.Provider) (check *Check, err error) {
	reached := true
	defer func() {
		if err != nil {
			err = &TestError{p, reached, err}
		}
	}()
	credential, err := c.of(ctx, p, db.Fence{})
	if err != nil {
		_, reached = errors.AsType[*oauth.Error](err)
		return nil, err
	}
	ctx, cancel := testContext(ctx)
	defer cancel()
	s.Log.Debug("connection_test", "provider_id", p.ID, "host", p.Host, "port", p.Port, "tls", string(p.TLS), "username", p.Username)
	session, err := mailsync.Connect(ctx, &imapsession.Dialer{Version: s.Version}, mailsync.AccountOf(p), credential)
	if err != nil {
		return nil, err
	}
	defer session.Close()
	check = &Check{Capabilities: session.Capabilities()}
	if check.Folders, check.Cut = foldersOf(session); len(check.Folders) == 0 && check.Cut != nil {
		return nil, check.Cut
	}
	names, err := session.CheckFolders(p.Folders)
	for i, f := range check.Folders {
		check.Folders[i].Configured = slices.Contains(names, f.Name)
	}
	return check, err
}

func foldersOf(session *imapsession.Session) ([]Folder, error) {
	list, err := session.Folders()
	folders := []Folder{}
	for _, f := range list {
		folders = append(folders, Folder{Folder: f})
	}
	return folders, err
}

// Test goes the way of a pass over a mailbox, new or stored, with what was given
// before what is stored, and reports each step. It returns the folders of the
// server, when it came so far, and whether nothing was wrong. Tokens that are
// got for a new one are not stored.
func (s *Service) Test(ctx context.Context, p *db.Provider, in CredentialInput, adding bool, report func(Step)) ([]Folder, bool) {
	return s.diagnose(ctx, p, in, adding, true, report)
}

// Diagnose is Test for a stored mailbox, without its folders.
func (s *Service) Diagnose(ctx context.Context, p *db.Provider, report func(Step)) bool {
	_, ok := s.diagnose(ctx, p, nil, false, false, report)
	return ok
}

func (s *Service) diagnose(ctx context.Context, p *db.Provider, in CredentialInput, adding, list bool, report func(Step)) ([]Folder, bool) {
	c, err := s.credentials(in)
	if err != nil {
		report(Step{Name: "credential", State: StepWrong, Text: err.Error(), Err: err})
		return nil, false
	}
	c.unkept = adding
	ctx, cancel := testContext(ctx)
	defer cancel()
	d := diagnosis{p: p, version: s.Version, list: list, report: report, credential: func(ctx context.Context) (mailsync.Credential, string, error) {
		credential, err := c.of(ctx, p, db.Fence{})
		if err != nil || p.AuthType == db.AuthOAuth2 {
			return credential, "oauth2, " + cmp.Or(p.OAuthFlow, db.FlowCode), err
		}
		if !in[Password].IsZero() {
			return credential, "password, as given", nil
		}
		_, where, err := c.chain.Find(ctx, p.Tenant, db.PasswordName(p.ID))
		return credential, "password, from " + where, err
	}}
	ok := d.run(ctx)
	return d.folders, ok
}

// About is what a face finds its words for an error of p by. Facts are how it
// logs in, and parameters where.
func About(p *db.Provider, err error) fault.About { return AboutProvider(p, mailsync.About(err)) }

// AboutProvider adds to about what is known of p.
func AboutProvider(p *db.Provider, about fault.About) fault.About {
	for fact, holds := range map[string]bool{
		"password": p.AuthType != db.AuthOAuth2, "oauth2": p.AuthType == db.AuthOAuth2, "person": NeedsPerson(p),
		"eager": p.EagerLogin, "plaintext": p.TLS == db.TLSNone,
	} {
		if holds {
			about.Facts = append(about.Facts, fact)
		}
	}
	if about.Params == nil {
		about.Params = map[string]string{}
	}
	maps.Copy(about.Params, map[string]string{
		"id": p.ID, "host": p.Host, "port": strconv.Itoa(p.Port), "address": net.JoinHostPort(p.Host, strconv.Itoa(p.Port)), "mailbox": p.Mailbox,
	})
	return about
}
