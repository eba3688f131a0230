package provider

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/internal/imapsession"
	"imapsync/oauth"
	"imapsync/secret"
	mailsync "imapsync/sync"
)

// StepState is how one step of a diagnosis ended.
type StepState string

// The states of a step.
const (
	StepOK    StepState = "ok"
	StepWarn  StepState = "warn"  // it works, and something will go wrong
	StepWrong StepState = "wrong" // it does not work
)

// Step is one thing that was looked at. Text is a line for a person; Err, Class
// and Code say what else there is to say about a step that is not ok.
type Step struct {
	Name  string        `json:"name"` // dns, connect, tls, credential, token, login, folder, fetch, …
	State StepState     `json:"state"`
	Text  string        `json:"text"`
	Class fault.Class   `json:"class,omitempty"`
	Code  string        `json:"code,omitempty"`
	Took  time.Duration `json:"-"`
	Err   error         `json:"-"` // what Text says, to be told from others
}

const maxHeaderBytes = 8 << 20

// certificateWarning is how long before its end a certificate is warned of.
const certificateWarning = 14 * 24 * time.Hour

// diagnosis goes the way of a pass up to one message's header, and reports each
// step as it is done. It ends at the first step that is wrong, but for folders,
// which are all looked at. On the mail server nothing is changed.
type diagnosis struct {
	p          *db.Provider
	version    string
	credential func(ctx context.Context) (c mailsync.Credential, where string, err error)
	report     func(Step)
	list       bool // the folders of the server are wanted

	folders []Folder
	wrongs  int
	began   time.Time // the step
}

// run reports whether nothing was wrong.
func (d *diagnosis) run(ctx context.Context) bool {
	d.began = time.Now()
	if d.reach(ctx) {
		d.use(ctx)
	}
	return d.wrongs == 0
}

func (d *diagnosis) step(s Step) {
	now := time.Now()
	s.Took, d.began = now.Sub(d.began), now
	if s.State == StepWrong {
		d.wrongs++
	}
	d.report(s)
}

func (d *diagnosis) fine(name, format string, args ...any) {
	d.step(Step{Name: name, State: StepOK, Text: fmt.Sprintf(format, args...)})
}

func (d *diagnosis) warn(name, code, text string) {
	d.step(Step{Name: name, State: StepWarn, Code: code, Text: text})
}

func (d *diagnosis) wrong(name string, err error) {
	class, code := mailsync.Classify(err)
	text := strings.ReplaceAll(err.Error(), "\n", "; ")
	d.step(Step{Name: name, State: StepWrong, Text: text, Class: class, Code: code, Err: err})
}

// reach looks up, connects and secures, on a connection of its own.
func (d *diagnosis) reach(ctx context.Context) bool {
	to := mailsync.AccountOf(d.p)
	if net.ParseIP(to.Host) == nil {
		addresses, err := imapsession.Lookup(ctx, to)
		if err != nil {
			d.wrong("dns", err)
			return false
		}
		d.fine("dns", "%s is %s", to.Host, strings.Join(addresses, ", "))
	}
	conn, err := imapsession.Dial(ctx, to)
	if err != nil {
		d.wrong("connect", err)
		return false
	}
	defer conn.Close()
	d.fine("connect", "%s answers in %d ms", conn.RemoteAddr(), time.Since(d.began).Milliseconds())
	secured, err := new(imapsession.Dialer).Secure(ctx, conn, to)
	if err != nil {
		d.wrong("tls", err)
		return false
	}
	tc, encrypted := secured.(*tls.Conn)
	if !encrypted {
		d.warn("tls", "plaintext", "none: the password and all mail travel unencrypted")
		return true
	}
	d.step(certificateStep(tc.ConnectionState(), time.Now()))
	return true
}

// certificateStep tells of a chain that was verified.
func certificateStep(state tls.ConnectionState, now time.Time) Step {
	chain := state.PeerCertificates
	if len(state.VerifiedChains) > 0 {
		chain = state.VerifiedChains[0]
	}
	first := chain[0] // the one that ends first
	var names []string
	for _, c := range chain {
		if c.NotAfter.Before(first.NotAfter) {
			first = c
		}
		names = append(names, subjectName(c))
	}
	left := first.NotAfter.Sub(now)
	s := Step{Name: "tls", State: StepOK, Text: fmt.Sprintf("%s, %s; certificate of %s, issued by %s, ends %s, %d days left (chain: %s)",
		tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), subjectName(chain[0]), imapsession.IssuerName(chain[0]),
		first.NotAfter.UTC().Format(time.DateOnly), int(left.Hours()/24), strings.Join(names, " < "))}
	if left < certificateWarning {
		s.State, s.Code = StepWarn, "tls_expires"
		s.Err = fault.New(fault.Config, s.Code, errors.New(s.Text)).With("certificate", subjectName(first))
	}
	return s
}

func subjectName(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return c.DNSNames[0]
	}
	return cmp.Or(c.Subject.CommonName, c.Subject.String(), imapsession.CertNames(c))
}

