package imapsession

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imapsync/internal/devenv/imapserver"
	"imapsync/internal/fault"
)

// spellings are folders as servers spell them, and the names by which people mean them.
var spellings = []struct{ raw, name, filters string }{
	{"Archive", "Archive", "Archive|archive| ARCHIVE "},
	{"&BBAEMQQyACYEMwQ0BDU-", "Абв&где", "Абв&где|абв&где|&BBAEMQQyACYEMwQ0BDU-"},
	{"Абв", "Абв", "Абв|абв|&BBAEMQQy-"},
	{"Entw\xfcrfe", "Entwürfe", "Entwürfe|ENTWÜRFE|Entwu\u0308rfe"},
	{"R&D", "R&D", "R&D|r&d"},
	{"Re\u0301sume\u0301", "Re\u0301sume\u0301", "Résumé|Re\u0301sume\u0301|RÉSUMÉ"},
	{" both ends ", " both ends ", " both ends |both ends|Both Ends"},
	{"&AEY-oo", "&AEY-oo", "&AEY-oo"},
	{"Foo", "Foo", "Foo|foo"},
	{`a "quoted" \ name`, `a "quoted" \ name`, `a "quoted" \ name`},
	{"INBOX/Sub", "INBOX/Sub", "INBOX/Sub|inbox/sub"},
}

func spellingServer(t *testing.T) (Account, *imapserver.Server) {
	srv := imapserver.Test(t, imapserver.Config{}, 1)
	for i, f := range spellings {
		for range i + 1 {
			srv.Mailbox(f.raw).Append(imapserver.TestMail(1))
		}
	}
	return Account{Server: Server{Host: srv.Host(), Port: srv.Port(), TLS: TLSImplicit, CAPEM: string(srv.CertPEM())}, Username: srv.Username}, srv
}

// Whatever way a folder is spelled, by the server or by a person, it is asked for in the
// server's own spelling, and has one name from session to session.
func TestFolderSpelling(t *testing.T) {
	a, srv := spellingServer(t)
	fresh := func() *Session {
		s, err := open(t, a, srv.Password, nil)
		must(t, err)
		t.Cleanup(s.Close)
		return s
	}
	kept := fresh()
	for i, f := range spellings {
		for filter := range strings.SplitSeq(f.filters, "|") {
			for round, s := range []*Session{fresh(), kept, kept} {
				found, failed, err := s.Resolve([]string{filter}, nil)
				must(t, err)
				if len(found) != 1 || len(failed) != 0 || found[0].Name != f.name || found[0].Messages != int64(i+1) || found[0].Filter != filter {
					t.Errorf("%q for %q, round %d: %+v, %v", filter, f.raw, round, found, failed)
				}
			}
			names, err := fresh().CheckFolders([]string{filter})
			if diff := cmp.Diff([]string{f.name}, names); diff != "" || err != nil {
				t.Errorf("%q checked: %v\n%s", filter, err, diff)
			}
		}
		s := fresh() // by the stored name alone, as a reconnect or an IDLE does
		if data, err := s.Examine(f.name); err != nil || data.Messages != uint32(i+1) {
			t.Errorf("%q examined: %+v, %v", f.name, data, err)
		}
		s = fresh()
		if data, err := s.ExaminePrefetch(f.name, 1, 10); err != nil || data.Messages != uint32(i+1) {
			t.Errorf("%q examined with more: %+v, %v", f.name, data, err)
		}
		if uids, err := s.Search(1, MaxUID, nil); err != nil || len(uids) != i+1 {
			t.Errorf("%q searched: %v, %v", f.name, uids, err)
		}
		if _, err := fresh().Idle(f.name, 0); err != nil {
			t.Errorf("%q to idle on: %v", f.name, err)
		}
	}
	found, failed, err := fresh().Resolve([]string{"*"}, nil)
	must(t, err)
	if len(found) != len(spellings)+1 || len(failed) != 0 {
		t.Errorf("a wildcard finds %d: %+v, %v", len(found), found, failed)
	}
	for pattern, want := range map[string]int{"абв*": 2, "r&*": 1, "inbox/*": 1, "R*sum*": 1} {
		if found, failed, err := fresh().Resolve([]string{pattern}, nil); err != nil || len(found) != want || len(failed) != 0 {
			t.Errorf("%s: %+v, %v, %v", pattern, found, failed, err)
		}
	}
	if _, failed, _ := fresh().Resolve([]string{"Nothing/*"}, nil); failed["Nothing/*"] == nil {
		t.Error("a pattern that matches nothing is no error")
	}
}

