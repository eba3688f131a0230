package imapsession

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"

	"imapsync/internal/devenv"
	"imapsync/internal/devenv/imapserver"
	"imapsync/internal/fault"
	"imapsync/secret"
)

// TestStatusAlongWithLogin has the state of folders asked for before the login
// is answered, and a login refused told as what it is all the same.
func TestStatusAlongWithLogin(t *testing.T) {
	d := devenv.TestDovecot(t)
	if err := d.AddUser("u", "geheim", "Archive"); err != nil {
		t.Fatal(err)
	}
	a := Account{Server: Server{Host: d.Host, Port: d.TLSPort, TLS: TLSImplicit, CAPEM: string(d.CA.PEM)}, Username: "u"}
	names := []string{"INBOX", "Archive", "Missing"}
	s, err := open(t, a, "geheim", names)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if len(s.asked) != len(names) {
		t.Errorf("%d folders were asked for along with the login, want %d", len(s.asked), len(names))
	}
	for range 2 { // the second time it is asked anew
		found, failed, err := s.statuses(names)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, st := range found {
			if st.UIDValidity == 0 || st.UIDNext != 1 {
				t.Errorf("%s: %+v", st.Name, st)
			}
			got = append(got, st.Name)
		}
		if diff := cmp.Diff([]string{"INBOX", "Archive"}, got); diff != "" || failed["Missing"] == nil {
			t.Errorf("folders (-want +got):\n%s\nfailed: %v", diff, failed)
		}
	}
	_, err = open(t, a, "falsch", names)
	if class, code := Classify(err); class != fault.Auth || code != "authenticationfailed" {
		t.Errorf("wrong password: class %s, code %s: %v", class, code, err)
	}
	if err == nil || !strings.Contains(err.Error(), "AUTHENTICATIONFAILED") {
		t.Errorf("wrong password: %v, want what the server said of the login", err)
	}
}

