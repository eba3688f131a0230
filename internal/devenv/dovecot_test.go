package devenv_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/google/go-cmp/cmp"

	"imapsync/internal/devenv"
)

func mail(n int) []byte {
	return fmt.Appendf(nil, "From: a@example.org\r\nSubject: mail %d\r\n\r\nHello.\r\n", n)
}

// subjects returns the subjects in a folder, in the order of UIDs.
func subjects(t *testing.T, client *imapclient.Client, folder string) (found []string) {
	t.Helper()
	if _, err := client.Select(folder, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
		t.Fatal(err)
	}
	section := &imap.FetchItemBodySection{Peek: true}
	all := imap.UIDSet{{Start: 1, Stop: 0}}
	mails, err := client.Fetch(all, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mails {
		for line := range strings.Lines(string(m.FindBodySection(section))) {
			if subject, ok := strings.CutPrefix(line, "Subject: "); ok {
				found = append(found, strings.TrimSpace(subject))
			}
		}
	}
	return found
}

func login(t *testing.T, server *devenv.Dovecot, user string) *imapclient.Client {
	t.Helper()
	client, err := server.Login(user)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func TestDovecotFoldersAndMail(t *testing.T) {
	for _, sep := range []string{"/", "."} {
		t.Run(sep, func(t *testing.T) {
			began := time.Now()
			server := devenv.TestDovecot(t, devenv.DovecotSeparator(sep))
			t.Logf("started in %v", time.Since(began))

			nested := "Clients" + sep + "ACME"
			folders := []string{nested, "Поддержка", "日本語", "Sent"}
			if err := server.AddUser("Anna@example.org", "grüße:\"1\"", folders...); err != nil {
				t.Fatal(err)
			}
			want := []string{"mail 1", "mail 2", "mail 3"}
			for _, folder := range append(folders, "INBOX") {
				if err := server.Deliver("anna@example.org", folder, mail(1), []byte("Subject: mail 2\n\nHello.\n")); err != nil {
					t.Fatal(err)
				}
				if err := server.Append("anna@example.org", folder, time.Now().Add(-time.Hour), mail(3)); err != nil {
					t.Fatal(err)
				}
			}
			client := login(t, server, "anna@example.org")
			list, err := client.List("", "*", nil).Collect()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, data := range list {
				if data.Delim != rune(sep[0]) {
					t.Errorf("folder %q: delimiter %q, want %q", data.Mailbox, data.Delim, sep)
				}
				if data.Mailbox == "Sent" && !slices.Contains(data.Attrs, imap.MailboxAttrSent) {
					t.Errorf("Sent has the attributes %v", data.Attrs)
				}
				if !slices.Contains(data.Attrs, imap.MailboxAttrNoSelect) {
					got = append(got, data.Mailbox)
				}
			}
			slices.Sort(got)
			wantFolders := append(slices.Clone(folders), "INBOX")
			slices.Sort(wantFolders)
			if diff := cmp.Diff(wantFolders, got); diff != "" {
				t.Errorf("folders (-want +got):\n%s", diff)
			}
			for _, folder := range got {
				if diff := cmp.Diff(want, subjects(t, client, folder)); diff != "" {
					t.Errorf("mail in %s (-want +got):\n%s", folder, diff)
				}
			}
		})
	}
}

func TestDovecotPorts(t *testing.T) {
	server := devenv.TestDovecot(t)
	if err := server.AddUser("anna@example.org", "right"); err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(server.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	options := &imapclient.Options{TLSConfig: &tls.Config{RootCAs: roots, ServerName: server.Host}}

	tests := []struct {
		name string
		port int
		dial func(string, *imapclient.Options) (*imapclient.Client, error)
	}{
		{"implicit TLS", server.TLSPort, imapclient.DialTLS},
		{"STARTTLS", server.StartTLSPort, imapclient.DialStartTLS},
		{"plaintext", server.PlainPort, imapclient.DialInsecure},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, err := tt.dial(net.JoinHostPort(server.Host, strconv.Itoa(tt.port)), options)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			quickest := time.Hour // of several: the machine may be busy
			for range 5 {
				began := time.Now()
				for _, creds := range [][2]string{{"anna@example.org", "wrong"}, {"nobody@example.org", "right"}} {
					err := client.Login(creds[0], creds[1]).Wait()
					refused, ok := errors.AsType[*imap.Error](err)
					if !ok || refused.Code != imap.ResponseCodeAuthenticationFailed {
						t.Errorf("login %v: %v, want AUTHENTICATIONFAILED", creds, err)
					}
				}
				if quickest = min(quickest, time.Since(began)); quickest < 3*time.Second {
					break
				}
			}
			if quickest > 3*time.Second {
				t.Errorf("two refusals took %v: are they delayed?", quickest)
			}
			if err := client.Login("anna@example.org", "right").Wait(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDovecotCertificates(t *testing.T) {
	ca, err := devenv.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	expired, err := ca.Issue(devenv.Cert{NotAfter: time.Now().Add(-time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	otherHost, err := ca.Issue(devenv.Cert{Hosts: []string{"imap.example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	selfSigned, err := devenv.SelfSigned(devenv.Cert{})
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM)
	tests := []struct {
		name string
		pair devenv.KeyPair
		is   func(error) bool
	}{
		{"expired", expired, func(err error) bool {
			invalid, ok := errors.AsType[x509.CertificateInvalidError](err)
			return ok && invalid.Reason == x509.Expired
		}},
		{"other host", otherHost, func(err error) bool { _, ok := errors.AsType[x509.HostnameError](err); return ok }},
		{"self-signed", selfSigned, func(err error) bool { _, ok := errors.AsType[x509.UnknownAuthorityError](err); return ok }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := devenv.TestDovecot(t, devenv.DovecotCert(tt.pair))
			conn, err := tls.Dial("tcp", net.JoinHostPort(server.Host, strconv.Itoa(server.TLSPort)), &tls.Config{RootCAs: roots})
			if err == nil {
				conn.Close()
			}
			if !tt.is(err) {
				t.Errorf("the certificate is refused with %v", err)
			}
		})
	}
}

func TestDovecotComesBack(t *testing.T) {
	server := devenv.TestDovecot(t)
	if err := server.AddUser("anna@example.org", "right"); err != nil {
		t.Fatal(err)
	}
	if err := server.Deliver("anna@example.org", "INBOX", mail(1)); err != nil {
		t.Fatal(err)
	}
	for i, down := range []func() error{server.Kill, server.Stop} {
		idle := login(t, server, "anna@example.org")
		if err := down(); err != nil {
			t.Fatal(err)
		}
		if err := idle.Noop().Wait(); err == nil {
			t.Errorf("round %d: a session outlives the server", i)
		}
		if _, err := server.Login("anna@example.org"); err == nil {
			t.Fatal("the server answers after it was stopped")
		}
		if err := server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"mail 1"}, subjects(t, login(t, server, "anna@example.org"), "INBOX")); diff != "" {
			t.Errorf("mail after the restart (-want +got):\n%s", diff)
		}
	}
}

func TestDovecotSdbox(t *testing.T) {
	server := devenv.TestDovecot(t, devenv.DovecotSdbox())
	if err := server.AddUser("anna@example.org", "right"); err != nil {
		t.Fatal(err)
	}
	if err := server.Deliver("anna@example.org", "INBOX", mail(1)); err == nil {
		t.Error("mail was delivered to a Maildir that nobody reads")
	}
	if err := server.Append("anna@example.org", "INBOX", time.Now(), mail(2)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"mail 2"}, subjects(t, login(t, server, "anna@example.org"), "INBOX")); diff != "" {
		t.Errorf("mail (-want +got):\n%s", diff)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(server.CAFile), "mail", "anna@example.org", "sdbox")); err != nil {
		t.Error(err)
	}
}

func TestDovecotBulk(t *testing.T) {
	server := devenv.TestDovecot(t)
	if err := server.AddUser("bulk@example.org", "right"); err != nil {
		t.Fatal(err)
	}
	var mails [][]byte
	var want []string
	for n := range 1000 {
		mails = append(mails, mail(n))
		want = append(want, fmt.Sprintf("mail %d", n))
	}
	began := time.Now()
	if err := server.Deliver("bulk@example.org", "INBOX", mails...); err != nil {
		t.Fatal(err)
	}
	t.Logf("1000 mails delivered in %v", time.Since(began))
	if diff := cmp.Diff(want, subjects(t, login(t, server, "bulk@example.org"), "INBOX")); diff != "" {
		t.Errorf("mail, in the order of delivery (-want +got):\n%s", diff)
	}
}

// A folder that is renumbered has another UIDVALIDITY and the same mails.
func TestDovecotRenumber(t *testing.T) {
	server := devenv.TestDovecot(t)
	if err := errors.Join(server.AddUser("ann", "pw", "Orders"), server.Deliver("ann", "Orders", mail(1), mail(2))); err != nil {
		t.Fatal(err)
	}
	validity := func() uint32 {
		selected, err := login(t, server, "ann").Select("Orders", &imap.SelectOptions{ReadOnly: true}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		return selected.UIDValidity
	}
	before := validity()
	if err := server.Renumber("ann", "Orders"); err == nil {
		t.Error("it was renumbered while it ran")
	}
	if err := errors.Join(server.Kill(), server.Renumber("ann", "Orders"), server.Start(t.Context())); err != nil {
		t.Fatal(err)
	}
	if after := validity(); after == before {
		t.Errorf("UIDVALIDITY is %d still", after)
	}
	if got := subjects(t, login(t, server, "ann"), "Orders"); len(got) != 2 {
		t.Errorf("%q, want both mails", got)
	}
}
