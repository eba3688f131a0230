package sync

import (
	"fmt"
	"strings"
	"testing"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
)

// esearch puts what IMAP4rev2 prescribes in place of the answer to a SEARCH.
func esearch(x *imapserver.Exchange, format string) error {
	var uids []string
	for _, n := range x.Numbers {
		uids = append(uids, fmt.Sprint(n))
	}
	all := " ALL " + strings.Join(uids, ",")
	if len(uids) == 0 {
		all = ""
	}
	return x.Untagged(strings.NewReplacer("{tag}", x.Tag, "{all}", all, "{count}", fmt.Sprint(len(uids))).Replace(format))
}

// Answers that are odd and say all that is needed cost nothing: one pass takes all mail,
// and a second has nothing to do.
func TestFailure28_OddAnswers(t *testing.T) {
	search := func(format string) imapserver.Quirk {
		return imapserver.Quirk{Stage: imapserver.Search, Do: func(x *imapserver.Exchange) error { return esearch(x, format) }}
	}
	tail := func(tail string) imapserver.Quirk {
		return imapserver.Quirk{Stage: imapserver.Body, Do: func(x *imapserver.Exchange) error {
			return x.Each(func(r *imapserver.Response) { r.Tail = strings.ReplaceAll(tail, "{size}", fmt.Sprint(len(r.Body))) })
		}}
	}
	for name, q := range map[string]imapserver.Quirk{
		"items behind the end":     tail(")\r\n FLAGS (\\Seen) RFC822.SIZE {size})\r\n"),
		"items on their own line":  tail("\r\n FLAGS (\\Seen) RFC822.SIZE {size})\r\n"),
		"closed twice":             tail("))\r\n"),
		"closed on its own line":   tail("\r\n)\r\n"),
		"never closed":             tail(" FLAGS (\\Seen)\r\n"),
		"STATUS refused":           {Stage: imapserver.Status, Do: func(x *imapserver.Exchange) error { return x.Tagged("NO STATUS is not for you") }},
		"STATUS says OK alone":     {Stage: imapserver.Status, Do: func(x *imapserver.Exchange) error { return x.Untagged() }},
		"sizes unreadable":         {Stage: imapserver.Fetch, Do: func(x *imapserver.Exchange) error { return x.Replace("RFC822.SIZE ", "RFC822.SIZE 1.e+0") }},
		"sizes absent":             {Stage: imapserver.Fetch, Do: func(x *imapserver.Exchange) error { return x.Replace("RFC822.SIZE", "X-SIZE") }},
		"ESEARCH alone":            search(`* ESEARCH (TAG "{tag}") UID{all}`),
		"ESEARCH without a tag":    search(`* ESEARCH UID{all}`),
		"ESEARCH without the list": search(`* ESEARCH (TAG "{tag}") UID COUNT {count}`),
		"ESEARCH of an old search": search(`* ESEARCH (TAG "T1") UID{all}`),
		"OK to SEARCH alone":       search(`* OK found`),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) { deadlines(p, patient) })
			env.srv.Play(q)
			res := env.pass()
			if left := env.missing(env.folders...); res.Err != nil || len(left) > 0 || len(env.quarantine()) > 0 {
				t.Errorf("%v, missing %q, in quarantine %v", res.Err, left, env.quarantine())
			}
			env.settle()
			env.wellMannered(res)
		})
	}
}

// A UIDVALIDITY of more than 32 bits is kept as it is: the same low bits are another
// numbering.
func TestFailure31_WideUIDValidity(t *testing.T) {
	env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) { deadlines(p, patient) })
	const millis = 1713632002544
	inbox := env.srv.Mailbox("INBOX")
	inbox.SetUIDValidity(millis)
	env.settle()
	if got := env.state("INBOX").UIDValidity; got != millis {
		t.Errorf("stored: %d, want %d", got, uint64(millis))
	}
	inbox.Renumber()
	inbox.SetUIDValidity(millis + 1<<32)
	env.append("INBOX", 1)
	env.settle()
	if got := env.state("INBOX").UIDValidity; got != millis+1<<32 {
		t.Errorf("stored after a renumbering: %d, want %d", got, uint64(millis+1<<32))
	}
}

// Where STATUS and EXAMINE give two numbers, that of EXAMINE counts, for reconcile too.
func TestFailure31_UIDValidityCutShort(t *testing.T) {
	for _, stage := range []imapserver.Stage{imapserver.Status, imapserver.Select} {
		env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) { deadlines(p, patient) })
		env.srv.Play(inInbox(imapserver.Quirk{Stage: stage, Do: func(x *imapserver.Exchange) error { return x.Replace("UIDVALIDITY ", "UIDVALIDITY 398") }}))
		env.append("INBOX", 2)
		env.settle()
		must(t, env.runner.Reconcile(t.Context(), env.provider, func(r FolderReport) {
			if r.Folder == "INBOX" && (r.Waiting > 0 || r.Handled != r.OnServer || r.OnServer == 0) {
				t.Errorf("%v is odd: %+v", stage, r)
			}
		}))
	}
}
