package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv"
	"imapsync/internal/devenv/imapserver"
	"imapsync/secret"
	mailsync "imapsync/sync"
)

// patient is how long these servers, which all answer, are waited for, in milliseconds.
const patient = 15_000

// finder finds what a provider logs in with.
type finder = func(context.Context) (mailsync.Credential, string, error)

func diagnosed(t *testing.T, p *db.Provider, credential finder) (steps map[string]Step, order string, ok bool) {
	t.Helper()
	steps = map[string]Step{}
	p.ConnectTimeoutMS, p.CommandTimeoutMS, p.LiteralTimeoutMS = patient, patient, patient
	d := diagnosis{p: p, credential: credential, report: func(s Step) {
		steps[s.Name] = s
		order += s.Name + " "
	}}
	ok = d.run(t.Context())
	return steps, strings.TrimSpace(order), ok
}

func withPassword(password string) finder {
	return func(context.Context) (mailsync.Credential, string, error) {
		return mailsync.Credential{Password: secret.New(password)}, "here", nil
	}
}

func TestDiagnoseGoesTheWayOfAPassAndChangesNothing(t *testing.T) {
	srv, err := imapserver.Start(imapserver.Config{})
	must(t, err)
	t.Cleanup(func() { srv.Close() })
	for range 3 {
		srv.Mailbox("INBOX").Append("Subject: x\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n")
	}
	p := &db.Provider{Settings: db.Settings{Host: srv.Host(), Port: srv.Port(), TLS: db.TLSImplicit, CAPEM: string(srv.CertPEM()), Username: srv.Username, Folders: db.FolderNames{"INBOX", "Missing"}}}
	steps, order, ok := diagnosed(t, p, withPassword(srv.Password))
	if want := "connect tls credential login folder folder fetch"; order != want || ok {
		t.Errorf("steps %q, ok %v; want %q and not ok: a folder is missing", order, ok, want)
	}
	if s := steps["fetch"]; s.State != StepOK || !strings.Contains(s.Text, "header of uid 3") {
		t.Errorf("fetch: %+v", s)
	}
	if v := srv.Violations(); len(v) > 0 {
		t.Errorf("it left a trace: %v", v)
	}
	for _, m := range srv.Mailbox("INBOX").Messages() {
		if m.Seen {
			t.Errorf("uid %d was marked as read", m.UID)
		}
	}
	for _, c := range srv.Commands() {
		if strings.Contains(c.Line, "FETCH") && strings.Contains(c.Line, "BODY") && !strings.Contains(c.Line, "BODY.PEEK[HEADER]") {
			t.Errorf("it asked for more than a header: %s", c.Line)
		}
	}

	p.Folders = db.FolderNames{"INBOX"}
	if _, _, ok := diagnosed(t, p, withPassword(srv.Password)); !ok {
		t.Error("nothing is wrong, and it is not ok")
	}
	for _, tt := range []struct {
		name       string
		change     func(p *db.Provider, credential *finder)
		last, code string
	}{
		{"no credential", func(_ *db.Provider, o *finder) {
			*o = func(context.Context) (mailsync.Credential, string, error) {
				return mailsync.Credential{}, "", secret.ErrAbsent
			}
		}, "credential", "secret"},
		{"vault away", func(_ *db.Provider, o *finder) {
			*o = func(context.Context) (mailsync.Credential, string, error) {
				return mailsync.Credential{}, "", errors.Join(secret.ErrUnavailable)
			}
		}, "credential", "secret_unavailable"},
		{"wrong password", func(_ *db.Provider, o *finder) { *o = withPassword("wrong") }, "login", "authenticationfailed"},
		{"unknown authority", func(p *db.Provider, _ *finder) { p.CAPEM = "" }, "tls", "tls_self_signed"},
		{"nobody there", func(p *db.Provider, _ *finder) { p.Port = 1 }, "connect", "connect"},
		{"no such host", func(p *db.Provider, _ *finder) { p.Host = "no-such-host.invalid" }, "dns", "host_not_found"},
	} {
		q, opts := *p, withPassword(srv.Password)
		tt.change(&q, &opts)
		steps, order, ok := diagnosed(t, &q, opts)
		s := steps[tt.last]
		if !strings.HasSuffix(order, tt.last) || s.State != StepWrong || (s.Code != tt.code && tt.last != "dns") || ok {
			t.Errorf("%s: steps %q, %+v, ok %v; want it to end at %s with code %s", tt.name, order, s, ok, tt.last, tt.code)
		}
	}
}