// use logs in and reads what a pass would read, up to a message's header.
func (d *diagnosis) use(ctx context.Context) {
	credential, where, err := d.credential(ctx)
	if err != nil {
		d.wrong("credential", mailsync.CredentialError(err))
		return
	}
	d.fine("credential", "found: %s", where)
	if credential.Tokens != nil {
		token, err := credential.Tokens.Token(ctx)
		if err != nil {
			d.wrong("token", err)
			return
		}
		d.step(tokenStep(d.p, token, time.Now()))
	}
	account := mailsync.AccountOf(d.p)
	account.MaxMessageBytes = maxHeaderBytes
	s, err := mailsync.Connect(ctx, &imapsession.Dialer{Version: d.version}, account, credential)
	if err != nil {
		d.wrong("login", err)
		return
	}
	defer s.Close()
	d.fine("login", "as %s; the server offers %s", d.p.Username, strings.Join(s.Capabilities(), " "))
	if d.list {
		if d.folders, err = foldersOf(s); err != nil {
			d.wrong("folders", err) // there may be some all the same
		}
	}
	found, failed, err := s.Resolve(d.p.Folders, nil)
	if err != nil {
		d.wrong("folder", err)
		return
	}
	for i, f := range d.folders {
		d.folders[i].Configured = slices.ContainsFunc(found, func(st imapsession.FolderStatus) bool { return st.Name == f.Name })
	}
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		d.wrong("folder", fmt.Errorf("folder %q: %w", name, failed[name]))
	}
	tried := false
	for _, status := range found {
		data, err := s.Examine(status.Name)
		if err != nil {
			d.wrong("folder", fmt.Errorf("folder %q: %w", status.Name, err))
			if !s.Alive() {
				return
			}
			continue
		}
		if data.UIDValidity == 0 {
			d.warn("folder", "uidvalidity_unknown", fmt.Sprintf("folder %q: the server gives no UIDVALIDITY: it is not read until it does", status.Name))
			continue
		}
		uids, err := d.shown(s, status, data)
		if err != nil {
			d.wrong("folder", fmt.Errorf("folder %q: %w", status.Name, err))
			if !s.Alive() {
				return
			}
		} else {
			d.fine("folder", "%q: %d messages", status.Name, data.Messages)
		}
		if len(uids) > 0 && !tried {
			tried = true
			if err := d.header(s, status.Name, slices.Max(uids)); err != nil {
				d.wrong("fetch", fmt.Errorf("folder %q: %w", status.Name, err))
				return
			}
		}
	}
	if !tried && len(found) > 0 {
		d.fine("fetch", "no message to read")
	}
}

var errNoHeader = errors.New("the server says OK and gives no header: passes will set such messages aside")

// maxListed is how many messages a folder may have that is listed as a whole.
const maxListed = 100_000

// shown lists a folder, and compares that with EXISTS: the error says what the server
// does not show, beside what it does. Of a large folder it lists the newest.
func (d *diagnosis) shown(s *imapsession.Session, status imapsession.FolderStatus, data imapsession.Examined) ([]uint32, error) {
	exists, first := int64(data.Messages), uint32(1)
	if exists == 0 { // or EXAMINE does not say
		exists = max(0, status.Messages)
	}
	if exists == 0 {
		return nil, nil
	}
	if exists > maxListed {
		first = max(1, data.UIDNext-min(data.UIDNext, maxListed))
	}
	uids, err := s.ListUIDs(first, imapsession.MaxUID)
	if err == nil && (int64(len(uids)) >= exists || first > 1 && len(uids) > 0) {
		return uids, nil
	}
	found, err := s.Search(1, imapsession.MaxUID, nil)
	if err != nil {
		return uids, err
	}
	slices.Sort(found)
	if found = slices.Compact(found); len(found) > len(uids) {
		uids = found
	}
	gone := max(0, int64(data.Messages)-s.Exists())
	if unseen := exists - gone - int64(len(uids)); unseen > 0 {
		return uids, mailsync.Mismatch(exists, unseen)
	}
	return uids, nil
}

// header reads the header of the newest message, with PEEK.
func (d *diagnosis) header(s *imapsession.Session, folder string, newest uint32) error {
	size := -1
	if err := s.FetchBodies([]uint32{newest}, true, maxHeaderBytes, func(_ uint32, raw []byte) bool { size = len(raw); return true }); err != nil {
		return err
	}
	if size < 0 {
		return fault.New(fault.Transient, "no_header", fmt.Errorf("uid %d: %w", newest, errNoHeader))
	}
	d.fine("fetch", "%q: header of uid %d, %d bytes; nothing was changed", folder, newest, size)
	return nil
}

func tokenStep(p *db.Provider, token secret.Value, now time.Time) Step {
	claims, ok := oauth.Decode(token)
	if !ok {
		return Step{Name: "token", State: StepOK, Text: "got one; it cannot be read by anybody but the server"}
	}
	s := Step{Name: "token", State: StepOK, Text: claims.String()}
	if reason, what := claims.Problem(p.OAuthPreset, p.Username, now); reason != "" {
		s.Text += ": " + what
		s.State, s.Code = StepWrong, "token_claims"
		s.Err = fault.New(fault.Config, s.Code, errors.New(s.Text)).With("reason", reason).With("now", now.UTC().Format(time.RFC3339))
	}
	return s
}