func TestWindowsAreNamedByFewRanges(t *testing.T) {
	var gaps, whole []uint32
	for uid := uint32(1); uid <= 1000; uid++ {
		gaps, whole = append(gaps, 2*uid), append(whole, uid)
	}
	for name, tt := range map[string]struct {
		uids []uint32
		want []int
	}{
		"none":      {nil, nil},
		"one":       {[]uint32{7}, []int{1}},
		"no gaps":   {whole, []int{1000}},
		"gaps":      {gaps, []int{200, 200, 200, 200, 200}},
		"gaps last": {slices.Concat(whole, []uint32{2000, 2002}), []int{1002}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []int
			var together []uint32
			for part := range windows(tt.uids) {
				uids, _ := part.Nums()
				got = append(got, len(uids))
				for _, uid := range uids {
					together = append(together, uint32(uid))
				}
				if ranges := strings.Count(part.String(), ",") + 1; ranges > maxRangesPerCommand {
					t.Errorf("a part has %d ranges", ranges)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("sizes of parts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.uids, together); diff != "" {
				t.Errorf("parts together (-want +got):\n%s", diff)
			}
		})
	}
}

// TestExaminePrefetch has a folder searched and its sizes told along with EXAMINE,
// more of them than go-imap holds unread.
func TestExaminePrefetch(t *testing.T) {
	d := devenv.TestDovecot(t)
	must(t, d.AddUser("u", "geheim"))
	must(t, d.Deliver("u", "INBOX", mails(500)...))
	a := Account{Server: Server{Host: d.Host, Port: d.TLSPort, TLS: TLSImplicit, CAPEM: string(d.CA.PEM)}, Username: "u"}
	s, err := open(t, a, "geheim", nil)
	must(t, err)
	defer s.Close()
	if !s.pipelined {
		t.Fatal("Dovecot was not known by what it offers")
	}
	if _, err := s.ExaminePrefetch("Missing", 1, 10); err == nil || !s.Alive() {
		t.Errorf("a folder that is not there: %v, alive %v", err, s.Alive())
	}
	selected, err := s.ExaminePrefetch("INBOX", 101, 400)
	must(t, err)
	if selected.Messages != 500 || s.prefetched == nil || len(s.prefetched.sizes) != 300 {
		t.Fatalf("%d messages, prefetched %+v", selected.Messages, s.prefetched)
	}
	for range 2 { // the second time it is asked anew
		uids, err := s.Search(101, MaxUID, nil)
		must(t, err)
		if len(uids) != 400 {
			t.Errorf("%d UIDs from 101 on, want 400", len(uids))
		}
	}
	sizes, err := s.FetchSizes([]uint32{100, 101, 400, 401, 501})
	must(t, err)
	for _, uid := range []uint32{100, 101, 400, 401} {
		if l := sizes[uid]; l.UID != uid || l.Size == 0 || l.InternalDate.IsZero() {
			t.Errorf("uid %d: %+v", uid, l)
		}
	}
	if len(sizes) != 4 || len(s.prefetched.sizes) != 298 {
		t.Errorf("%d sizes, %d left", len(sizes), len(s.prefetched.sizes))
	}
}

// TestEagerLogin logs in before the greeting, and tells what is wrong as always.
func TestEagerLogin(t *testing.T) {
	d := devenv.TestDovecot(t)
	must(t, d.AddUser("u", "geheim"))
	a := Account{Server: Server{Host: d.Host, Port: d.TLSPort, TLS: TLSImplicit, CAPEM: string(d.CA.PEM)}, Username: "u", EagerLogin: true}
	names := []string{"INBOX"}
	s, err := open(t, a, "geheim", names)
	must(t, err)
	defer s.Close()
	if found, _, err := s.statuses(names); err != nil || len(found) != 1 {
		t.Errorf("%+v, %v", found, err)
	}
	if len(s.Capabilities()) == 0 {
		t.Error("no capabilities after the login")
	}
	_, err = open(t, a, "falsch", names)
	if class, code := Classify(err); class != fault.Auth || code != "authenticationfailed" {
		t.Errorf("wrong password: class %s, code %s: %v", class, code, err)
	}
	for name, want := range map[string]string{
		"greeting-preauth": "preauth", "greeting-bye": "turned_away, connection, greeting", "login-throttled": "throttled", "login-refused": "authenticationfailed",
	} {
		srv := imapserver.Test(t, imapserver.Config{}, 1)
		q := quirkNamed(t, name)
		q.Once = false // a connection that ends under the login is tried once more
		srv.Play(q)
		a := Account{Server: Server{Host: srv.Host(), Port: srv.Port(), TLS: TLSImplicit, CAPEM: string(srv.CertPEM())}, Username: srv.Username, EagerLogin: true}
		_, err = open(t, a, srv.Password, names)
		// What is written to a socket that the server has closed may cost the BYE in it.
		if _, code := Classify(err); err == nil || !strings.Contains(want, code) {
			t.Errorf("%s: code %s, want %s: %v", name, code, want, err)
		}
	}
}

func quirkNamed(t *testing.T, name string) imapserver.Quirk {
	for _, q := range imapserver.Quirks() {
		if q.Name == name {
			return q
		}
	}
	t.Fatal("no quirk ", name)
	return imapserver.Quirk{}
}

// A LIST that nobody asks for holds nothing up.
func TestFailure04_ListThatNobodyReads(t *testing.T) {
	srv := imapserver.Test(t, imapserver.Config{Caps: dovecotCaps}, 1)
	for i := range 150 {
		srv.Mailbox(fmt.Sprintf("F%03d", i))
	}
	folders := []string{"*"}
	a := Account{Server: Server{Host: srv.Host(), Port: srv.Port(), TLS: TLSImplicit, CAPEM: string(srv.CertPEM())}, Username: srv.Username}
	s, err := open(t, a, srv.Password, folders)
	must(t, err)
	listed := s.askedList
	if listed == nil {
		t.Fatal("LIST did not go along with the login")
	}
	imapserver.Within(t, 20*time.Second, func() {
		if _, err := s.Examine("INBOX"); err != nil {
			t.Error(err)
		}
	})
	s.Close()
	imapserver.Within(t, 20*time.Second, func() { listed() })
}

// dovecotCaps are what makes a server one that is asked for several things at once.
const dovecotCaps = "LOGIN-REFERRALS SASL-IR ID ENABLE LITERAL+ UNSELECT IDLE SPECIAL-USE AUTH=PLAIN"

// open logs in with a password, and has folders surveyed unless they are nil.
func open(t *testing.T, a Account, password string, folders []string) (*Session, error) {
	t.Helper()
	a.Login = func(context.Context) (secret.Value, error) { return secret.New(password), nil }
	a.Folders, a.Survey = folders, folders != nil
	return new(Dialer).Open(t.Context(), a)
}

func mails(n int) (list [][]byte) {
	for i := range n {
		list = append(list, []byte(imapserver.TestMail(i+1)))
	}
	return list
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inInbox is a session that has opened INBOX.
func inInbox(t *testing.T, srv *imapserver.Server) *Session {
	t.Helper()
	a := Account{Server: Server{Host: srv.Host(), Port: srv.Port(), TLS: TLSImplicit, CAPEM: string(srv.CertPEM())}, Username: srv.Username}
	s, err := open(t, a, srv.Password, nil)
	must(t, err)
	_, err = s.Examine("INBOX")
	must(t, err)
	return s
}

// TestListUIDs lists a folder by FETCH, on a server whose SEARCH is of no use.
func TestListUIDs(t *testing.T) {
	srv := imapserver.Test(t, imapserver.Config{}, 5)
	srv.Mailbox("INBOX").Expunge(2)
	srv.Play(quirkNamed(t, "search-refused"))
	s := inInbox(t, srv)
	defer s.Close()
	for name, list := range map[string]func() ([]uint32, error){
		"asked for":   func() ([]uint32, error) { return s.ListUIDs(1, MaxUID) },
		"for SEARCH":  func() ([]uint32, error) { return s.Search(1, MaxUID, nil) },
		"once more":   func() ([]uint32, error) { return s.ListUIDs(1, MaxUID) },
		"from 4 to 9": func() ([]uint32, error) { uids, err := s.ListUIDs(4, 9); return append([]uint32{1, 3}, uids...), err },
	} {
		uids, err := list()
		must(t, err)
		if diff := cmp.Diff([]uint32{1, 3, 4, 5}, uids); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	sizes, err := s.FetchSizes([]uint32{1}) // that FETCH is not one of UIDs alone
	must(t, err)
	if sizes[1].Size == 0 {
		t.Errorf("sizes: %+v", sizes)
	}
}

// TestFetchBodiesUntilEnough: what is not wanted any more is not downloaded.
func TestFetchBodiesUntilEnough(t *testing.T) {
	srv := imapserver.Test(t, imapserver.Config{}, 5)
	for enough, alive := range map[int]bool{1: false, 4: false, 5: true} {
		s := inInbox(t, srv)
		given := 0
		must(t, s.FetchBodies([]uint32{1, 2, 3, 4, 5}, false, 1<<20, func(uint32, []byte) bool { given++; return given < enough }))
		if given != enough || s.Alive() != alive {
			t.Errorf("%d bodies of 5, alive %v; want %d and %v", given, s.Alive(), enough, alive)
		}
		s.Close()
	}
}

// TestFetchOfNothing: a set without a UID is a syntax error, and no question.
func TestFetchOfNothing(t *testing.T) {
	srv := imapserver.Test(t, imapserver.Config{}, 1)
	s := inInbox(t, srv)
	defer s.Close()
	before := len(srv.Commands())
	sizes, err := s.FetchSizes(nil)
	must(t, err)
	must(t, s.FetchBodies(nil, true, 1<<20, func(uint32, []byte) bool { t.Error("a body"); return true }))
	if sent := srv.Commands()[before:]; len(sent)+len(sizes) != 0 {
		t.Errorf("sent %v, got %v", sent, sizes)
	}
}

// A search whose answer lists nothing is asked again in another way; one by criteria,
// which has no other way, is an error.
func TestSearchWithoutAList(t *testing.T) {
	srv := imapserver.Test(t, imapserver.Config{}, 3)
	srv.Play(imapserver.Quirk{Stage: imapserver.Search, Do: func(x *imapserver.Exchange) error {
		return x.Untagged(`* ESEARCH (TAG "` + x.Tag + `") UID COUNT 3`)
	}})
	s := inInbox(t, srv)
	defer s.Close()
	uids, err := s.Search(2, MaxUID, nil)
	must(t, err)
	if diff := cmp.Diff([]uint32{2, 3}, uids); diff != "" {
		t.Error(diff)
	}
	if uids, err := s.Search(1, MaxUID, &imap.SearchCriteria{Since: time.Unix(1e9, 0)}); err == nil {
		t.Errorf("found %v", uids)
	}
}

// Each body that came whole is handed on, whatever bytes follow it.
func TestWholeBodiesComeBeforeTheError(t *testing.T) {
	for _, after := range []string{"\x00\xff garbage\r\n", "T999 OK what\r\n", "* 9 FETCH (UID 3 BODY[] {99999999999}\r\n", "* BYE [UNAVAILABLE] off\r\n"} {
		srv := imapserver.Test(t, imapserver.Config{}, 3)
		srv.Play(imapserver.Quirk{Stage: imapserver.Body, Do: func(x *imapserver.Exchange) error {
			x.Responses = append(x.Responses[:2], imapserver.Response{Head: after})
			return nil
		}})
		a := Account{Server: Server{Host: srv.Host(), Port: srv.Port(), TLS: TLSImplicit, CAPEM: string(srv.CertPEM())}, Username: srv.Username,
			Timeouts: Timeouts{Command: time.Second}}
		for range 20 {
			s, err := open(t, a, srv.Password, nil)
			must(t, err)
			_, err = s.Examine("INBOX")
			must(t, err)
			var got []uint32
			err = s.FetchBodies([]uint32{1, 2, 3}, false, 1<<20, func(uid uint32, _ []byte) bool { got = append(got, uid); return true })
			if diff := cmp.Diff([]uint32{1, 2}, got); diff != "" || err == nil {
				t.Fatalf("%q: %v\n%s", after, err, diff)
			}
			s.Close()
			if strings.Contains(after, "BYE") {
				break // that waits for the end of the time-out
			}
		}
	}
}

// A body that drips is that message's failure, and the connection is given up; an answer
// that drips is the server's.
func TestDrips(t *testing.T) {
	for stage, want := range map[imapserver.Stage]string{imapserver.Body: "slow_body", imapserver.Search: "timeout"} {
		srv := imapserver.Test(t, imapserver.Config{}, 50)
		srv.Play(imapserver.Quirk{Stage: stage, Do: func(x *imapserver.Exchange) error { return x.Drip(imapserver.Pause) }})
		a := Account{Server: Server{Host: srv.Host(), Port: srv.Port(), TLS: TLSImplicit, CAPEM: string(srv.CertPEM())}, Username: srv.Username,
			Timeouts: Timeouts{Command: 500 * time.Millisecond, Literal: 500 * time.Millisecond, Rate: 1 << 20}}
		s, err := open(t, a, srv.Password, nil)
		must(t, err)
		_, err = s.Examine("INBOX")
		must(t, err)
		began := time.Now()
		if stage == imapserver.Body {
			err = s.FetchBodies([]uint32{1}, false, 1<<20, func(uint32, []byte) bool { return true })
		} else {
			_, err = s.Search(1, MaxUID, nil)
		}
		if _, code := Classify(err); code != want || s.Alive() || time.Since(began) > 10*time.Second {
			t.Errorf("%s: %s after %s, alive %v: %v", stage, code, time.Since(began), s.Alive(), err)
		}
		s.Close()
	}
}