// A server for which case means nothing knows a name as it stands: then that is its name,
// beside a wildcard too.
func TestFolderInAnyCase(t *testing.T) {
	srv := imapserver.Test(t, imapserver.Config{}, 1)
	srv.Mailbox("Archive")
	srv.Play(imapserver.Quirk{
		Stage: imapserver.Status, When: func(x *imapserver.Exchange) bool { return strings.Contains(x.Args, "archive") },
		Do: func(x *imapserver.Exchange) error {
			x.Tagged("OK done")
			return x.Before(`* STATUS archive (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 3)`)
		},
	})
	a := Account{Server: Server{Host: srv.Host(), Port: srv.Port(), TLS: TLSImplicit, CAPEM: string(srv.CertPEM())}, Username: srv.Username}
	s, err := open(t, a, srv.Password, nil)
	must(t, err)
	defer s.Close()
	found, failed, err := s.Resolve([]string{"archive", "*"}, nil)
	must(t, err)
	var names []string
	for _, st := range found {
		names = append(names, st.Name)
	}
	if diff := cmp.Diff([]string{"archive", "INBOX"}, names); diff != "" || len(failed) > 0 {
		t.Errorf("%s\n%v", diff, failed)
	}
}

// Names in a filter that mean one folder are one folder, whichever the server knows.
func TestFolderNamedTwice(t *testing.T) {
	a, srv := spellingServer(t)
	for _, filter := range [][]string{{"Archive", "archive"}, {"archive", "Archive"}, {" Archive", "Archive", "*"}, {"archive", "ARCHIVE"}, {"résumé", "RÉSUMÉ", "Re*"}} {
		s, err := open(t, a, srv.Password, nil)
		must(t, err)
		defer s.Close()
		found, failed, err := s.Resolve(filter, nil)
		must(t, err)
		times := map[string]int{}
		for _, st := range found {
			times[st.Name]++
		}
		if n := max(times["Archive"], times["Re\u0301sume\u0301"]); n != 1 || len(failed) > 0 || !slices.Contains(filter, "*") && len(found) != 1 {
			t.Errorf("%q: %+v, %v", filter, found, failed)
		}
	}
}

// A folder whose name no command can carry fails alone, and says why.
func TestFolderNamesThatCannotBeAsked(t *testing.T) {
	srv := imapserver.Test(t, imapserver.Config{}, 1)
	long := strings.Repeat("long ", 1000)
	srv.Play(imapserver.Quirk{Stage: imapserver.List, Do: func(x *imapserver.Exchange) error {
		return x.Before("* LIST () \"/\" {4}\r\na\x00bc", "* LIST () \"/\" {5}\r\nd\r\nef", `* LIST () "/" "`+long+`"`)
	}})
	a := Account{Server: Server{Host: srv.Host(), Port: srv.Port(), TLS: TLSImplicit, CAPEM: string(srv.CertPEM())}, Username: srv.Username}
	s, err := open(t, a, srv.Password, nil)
	must(t, err)
	defer s.Close()
	found, failed, err := s.Resolve([]string{"*"}, nil)
	must(t, err)
	if len(found) != 1 || found[0].Name != inbox {
		t.Errorf("found: %+v", found)
	}
	for name, want := range map[string]string{`a\x00bc`: "NUL", `d\r\nef`: "line break", long[:100] + "…": "5000 bytes, more than 1000"} {
		err := failed[name]
		if class, code := Classify(fmt.Errorf("%w", err)); err == nil || !strings.Contains(err.Error(), want) || class != fault.Config || code != "folder_name" {
			t.Errorf("%q: %v", name, err)
		}
	}
	if len(failed) != 3 {
		t.Errorf("failed: %v", failed)
	}
	for _, name := range []string{"a\x00bc", long} {
		found, failed, err := s.Resolve([]string{"INBOX", name}, nil)
		if must(t, err); len(found) != 1 || len(failed) != 1 {
			t.Errorf("%.10q: %+v, %v", name, found, failed)
		}
	}
	folders, err := s.Folders()
	must(t, err)
	if len(folders) != 4 || folders[1].Selectable || folders[1].Problem == "" {
		t.Errorf("listed: %+v", folders)
	}
}