func TestDiagnoseAMessageWithoutHeader(t *testing.T) {
	srv, err := imapserver.Start(imapserver.Config{})
	must(t, err)
	t.Cleanup(func() { srv.Close() })
	srv.Mailbox("INBOX").Append("Subject: x\r\n\r\nbody\r\n")
	srv.Play(imapserver.Quirk{Name: "no body", Stage: imapserver.Body, Do: func(x *imapserver.Exchange) error { return x.Untagged() }})
	p := &db.Provider{Settings: db.Settings{Host: srv.Host(), Port: srv.Port(), TLS: db.TLSImplicit, CAPEM: string(srv.CertPEM()), Username: srv.Username}}
	steps, _, ok := diagnosed(t, p, withPassword(srv.Password))
	if s := steps["fetch"]; ok || s.State != StepWrong || s.Code != "no_header" {
		t.Errorf("fetch: %+v, ok %v", s, ok)
	}
}

// A server that counts messages and does not show them is not in order, whatever else
// it answers; one whose SEARCH alone is silent can be read.
func TestDiagnoseComparesWithEXISTS(t *testing.T) {
	silent := func(stages ...imapserver.Stage) func(*imapserver.Server) {
		return func(srv *imapserver.Server) {
			for _, stage := range stages {
				srv.Play(imapserver.Quirk{Stage: stage, Do: func(x *imapserver.Exchange) error { return x.Untagged() }})
			}
		}
	}
	for name, tt := range map[string]struct {
		play   func(*imapserver.Server)
		folder string // code of that step
		ok     bool
	}{
		"SEARCH finds nothing": {silent(imapserver.Search), "", true},
		"nothing is shown":     {silent(imapserver.Search, imapserver.Fetch), "exists_mismatch", false},
		"one is not shown": {func(srv *imapserver.Server) {
			srv.Play(imapserver.Quirk{Stage: imapserver.Select, Do: func(x *imapserver.Exchange) error { return x.Replace("* 3 EXISTS", "* 4 EXISTS") }})
		}, "exists_mismatch", false},
		"STATUS alone counts": {func(srv *imapserver.Server) {
			silent(imapserver.Search, imapserver.Fetch)(srv)
			srv.Play(imapserver.Quirk{Stage: imapserver.Select, Do: func(x *imapserver.Exchange) error { return x.Without("EXISTS") }})
		}, "exists_mismatch", false},
	} {
		srv := imapserver.Test(t, imapserver.Config{}, 3)
		tt.play(srv)
		p := &db.Provider{Settings: db.Settings{Host: srv.Host(), Port: srv.Port(), TLS: db.TLSImplicit, CAPEM: string(srv.CertPEM()), Username: srv.Username}}
		steps, _, ok := diagnosed(t, p, withPassword(srv.Password))
		if s := steps["folder"]; s.Code != tt.folder || ok != tt.ok {
			t.Errorf("%s: %+v, ok %v; want code %q, ok %v", name, s, ok, tt.folder, tt.ok)
		}
		if strings.Contains(steps["fetch"].Text, "gone") {
			t.Errorf("%s: fetch: %s", name, steps["fetch"].Text)
		}
	}
}

func TestCertificateStep(t *testing.T) {
	now := time.Now()
	for days, want := range map[int]StepState{90: StepOK, 15: StepOK, 13: StepWarn, 1: StepWarn} {
		pair, err := devenv.SelfSigned(devenv.Cert{Hosts: []string{"mail.example.org"}, NotAfter: now.Add(time.Duration(days)*24*time.Hour + time.Hour)})
		must(t, err)
		block, _ := pem.Decode(pair.CertPEM)
		cert, err := x509.ParseCertificate(block.Bytes)
		must(t, err)
		s := certificateStep(tls.ConnectionState{Version: tls.VersionTLS13, PeerCertificates: []*x509.Certificate{cert}}, now)
		if s.State != want || (s.Code == "tls_expires") != (want == StepWarn) || !strings.Contains(s.Text, "mail.example.org") {
			t.Errorf("%d days left: %+v, want %s", days, s, want)
		}
	}
}