// A list that is cut says so, wherever a wildcard or a missing name may be beyond its end.
func TestFolderListThatIsCut(t *testing.T) {
	srv := imapserver.Test(t, imapserver.Config{}, 1)
	srv.Play(imapserver.Quirk{Stage: imapserver.List, Do: func(x *imapserver.Exchange) error {
		many := make([]string, maxFolders)
		for i := range many {
			many[i] = fmt.Sprintf(`* LIST (\Noselect) "/" "F%d"`, i)
		}
		return x.Before(many...)
	}})
	a := Account{Server: Server{Host: srv.Host(), Port: srv.Port(), TLS: TLSImplicit, CAPEM: string(srv.CertPEM())}, Username: srv.Username}
	s, err := open(t, a, srv.Password, nil)
	must(t, err)
	defer s.Close()
	found, failed, err := s.Resolve([]string{"INBOX", "Other", "F*"}, nil)
	must(t, err)
	if len(found) != 1 {
		t.Errorf("found: %+v", found)
	}
	for _, name := range []string{"Other", "F*"} {
		if _, code := Classify(fmt.Errorf("%w", failed[name])); code != "too_many_folders" {
			t.Errorf("%s: %v", name, failed[name])
		}
	}
	if folders, err := s.Folders(); len(folders) != maxFolders || err == nil {
		t.Errorf("%d folders, %v", len(folders), err)
	}
}

// STATUS that is refused, or brings nothing, is made up for by EXAMINE, unless the folder
// is not there.
func TestStatusByExamine(t *testing.T) {
	for name, status := range map[string]func(x *imapserver.Exchange) error{
		"refused": func(x *imapserver.Exchange) error { return x.Tagged("NO STATUS not allowed") },
		"unknown": func(x *imapserver.Exchange) error { return x.Tagged("BAD what?") },
		"ill":     func(x *imapserver.Exchange) error { return x.Tagged("NO [SERVERBUG] index is broken") },
		"silent":  func(x *imapserver.Exchange) error { return x.Untagged() },
		"empty":   func(x *imapserver.Exchange) error { return x.Untagged("* STATUS INBOX ()") },
		"another": func(x *imapserver.Exchange) error { return x.Untagged("* STATUS Other (MESSAGES 9 UIDNEXT 9)") },
		"denied":  func(x *imapserver.Exchange) error { return x.Tagged("NO [NONEXISTENT] no such mailbox") }, // and yet in LIST
	} {
		t.Run(name, func(t *testing.T) {
			srv := imapserver.Test(t, imapserver.Config{}, 3)
			srv.Play(imapserver.Quirk{Stage: imapserver.Status, When: func(x *imapserver.Exchange) bool { return x.Mailbox != nil }, Do: status})
			a := Account{Server: Server{Host: srv.Host(), Port: srv.Port(), TLS: TLSImplicit, CAPEM: string(srv.CertPEM())}, Username: srv.Username}
			s, err := open(t, a, srv.Password, nil)
			must(t, err)
			defer s.Close()
			found, failed, err := s.Resolve([]string{"INBOX", "Missing"}, nil)
			must(t, err)
			if len(found) != 1 || found[0].Messages != 3 || found[0].UIDNext != 4 || found[0].UIDValidity == 0 {
				t.Errorf("%+v", found)
			}
			if _, code := Classify(fmt.Errorf("%w", failed["Missing"])); len(failed) != 1 || code != "folder_missing" {
				t.Errorf("failed: %v", failed)
			}
		})
	}
}
